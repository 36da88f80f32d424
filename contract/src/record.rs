//! Records in Kafka: CloudEvents 1.0 in the Kafka protocol binding's binary mode.

/// Header names, as the CloudEvents Kafka binding spells them, and ours.
pub mod header {
    /// Always `1.0`.
    pub const SPEC_VERSION: &str = "ce_specversion";
    /// `UID/VERSION`: the same change has the same id always.
    pub const ID: &str = "ce_id";
    /// See [`super::event_type`].
    pub const TYPE: &str = "ce_type";
    /// `/clusters/CLUSTER/apis/GROUP/VERSION/PLURAL`.
    pub const SOURCE: &str = "ce_source";
    /// `NAMESPACE/ID`, the same as the record's key.
    pub const SUBJECT: &str = "ce_subject";
    /// RFC 3339: when the sidecar learned of the change.
    pub const TIME: &str = "ce_time";
    /// `application/json`.
    pub const CONTENT_TYPE: &str = "content-type";
    /// How many versions of the entity are known to be passed over since its last record, or [`super::SKIPPED_UNKNOWN`].
    pub const SKIPPED: &str = "kab_skipped";
    /// Of a dead letter: what the app answered last, a status or a few words.
    pub const REFUSED: &str = "kab_refused";
    /// Of a dead letter: how often the app was called.
    pub const ATTEMPTS: &str = "kab_attempts";
    /// W3C Trace Context: the trace of the write that the record tells, where the sidecar traces.
    pub const TRACEPARENT: &str = "traceparent";
}

/// Value of `kab_skipped` after a gap of unknown size.
pub const SKIPPED_UNKNOWN: &str = "unknown";

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Event {
    /// The entity is new.
    Created,
    /// The entity changed.
    Updated,
    /// The entity is gone; the value is its last known state, and a tombstone follows.
    Deleted,
    /// A state met at a re-list whose delta is not known.
    Snapshot,
}

impl Event {
    /// The last part of `ce_type`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Snapshot => "snapshot",
        }
    }

    /// The event that a `ce_type` names, if it is one of ours.
    pub fn of_type(ce_type: &str) -> Option<Self> {
        [Self::Created, Self::Updated, Self::Deleted, Self::Snapshot]
            .into_iter()
            .find(|event| ce_type.rsplit('.').next() == Some(event.name()))
    }
}

/// `ce_type`: reversed group, version, kind in lower case, event; e.g. `com.k8sasbackend.v1.todo.created`.
pub fn event_type(group: &str, version: &str, kind: &str, event: Event) -> String {
    let mut parts: Vec<&str> = group.split('.').filter(|part| !part.is_empty()).rev().collect();
    let kind = kind.to_lowercase();
    parts.extend([version, &kind, event.name()]);
    parts.join(".")
}

/// A record's key: `NAMESPACE/ID`, or just `ID` for a cluster-scoped kind.
pub fn key(namespace: Option<&str>, id: &str) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}/{id}"),
        None => id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_reverses_the_group_and_lowers_the_kind() {
        assert_eq!(event_type("k8sasbackend.com", "v1", "Todo", Event::Created), "com.k8sasbackend.v1.todo.created");
        assert_eq!(event_type("", "v1", "ConfigMap", Event::Deleted), "v1.configmap.deleted");
    }

    #[test]
    fn the_event_is_read_back_from_the_type() {
        for event in [Event::Created, Event::Updated, Event::Deleted, Event::Snapshot] {
            assert_eq!(Event::of_type(&event_type("a.b", "v1", "K", event)), Some(event));
        }
        assert_eq!(Event::of_type("com.k8sasbackend.v1.todo.exploded"), None);
    }
}
