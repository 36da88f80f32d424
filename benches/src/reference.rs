//! The bare servers that ours is held against: hyper alone, the same bytes and headers for whatever is asked; and axum with a map.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::ListenerExt;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Response, StatusCode, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// What is answered.
pub(crate) struct Fixed {
    body: Bytes,
    headers: HeaderMap,
}

impl Fixed {
    /// A body and its headers.
    ///
    /// # Errors
    /// When a header is none.
    pub(crate) fn new(body: Bytes, pairs: &[(String, String)]) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        Ok(Self { body, headers })
    }
}

/// hyper alone, on a free port of loopback for ever; `ready` gets the address.
///
/// # Errors
/// When the port cannot be bound.
pub(crate) async fn hyper(fixed: Fixed, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    ready(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (body, headers) = (fixed.body.clone(), fixed.headers.clone());
        tokio::spawn(async move {
            let answer = service_fn(move |_| {
                let mut response = Response::new(Full::new(body.clone()));
                *response.headers_mut() = headers.clone();
                async move { Ok::<_, Infallible>(response) }
            });
            // A connection that the load generator cuts is no error of the measurement.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
        });
    }
}

/// axum, which takes kind and id from the path and looks the id up in a map that has the one of `path`.
///
/// # Errors
/// When the port cannot be bound.
pub(crate) async fn axum(fixed: Fixed, path: &str, ready: impl FnOnce(SocketAddr)) -> anyhow::Result<()> {
    let id = path.rsplit('/').next().unwrap_or_default().to_owned();
    let map: Arc<HashMap<String, Fixed>> = Arc::new(HashMap::from([(id, fixed)]));
    let router = Router::new().route("/v1/{kind}/{id}", get(look_up)).with_state(map);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    ready(listener.local_addr()?);
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, router).await?)
}

async fn look_up(
    State(map): State<Arc<HashMap<String, Fixed>>>,
    Path((_, id)): Path<(String, String)>,
) -> axum::response::Response {
    match map.get(&id) {
        Some(fixed) => (fixed.headers.clone(), fixed.body.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
