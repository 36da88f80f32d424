//! What the informers count. Labels are kinds of the configuration and closed sets.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use sidecar_core::feed::Change;
use sidecar_core::kind::Kind;
use sidecar_core::watch::{Input, Note, Refill, Request, WatchLine};

/// Counters of all informers; clones count together.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    lines: Family<LineLabels, Counter>,
    breaks: Family<KindLabels, Counter>,
    silences: Family<KindLabels, Counter>,
    overflows: Family<KindLabels, Counter>,
    refills: Family<RefillLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    kind: String,
    request: RequestLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum RequestLabel {
    probe,
    stream,
    page,
    watch,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LineLabels {
    kind: String,
    line: LineLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum LineLabel {
    added,
    modified,
    deleted,
    bookmark,
    error,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefillLabels {
    kind: String,
    reason: RefillLabel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the labels' values")]
enum RefillLabel {
    expired,
    restored,
    attached,
    redefined,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("kab_watch_requests", "List and watch requests to the API server", metrics.requests.clone());
        registry.register("kab_watch_lines", "Lines that watches told", metrics.lines.clone());
        registry.register("kab_watch_failures", "Watches and lists that failed or broke off", metrics.breaks.clone());
        registry.register("kab_watch_silences", "Watches that went silent and were replaced", metrics.silences.clone());
        registry.register("kab_cache_overflows", "Times that there was more than fits", metrics.overflows.clone());
        registry.register("kab_watch_refills", "Times that everything was listed again", metrics.refills.clone());
        metrics
    }

    pub(super) fn request(&self, kind: &Kind, request: &Request) {
        let request = match request {
            Request::Probe => RequestLabel::probe,
            Request::Stream { .. } => RequestLabel::stream,
            Request::Page { .. } => RequestLabel::page,
            Request::Watch { .. } => RequestLabel::watch,
        };
        self.requests.get_or_create(&RequestLabels { kind: kind.full_name(), request }).inc();
    }

    pub(super) fn input(&self, kind: &Kind, input: &Input) {
        let Input::Line(line) = input else { return };
        let line = match line {
            WatchLine::Delta(delta) => match delta.change {
                Change::Added => LineLabel::added,
                Change::Modified => LineLabel::modified,
                Change::Deleted => LineLabel::deleted,
            },
            WatchLine::Bookmark { .. } => LineLabel::bookmark,
            WatchLine::Error { .. } => LineLabel::error,
        };
        self.lines.get_or_create(&LineLabels { kind: kind.full_name(), line }).inc();
    }

    pub(super) fn note(&self, kind: &Kind, note: &Note) {
        let kind = kind.full_name();
        match note {
            Note::Failed { .. } => {
                self.breaks.get_or_create(&KindLabels { kind }).inc();
            }
            Note::Silent(_) => {
                self.silences.get_or_create(&KindLabels { kind }).inc();
            }
            Note::Full(_) => {
                self.overflows.get_or_create(&KindLabels { kind }).inc();
            }
            Note::Refill(why) => {
                let reason = match why {
                    Refill::Expired => RefillLabel::expired,
                    Refill::Restored => RefillLabel::restored,
                    Refill::Attached => RefillLabel::attached,
                    Refill::Redefined => RefillLabel::redefined,
                };
                self.refills.get_or_create(&RefillLabels { kind, reason }).inc();
            }
            Note::Recovered | Note::Paging => {}
        }
    }
}
