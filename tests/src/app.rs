//! An app for tests: a real HTTP server whose hooks answer as a test wants, that remembers every call and how long it took, and that can go away and come back.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// One call of a hook, as the app saw it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Which hook, by its path.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as JSON; null where it is none.
    pub body: Value,
    /// When it was read.
    pub began: Instant,
    /// When it was answered or broken off; absent while it goes on.
    pub ended: Option<Instant>,
}

impl Call {
    /// `NAMESPACE/ID` of the entity that it is about.
    pub fn entity(&self) -> String {
        let text = |pointer: &str| self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        format!("{}/{}", text("/entity/meta/namespace"), text("/entity/id"))
    }
}

/// How a call is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With a status and JSON.
    Json(u16, Value),
    /// With a status, a header and nothing else.
    Header(u16, &'static str, String),
    /// With 200 and a text that need not be JSON.
    Text(String),
    /// With 200 and so many bytes of white space.
    Large(u64),
    /// Never.
    Hang,
    /// After a while.
    After(Duration, Box<Reply>),
}

impl Reply {
    /// 200 and JSON.
    pub fn ok(value: Value) -> Self {
        Self::Json(200, value)
    }
}

type Behaviour = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Infallible>;

struct Shared {
    calls: Mutex<Vec<Call>>,
    behaviour: Mutex<Behaviour>,
}

/// The app; it goes away when it is dropped.
pub struct App {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

impl App {
    /// An app on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start(behaviour: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let shared = Arc::new(Shared { calls: Mutex::default(), behaviour: Mutex::new(Arc::new(behaviour)) });
        let address = listener.local_addr()?;
        let serving = Some(tokio::spawn(serve(listener, Arc::clone(&shared))));
        Ok(Self { address, shared, serving })
    }

    /// What `app.url` is to say.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers differently from now on.
    pub fn behave(&self, behaviour: impl Fn(&Call) -> Reply + Send + Sync + 'static) {
        *lock(&self.shared.behaviour) = Arc::new(behaviour);
    }

    /// Every call so far.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.shared.calls).clone()
    }

    /// Calls about an entity so far.
    pub fn calls_of(&self, entity: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.entity() == entity).collect()
    }

    /// Goes away, in the middle of whatever it does.
    pub async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    /// Comes back at the same address.
    ///
    /// # Errors
    /// When somebody has taken the port.
    pub async fn come_back(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.address).await.context("the app's port is taken")?;
        self.serving = Some(tokio::spawn(serve(listener, Arc::clone(&self.shared))));
        Ok(())
    }

    /// Two calls about one entity that went on at the same time, if there were any.
    pub fn overlap(&self) -> Option<(Call, Call)> {
        let mut calls = self.calls();
        calls.sort_by_key(|call| (call.entity(), call.began));
        calls.windows(2).find_map(|pair| match pair {
            [one, next] if one.entity() == next.entity() && one.ended.is_none_or(|ended| next.began < ended) => {
                Some((one.clone(), next.clone()))
            }
            _ => None,
        })
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and with it all connections.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let answer = service_fn(move |request| handle(request, Arc::clone(&shared)));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// Notes when a call ends, also when it is broken off.
struct Noted {
    shared: Arc<Shared>,
    place: usize,
}

impl Drop for Noted {
    fn drop(&mut self) {
        if let Some(call) = lock(&self.shared.calls).get_mut(self.place) {
            call.ended = Some(Instant::now());
        }
    }
}

async fn handle(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let call =
        Call { path: head.uri.path().to_owned(), headers: head.headers, body, began: Instant::now(), ended: None };
    // A probe is no call.
    if head.method == hyper::Method::GET {
        return Ok(response(200, Full::new(Bytes::new()).boxed_unsync()));
    }
    let place = {
        let mut calls = lock(&shared.calls);
        calls.push(call.clone());
        calls.len() - 1
    };
    let _noted = Noted { shared: Arc::clone(&shared), place };
    let behaviour = Arc::clone(&*lock(&shared.behaviour));
    Ok(answer(behaviour(&call)).await)
}

fn answer(reply: Reply) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
    Box::pin(async move {
        let full = |text: String| Full::new(Bytes::from(text)).boxed_unsync();
        match reply {
            Reply::Json(status, value) => response(status, full(value.to_string())),
            Reply::Header(status, name, value) => {
                let mut response = response(status, full(String::new()));
                if let Ok(value) = value.parse() {
                    response.headers_mut().insert(name, value);
                }
                response
            }
            Reply::Text(text) => response(200, full(text)),
            Reply::Large(bytes) => {
                const PIECE: &[u8] = &[b' '; 64 << 10];
                let pieces = bytes / PIECE.len() as u64;
                let frames = (0..pieces).map(|_| Ok(Frame::data(Bytes::from_static(PIECE))));
                response(200, StreamBody::new(futures::stream::iter(frames)).boxed_unsync())
            }
            Reply::Hang => std::future::pending().await,
            Reply::After(wait, reply) => {
                tokio::time::sleep(wait).await;
                answer(*reply).await
            }
        }
    })
}

fn response(status: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    response
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
