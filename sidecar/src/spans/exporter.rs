//! Tells a collector of spans: OTLP over HTTP, in JSON. Nobody ever waits for it; what does not fit, or is not taken in time, is dropped and counted.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use sidecar_core::trace::span::{self, Span};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::metrics::{Metrics, OutcomeLabel};
use crate::config::{Collector, TracingConfig};

/// Spans that wait: at about 500 bytes each, a megabyte.
const QUEUE: usize = 2048;
/// Spans of one request.
const BATCH: usize = 512;
/// What is not a whole batch waits for so long.
const LINGER: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(5);
/// Waits between the tries of a batch.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];
/// How long the end of the process may wait for the last ones.
const DRAIN: Duration = Duration::from_secs(2);
/// Of an answer, which nobody reads.
const ANSWER_BYTES: usize = 64 << 10;

#[derive(Debug, Clone)]
pub(super) struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Vec<Span>>,
    whole: Notify,
    metrics: Metrics,
}

impl Queue {
    pub(super) fn push(&self, span: Span) {
        let Shared { waiting, whole, metrics } = &*self.shared;
        let mut waiting = waiting.lock();
        if waiting.len() >= QUEUE {
            drop(waiting);
            return metrics.count(OutcomeLabel::full, 1);
        }
        waiting.push(span);
        if waiting.len() == BATCH {
            whole.notify_one();
        }
    }
}

/// What tells the collector.
pub struct Exporter {
    shared: Arc<Shared>,
    client: Client<HttpConnector, Full<Bytes>>,
    uri: String,
    service: String,
    instance: String,
}

pub(super) fn exporter(to: &Collector, config: &TracingConfig, instance: &str, metrics: Metrics) -> (Queue, Exporter) {
    let shared = Arc::new(Shared { waiting: Mutex::default(), whole: Notify::new(), metrics });
    let exporter = Exporter {
        shared: Arc::clone(&shared),
        client: Client::builder(TokioExecutor::new()).build_http(),
        uri: format!("http://{}{}", to.authority, to.path),
        service: config.service.clone(),
        instance: instance.to_owned(),
    };
    (Queue { shared }, exporter)
}

impl Exporter {
    /// Tells until `stop`; then what waits, for a bounded time.
    ///
    /// # Errors
    /// None: nothing depends on a collector.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let mut said = false;
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.shared.whole.notified() => {}
                () = tokio::time::sleep(LINGER) => {}
            }
            let Some(well) = stop.run_until_cancelled(self.tell()).await else { break };
            if !well && !said {
                tracing::warn!(
                    collector = self.uri,
                    "the collector does not take spans; they are dropped until it does"
                );
            }
            said = !well;
        }
        let _ = tokio::time::timeout(DRAIN, self.tell()).await;
        Ok(())
    }

    /// Tells all that waits; whether it was taken.
    async fn tell(&self) -> bool {
        let mut well = true;
        loop {
            // They stay where they are until they are told, so that the end of the process, which may come in between, loses none.
            let batch = self.shared.waiting.lock().iter().take(BATCH).cloned().collect::<Vec<_>>();
            if batch.is_empty() {
                return well;
            }
            let outcome = self.batch(&batch).await;
            self.shared.waiting.lock().drain(..batch.len());
            self.shared.metrics.count(outcome, batch.len());
            well &= outcome == OutcomeLabel::told;
        }
    }

    async fn batch(&self, spans: &[Span]) -> OutcomeLabel {
        let body = Bytes::from(span::export(&self.service, &self.instance, env!("CARGO_PKG_VERSION"), spans));
        let mut waits = AGAIN.into_iter();
        loop {
            match tokio::time::timeout(LIMIT, self.post(body.clone())).await {
                Ok(Some(200..=299)) => return OutcomeLabel::told,
                // What the protocol says may be tried again; no answer may be, too.
                Ok(Some(429 | 502..=504) | None) | Err(_) => {}
                Ok(Some(status)) => {
                    tracing::debug!(status, "the collector refuses spans");
                    return OutcomeLabel::refused;
                }
            }
            match waits.next() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return OutcomeLabel::away,
            }
        }
    }

    /// The status, if there is an answer.
    async fn post(&self, body: Bytes) -> Option<u16> {
        let request = Request::builder().method(Method::POST).uri(&self.uri).header(CONTENT_TYPE, "application/json");
        let answer = self.client.request(request.body(Full::new(body)).ok()?).await.ok()?;
        let status = answer.status().as_u16();
        // Read to its end, so that the connection can be used again.
        let _ = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        Some(status)
    }
}
