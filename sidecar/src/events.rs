//! Kubernetes Events: takes what drivers have to tell, and writes it to the API server when the [`Recorder`] says so.
//!
//! Decides nothing, and never keeps a caller waiting: telling is putting it into bounded memory. `app` constructs both ends and runs the [`Writer`]; whoever
//! has something to tell holds an [`Events`].

mod metrics;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use sidecar_core::recorder::{self, About, Answer, Note, Now, Recorder, Write};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use metrics::Metrics;

/// An Event is at most some kilobytes.
const ANSWER_BYTES: usize = 64 << 10;
/// For one request.
const LIMIT: Duration = Duration::from_secs(10);
/// How long the end of the process may wait for what is not written yet.
const DRAIN: Duration = Duration::from_secs(2);

/// Where to tell. Clones tell the same.
#[derive(Debug, Clone)]
pub struct Events {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    recorder: Mutex<Recorder>,
    told: Notify,
    own: Option<About>,
    metrics: Metrics,
}

/// What writes it.
pub struct Writer {
    client: Client,
    events: Events,
    /// The right is missing, and that was said.
    denied: bool,
}

/// The two ends. `instance` is the sidecar's name in its Events; `own` is what Events about the sidecar as a whole are about, where that is known.
pub fn events(client: Client, instance: &str, own: Option<About>, metrics: Metrics) -> (Events, Writer) {
    let recorder = Recorder::new(instance, RandomState::new().hash_one(instance));
    let shared = Arc::new(Shared { recorder: Mutex::new(recorder), told: Notify::new(), own, metrics });
    let events = Events { shared };
    (events.clone(), Writer { client, events, denied: false })
}

impl Events {
    /// Tells something about an object.
    pub fn tell(&self, about: &About, note: Note) {
        let Shared { recorder, told, metrics, .. } = &*self.shared;
        let counts = {
            let mut recorder = recorder.lock();
            recorder.tell(about, note, now());
            recorder.counts()
        };
        metrics.count(counts);
        told.notify_one();
    }

    /// Tells something about the sidecar's own pod; nothing where that is not known.
    pub fn tell_own(&self, note: Note) {
        if let Some(own) = &self.shared.own {
            self.tell(own, note);
        }
    }
}

impl Writer {
    /// Writes until `stop`, when nobody tells anything any more; then what waits, for a bounded time.
    ///
    /// # Errors
    /// None: Events are for people to look at, and nothing depends on them.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Infallible> {
        let shared = Arc::clone(&self.events.shared);
        loop {
            let wake = shared.recorder.lock().wake_at();
            tokio::select! {
                () = stop.cancelled() => break,
                () = shared.told.notified() => {}
                () = until(wake) => {}
            }
            self.write().await;
        }
        shared.recorder.lock().hasten(Instant::now());
        let _ = tokio::time::timeout(DRAIN, self.write()).await;
        Ok(())
    }

    /// Makes the requests that may be made now, one after the other.
    async fn write(&mut self) {
        let shared = Arc::clone(&self.events.shared);
        loop {
            let next = shared.recorder.lock().next(Instant::now());
            let answer = match &next {
                Some(write) => Some(self.ask(write).await),
                None => None,
            };
            let counts = {
                let mut recorder = shared.recorder.lock();
                if let Some(answer) = answer {
                    recorder.done(answer, Instant::now());
                }
                recorder.counts()
            };
            shared.metrics.count(counts);
            if next.is_none() {
                return;
            }
        }
    }

    async fn ask(&mut self, write: &Write) -> Answer {
        let (status, retry_after, body) = match tokio::time::timeout(LIMIT, self.exchange(write)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::debug!(error, "an Event is not written");
                return Answer::Away(None);
            }
            Err(_) => return Answer::Away(None),
        };
        let answer = recorder::answer(status, &body, retry_after);
        let why = || recorder::message(&body);
        match answer {
            Answer::Denied if !self.denied => tracing::warn!(
                namespace = write.namespace,
                why = why(),
                "Events are not written: let the sidecar's user create and patch events of events.k8s.io there"
            ),
            Answer::Refused => tracing::debug!(status, why = why(), "an Event is refused"),
            _ => {}
        }
        match answer {
            Answer::Denied => self.denied = true,
            Answer::Stored => self.denied = false,
            _ => {}
        }
        answer
    }

    async fn exchange(&self, write: &Write) -> Result<(u16, Option<Duration>, Vec<u8>), String> {
        let Write { namespace, name, creates, body } = write;
        let collection = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        let manager = contract::names::FIELD_MANAGER;
        let (method, path, content_type) = if *creates {
            (Method::POST, format!("{collection}?fieldManager={manager}"), "application/json")
        } else {
            (Method::PATCH, format!("{collection}/{name}?fieldManager={manager}"), "application/merge-patch+json")
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, content_type)
            .body(Body::from(body.clone()))
            .map_err(|error| error.to_string())?;
        let answer = self.client.send(request).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await.map_err(|error| error.to_string())?;
        Ok((status, seconds.map(Duration::from_secs), body.to_bytes().to_vec()))
    }
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: Timestamp::now() }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
