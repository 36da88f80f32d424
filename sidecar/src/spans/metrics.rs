//! What becomes of spans.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Counters; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    spans: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    outcome: OutcomeLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(super) enum OutcomeLabel {
    told,
    full,
    away,
    refused,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { spans: Family::default() };
        registry.register("kab_trace_spans", "What became of sampled spans", metrics.spans.clone());
        metrics
    }

    pub(super) fn count(&self, outcome: OutcomeLabel, spans: usize) {
        self.spans.get_or_create(&Labels { outcome }).inc_by(u64::try_from(spans).unwrap_or(u64::MAX));
    }
}
