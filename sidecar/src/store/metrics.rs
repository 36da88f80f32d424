//! What the store counts. Labels are kinds of the configuration and closed sets.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// An API server on the same network answers within a millisecond or two; a webhook may take seconds.
const SECONDS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Counters of the store; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    seconds: Family<VerbLabels, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: String,
    verb: Verb,
    /// 0 where there was no answer.
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    kind: String,
    verb: Verb,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(super) enum Verb {
    get,
    list,
    create,
    patch,
    delete,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics =
            Self { requests: Family::default(), seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)) };
        registry.register(
            "kab_apiserver_requests",
            "Requests to the API server for the entity API; code 0: no answer",
            metrics.requests.clone(),
        );
        registry.register(
            "kab_apiserver_request_seconds",
            "Time until the API server's whole answer",
            metrics.seconds.clone(),
        );
        metrics
    }

    pub(super) fn request(&self, kind: &str, verb: Verb, code: Option<u16>, took: Duration) {
        let kind = kind.to_owned();
        self.requests.get_or_create(&Labels { kind: kind.clone(), verb, code: code.unwrap_or(0) }).inc();
        self.seconds.get_or_create(&VerbLabels { kind, verb }).observe(took.as_secs_f64());
    }
}
