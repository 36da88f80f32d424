//! A fake API server beneath the kube client, for tests: a function from requests to answers, and everything that it was asked.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, Response};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use sidecar_core::kind::Kind;
use tokio::sync::mpsc;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// `METHOD /path?query`.
    pub(crate) line: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

/// What the server does.
pub(crate) enum Reply {
    /// Answers with a status and a body.
    Json(u16, String),
    /// 429 with `Retry-After`.
    Later(u64),
    /// Answers 200 and sends what comes out of the channel, until it is closed; an error breaks the body off.
    Stream(mpsc::UnboundedReceiver<Result<Bytes, std::io::Error>>),
    /// Breaks the connection after it has read the request.
    BreakOff,
}

type Serve = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The server's memory.
#[derive(Clone, Default)]
pub(crate) struct Log {
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Log {
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

/// A client whose requests `serve` answers.
pub(crate) fn client(serve: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Client, Log) {
    let log = Log::default();
    let serve: Arc<Serve> = Arc::new(serve);
    let memory = log.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (serve, log) = (Arc::clone(&serve), memory.clone());
        async move { answer(&serve, &log, request).await }
    });
    (Client::new(service, "shop"), log)
}

async fn answer(
    serve: &Arc<Serve>,
    log: &Log,
    request: Request<Body>,
) -> Result<Response<UnsyncBoxBody<Bytes, std::io::Error>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let asked = Asked {
        line: format!("{} {}", parts.method, parts.uri),
        content_type: parts.headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap()).to_owned(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    log.asked.lock().push(asked.clone());
    let whole = |text: String| Full::new(Bytes::from(text)).map_err(|never: Infallible| match never {}).boxed_unsync();
    match serve(&asked) {
        Reply::Json(status, body) => Ok(Response::builder().status(status).body(whole(body)).unwrap()),
        Reply::Later(seconds) => Ok(Response::builder()
            .status(429)
            .header(RETRY_AFTER, seconds)
            .body(whole(r#"{"kind":"Status","message":"storage is (re)initializing","code":429}"#.to_owned()))
            .unwrap()),
        Reply::Stream(receiver) => {
            let frames = stream::unfold(receiver, |mut receiver| async {
                let next = receiver.recv().await?;
                Some((next.map(Frame::data), receiver))
            });
            Ok(Response::new(BodyExt::boxed_unsync(StreamBody::new(frames))))
        }
        Reply::BreakOff => Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset by peer")),
    }
}

/// The kind Todo, owned.
pub(crate) fn todos() -> Kind {
    Kind {
        group: "k8sasbackend.com".to_owned(),
        version: "v1".to_owned(),
        kind: "Todo".to_owned(),
        plural: "todos".to_owned(),
        namespaced: true,
        has_spec: true,
        has_status: true,
        owned: true,
    }
}

/// A Todo as the API server would send it.
pub(crate) fn todo(id: &str, version: u64, message: &str) -> String {
    todo_in("shop", id, version, message)
}

/// A Todo of another namespace.
pub(crate) fn todo_in(namespace: &str, id: &str, version: u64, message: &str) -> String {
    format!(
        r#"{{"apiVersion":"k8sasbackend.com/v1","kind":"Todo","metadata":{{"name":"{id}","namespace":"{namespace}","uid":"u-{id}","resourceVersion":"{version}","generation":1,"creationTimestamp":"2026-11-22T00:00:00Z"}},"spec":{{"message":"{message}"}}}}"#
    )
}

/// A refusal.
pub(crate) fn status(code: u16, reason: &str, message: &str) -> Reply {
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","status":"Failure","message":"{message}","reason":"{reason}","code":{code}}}"#
    );
    Reply::Json(code, body)
}
