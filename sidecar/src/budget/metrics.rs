//! How much of each budget is used, looked up when somebody scrapes, and what was refused for it.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use sidecar_core::budget::Bound;

use super::Keeper;
use crate::kinds::Kinds;

/// What was refused; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    refused: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: String,
    bound: Name,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum Name {
    objects,
    bytes,
    writes,
}

impl Name {
    fn of(bound: Bound) -> Self {
        match bound {
            Bound::Objects => Self::objects,
            Bound::Bytes => Self::bytes,
            Bound::Writes => Self::writes,
        }
    }
}

impl Metrics {
    /// Registers what is counted, and what is looked up in `kinds`.
    pub fn register(registry: &mut Registry, kinds: Arc<Kinds>) -> Self {
        let metrics = Self::default();
        registry.register("kab_budget_refusals", "Writes refused because of a budget", metrics.refused.clone());
        registry.register_collector(Box::new(Use { kinds }));
        metrics
    }

    pub(super) fn refused(&self, kind: &str, bound: Bound) {
        self.refused.get_or_create(&Labels { kind: kind.to_owned(), bound: Name::of(bound) }).inc();
    }
}

#[derive(Debug)]
struct Use {
    kinds: Arc<Kinds>,
}

/// One number for a bound.
type Read = fn(&Keeper, (Bound, f64, f64)) -> f64;

impl Use {
    fn gauge(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, read: Read) -> fmt::Result {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for served in self.kinds.served() {
            let Some(keeper) = &served.budget else { continue };
            for used in keeper.used(served) {
                let labels = Labels { kind: served.full_name.clone(), bound: Name::of(used.0) };
                family.encode_family(&labels)?.encode_gauge(&read(keeper, used))?;
            }
        }
        Ok(())
    }
}

impl Collector for Use {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        self.gauge(encoder, "kab_budget_used", "What is used of a budget", |_, (_, used, _)| used)?;
        self.gauge(encoder, "kab_budget_limit", "What a budget allows", |_, (_, _, limit)| limit)?;
        self.gauge(encoder, "kab_budget_alarm", "60 or 80 when more per cent are used", |keeper, (bound, ..)| {
            f64::from(keeper.level(bound).per_cent())
        })
    }
}
