//! What is counted of the admission webhook. Labels are kinds of the configuration and closed sets.

use std::time::Duration;

use contract::hook::HookName;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// The app's own time is most of it.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Counters of the webhook; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    reviews: Family<Labels, Counter>,
    seconds: Family<KindLabels, Histogram>,
    turned_away: Family<TurnedAway, Counter>,
    handshakes: Counter,
    until: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: String,
    hook: &'static str,
    ruling: Ruled,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
    hook: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TurnedAway {
    reason: Reason,
}

/// What became of a review.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(super) enum Ruled {
    /// The app let it through.
    allowed,
    /// The app filled something in.
    patched,
    /// The app refused it.
    refused,
    /// The app is not asked about such a write.
    unasked,
    /// The app failed, and it was let through.
    unchecked,
    /// The app failed, and it was refused.
    undecided,
    /// No kind of the configuration.
    foreign,
}

/// Why a request was not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
pub(super) enum Reason {
    busy,
    garbled,
    large,
    late,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reviews: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            turned_away: Family::default(),
            handshakes: Counter::default(),
            until: Gauge::default(),
        };
        registry.register("kab_admission_reviews", "Writes that the API server asked about", metrics.reviews.clone());
        registry.register("kab_admission_review_seconds", "Time until the answer", metrics.seconds.clone());
        registry.register(
            "kab_admission_turned_away",
            "Requests to the webhook that were not looked at",
            metrics.turned_away.clone(),
        );
        registry.register(
            "kab_admission_failed_handshakes",
            "Connections to the webhook without a handshake",
            metrics.handshakes.clone(),
        );
        registry.register_with_unit(
            "kab_admission_certificate_until",
            "When the certificate that is shown ends, in seconds since 1970",
            Unit::Seconds,
            metrics.until.clone(),
        );
        metrics
    }

    pub(super) fn review(&self, kind: &str, hook: HookName, ruling: Ruled, took: Duration) {
        let (kind, hook) = (kind.to_owned(), hook.name());
        self.reviews.get_or_create(&Labels { kind: kind.clone(), hook, ruling }).inc();
        self.seconds.get_or_create(&KindLabels { kind, hook }).observe(took.as_secs_f64());
    }

    pub(super) fn turned_away(&self, reason: Reason) {
        self.turned_away.get_or_create(&TurnedAway { reason }).inc();
    }

    pub(super) fn no_handshake(&self) {
        self.handshakes.inc();
    }

    pub(super) fn certificate_until(&self, second: i64) {
        self.until.set(second);
    }
}
