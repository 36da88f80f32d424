//! Tracing: spans of what the sidecar does, each in the trace of the request that it began with, and the traces of entities' latest versions.
//!
//! Off unless `app` turns it on, once for the process: then drivers and gateways need not hand it to each other, and while it is off each call here is one
//! load. What a span says and who is sampled is decided in [`sidecar_core::trace`]; `exporter` tells a collector.

mod exporter;
mod metrics;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::future::Future;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use sidecar_core::trace::recent::Recent;
use sidecar_core::trace::span::{Role, Span, Value};
use sidecar_core::trace::{self, TraceContext};
use sidecar_core::version::Version;

use crate::config::TracingConfig;
pub use exporter::Exporter;
use exporter::Queue;
pub use metrics::Metrics;

/// The header of a request.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Versions whose traces are remembered: about a megabyte, and more than come within the time that their hooks and records take.
const RECENT: usize = 8192;

static ON: OnceLock<On> = OnceLock::new();

tokio::task_local! {
    static HERE: TraceContext;
}

#[derive(Debug)]
struct On {
    ratio: f64,
    recent: Mutex<Recent>,
    /// Absent: nobody is told.
    queue: Option<Queue>,
}

/// Turns it on; what is to be run beside, where a collector is to be told. Only the first call of a process does anything.
pub fn turn_on(config: &TracingConfig, instance: &str, metrics: Metrics) -> Option<Exporter> {
    let (queue, exporter) =
        config.collector.as_ref().map(|to| exporter::exporter(to, config, instance, metrics)).unzip();
    ON.set(On { ratio: config.ratio, recent: Mutex::new(Recent::new(RECENT)), queue }).ok()?;
    exporter
}

/// A span that goes on. It ends when it is dropped.
#[derive(Debug)]
#[must_use = "it ends when it is dropped"]
pub struct Open {
    span: Option<Span>,
    context: TraceContext,
    began: Instant,
}

impl Open {
    /// Its place, for whoever is called.
    pub fn context(&self) -> TraceContext {
        self.context
    }

    /// For the head of a request that goes out.
    pub fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.context.to_string()).ok()
    }

    /// Says more of it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.attributes.push((key, value.into()));
        }
    }

    /// Whether it failed.
    pub fn failed(&mut self, failed: bool) {
        if let Some(span) = &mut self.span {
            span.failed |= failed;
        }
    }

    /// How it ended: an HTTP status, or none where there was no answer.
    pub fn status(&mut self, status: Option<u16>, failed: bool) {
        if let Some(status) = status {
            self.set("http.response.status_code", status);
        }
        self.failed(failed || status.is_none());
    }

    /// What is done within it: [`here`] is this span.
    pub fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        HERE.scope(self.context, work)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let (Some(span), Some(queue)) = (self.span.take(), ON.get().and_then(|on| on.queue.as_ref())) {
            queue.push(Span { took: self.began.elapsed(), ..span });
        }
    }
}

/// Whether it is on.
pub fn is_on() -> bool {
    ON.get().is_some()
}

/// A request that came in: in the trace that it says, or at the beginning of one.
pub fn incoming(headers: &HeaderMap, name: impl FnOnce() -> Cow<'static, str>) -> Option<Open> {
    let on = ON.get()?;
    let told = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()?.parse::<TraceContext>().ok());
    let context = match told {
        Some(parent) => parent.child(random_span()),
        None => TraceContext::root(uuid::Uuid::new_v4().as_u128(), random_span(), on.ratio)?,
    };
    Some(open(on, context, told, Role::Server, name))
}

/// Something that is done below `parent`, if there is one.
pub fn below(parent: Option<TraceContext>, role: Role, name: impl FnOnce() -> Cow<'static, str>) -> Option<Open> {
    let (on, parent) = (ON.get()?, parent?);
    Some(open(on, parent.child(random_span()), Some(parent), role, name))
}

/// The span within which this is called.
pub fn here() -> Option<TraceContext> {
    ON.get()?;
    HERE.try_with(|here| *here).ok()
}

/// Takes in a line of a watch.
pub fn note(line: &[u8]) {
    if let Some(on) = ON.get()
        && let Some((version, trace)) = trace::of_watch_line(line)
    {
        on.recent.lock().note(version, trace);
    }
}

/// The trace of the write that made this version, if it is known.
pub fn of(version: Version) -> Option<TraceContext> {
    ON.get()?.recent.lock().of(version)
}

/// The trace of the write that made an object, or is to make it, from its JSON.
pub fn of_object(object: &[u8]) -> Option<TraceContext> {
    ON.get()?;
    trace::of_object(object).map(|(_, trace)| trace)
}

fn open(
    on: &On,
    context: TraceContext,
    parent: Option<TraceContext>,
    role: Role,
    name: impl FnOnce() -> Cow<'static, str>,
) -> Open {
    let told = context.sampled() && on.queue.is_some();
    let span = told.then(|| Span {
        context,
        parent: parent.map(TraceContext::span),
        name: name(),
        role,
        start: SystemTime::now(),
        took: std::time::Duration::ZERO,
        attributes: Vec::new(),
        failed: false,
    });
    Open { span, context, began: Instant::now() }
}

/// The lower half of a random UUID has no zero in it.
fn random_span() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().1
}
