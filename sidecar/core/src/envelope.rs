//! From an item of a batch to the records that tell it: CloudEvents 1.0, Kafka binding, binary mode.
//!
//! Owns keys, headers and values of records; their words stand in `contract::record`. Never sends, and never copies an
//! entity: a record borrows the bytes that the cache holds. Called by the bridge's sender for each item of a batch.

use std::borrow::Cow;
use std::time::SystemTime;

use contract::record::{self, Event, header};
use jiff::Timestamp;

use crate::entity::{Entity, Key};
use crate::kind::Kind;
use crate::ledger::batch::Item;
use crate::outbox::Skipped;
use crate::version::Version;

/// A record, ready to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it tells; absent for a tombstone.
    pub event: Option<Event>,
    /// `NAMESPACE/ID`.
    pub key: Cow<'a, str>,
    /// In the order in which they are sent; none on a tombstone.
    pub headers: Vec<(&'static str, Cow<'a, str>)>,
    /// The entity; absent for a tombstone.
    pub value: Option<&'a [u8]>,
}

/// What all records of one kind and cluster have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    source: String,
    created: String,
    updated: String,
    deleted: String,
    snapshot: String,
}

impl Envelope {
    /// For the records of `kind` in the cluster of that name.
    pub fn new(cluster: &str, kind: &Kind) -> Self {
        let of = |event| record::event_type(&kind.group, &kind.version, &kind.kind, event);
        Self {
            source: format!("/clusters/{cluster}/apis/{}/{}", kind.api_version(), kind.plural),
            created: of(Event::Created),
            updated: of(Event::Updated),
            deleted: of(Event::Deleted),
            snapshot: of(Event::Snapshot),
        }
    }

    /// `ce_source`: tells our records from those of another cluster in the same topic.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The records that tell an item, in order. `body` is the last known entity of something that vanished, read from the
    /// topic: without it only the tombstone can be told.
    pub fn records<'a>(&'a self, item: &'a Item, body: Option<&'a [u8]>) -> Vec<Record<'a>> {
        match item {
            Item::Change(change) => {
                let entity = &change.entity;
                let key: Cow<'a, str> = Cow::Owned(key(&entity.key));
                let id = event_id(&entity.uid, entity.version);
                let told = self.told(change.event, key.clone(), id, change.skipped, change.learned, &entity.json);
                if change.event == Event::Deleted { vec![told, tombstone(key)] } else { vec![told] }
            }
            Item::Vanished(gone) => {
                let key = Cow::Borrowed(gone.key.as_str());
                let id = event_id(&gone.uid, gone.deletion());
                let told =
                    body.map(|body| self.told(Event::Deleted, key.clone(), id, Skipped::Unknown, gone.learned, body));
                told.into_iter().chain([tombstone(key)]).collect()
            }
            Item::Tombstone { key } => vec![tombstone(Cow::Borrowed(key.as_str()))],
        }
    }

    fn told<'a>(
        &'a self,
        event: Event,
        key: Cow<'a, str>,
        id: String,
        skipped: Skipped,
        learned: SystemTime,
        value: &'a [u8],
    ) -> Record<'a> {
        let headers = self.headers(event, key.clone(), id, skipped, learned);
        Record { event: Some(event), key, headers, value: Some(value) }
    }

    /// What tells an event of the entity of that key, in Kafka's spelling.
    pub(crate) fn headers<'a>(
        &'a self,
        event: Event,
        key: Cow<'a, str>,
        id: String,
        skipped: Skipped,
        learned: SystemTime,
    ) -> Vec<(&'static str, Cow<'a, str>)> {
        let event_type = match event {
            Event::Created => &self.created,
            Event::Updated => &self.updated,
            Event::Deleted => &self.deleted,
            Event::Snapshot => &self.snapshot,
        };
        let mut headers = vec![
            (header::SPEC_VERSION, Cow::Borrowed("1.0")),
            (header::ID, Cow::Owned(id)),
            (header::TYPE, Cow::Borrowed(event_type.as_str())),
            (header::SOURCE, Cow::Borrowed(self.source.as_str())),
            (header::SUBJECT, key),
            (header::TIME, Cow::Owned(rfc3339(learned))),
            (header::CONTENT_TYPE, Cow::Borrowed("application/json")),
        ];
        match skipped {
            Skipped::Known(0) => {}
            Skipped::Known(count) => headers.push((header::SKIPPED, Cow::Owned(count.to_string()))),
            Skipped::Unknown => headers.push((header::SKIPPED, Cow::Borrowed(record::SKIPPED_UNKNOWN))),
        }
        headers
    }
}

/// The record key of an entity.
pub fn key(key: &Key) -> String {
    record::key(key.namespace.as_deref(), &key.id)
}

/// `ce_id` of a change: the same change has the same id always.
pub fn event_id(uid: &str, version: Version) -> String {
    format!("{uid}/{version}")
}

/// The uid and version that a `ce_id` names.
pub fn read_event_id(id: &str) -> Option<(&str, Version)> {
    let (uid, version) = id.rsplit_once('/')?;
    Some((uid, version.parse().ok()?))
}

/// What an entity will roughly weigh as a record: its value, its key twice (subject) and the headers around it.
pub fn weight(entity: &Entity) -> usize {
    const HEADERS: usize = 320;
    let namespace = entity.key.namespace.as_deref().map_or(0, str::len);
    entity.json.len() + 2 * (namespace + entity.key.id.len()) + entity.uid.len() + HEADERS
}

fn tombstone(key: Cow<'_, str>) -> Record<'_> {
    Record { event: None, key, headers: Vec::new(), value: None }
}

/// RFC 3339, UTC, milliseconds. A clock outside of what RFC 3339 can say becomes the epoch rather than no record.
fn rfc3339(time: SystemTime) -> String {
    format!("{:.3}", Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::ledger::batch::{Place, Vanished};
    use crate::ledger::testing::{entity, todo};
    use crate::outbox::Change;

    fn change(event: Event, skipped: Skipped) -> Item {
        let learned = SystemTime::UNIX_EPOCH + Duration::from_millis(1_766_570_400_123);
        Item::Change(Change { event, entity: Arc::new(entity("milk", "u1", 12)), skipped, learned })
    }

    fn headers(record: &Record<'_>) -> Vec<String> {
        record.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
    }

    #[test]
    fn a_change_is_one_record_with_every_header_of_the_contract() {
        let envelope = Envelope::new("prod", &todo());
        let item = change(Event::Updated, Skipped::Known(0));
        let records = envelope.records(&item, None);
        let [record] = records.as_slice() else { panic!("one record, not {records:?}") };
        assert_eq!(record.key, "shop/milk");
        assert_eq!(record.value, Some(entity("milk", "u1", 12).json.as_ref()));
        assert_eq!(
            headers(record),
            [
                "ce_specversion: 1.0",
                "ce_id: u1/12",
                "ce_type: com.k8sasbackend.v1.todo.updated",
                "ce_source: /clusters/prod/apis/k8sasbackend.com/v1/todos",
                "ce_subject: shop/milk",
                "ce_time: 2025-12-24T10:00:00.123Z",
                "content-type: application/json",
            ]
        );
    }

    #[test]
    fn a_deletion_is_the_last_entity_and_then_a_tombstone_under_the_same_key() {
        let envelope = Envelope::new("prod", &todo());
        let item = change(Event::Deleted, Skipped::Known(0));
        let records = envelope.records(&item, None);
        let [deleted, tombstone] = records.as_slice() else { panic!("two records, not {records:?}") };
        assert_eq!((deleted.event, deleted.value.is_some()), (Some(Event::Deleted), true));
        assert_eq!((tombstone.event, tombstone.value, tombstone.headers.len()), (None, None, 0));
        assert_eq!(deleted.key, tombstone.key);
    }

    #[test]
    fn what_was_passed_over_is_said_only_when_there_is_something_to_say() {
        let envelope = Envelope::new("prod", &todo());
        for (skipped, header) in [
            (Skipped::Known(0), None),
            (Skipped::Known(3), Some("kab_skipped: 3")),
            (Skipped::Unknown, Some("kab_skipped: unknown")),
        ] {
            let item = change(Event::Updated, skipped);
            let records = envelope.records(&item, None);
            let said = headers(&records[0]).into_iter().find(|text| text.starts_with("kab_"));
            assert_eq!(said.as_deref(), header);
        }
    }

    #[test]
    fn what_vanished_is_told_with_the_body_from_the_topic_and_an_id_of_its_own() {
        let envelope = Envelope::new("prod", &todo());
        let item = Item::Vanished(Vanished {
            key: "shop/milk".to_owned(),
            uid: "u1".into(),
            last: Version(12),
            place: Place { partition: 0, offset: 7 },
            bytes: 2,
            learned: SystemTime::UNIX_EPOCH,
        });
        let records = envelope.records(&item, Some(b"{}"));
        assert_eq!(records.len(), 2);
        assert!(headers(&records[0]).contains(&"ce_id: u1/13".to_owned()));
        assert_eq!(records[0].value, Some(b"{}".as_slice()));
    }

    #[test]
    fn an_event_id_is_read_back() {
        assert_eq!(read_event_id(&event_id("a-b", Version(7))), Some(("a-b", Version(7))));
        assert_eq!(read_event_id("a-b"), None);
        assert_eq!(read_event_id("a-b/x"), None);
    }

    #[test]
    fn a_cluster_scoped_kind_and_the_core_group_have_plain_names() {
        let kind = Kind { group: String::new(), namespaced: false, ..todo() };
        assert_eq!(Envelope::new("c", &kind).source(), "/clusters/c/apis/v1/todos");
        assert_eq!(key(&Key { namespace: None, id: "x".into() }), "x");
    }
}
