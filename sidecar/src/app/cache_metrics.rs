//! What the caches hold and how current they are, looked up when somebody scrapes.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::kinds::Kinds;
use crate::view::View;

#[derive(Debug)]
pub(super) struct CacheMetrics {
    kinds: Arc<Kinds>,
}

impl CacheMetrics {
    pub(super) fn register(registry: &mut Registry, kinds: Arc<Kinds>) {
        registry.register_collector(Box::new(Self { kinds }));
    }

    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&View) -> Option<f64>,
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for served in self.kinds.served() {
            for view in served.view.views() {
                let Some(value) = value(view) else { continue };
                let ns = view.namespace().map_or("*", |namespace| namespace);
                let labels = [("kind", served.full_name.as_str()), ("namespace", ns)];
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

impl Collector for CacheMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = Instant::now();
        let encoder = &mut encoder;
        // Gauges are numbers of entities and bytes, far below where a double loses the last digit.
        self.gauge(encoder, "kab_cache_entities", "Entities in the cache", |view| Some(view.size().entities as f64))?;
        self.gauge(encoder, "kab_cache_bytes", "Bytes of the cache", |view| Some(view.size().bytes as f64))?;
        self.gauge(encoder, "kab_history_bytes", "Bytes of past changes, for readers of events", |view| {
            Some(view.size().history as f64)
        })?;
        self.gauge(encoder, "kab_cache_age_seconds", "Since the cache was last known to be current", |view| {
            view.age(now).map(|age| age.as_secs_f64())
        })
    }
}
