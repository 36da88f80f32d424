//! What the broadcasts count. Labels are kinds and namespaces of the configuration and closed sets, never an entity's name.

use std::sync::atomic::AtomicU64;

use contract::record::Event;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use sidecar_core::ledger::batch::{Batch, Item};
use sidecar_core::outbox::Skipped;

use crate::bridge::trouble::Cause;

/// Counters of all bridges; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    records: Family<RecordLabels, Counter>,
    bytes: Family<Labels, Counter>,
    batches: Family<BatchLabels, Counter>,
    seconds: Family<Labels, Histogram>,
    queue_bytes: Family<Labels, Gauge>,
    queue_changes: Family<Labels, Gauge>,
    collapsed: Family<Labels, Counter>,
    skipped: Family<Labels, Counter>,
    position: Family<Labels, Gauge<u64, AtomicU64>>,
    lag: Family<Labels, Gauge<f64, AtomicU64>>,
    failures: Family<FailureLabels, Counter>,
    trouble: Family<FailureLabels, Gauge>,
}

/// Which broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Labels {
    pub(super) kind: String,
    pub(super) namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RecordLabels {
    kind: String,
    namespace: String,
    event: EventLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum EventLabel {
    created,
    updated,
    deleted,
    snapshot,
    tombstone,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BatchLabels {
    kind: String,
    namespace: String,
    outcome: OutcomeLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum OutcomeLabel {
    sent,
    failed,
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
    fenced,
    too_large,
    denied,
    topic,
    partitions,
    other,
}

impl Metrics {
    /// Registers the counters, once for all bridges.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            records: Family::default(),
            bytes: Family::default(),
            batches: Family::default(),
            // 1 ms to 16 s: a healthy transaction takes about 4 ms, a broker that restarts some seconds.
            seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 15))),
            queue_bytes: Family::default(),
            queue_changes: Family::default(),
            collapsed: Family::default(),
            skipped: Family::default(),
            position: Family::default(),
            lag: Family::default(),
            failures: Family::default(),
            trouble: Family::default(),
        };
        registry.register("kab_bridge_records", "Records in Kafka", metrics.records.clone());
        registry.register("kab_bridge_value", "Bytes of the records' values", metrics.bytes.clone());
        registry.register("kab_bridge_batches", "Batches of records with their position", metrics.batches.clone());
        registry.register_with_unit(
            "kab_bridge_batch",
            "Time to send a batch and to move the position",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register_with_unit(
            "kab_bridge_queue",
            "What waits for Kafka, about",
            Unit::Bytes,
            metrics.queue_bytes.clone(),
        );
        registry.register("kab_bridge_queue_changes", "Changes that wait for Kafka", metrics.queue_changes.clone());
        registry.register(
            "kab_bridge_collapsed",
            "Changes that gave way to a newer one of the same entity while Kafka was away",
            metrics.collapsed.clone(),
        );
        registry.register(
            "kab_bridge_skipped",
            "Versions that records in Kafka say were passed over",
            metrics.skipped.clone(),
        );
        registry.register("kab_bridge_position", "Version up to which all is told", metrics.position.clone());
        registry.register_with_unit(
            "kab_bridge_lag",
            "Age of the oldest change that is not in Kafka yet",
            Unit::Seconds,
            metrics.lag.clone(),
        );
        registry.register("kab_bridge_failures", "Kafka calls that failed, by cause", metrics.failures.clone());
        registry.register(
            "kab_bridge_trouble",
            "1 while something is wrong with Kafka or the topic, by cause",
            metrics.trouble.clone(),
        );
        metrics
    }

    pub(super) fn sent(&self, labels: &Labels, batch: &Batch, seconds: f64) {
        self.batch(labels, OutcomeLabel::sent);
        self.seconds.get_or_create(labels).observe(seconds);
        let mut bytes = 0;
        let mut skipped = 0;
        for item in &batch.items {
            match item {
                Item::Change(change) => {
                    self.record(labels, event(change.event));
                    bytes += change.entity.json.len();
                    if change.event == Event::Deleted {
                        self.record(labels, EventLabel::tombstone);
                    }
                    if let Skipped::Known(count) = change.skipped {
                        skipped += count;
                    }
                }
                Item::Vanished(gone) => {
                    self.record(labels, EventLabel::deleted);
                    self.record(labels, EventLabel::tombstone);
                    bytes += gone.bytes;
                }
                Item::Tombstone { .. } => self.record(labels, EventLabel::tombstone),
            }
        }
        self.bytes.get_or_create(labels).inc_by(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.skipped.get_or_create(labels).inc_by(skipped);
        if let Some(version) = batch.position.version {
            self.position(labels, version.0);
        }
    }

    pub(super) fn position(&self, labels: &Labels, version: u64) {
        self.position.get_or_create(labels).set(version);
    }

    pub(super) fn failed(&self, labels: &Labels, sending: bool, cause: Cause) {
        if sending {
            self.batch(labels, OutcomeLabel::failed);
        }
        let Labels { kind, namespace } = labels.clone();
        let Some(cause) = cause_label(cause) else { return };
        self.failures.get_or_create(&FailureLabels { kind, namespace, cause }).inc();
    }

    /// What is wrong now, if anything; a cause that was told before is 0 from then on.
    pub(super) fn trouble(&self, labels: &Labels, now: Option<Cause>) {
        let now = now.and_then(cause_label);
        for cause in CAUSES {
            let of = FailureLabels { kind: labels.kind.clone(), namespace: labels.namespace.clone(), cause };
            if now == Some(cause) {
                self.trouble.get_or_create(&of).set(1);
            } else if let Some(gauge) = self.trouble.get(&of) {
                gauge.set(0);
            }
        }
    }

    pub(super) fn waiting(&self, labels: &Labels, changes: usize, bytes: usize, lag: f64) {
        self.queue_changes.get_or_create(labels).set(i64::try_from(changes).unwrap_or(i64::MAX));
        self.queue_bytes.get_or_create(labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.lag.get_or_create(labels).set(lag);
    }

    /// `total` is what was collapsed since the bridge started.
    pub(super) fn collapsed(&self, labels: &Labels, total: u64) {
        let counter = self.collapsed.get_or_create(labels);
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    fn batch(&self, labels: &Labels, outcome: OutcomeLabel) {
        let Labels { kind, namespace } = labels.clone();
        self.batches.get_or_create(&BatchLabels { kind, namespace, outcome }).inc();
    }

    fn record(&self, labels: &Labels, event: EventLabel) {
        let Labels { kind, namespace } = labels.clone();
        self.records.get_or_create(&RecordLabels { kind, namespace, event }).inc();
    }
}

const CAUSES: [CauseLabel; 7] = [
    CauseLabel::away,
    CauseLabel::fenced,
    CauseLabel::too_large,
    CauseLabel::denied,
    CauseLabel::topic,
    CauseLabel::partitions,
    CauseLabel::other,
];

fn cause_label(cause: Cause) -> Option<CauseLabel> {
    Some(match cause {
        Cause::Away => CauseLabel::away,
        Cause::Fenced => CauseLabel::fenced,
        Cause::TooLarge => CauseLabel::too_large,
        Cause::Denied => CauseLabel::denied,
        Cause::Topic => CauseLabel::topic,
        Cause::Partitions => CauseLabel::partitions,
        Cause::Stopped => return None,
        Cause::Other => CauseLabel::other,
    })
}

fn event(event: Event) -> EventLabel {
    match event {
        Event::Created => EventLabel::created,
        Event::Updated => EventLabel::updated,
        Event::Deleted => EventLabel::deleted,
        Event::Snapshot => EventLabel::snapshot,
    }
}
