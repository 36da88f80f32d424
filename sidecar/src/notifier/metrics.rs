//! What notifiers count. Labels are kinds of the configuration and closed sets.

use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sidecar_core::notices::{Ended, Notices};

/// From a change to the app's acknowledgement: milliseconds, unless it was away.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0, 600.0];

/// Counters of all notifiers; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    waiting: Family<Labels, Gauge>,
    bytes: Family<Labels, Gauge>,
    failing: Family<Labels, Gauge>,
    oldest: Family<Labels, Gauge>,
    results: Family<ResultLabels, Counter>,
    seconds: Family<Labels, Histogram>,
    gaps: Family<Labels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    kind: String,
    result: ResultLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum ResultLabel {
    acknowledged,
    failed,
    given_up,
    untried,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            waiting: Family::default(),
            bytes: Family::default(),
            failing: Family::default(),
            oldest: Family::default(),
            results: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            gaps: Family::default(),
        };
        let Self { waiting, bytes, failing, oldest, results, seconds, gaps } = metrics.clone();
        registry.register("kab_notify_waiting", "Changes that the app has not acknowledged", waiting);
        registry.register("kab_notify_waiting_bytes", "Bytes of changes that wait for the app", bytes);
        registry.register("kab_notify_failing", "Entities whose last notification failed", failing);
        registry.register("kab_notify_oldest_seconds", "Age of the oldest change that waits", oldest);
        registry.register("kab_notify_results", "Notifications by what became of them", results);
        registry.register("kab_notify_seconds", "From a change to its acknowledgement", seconds);
        registry.register("kab_notify_gaps", "Times that deletions may have been missed, as history was lost", gaps);
        metrics
    }

    pub(super) fn done(&self, kind: &str, ended: Ended, given_up: bool, age: Duration) {
        let result = match ended {
            _ if given_up => ResultLabel::given_up,
            Ended::Acknowledged => ResultLabel::acknowledged,
            Ended::Failed(_) | Ended::Rejected => ResultLabel::failed,
            Ended::Untried => ResultLabel::untried,
        };
        self.results.get_or_create(&ResultLabels { kind: kind.to_owned(), result }).inc();
        if ended == Ended::Acknowledged {
            self.seconds.get_or_create(&labels(kind)).observe(age.as_secs_f64());
        }
    }

    pub(super) fn gap(&self, kind: &str) {
        self.gaps.get_or_create(&labels(kind)).inc();
    }

    pub(super) fn waiting(&self, kind: &str, notices: &Notices, now: Instant) {
        let labels = labels(kind);
        let oldest = notices.oldest().and_then(|oldest| SystemTime::now().duration_since(oldest).ok());
        set(&self.waiting, &labels, notices.waiting());
        set(&self.bytes, &labels, notices.bytes());
        set(&self.failing, &labels, notices.numbers(now).failing);
        set(&self.oldest, &labels, usize::try_from(oldest.unwrap_or_default().as_secs()).unwrap_or(usize::MAX));
    }

    /// Another has it now.
    pub(super) fn ended(&self, kind: &str) {
        for family in [&self.waiting, &self.bytes, &self.failing, &self.oldest] {
            set(family, &labels(kind), 0);
        }
    }
}

fn set(family: &Family<Labels, Gauge>, labels: &Labels, number: usize) {
    family.get_or_create(labels).set(i64::try_from(number).unwrap_or(i64::MAX));
}

fn labels(kind: &str) -> Labels {
    Labels { kind: kind.to_owned() }
}
