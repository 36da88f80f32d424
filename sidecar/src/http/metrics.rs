//! What the entity API counts. Labels are kinds of the configuration and closed sets, never an id.

mod shards;

use std::time::Duration;

use hyper::{Method, StatusCode};
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::route::Route;
use shards::{Count, Times};

const BOUNDS: usize = 13;
/// A read from the cache takes tens of microseconds, a write some milliseconds.
static SECONDS: [f64; BOUNDS] =
    [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 30.0];

/// Counters of the entity API; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Labels, Counter<u64, Count>>,
    seconds: Family<VerbLabels, Times<BOUNDS>>,
    streams: Family<StreamLabels, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StreamLabels {
    kind: String,
}

/// A reader of events, counted until it goes.
#[derive(Debug)]
pub(super) struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: String,
    verb: Verb,
    code: u16,
}

impl Labels {
    fn is(&self, kind: &str, verb: Verb, code: StatusCode) -> bool {
        self.verb == verb && self.code == code.as_u16() && self.kind == kind
    }
}

/// Where a connection's last request was counted. Most connections ask for the same again and again, and to find the place among all
/// labels costs as much as to find the entity.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Option<Counted>>);

#[derive(Debug)]
struct Counted {
    labels: Labels,
    requests: Counter<u64, Count>,
    seconds: Times<BOUNDS>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    kind: String,
    verb: Verb,
}

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(super) enum Verb {
    docs,
    kinds,
    batch,
    list,
    watch,
    get,
    create,
    replace,
    patch,
    delete,
    status,
    other,
}

impl Verb {
    pub(super) fn of(method: &Method, route: Option<&Route<'_>>) -> Self {
        let safe = matches!(*method, Method::GET | Method::HEAD);
        match (route, method) {
            (Some(Route::OpenApi | Route::Docs), _) if safe => Self::docs,
            (Some(Route::Batch), &Method::POST) => Self::batch,
            (Some(Route::Kinds), _) if safe => Self::kinds,
            (Some(Route::Collection { .. }), _) if safe => Self::list,
            (Some(Route::Collection { .. }), &Method::POST) => Self::create,
            (Some(Route::Entity { .. }), _) if safe => Self::get,
            (Some(Route::Entity { .. }), &Method::PUT) => Self::replace,
            (Some(Route::Entity { .. }), &Method::PATCH) => Self::patch,
            (Some(Route::Entity { .. }), &Method::DELETE) => Self::delete,
            (Some(Route::Status { .. }), &Method::PUT | &Method::PATCH) => Self::status,
            _ => Self::other,
        }
    }
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Times::new(&SECONDS)),
            streams: Family::default(),
        };
        registry.register("kab_api_event_streams", "Readers of events that are connected", metrics.streams.clone());
        registry.register("kab_api_requests", "Requests to the entity API", metrics.requests.clone());
        registry.register("kab_api_request_seconds", "Time until the entity API's answer", metrics.seconds.clone());
        metrics
    }

    /// Counts a request of a connection that counted its last one in `recent`.
    pub(super) fn request(&self, recent: &Recent, kind: &str, verb: Verb, code: StatusCode, took: Duration) {
        let mut recent = recent.0.lock();
        if recent.as_ref().is_none_or(|counted| !counted.labels.is(kind, verb, code)) {
            *recent = Some(self.find(Labels { kind: kind.to_owned(), verb, code: code.as_u16() }));
        }
        if let Some(counted) = &*recent {
            counted.requests.inc();
            counted.seconds.observe(took);
        }
    }

    fn find(&self, labels: Labels) -> Counted {
        let verb = VerbLabels { kind: labels.kind.clone(), verb: labels.verb };
        let requests = self.requests.get_or_create_owned(&labels);
        Counted { requests, seconds: self.seconds.get_or_create_owned(&verb), labels }
    }

    pub(super) fn stream(&self, kind: &str) -> OpenStream {
        let gauge = self.streams.get_or_create_owned(&StreamLabels { kind: kind.to_owned() });
        gauge.inc();
        OpenStream(gauge)
    }
}
