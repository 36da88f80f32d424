//! What the sources count. Labels are kinds and namespaces of the configuration and closed sets, never an entity's name.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::bridge::trouble::Cause;

/// Counters of all sources; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    cuts: Family<CutLabels, Counter>,
    entities: Family<CutLabels, Counter>,
    failures: Family<FailureLabels, Counter>,
    overflows: Family<Labels, Counter>,
}

/// Which cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    pub(super) kind: String,
    pub(super) namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CutLabels {
    kind: String,
    namespace: String,
    content: ContentLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum ContentLabel {
    whole,
    changes,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    kind: String,
    namespace: String,
    cause: CauseLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum CauseLabel {
    away,
    denied,
    topic,
    other,
}

impl Metrics {
    /// Registers the counters, once for all sources.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("kab_source_cuts", "States of a cache that came from its topic", metrics.cuts.clone());
        registry.register("kab_source_entities", "Entities and changes in them", metrics.entities.clone());
        registry.register("kab_source_failures", "What went wrong on the way from Kafka", metrics.failures.clone());
        registry.register("kab_source_overflows", "Times that the topic had more than fits", metrics.overflows.clone());
        metrics
    }

    pub(super) fn shown(&self, labels: &Labels, whole: bool, entities: usize) {
        let Labels { kind, namespace } = labels.clone();
        let content = if whole { ContentLabel::whole } else { ContentLabel::changes };
        let labels = CutLabels { kind, namespace, content };
        self.cuts.get_or_create(&labels).inc();
        self.entities.get_or_create(&labels).inc_by(u64::try_from(entities).unwrap_or(u64::MAX));
    }

    pub(super) fn failed(&self, labels: &Labels, cause: Cause) {
        let cause = match cause {
            Cause::Away => CauseLabel::away,
            Cause::Denied => CauseLabel::denied,
            Cause::Topic => CauseLabel::topic,
            Cause::Stopped => return,
            _ => CauseLabel::other,
        };
        let Labels { kind, namespace } = labels.clone();
        self.failures.get_or_create(&FailureLabels { kind, namespace, cause }).inc();
    }

    pub(super) fn full(&self, labels: &Labels) {
        self.overflows.get_or_create(labels).inc();
    }
}
