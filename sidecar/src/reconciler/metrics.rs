//! What reconcilers count. Labels are kinds of the configuration and closed sets.

use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sidecar_core::queue::Numbers;

/// A change is worked on within a millisecond, unless others are before it or the app is away.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0, 600.0];

/// Counters of all reconcilers; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    keys: Family<StateLabels, Gauge>,
    oldest: Family<Labels, Gauge>,
    waited: Family<Labels, Histogram>,
    results: Family<ResultLabels, Counter>,
    writes: Family<WriteLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: String,
    shard: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    kind: String,
    shard: u32,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    kind: String,
    result: Ended,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: String,
    what: Wrote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum State {
    due,
    waiting,
    working,
    failing,
}

/// What became of one look at an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(super) enum Ended {
    /// There was nothing to do.
    nothing,
    /// The app dealt with it, and was obeyed.
    done,
    /// It comes again: the app fails, or the API server.
    failed,
    /// It does not, until it changes.
    rejected,
    /// It keeps itself busy, and was slowed down.
    busy,
    /// It was broken off: the app is away, or the Lease another's.
    untried,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(super) enum Wrote {
    status,
    finalizer,
    child_applied,
    child_deleted,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            keys: Family::default(),
            oldest: Family::default(),
            waited: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            results: Family::default(),
            writes: Family::default(),
        };
        registry.register(
            "kab_reconcile_entities",
            "Entities in the queue of the one sidecar that reconciles them: due, waiting for their time, worked on; and of all of them, those whose last attempt failed",
            metrics.keys.clone(),
        );
        registry.register(
            "kab_reconcile_oldest_seconds",
            "For how long the entity that is next has been due",
            metrics.oldest.clone(),
        );
        registry.register(
            "kab_reconcile_wait_seconds",
            "Time from when an entity was due until it was worked on",
            metrics.waited.clone(),
        );
        registry.register(
            "kab_reconcile_results",
            "Looks at an entity, by what became of them",
            metrics.results.clone(),
        );
        registry.register(
            "kab_reconcile_writes",
            "Writes to the API server that reconciling made",
            metrics.writes.clone(),
        );
        metrics
    }

    /// What the queue of a shard holds.
    pub(super) fn queue(&self, kind: &str, shard: u32, numbers: &Numbers) {
        let Numbers { due, waiting, failing, working, oldest } = *numbers;
        for (state, count) in
            [(State::due, due), (State::waiting, waiting), (State::working, working), (State::failing, failing)]
        {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.keys.get_or_create(&StateLabels { kind: kind.to_owned(), shard, state }).set(count);
        }
        let oldest = i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX);
        self.oldest.get_or_create(&Labels { kind: kind.to_owned(), shard }).set(oldest);
    }

    pub(super) fn taken(&self, kind: &str, shard: u32, waited: Duration) {
        self.waited.get_or_create(&Labels { kind: kind.to_owned(), shard }).observe(waited.as_secs_f64());
    }

    pub(super) fn ended(&self, kind: &str, result: Ended) {
        self.results.get_or_create(&ResultLabels { kind: kind.to_owned(), result }).inc();
    }

    pub(super) fn wrote(&self, kind: &str, what: Wrote) {
        self.writes.get_or_create(&WriteLabels { kind: kind.to_owned(), what }).inc();
    }
}
