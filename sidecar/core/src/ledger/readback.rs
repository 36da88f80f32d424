//! What the topic shows: for each key its last record, by key, version and a digest; never the bodies.
//!
//! Owns the reading of our own records, and only of ours: another cluster's, another kind's or another namespace's are passed
//! over. Never consumes: the bridge's reader feeds it record by record.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};

use contract::record::Event;

use crate::envelope::read_event_id;
use crate::ledger::batch::Place;
use crate::version::Version;

/// Whether an entity lives, by its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Life {
    /// Created, updated or met.
    Alive,
    /// Told as deleted; the tombstone is missing.
    Deleted,
    /// Told as deleted, with its tombstone.
    Gone,
}

/// The last record of a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Known {
    /// Its uid.
    pub uid: Box<str>,
    /// Its version.
    pub version: Version,
    /// Whether it lives.
    pub life: Life,
    /// Of the record's value: tells two states apart that an etcd restored to the past has given the same version.
    pub digest: u64,
    /// Where the record lies.
    pub place: Place,
    /// Size of its value.
    pub bytes: usize,
}

/// What was read, by record key.
pub type Readings = BTreeMap<String, Known>;

/// A record as read, borrowed from the consumer.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// Its key.
    pub key: &'a str,
    /// `ce_id`, where present.
    pub id: Option<&'a str>,
    /// `ce_type`, where present.
    pub event_type: Option<&'a str>,
    /// `ce_source`, where present.
    pub source: Option<&'a str>,
    /// Its value; absent for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Where it lies.
    pub place: Place,
}

/// Folds records into what they leave.
#[derive(Debug)]
pub struct Readback {
    source: String,
    prefix: Option<String>,
    keep_gone: bool,
    readings: Readings,
}

impl Readback {
    /// For the whole topic: what is gone is forgotten. `scope` is a namespace, or `*`.
    pub fn whole(source: &str, scope: &str) -> Self {
        Self::new(source, scope, false)
    }

    /// For the topic from a position on: what is gone is what was told as gone since.
    pub fn since(source: &str, scope: &str) -> Self {
        Self::new(source, scope, true)
    }

    fn new(source: &str, scope: &str, keep_gone: bool) -> Self {
        let prefix = (scope != "*").then(|| format!("{scope}/"));
        Self { source: source.to_owned(), prefix, keep_gone, readings: Readings::new() }
    }

    /// Takes the next record of its partition.
    pub fn take(&mut self, record: Reading<'_>) {
        if self.prefix.as_ref().is_some_and(|prefix| !record.key.starts_with(prefix.as_str())) {
            return;
        }
        let Some(value) = record.value else {
            match self.readings.get_mut(record.key) {
                Some(known) if self.keep_gone => known.life = Life::Gone,
                Some(_) => drop(self.readings.remove(record.key)),
                None => {}
            }
            return;
        };
        let (Some(id), Some(event)) = (record.id.and_then(read_event_id), record.event_type.and_then(Event::of_type))
        else {
            return;
        };
        if record.source != Some(self.source.as_str()) {
            return;
        }
        let (uid, version) = id;
        let known = Known {
            uid: uid.into(),
            version,
            life: if event == Event::Deleted { Life::Deleted } else { Life::Alive },
            digest: digest(value),
            place: record.place,
            bytes: value.len(),
        };
        self.readings.insert(record.key.to_owned(), known);
    }

    /// What the topic shows.
    pub fn done(self) -> Readings {
        self.readings
    }
}

/// Of an entity's JSON; compared only within one process.
pub fn digest(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "/clusters/c/apis/g/v1/todos";

    fn record<'a>(key: &'a str, id: &'a str, event_type: &'a str, value: Option<&'a [u8]>) -> Reading<'a> {
        let place = Place { partition: 0, offset: 1 };
        Reading { key, id: Some(id), event_type: Some(event_type), source: Some(OURS), value, place }
    }

    fn tombstone(key: &str) -> Reading<'_> {
        Reading { id: None, event_type: None, source: None, ..record(key, "", "", None) }
    }

    #[test]
    fn the_last_record_of_a_key_counts() {
        let mut readback = Readback::whole(OURS, "*");
        readback.take(record("a/x", "u/1", "g.v1.todo.created", Some(b"1")));
        readback.take(record("a/x", "u/2", "g.v1.todo.updated", Some(b"22")));
        readback.take(record("a/y", "w/3", "g.v1.todo.deleted", Some(b"3")));
        let readings = readback.done();
        assert_eq!(readings["a/x"].version, Version(2));
        assert_eq!((readings["a/x"].life, readings["a/x"].bytes), (Life::Alive, 2));
        assert_eq!(readings["a/y"].life, Life::Deleted);
    }

    #[test]
    fn a_tombstone_ends_a_key_or_is_remembered_when_reading_on() {
        for (mut readback, life) in [(Readback::whole(OURS, "*"), None), (Readback::since(OURS, "*"), Some(Life::Gone))]
        {
            readback.take(record("a/x", "u/1", "g.v1.todo.deleted", Some(b"1")));
            readback.take(tombstone("a/x"));
            readback.take(tombstone("a/never"));
            assert_eq!(readback.done().get("a/x").map(|known| known.life), life);
        }
    }

    #[test]
    fn what_is_not_ours_is_passed_over() {
        let mut readback = Readback::whole(OURS, "a");
        readback.take(record("b/x", "u/1", "g.v1.todo.created", Some(b"1")));
        readback.take(Reading { source: Some("/clusters/d"), ..record("a/x", "u/1", "g.v1.todo.created", Some(b"1")) });
        readback.take(Reading { id: None, ..record("a/y", "", "g.v1.todo.created", Some(b"1")) });
        readback.take(record("a/z", "u/1", "order.placed", Some(b"1")));
        assert!(readback.done().is_empty());
    }
}
