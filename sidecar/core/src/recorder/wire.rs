//! An Event's JSON (events.k8s.io/v1), and what the API server's answers mean.
//!
//! Owns which members carry what. Never sends: `sidecar/src/events.rs` does.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::note::{About, Note};

/// What says it, whichever sidecar: a qualified name.
const CONTROLLER: &str = "k8sasbackend.com/kab-sidecar";
/// Where Events about what has no namespace are.
const NO_NAMESPACE: &str = "default";
/// Leaves room for what makes a name unique below Kubernetes' 253.
const NAME_BYTES: usize = 230;

/// A request to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The Event's namespace.
    pub namespace: String,
    /// The Event's name.
    pub name: String,
    /// Whether it is to be created; else it is there, and patched.
    pub creates: bool,
    /// The Event, or a merge patch of it.
    pub body: Vec<u8>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is stored.
    Stored,
    /// Nobody knows, or it is to be tried later; not before that time where the API server named one.
    Away(Option<Duration>),
    /// The right is missing.
    Denied,
    /// There is no such Event, or no such namespace.
    Gone,
    /// It can never be stored.
    Refused,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    event_time: String,
    #[serde(rename = "type")]
    severity: &'static str,
    reason: &'a str,
    action: &'static str,
    note: &'a str,
    regarding: Regarding<'a>,
    reporting_controller: &'static str,
    reporting_instance: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Series>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Regarding<'a> {
    api_version: &'a str,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    count: u32,
    last_observed_time: String,
}

#[derive(Serialize)]
struct Patch {
    series: Series,
}

/// How often it was seen, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) count: u32,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
}

impl Seen {
    fn series(self) -> Series {
        Series { count: self.count, last_observed_time: micro(self.last) }
    }
}

pub(super) fn create(name: &str, about: &About, note: &Note, instance: &str, seen: Seen) -> Write {
    let namespace = about.namespace.as_deref().unwrap_or(NO_NAMESPACE);
    let event = Event {
        api_version: "events.k8s.io/v1",
        kind: "Event",
        metadata: Metadata { name, namespace },
        event_time: micro(seen.first),
        severity: note.severity.as_str(),
        reason: note.reason.as_str(),
        action: note.action.as_str(),
        note: &note.message,
        regarding: Regarding {
            api_version: &about.api_version,
            kind: &about.kind,
            namespace: about.namespace.as_deref(),
            name: &about.name,
            uid: about.uid.as_deref(),
        },
        reporting_controller: CONTROLLER,
        reporting_instance: instance,
        series: (seen.count > 1).then(|| seen.series()),
    };
    // Texts and numbers alone: this cannot fail.
    let body = serde_json::to_vec(&event).unwrap_or_default();
    Write { namespace: namespace.to_owned(), name: name.to_owned(), creates: true, body }
}

pub(super) fn patch(name: &str, about: &About, seen: Seen) -> Write {
    let namespace = about.namespace.as_deref().unwrap_or(NO_NAMESPACE).to_owned();
    let body = serde_json::to_vec(&Patch { series: seen.series() }).unwrap_or_default();
    Write { namespace, name: name.to_owned(), creates: false, body }
}

/// `ID.UNIQUE`, as client-go names them.
pub(super) fn name(about: &About, unique: u64) -> String {
    let end = about.name.floor_char_boundary(NAME_BYTES.min(about.name.len()));
    let begin = about.name.get(..end).unwrap_or_default().trim_end_matches(['.', '-']);
    format!("{begin}.{unique:016x}")
}

/// Kubernetes' MicroTime has six digits, always.
fn micro(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// What an answer means. `retry_after` is its header's.
pub fn answer(status: u16, body: &[u8], retry_after: Option<Duration>) -> Answer {
    match status {
        200..=299 => Answer::Stored,
        // A namespace that is being deleted takes nothing new, which has nothing to do with rights.
        403 if told(body).is_terminating() => Answer::Refused,
        401 | 403 => Answer::Denied,
        404 => Answer::Gone,
        429 | 500..=599 => Answer::Away(retry_after),
        _ => Answer::Refused,
    }
}

/// The message of a refusal, for the log.
pub fn message(body: &[u8]) -> String {
    told(body).message
}

fn told(body: &[u8]) -> Told {
    serde_json::from_slice(body).unwrap_or_default()
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    message: String,
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    causes: Vec<Cause>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cause {
    reason: String,
}

impl Told {
    fn is_terminating(&self) -> bool {
        self.details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::recorder::note::{Action, Reason};

    fn about() -> About {
        About {
            api_version: "k8sasbackend.com/v1".to_owned(),
            kind: "Todo".to_owned(),
            namespace: Some("shop".to_owned()),
            name: "buy-milk".to_owned(),
            uid: Some("u-1".to_owned()),
        }
    }

    fn seen(count: u32) -> Seen {
        let (first, last) = ("2026-01-02T03:04:05.6Z".parse().unwrap(), "2026-01-02T03:05:00Z".parse().unwrap());
        Seen { count, first, last }
    }

    #[test]
    fn an_event_says_who_saw_what_and_when() {
        let note = Note::warning(Reason::Stalled, Action::Reconcile, "it takes \"long\"");
        let write = create("buy-milk.1", &about(), &note, "pod-1", seen(1));
        assert_eq!((write.namespace.as_str(), write.name.as_str(), write.creates), ("shop", "buy-milk.1", true));
        assert_eq!(
            serde_json::from_slice::<Value>(&write.body).unwrap(),
            json!({
                "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "buy-milk.1", "namespace": "shop"},
                "eventTime": "2026-01-02T03:04:05.600000Z", "type": "Warning", "reason": "Stalled", "action": "Reconcile",
                "note": "it takes \"long\"",
                "regarding": {"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "namespace": "shop", "name": "buy-milk", "uid": "u-1"},
                "reportingController": "k8sasbackend.com/kab-sidecar", "reportingInstance": "pod-1",
            })
        );
        let series = json!({"count": 7, "lastObservedTime": "2026-01-02T03:05:00.000000Z"});
        let again = create("buy-milk.1", &about(), &note, "pod-1", seen(7));
        assert_eq!(serde_json::from_slice::<Value>(&again.body).unwrap()["series"], series);
        let patched = patch("buy-milk.1", &about(), seen(7));
        assert_eq!(serde_json::from_slice::<Value>(&patched.body).unwrap(), json!({"series": series}));
    }

    #[test]
    fn what_has_no_namespace_has_its_events_in_default() {
        let about = About { namespace: None, uid: None, ..about() };
        let write = create("x.1", &about, &Note::normal(Reason::Recovered, Action::Notify, "x"), "p", seen(1));
        let event = serde_json::from_slice::<Value>(&write.body).unwrap();
        assert_eq!((write.namespace.as_str(), &event["metadata"]["namespace"]), ("default", &json!("default")));
        assert_eq!((event["regarding"].get("namespace"), event["regarding"].get("uid")), (None, None));
    }

    #[test]
    fn a_name_is_one_that_kubernetes_takes() {
        assert_eq!(name(&about(), 255), "buy-milk.00000000000000ff");
        let long = About { name: format!("{}.{}", "a".repeat(229), "b".repeat(23)), ..about() };
        assert_eq!(name(&long, 1), format!("{}.0000000000000001", "a".repeat(229)));
    }

    #[test]
    fn answers_tell_what_may_be_tried_again() {
        let terminating =
            br#"{"message":"x is being terminated","details":{"causes":[{"reason":"NamespaceTerminating"}]}}"#;
        let second = Some(Duration::from_secs(1));
        for (status, body, expected) in [
            (201, &b""[..], Answer::Stored),
            (403, b"{}", Answer::Denied),
            (403, terminating, Answer::Refused),
            (404, b"", Answer::Gone),
            (409, b"", Answer::Refused),
            (422, b"", Answer::Refused),
            (429, b"", Answer::Away(second)),
            (500, b"", Answer::Away(second)),
        ] {
            assert_eq!(answer(status, body, second), expected, "{status}");
        }
    }
}
