//! What expiry counts. Labels are kinds and namespaces of the configuration.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sidecar_core::kind::Kind;

/// Of all kinds; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    waiting: Family<Labels, Gauge>,
    deleted: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    kind: String,
    namespace: String,
}

impl Labels {
    pub(super) fn of(kind: &Kind, scope: Option<&str>) -> Self {
        Self { kind: kind.full_name(), namespace: scope.unwrap_or("*").to_owned() }
    }
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("kab_expiring", "Entities that have a time to expire", metrics.waiting.clone());
        registry.register("kab_expired", "Entities deleted because their time had come", metrics.deleted.clone());
        metrics
    }

    pub(super) fn waiting(&self, labels: &Labels, entities: usize) {
        self.waiting.get_or_create(labels).set(i64::try_from(entities).unwrap_or(i64::MAX));
    }

    pub(super) fn deleted(&self, labels: &Labels, deleted: bool) {
        if deleted {
            self.deleted.get_or_create(labels).inc();
        }
    }
}
