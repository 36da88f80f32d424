//! What keepers of Leases count. Labels are kinds and namespaces of the configuration.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use sidecar_core::kind::Kind;

/// Counters of all keepers; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    leading: Family<Labels, Gauge>,
    terms: Family<Labels, Counter>,
    failures: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    kind: String,
    namespace: String,
}

pub(super) fn labels(kind: &Kind, scope: Option<&str>) -> Labels {
    Labels { kind: kind.full_name(), namespace: scope.unwrap_or("*").to_owned() }
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self { leading: Family::default(), terms: Family::default(), failures: Family::default() };
        registry.register("kab_lease_leading", "Shards of the kind that this sidecar leads", metrics.leading.clone());
        registry.register("kab_lease_terms", "Times that this sidecar began to lead", metrics.terms.clone());
        registry.register(
            "kab_lease_failures",
            "Requests for the Lease that failed or were refused",
            metrics.failures.clone(),
        );
        metrics
    }

    pub(super) fn leads(&self, labels: &Labels, leads: bool) {
        let leading = self.leading.get_or_create(labels);
        if leads {
            leading.inc();
            self.terms.get_or_create(labels).inc();
        } else {
            leading.dec();
        }
    }

    pub(super) fn failed(&self, labels: &Labels) {
        self.failures.get_or_create(labels).inc();
    }
}
