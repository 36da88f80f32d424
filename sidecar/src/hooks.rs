//! Calls the app: the only place that does. One call is one `POST` over loopback, with a deadline from the first moment to the answer's last byte, and a
//! bound on what the answer may weigh.
//!
//! Owns the connections to the app, how many calls there are at once, and what is counted of them. Never decides what an answer means
//! ([`sidecar_core::hook`] does), never follows a redirect, never tries again after a while: that is for whoever has a queue. `app` constructs it;
//! admission, the reconciler and the notifier call through it.

pub mod health;
mod link;
mod metrics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::hook::{ATTEMPT_HEADER, HookName, Reply};
use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{HeaderMap, Method, Request};
use jiff::Timestamp;
use parking_lot::Mutex;
use sidecar_core::health::Sign;
use sidecar_core::hook::answer::{self, Unusable};
use sidecar_core::hook::{self, Failure, Outcome};
use sidecar_core::trace::TraceContext;
use sidecar_core::trace::span::Role;
use tokio::sync::Semaphore;

pub use metrics::Metrics;

use crate::config::AppConfig;
use crate::spans::{self, TRACEPARENT};
use health::{Health, Prober, Signs};
use link::{Link, Lost};

/// What an answer may weigh.
pub const ANSWER_BYTES: usize = 1 << 20;
/// A connection that was idle for longer is not used again: apps close theirs after a few seconds up to a minute.
const IDLE: Duration = Duration::from_secs(30);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("kab-sidecar/", env!("CARGO_PKG_VERSION")));
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ATTEMPT: HeaderName = HeaderName::from_static(ATTEMPT_HEADER);

/// The gateway to the app; clones share connections, places and counters.
#[derive(Clone)]
pub struct Hooks {
    shared: Arc<Shared>,
}

struct Shared {
    app: AppConfig,
    host: HeaderValue,
    /// For all hooks but those of admission, which are bounded where they come in, so that work never keeps a writer waiting.
    places: Semaphore,
    idle: Mutex<Vec<Link>>,
    /// Where calls show whether the app is there.
    signs: Signs,
    health: Health,
    metrics: Metrics,
}

/// What the app is asked.
#[derive(Debug, Clone)]
pub struct Call {
    /// `PLURAL.GROUP`: the metrics' label.
    pub kind: Arc<str>,
    /// Which hook.
    pub hook: HookName,
    /// At the app, as configured.
    pub path: Arc<str>,
    /// The request's body.
    pub body: Bytes,
    /// Of what type it is; absent: JSON.
    pub content_type: Option<HeaderValue>,
    /// What else the request's head says, such as CloudEvents' attributes.
    pub headers: HeaderMap,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// For the whole call.
    pub deadline: Duration,
    /// The trace that it belongs to.
    pub trace: Option<TraceContext>,
}

/// What the app answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// How long the app asks to wait.
    pub retry_after: Option<Duration>,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// For [`sidecar_core::hook`].
    pub fn outcome(&self) -> Outcome {
        Outcome::Answered { status: self.status, retry_after: self.retry_after }
    }
}

impl Hooks {
    /// To the app of the configuration, which need not be there yet; and what is to be run beside, so that drivers know whether it is.
    pub fn new(app: AppConfig, metrics: Metrics) -> (Self, Prober) {
        let host = HeaderValue::from_str(&app.url.authority).unwrap_or(HeaderValue::from_static("localhost"));
        let places = Semaphore::new(app.concurrency);
        let (signs, health, prober) = health::health(&app, host.clone());
        let shared = Shared { app, host, places, idle: Mutex::default(), signs, health, metrics };
        (Self { shared: Arc::new(shared) }, prober)
    }

    /// Whether the app is there.
    pub fn health(&self) -> Health {
        self.shared.health.clone()
    }

    /// Asks the app, once there is a place for the call. Dropping the future breaks the call off.
    ///
    /// # Errors
    /// When there is no whole answer within the deadline, or one that is too large.
    pub async fn call(&self, call: Call) -> Result<Answer, Failure> {
        let shared = &*self.shared;
        // The semaphore is never closed, so that there always is a place in the end.
        let _place = match call.hook {
            HookName::Validate | HookName::Default => None,
            HookName::Reconcile | HookName::Finalize | HookName::Notify => shared.places.acquire().await.ok(),
        };
        let _under_way = shared.metrics.begin(call.hook);
        let started = Instant::now();
        let (mut span, mut call) = (shared.span(&call), call);
        call.trace = span.as_ref().map(spans::Open::context).or(call.trace);
        let result = tokio::time::timeout(call.deadline, shared.exchange(&call)).await.unwrap_or(Err(Failure::Late));
        let status = result.as_ref().map(|answer| answer.status).map_err(|failure| *failure);
        shared.signs.tell(match status {
            Ok(_) | Err(Failure::TooLarge) => Sign::Answered,
            Err(Failure::Away | Failure::Late | Failure::Broken) => Sign::Doubtful,
        });
        if let Some(span) = &mut span {
            span.status(status.ok(), status.is_ok_and(|status| status >= 400));
        }
        shared.metrics.done(&call.kind, call.hook, status, started.elapsed());
        result
    }

    /// What an answer says; what is wrong with it is counted.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn read<T: Reply>(&self, kind: &str, hook: HookName, answer: &Answer) -> Result<T, Unusable> {
        match answer::read::<T>(&answer.body) {
            Ok(read) => {
                if !read.unknown.is_empty() {
                    self.shared.metrics.unknown_members(kind, hook);
                    tracing::debug!(kind, hook = hook.name(), members = ?read.unknown, "the app's answer has members that nobody knows");
                }
                Ok(read.answer)
            }
            Err(unusable) => {
                self.shared.metrics.unusable(kind, hook);
                tracing::debug!(kind, hook = hook.name(), error = %unusable, "the app's answer cannot be used");
                Err(unusable)
            }
        }
    }
}

impl Shared {
    /// For a call that is in a trace.
    fn span(&self, call: &Call) -> Option<spans::Open> {
        let mut span = spans::below(call.trace, Role::Client, || format!("hook {}", call.hook.name()).into())?;
        span.set("http.request.method", "POST");
        span.set("url.path", call.path.to_string());
        span.set("kab.kind", call.kind.to_string());
        Some(span)
    }

    /// The app may close a connection that is idle just when it is used again: then once more, on a connection of its own. A hook may always be called twice.
    async fn exchange(&self, call: &Call) -> Result<Answer, Failure> {
        if let Some(link) = self.idle_link().await {
            match self.on(link, call).await {
                Err(Lost::Unanswered(error)) => {
                    tracing::debug!(%error, hook = call.hook.name(), "the app closed an idle connection, calling again");
                }
                other => return other.map_err(|lost| told(call, lost)),
            }
        }
        let link = match Link::open(&self.app.url.addresses).await {
            Ok(link) => link,
            Err(error) => {
                tracing::debug!(%error, hook = call.hook.name(), "the app does not take connections");
                return Err(Failure::Away);
            }
        };
        self.on(link, call).await.map_err(|lost| told(call, lost))
    }

    async fn on(&self, mut link: Link, call: &Call) -> Result<Answer, Lost> {
        let response = link.send(self.request(call)).await?;
        let status = response.status().as_u16();
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|text| hook::retry_after(text, Timestamp::now()));
        let body = link.read(response.into_body(), ANSWER_BYTES).await?;
        if link.is_free().await {
            self.keep(link);
        }
        Ok(Answer { status, retry_after, body })
    }

    fn request(&self, call: &Call) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(call.body.clone()));
        *request.method_mut() = Method::POST;
        // Checked with the configuration.
        *request.uri_mut() = call.path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.clone_from(&call.headers);
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, AGENT);
        headers.insert(ACCEPT, JSON);
        headers.insert(CONTENT_TYPE, call.content_type.clone().unwrap_or(JSON));
        headers.insert(ATTEMPT, HeaderValue::from(call.attempt));
        if let Some(value) = call.trace.as_ref().and_then(|trace| HeaderValue::from_str(&trace.to_string()).ok()) {
            headers.insert(TRACEPARENT, value);
        }
        request
    }

    /// The one that was used last, among those that are not closed.
    async fn idle_link(&self) -> Option<Link> {
        loop {
            let mut link = self.idle.lock().pop()?;
            if link.idle_for() < IDLE && link.is_free().await {
                return Some(link);
            }
        }
    }

    fn keep(&self, link: Link) {
        let mut idle = self.idle.lock();
        idle.retain(|link| link.idle_for() < IDLE);
        idle.push(link);
    }
}

fn told(call: &Call, lost: Lost) -> Failure {
    tracing::debug!(error = %lost, hook = call.hook.name(), "the call of a hook failed");
    match lost {
        Lost::Unanswered(_) | Lost::Broken(_) => Failure::Broken,
        Lost::TooLarge => Failure::TooLarge,
    }
}

#[cfg(test)]
mod tests;
