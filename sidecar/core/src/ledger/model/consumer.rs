//! What a consumer of the model's topic sees, and what of it breaks a promise.
//!
//! Knows the writer's history, which a consumer does not; never looks into a ledger.

use std::collections::{BTreeMap, HashMap, HashSet};

use contract::record::Event;

use super::{Delivery, State};
use crate::envelope;
use crate::version::Version;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Record {
    pub(super) key: String,
    pub(super) id: Option<String>,
    pub(super) event_type: Option<String>,
    pub(super) skipped: Option<String>,
    pub(super) value: Option<Vec<u8>>,
}

impl Record {
    pub(super) fn told(&self) -> Option<(&str, Version)> {
        self.id.as_deref().and_then(envelope::read_event_id)
    }

    pub(super) fn event(&self) -> Option<Event> {
        self.event_type.as_deref().and_then(Event::of_type)
    }
}

impl State {
    /// What a consumer sees that was promised not to be.
    pub(super) fn wrong(&self, delivery: Delivery) -> Option<&'static str> {
        let mut last: HashMap<&str, &Record> = HashMap::new();
        let mut ids = HashSet::new();
        let exactly = delivery == Delivery::Exactly;
        for record in &self.topic {
            let before = last.insert(&record.key, record);
            let Some((uid, version)) = record.told() else {
                if before.and_then(Record::event) != Some(Event::Deleted) && (exactly || before.is_none()) {
                    return Some("a tombstone without a deletion");
                }
                continue;
            };
            if !ids.insert((uid, version)) {
                if exactly {
                    return Some("a change is told twice");
                }
                continue;
            }
            if let Some((before_uid, before)) = before.and_then(Record::told) {
                if before_uid != uid {
                    return Some("a life is told before the end of the one before it");
                }
                if version <= before {
                    return Some("versions go back");
                }
            }
            if let Some(wrong) = self.wrong_count(record, before, exactly) {
                return Some(wrong);
            }
        }
        None
    }

    /// Whether `kab_skipped` says how many versions were passed over.
    fn wrong_count(&self, record: &Record, before: Option<&Record>, exactly: bool) -> Option<&'static str> {
        let (uid, version) = record.told()?;
        let after = before.and_then(Record::told).map(|(_, version)| version);
        let first = after.is_none();
        let passed = self
            .history
            .iter()
            .map(|delta| &delta.entity)
            .filter(|entity| &*entity.uid == uid && entity.version < version && Some(entity.version) > after)
            .count();
        match (record.skipped.as_deref(), record.event()) {
            (Some("unknown"), _) if !self.gap => Some("a gap where there was none"),
            (Some("unknown"), _) => None,
            (None, Some(Event::Snapshot)) if first => {
                let listed = self.history.iter().map(|delta| &delta.entity).filter(|entity| {
                    &*entity.uid == uid && self.listed.is_some_and(|listed| entity.version.0 <= listed)
                });
                let expected = listed.map(|entity| entity.version).max();
                (!self.gap && expected != Some(version)).then_some("a first state that was not the one that existed")
            }
            (_, Some(Event::Updated)) if first && exactly => Some("a life without a beginning"),
            (told, _) => {
                let told = told.map_or(Some(0), |told| told.parse().ok());
                (told != Some(passed)).then_some("a wrong number of versions that were passed over")
            }
        }
    }

    /// What of the present state a consumer does not know.
    pub(super) fn missing(&self) -> Option<&'static str> {
        let mut last: BTreeMap<&str, &Record> = BTreeMap::new();
        for record in &self.topic {
            last.insert(&record.key, record);
        }
        for entity in self.live.values() {
            let told = last.remove(envelope::key(&entity.key).as_str()).and_then(Record::told);
            if told != Some((&entity.uid, entity.version)) {
                return Some("a last state is missing");
            }
        }
        if last.values().any(|record| record.value.is_some()) {
            return Some("a tombstone is missing");
        }
        let told = self.position.as_ref().and_then(|position| position.version);
        (told != Some(Version(self.version))).then_some("the position is behind")
    }
}
