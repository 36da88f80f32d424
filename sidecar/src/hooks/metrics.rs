//! What is counted of calls of the app. Labels are kinds of the configuration and closed sets.

use std::time::Duration;

use contract::hook::HookName;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sidecar_core::hook::Failure;

/// An app on loopback answers within a millisecond; its own work may take seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Counters of calls; clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    seconds: Family<HookLabels, Histogram>,
    in_flight: Family<InFlight, Gauge>,
    unusable: Family<HookLabels, Counter>,
    unknown_members: Family<HookLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    kind: String,
    hook: Hook,
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HookLabels {
    kind: String,
    hook: Hook,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InFlight {
    hook: Hook,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Hook(HookName);

impl EncodeLabelValue for Hook {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0.name(), encoder)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum Outcome {
    done,
    rejected,
    failing,
    away,
    late,
    large,
    broken,
}

/// A call, counted until it ends.
#[derive(Debug)]
pub(super) struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Shows whether the app is there.
pub(super) fn up(registry: &mut Registry, up: Gauge) {
    registry.register("kab_app_up", "Whether the app answers (1) or is away (0)", up);
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            in_flight: Family::default(),
            unusable: Family::default(),
            unknown_members: Family::default(),
        };
        registry.register("kab_hook_requests", "Calls of the app's hooks", metrics.requests.clone());
        registry.register("kab_hook_request_seconds", "Time until the app's whole answer", metrics.seconds.clone());
        registry.register("kab_hook_in_flight", "Calls that are under way", metrics.in_flight.clone());
        registry.register(
            "kab_hook_unusable_answers",
            "Answers of the app that could not be used",
            metrics.unusable.clone(),
        );
        registry.register(
            "kab_hook_unknown_members",
            "Answers of the app with members that nobody knows",
            metrics.unknown_members.clone(),
        );
        metrics
    }

    pub(super) fn begin(&self, hook: HookName) -> UnderWay {
        let gauge = self.in_flight.get_or_create_owned(&InFlight { hook: Hook(hook) });
        gauge.inc();
        UnderWay(gauge)
    }

    pub(super) fn done(&self, kind: &str, hook: HookName, status: Result<u16, Failure>, took: Duration) {
        let outcome = match status {
            Ok(200..=299) => Outcome::done,
            Ok(429 | 503) => Outcome::failing,
            Ok(300..=499) => Outcome::rejected,
            Ok(_) => Outcome::failing,
            Err(Failure::Away) => Outcome::away,
            Err(Failure::Late) => Outcome::late,
            Err(Failure::TooLarge) => Outcome::large,
            Err(Failure::Broken) => Outcome::broken,
        };
        let (kind, hook) = (kind.to_owned(), Hook(hook));
        self.requests.get_or_create(&Labels { kind: kind.clone(), hook, outcome }).inc();
        self.seconds.get_or_create(&HookLabels { kind, hook }).observe(took.as_secs_f64());
    }

    pub(super) fn unusable(&self, kind: &str, hook: HookName) {
        self.unusable.get_or_create(&HookLabels { kind: kind.to_owned(), hook: Hook(hook) }).inc();
    }

    pub(super) fn unknown_members(&self, kind: &str, hook: HookName) {
        self.unknown_members.get_or_create(&HookLabels { kind: kind.to_owned(), hook: Hook(hook) }).inc();
    }
}
