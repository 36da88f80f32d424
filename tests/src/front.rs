//! A way to the API server over plain HTTP that can answer in its place: as one that is overloaded or has a fault does.
//!
//! Owns the listening socket and what was asked. Everything that it does not refuse goes to the real API server, with the rights of the client that it was given.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use kube::Client;
use kube::client::Body;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::program::Scratch;

type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Lists and watches of a collection of this plural.
    Lists(&'static str),
    /// Everything that writes.
    Writes,
}

/// A refusal.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// Of what.
    pub what: What,
    /// The status.
    pub status: u16,
    /// Seconds in `Retry-After`, if there is to be one.
    pub retry_after: Option<u64>,
    /// How often.
    pub times: usize,
}

#[derive(Debug, Default)]
struct State {
    refusal: Option<Refusal>,
    refused: Vec<Instant>,
}

/// The way, until it is dropped.
#[derive(Debug)]
pub struct Front {
    kubeconfig: PathBuf,
    state: Arc<Mutex<State>>,
    /// Changes when all answers under way are to break off.
    breaks: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Front {
    /// Listens on loopback.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn start(client: Client, scratch: &Scratch) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("failed to listen")?;
        let kubeconfig = scratch.file("front", "kubeconfig");
        let server = format!("http://{}", listener.local_addr()?);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "front",
            "clusters": [{"name": "front", "cluster": {"server": server}}],
            "users": [{"name": "front", "user": {}}],
            "contexts": [{"name": "front", "context": {"cluster": "front", "user": "front"}}],
        });
        std::fs::write(&kubeconfig, config.to_string()).context("failed to write a kubeconfig")?;
        let (state, breaks) = (Arc::new(Mutex::new(State::default())), watch::Sender::new(0));
        let accepting = tokio::spawn(accept(listener, client, Arc::clone(&state), breaks.clone()));
        Ok(Self { kubeconfig, state, breaks, accepting })
    }

    /// Leads here.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Refuses from now on; what is under way is not touched.
    pub fn refuse(&self, refusal: Refusal) {
        *locked(&self.state) = State { refusal: Some(refusal), refused: Vec::new() };
    }

    /// Refuses nothing any more.
    pub fn allow(&self) {
        locked(&self.state).refusal = None;
    }

    /// Breaks all answers off that are under way, as watches are.
    pub fn break_off(&self) {
        self.breaks.send_modify(|breaks| *breaks += 1);
    }

    /// When something was refused since [`Front::refuse`].
    pub fn refused(&self) -> Vec<Instant> {
        locked(&self.state).refused.clone()
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, client: Client, state: Arc<Mutex<State>>, breaks: watch::Sender<u64>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (client, state, breaks) = (client.clone(), Arc::clone(&state), breaks.clone());
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let (client, state, breaks) = (client.clone(), Arc::clone(&state), breaks.subscribe());
                async move { Ok::<_, Infallible>(answer(client, &state, breaks, request).await) }
            });
            // A connection that breaks off is what its other end wanted.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

async fn answer(
    client: Client,
    state: &Mutex<State>,
    breaks: watch::Receiver<u64>,
    request: Request<Incoming>,
) -> Answer {
    if let Some(refusal) = refused(state, &request) {
        return refusal;
    }
    match forward(client, request).await {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            let frames = stream::unfold((body, breaks), |(mut body, mut breaks)| async {
                let frame = tokio::select! {
                    frame = body.frame() => frame?.map_err(std::io::Error::other),
                    // The sender lives as long as the front.
                    _ = breaks.changed() => Err(std::io::Error::other("broken off")),
                };
                Some((frame, (body, breaks)))
            });
            Response::from_parts(head, BodyExt::boxed_unsync(StreamBody::new(frames)))
        }
        Err(error) => whole(502, None, format!("{error:#}")),
    }
}

/// The refusal of a request, if it is to be refused.
fn refused(state: &Mutex<State>, request: &Request<Incoming>) -> Option<Answer> {
    let mut state = locked(state);
    let refusal = state.refusal.filter(|refusal| state.refused.len() < refusal.times)?;
    let meant = match refusal.what {
        What::Lists(plural) => request.method() == Method::GET && request.uri().path().ends_with(&format!("/{plural}")),
        What::Writes => request.method() != Method::GET,
    };
    meant.then(|| {
        state.refused.push(Instant::now());
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": refusal.status, "message": "refused by the test",
        });
        whole(refusal.status, refusal.retry_after, body.to_string())
    })
}

fn whole(status: u16, retry_after: Option<u64>, body: String) -> Answer {
    let body = Full::new(Bytes::from(body)).map_err(|never: Infallible| match never {}).boxed_unsync();
    let mut answer = Response::new(body);
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap_or_default();
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

async fn forward(client: Client, request: Request<Incoming>) -> anyhow::Result<Response<Body>> {
    let (mut head, body) = request.into_parts();
    head.headers.remove(HOST);
    let body = body.collect().await?.to_bytes();
    Ok(client.send(Request::from_parts(head, Body::from(body))).await?)
}
