//! What one record of the topic says to a cache: a state of an entity, its deletion, or only that its key is gone.
//!
//! Owns the reading of our own records, and only of ours: another cluster's, kind's or namespace's are passed over, and remembered by their source for
//! people who have named the wrong topic. The opposite of [`crate::envelope`]. Never decides what counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use contract::record::{self, Event};
use serde::Deserialize;

use super::Fault;
use crate::entity::{Entity, Key};
use crate::envelope::{Envelope, read_event_id};
use crate::kind::Kind;
use crate::ledger::batch::Place;
use crate::marks::Marks;

/// Other sources are named to people: a few of them are enough.
const STRANGERS: usize = 3;

/// A record as it was read, borrowed from the consumer.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its key.
    pub key: &'a str,
    /// `ce_id`, where present.
    pub id: Option<&'a str>,
    /// `ce_type`, where present.
    pub event_type: Option<&'a str>,
    /// `ce_source`, where present.
    pub source: Option<&'a str>,
    /// `kab_skipped`, where present.
    pub skipped: Option<&'a str>,
    /// Its value; absent for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Where it lies.
    pub place: Place,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// The entity exists in this state.
    State {
        entity: Arc<Entity>,
        /// It was met in a list: what was known before does not count.
        met: bool,
    },
    /// It is gone; this was its last state, with the version of the deletion.
    Deleted {
        entity: Arc<Entity>,
        /// It was found to be gone by comparing, so that its version was made up.
        found: bool,
    },
    /// The key is gone.
    Tombstone(Key),
}

impl Told {
    pub(super) fn key(&self) -> &Key {
        match self {
            Self::State { entity, .. } | Self::Deleted { entity, .. } => &entity.key,
            Self::Tombstone(key) => key,
        }
    }

    pub(super) fn entity(&self) -> Option<&Arc<Entity>> {
        match self {
            Self::State { entity, .. } | Self::Deleted { entity, .. } => Some(entity),
            Self::Tombstone(_) => None,
        }
    }

    /// What keeping it costs.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.entity().map_or(0, |entity| entity.footprint())
    }
}

/// Which records are ours.
#[derive(Debug)]
pub(super) struct Ours {
    source: String,
    namespaced: bool,
    namespace: Option<Arc<str>>,
    strangers: BTreeSet<String>,
}

/// What of the business shape the cache keeps beside the bytes.
#[derive(Deserialize)]
struct Shape {
    meta: Meta,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    labels: BTreeMap<Box<str>, Box<str>>,
    #[serde(default)]
    deleting: bool,
}

impl Ours {
    pub(super) fn new(cluster: &str, kind: &Kind, namespace: Option<Arc<str>>) -> Self {
        let source = Envelope::new(cluster, kind).source().to_owned();
        Self { source, namespaced: kind.namespaced, namespace, strangers: BTreeSet::new() }
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Some of the sources that the topic has beside ours.
    pub(super) fn strangers(&self) -> impl Iterator<Item = &str> {
        self.strangers.iter().map(String::as_str)
    }

    /// What a record says, if it is one of ours.
    pub(super) fn read(&mut self, record: &Record<'_>) -> Result<Option<Told>, Fault> {
        let Some(key) = self.key(record.key) else { return Ok(None) };
        let Some(value) = record.value else { return Ok(Some(Told::Tombstone(key))) };
        let (Some(source), Some(event)) = (record.source, record.event_type.and_then(Event::of_type)) else {
            return Ok(None);
        };
        if source != self.source {
            if self.strangers.len() < STRANGERS && !self.strangers.contains(source) {
                self.strangers.insert(source.to_owned());
            }
            return Ok(None);
        }
        let unreadable = |why: String| Fault::Unreadable { place: record.place, why };
        let id = record.id.and_then(read_event_id);
        let (uid, version) = id.ok_or_else(|| unreadable("its ce_id is not UID/VERSION".to_owned()))?;
        let Shape { meta } = serde_json::from_slice(value).map_err(|error| unreadable(error.to_string()))?;
        let entity = Arc::new(Entity {
            key,
            version,
            uid: uid.into(),
            labels: meta.labels.into_iter().collect(),
            deleting: meta.deleting,
            // The record does not tell. A write that relies on it and meets none is made again with the entity as the API server has it.
            annotated: true,
            // A record does not tell; who reconciles has the watch.
            marks: Marks::default(),
            json: Bytes::copy_from_slice(value),
        });
        Ok(Some(match event {
            Event::Deleted => Told::Deleted { entity, found: record.skipped == Some(record::SKIPPED_UNKNOWN) },
            Event::Created | Event::Updated => Told::State { entity, met: false },
            Event::Snapshot => Told::State { entity, met: true },
        }))
    }

    /// The key of an entity in our scope.
    fn key(&self, text: &str) -> Option<Key> {
        let (namespace, id) = match text.split_once('/') {
            Some((namespace, id)) if self.namespaced => (Some(namespace), id),
            None if !self.namespaced => (None, text),
            _ => return None,
        };
        let namespace = match (&self.namespace, namespace) {
            (Some(ours), Some(namespace)) if **ours == *namespace => Some(Arc::clone(ours)),
            (Some(_), _) => return None,
            (None, namespace) => namespace.map(Arc::from),
        };
        Some(Key { namespace, id: Arc::from(id) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::todo;
    use crate::version::Version;

    const JSON: &[u8] = br#"{"id":"milk","message":"buy","meta":{"version":"12","generation":1,"uid":"u1","namespace":"shop","createdAt":"","expiresAt":null,"labels":{"b":"2","a":"1"},"deleting":true}}"#;

    fn record<'a>(key: &'a str, event: &'a str, value: Option<&'a [u8]>) -> Record<'a> {
        Record {
            key,
            id: Some("u1/12"),
            event_type: Some(event),
            source: Some("/clusters/c/apis/k8sasbackend.com/v1/todos"),
            skipped: None,
            value,
            place: Place { partition: 0, offset: 7 },
        }
    }

    fn ours(namespace: Option<&str>) -> Ours {
        Ours::new("c", &todo(), namespace.map(Arc::from))
    }

    #[test]
    fn a_state_has_the_record_s_bytes_and_what_decisions_need_of_them() {
        let told = ours(None).read(&record("shop/milk", "com.k8sasbackend.v1.todo.updated", Some(JSON))).unwrap();
        let Some(Told::State { entity, met: false }) = told else { panic!("{told:?}") };
        assert_eq!(entity.key, Key { namespace: Some("shop".into()), id: "milk".into() });
        assert_eq!((entity.version, &*entity.uid, entity.deleting), (Version(12), "u1", true));
        assert_eq!(*entity.labels, [("a".into(), "1".into()), ("b".into(), "2".into())]);
        assert_eq!(&*entity.json, JSON);
    }

    #[test]
    fn a_deletion_has_the_version_of_its_id_and_says_whether_somebody_saw_it() {
        let deleted = |skipped| Record {
            id: Some("u1/13"),
            skipped,
            ..record("shop/milk", "com.k8sasbackend.v1.todo.deleted", Some(JSON))
        };
        for (skipped, expected) in [(None, false), (Some("3"), false), (Some("unknown"), true)] {
            let told = ours(Some("shop")).read(&deleted(skipped)).unwrap();
            let Some(Told::Deleted { entity, found }) = told else { panic!("{told:?}") };
            assert_eq!((entity.version, found), (Version(13), expected));
        }
    }

    #[test]
    fn what_is_not_ours_is_passed_over_and_other_sources_are_remembered() {
        let mut ours = ours(Some("shop"));
        let updated = "com.k8sasbackend.v1.todo.updated";
        for passed in [
            record("bar/milk", updated, Some(JSON)),
            record("milk", updated, Some(JSON)),
            record("shop/milk", "order.placed", Some(JSON)),
            Record { source: None, ..record("shop/milk", updated, Some(JSON)) },
            Record { source: Some("/clusters/d"), ..record("shop/milk", updated, Some(b"no JSON")) },
        ] {
            assert_eq!(ours.read(&passed), Ok(None), "{passed:?}");
        }
        assert_eq!(ours.strangers().collect::<Vec<_>>(), ["/clusters/d"]);
        let told = ours.read(&record("shop/milk", "", None)).unwrap();
        assert!(matches!(told, Some(Told::Tombstone(key)) if *key.id == *"milk"));
    }

    #[test]
    fn a_record_of_ours_that_cannot_be_read_is_a_fault_and_not_passed_over() {
        let updated = "com.k8sasbackend.v1.todo.updated";
        let place = Place { partition: 0, offset: 7 };
        for record in [
            record("shop/milk", updated, Some(b"{}")),
            record("shop/milk", updated, Some(b"")),
            Record { id: Some("u1"), ..record("shop/milk", updated, Some(JSON)) },
        ] {
            let fault = ours(None).read(&record).unwrap_err();
            assert!(matches!(fault, Fault::Unreadable { place: at, .. } if at == place), "{record:?}");
        }
    }

    #[test]
    fn a_cluster_scoped_kind_has_keys_without_a_namespace() {
        let mut ours = Ours::new("c", &Kind { namespaced: false, ..todo() }, None);
        let updated = "com.k8sasbackend.v1.todo.updated";
        let told = ours.read(&record("milk", updated, Some(JSON))).unwrap();
        assert!(matches!(told, Some(Told::State { entity, .. }) if entity.key.namespace.is_none()));
        assert_eq!(ours.read(&record("shop/milk", updated, Some(JSON))), Ok(None));
    }
}
