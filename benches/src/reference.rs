//! The bare server that ours is held against: hyper alone, the same bytes and headers for whatever is asked.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Response, server::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves on a free port of loopback for ever; `ready` gets the address.
///
/// # Errors
/// When the port cannot be bound, or a header is none.
pub(crate) async fn serve(
    body: Bytes,
    headers: &[(String, String)],
    ready: impl FnOnce(SocketAddr),
) -> anyhow::Result<()> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    ready(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (body, map) = (body.clone(), map.clone());
        tokio::spawn(async move {
            let answer = service_fn(move |_| {
                let mut response = Response::new(Full::new(body.clone()));
                *response.headers_mut() = map.clone();
                async move { Ok::<_, Infallible>(response) }
            });
            // A connection that the load generator cuts is no error of the measurement.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await);
        });
    }
}
