//! Which entity is to be deleted next because its `meta.expiresAt` has come.
//!
//! Owns the timetable of one kind and scope, with the wall clock as an argument. It never deletes; `sidecar/src/expirer.rs` does.

use std::collections::{BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use crate::backoff::Backoff;
use crate::entity::{Entity, Key};
use crate::mapping;

/// Between tries of a deletion that fails.
const AGAIN: Backoff = Backoff { base: std::time::Duration::from_secs(1), max: std::time::Duration::from_secs(300) };

/// The entities that expire, by when.
#[derive(Debug, Default)]
pub struct Timetable {
    due: BTreeSet<(Timestamp, Key)>,
    entries: HashMap<Key, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    /// When to try.
    at: Timestamp,
    failures: u32,
}

/// When an entity expires, if it does.
pub fn of(entity: &Entity) -> Option<Timestamp> {
    // What was written here was checked; whoever writes the annotation by other means may write anything.
    mapping::expiry(entity).and_then(|text| text.parse().ok())
}

impl Timetable {
    /// An entity, as it is now. One that is being deleted has nothing to wait for any more.
    pub fn observe(&mut self, entity: &Entity) {
        self.forget(&entity.key);
        if let Some(at) = of(entity).filter(|_| !entity.deleting) {
            self.put(entity.key.clone(), Entry { at, failures: 0 });
        }
    }

    /// The entity is gone.
    pub fn forget(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.due.remove(&(entry.at, key.clone()));
        }
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// One that is due; it stays until it is seen gone, changed, or postponed.
    pub fn due(&self, now: Timestamp) -> Option<&Key> {
        self.due.first().filter(|(at, _)| *at <= now).map(|(_, key)| key)
    }

    /// It could not be deleted, or it was and is to be seen gone: it is tried again after a while. `jitter` is a random number in 0..1.
    pub fn postpone(&mut self, key: &Key, now: Timestamp, jitter: f64) {
        let Some(Entry { failures, .. }) = self.entries.get(key).copied() else { return };
        self.forget(key);
        let failures = failures.saturating_add(1);
        let wait = SignedDuration::try_from(AGAIN.delay(failures, jitter)).unwrap_or(SignedDuration::MAX);
        let at = now.checked_add(wait).unwrap_or(Timestamp::MAX);
        self.put(key.clone(), Entry { at, failures });
    }

    /// How many expire.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn put(&mut self, key: Key, entry: Entry) {
        self.due.insert((entry.at, key.clone()));
        self.entries.insert(key, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::todo;

    fn entity(id: &str, expires_at: &str, more: &str) -> Entity {
        let object = format!(
            r#"{{"metadata":{{"name":"{id}","namespace":"shop","uid":"u","resourceVersion":"7"{more},
            "annotations":{{"k8sasbackend.com/expires-at":"{expires_at}"}}}},"spec":{{"message":"m"}}}}"#
        );
        mapping::entity(&todo(), object.as_bytes()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn what_expires_is_due_in_its_order_and_not_before() {
        let mut table = Timetable::default();
        table.observe(&entity("b", "2026-01-01T00:00:02Z", ""));
        table.observe(&entity("a", "2026-01-01T01:00:01+01:00", ""));
        table.observe(&entity("never", "soon", ""));
        assert_eq!((table.len(), table.next()), (2, Some(at("2026-01-01T00:00:01Z"))));
        assert_eq!(table.due(at("2026-01-01T00:00:00.9Z")), None);
        let first = table.due(at("2026-01-01T00:00:02Z")).cloned().unwrap();
        assert_eq!(&*first.id, "a");
        table.forget(&first);
        assert_eq!(table.due(at("2026-01-01T00:00:02Z")).map(|key| &*key.id), Some("b"));
    }

    #[test]
    fn a_later_time_takes_the_place_of_an_earlier_one_and_none_takes_it_off() {
        let mut table = Timetable::default();
        table.observe(&entity("a", "2026-01-01T00:00:01Z", ""));
        table.observe(&entity("a", "2026-01-01T00:00:09Z", ""));
        assert_eq!(table.due(at("2026-01-01T00:00:05Z")), None);
        table.observe(&entity("a", "", ""));
        assert!(table.is_empty() && table.next().is_none());
        table.observe(&entity("a", "2026-01-01T00:00:01Z", r#","deletionTimestamp":"2026-01-01T00:00:00Z""#));
        assert!(table.is_empty(), "it is going already");
    }

    #[test]
    fn one_that_cannot_be_deleted_is_tried_again_and_lets_others_pass() {
        let mut table = Timetable::default();
        table.observe(&entity("a", "2026-01-01T00:00:01Z", ""));
        table.observe(&entity("b", "2026-01-01T00:00:02Z", ""));
        let now = at("2026-01-01T00:00:03Z");
        let stuck = table.due(now).cloned().unwrap();
        table.postpone(&stuck, now, 1.0);
        assert_eq!(table.due(now).map(|key| &*key.id), Some("b"));
        assert!(table.due(at("2026-01-01T00:00:04Z")).is_some());
        for _ in 0..40 {
            table.postpone(&stuck, now, 1.0);
        }
        table.forget(&table.due(now).cloned().unwrap());
        assert_eq!(table.next(), Some(at("2026-01-01T00:05:03Z")), "never rarer than every five minutes");
    }
}
