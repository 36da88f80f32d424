//! What becomes of Kubernetes Events. Labels are closed sets; all reasons of an app's own are one.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use sidecar_core::recorder::{Count, Outcome};

/// Counters; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    events: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    reason: &'static str,
    outcome: OutcomeLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum OutcomeLabel {
    created,
    counted,
    limited,
    full,
    away,
    denied,
    refused,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { events: Family::default() };
        registry.register("kab_events", "What became of Kubernetes Events", metrics.events.clone());
        metrics
    }

    pub(super) fn count(&self, counts: Vec<Count>) {
        for (reason, outcome) in counts {
            let outcome = match outcome {
                Outcome::Created => OutcomeLabel::created,
                Outcome::Counted => OutcomeLabel::counted,
                Outcome::Limited => OutcomeLabel::limited,
                Outcome::Full => OutcomeLabel::full,
                Outcome::Away => OutcomeLabel::away,
                Outcome::Denied => OutcomeLabel::denied,
                Outcome::Refused => OutcomeLabel::refused,
            };
            self.events.get_or_create(&Labels { reason, outcome }).inc();
        }
    }
}
