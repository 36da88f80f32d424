//! The table and its counts: what the records add up to. Pure: no Kafka, no HTTP, no clock.
//!
//! It applies every record as it comes and corrects nothing: "nothing twice, in order" is the topic's promise, and the
//! counts here are how a reader sees whether it is kept.

use std::collections::{BTreeMap, HashMap, VecDeque};

use serde::Serialize;

use super::record::{Event, Meaning, Record};
use crate::todo::Todo;

/// How many versions of each key are remembered, to tell a repetition from a late record. Both are counted, so that a longer
/// memory would change the words but not the verdict.
const VERSIONS_REMEMBERED: usize = 16;
/// How many complaints are kept, the first ones.
const COMPLAINTS: usize = 20;

/// The table.
#[derive(Debug)]
pub struct Table {
    todos: BTreeMap<String, Todo>,
    seen: HashMap<String, Seen>,
    records: VecDeque<Numbered>,
    keep: usize,
    counts: Counts,
    complaints: Vec<String>,
}

/// A record with its number in the order of arrival.
#[derive(Debug, Clone, Serialize)]
pub struct Numbered {
    /// Counts from 1 since the last start from the topic's beginning.
    pub number: u64,
    /// The record.
    #[serde(flatten)]
    pub record: Record,
}

/// What has been counted since the last start from the topic's beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// All records, tombstones among them.
    pub records: u64,
    /// Records of each event.
    pub created: u64,
    /// Same.
    pub updated: u64,
    /// Same.
    pub deleted: u64,
    /// Same.
    pub snapshots: u64,
    /// Records without a value.
    pub tombstones: u64,
    /// Records that told what was told before. Promised to be none.
    pub repeats: u64,
    /// Records with a version below the key's last one, not known as repetition. Promised to be none.
    pub out_of_order: u64,
    /// Versions that the records say were passed over (`kab_skipped`).
    pub skipped: u64,
    /// Records that follow a gap of unknown size (`kab_skipped: unknown`).
    pub gaps: u64,
    /// Records that are no CloudEvents about todos.
    pub unreadable: u64,
}

#[derive(Debug, Default)]
struct Seen {
    versions: VecDeque<u64>,
    tombstone_was_last: bool,
}

impl Table {
    /// An empty table that keeps the last `keep` records to look at.
    pub fn new(keep: usize) -> Self {
        Self {
            todos: BTreeMap::new(),
            seen: HashMap::new(),
            records: VecDeque::new(),
            keep,
            counts: Counts::default(),
            complaints: Vec::new(),
        }
    }

    /// Applies the next record of its partition.
    pub fn apply(&mut self, record: Record) {
        self.counts.records += 1;
        let meaning = record.meaning();
        if let Some(complaint) = self.judge(&record, &meaning) {
            tracing::warn!(partition = record.partition, offset = record.offset, complaint, "a promise is broken");
            if self.complaints.len() < COMPLAINTS {
                self.complaints.push(format!("{}@{} {}: {complaint}", record.partition, record.offset, record.key));
            }
        }
        match record.header("kab_skipped") {
            None => {}
            Some(skipped) => match skipped.parse::<u64>() {
                Ok(skipped) => self.counts.skipped += skipped,
                Err(_) => self.counts.gaps += 1,
            },
        }
        match meaning {
            Meaning::Is(todo, event) => {
                *match event {
                    Event::Created => &mut self.counts.created,
                    Event::Updated => &mut self.counts.updated,
                    Event::Snapshot => &mut self.counts.snapshots,
                } += 1;
                self.todos.insert(record.key.clone(), *todo);
            }
            Meaning::Deleted => {
                self.counts.deleted += 1;
                self.todos.remove(&record.key);
            }
            Meaning::Tombstone => {
                self.counts.tombstones += 1;
                self.todos.remove(&record.key);
            }
            Meaning::Unreadable(_) => {}
        }
        if self.records.len() >= self.keep {
            self.records.pop_front();
        }
        self.records.push_back(Numbered { number: self.counts.records, record });
    }

    /// Counts what must not be, and says it.
    fn judge(&mut self, record: &Record, meaning: &Meaning) -> Option<String> {
        let seen = self.seen.entry(record.key.clone()).or_default();
        let tombstone_was_last = std::mem::replace(&mut seen.tombstone_was_last, *meaning == Meaning::Tombstone);
        let version = match meaning {
            Meaning::Unreadable(why) => {
                self.counts.unreadable += 1;
                return Some(why.clone());
            }
            // A tombstone tells no change of its own: it follows the record of the deletion, or stands alone where that
            // one has been compacted away.
            Meaning::Tombstone if tombstone_was_last => {
                self.counts.repeats += 1;
                return Some("a second tombstone".to_owned());
            }
            Meaning::Tombstone => return None,
            Meaning::Is(..) | Meaning::Deleted => record.version(),
        };
        let Some(version) = version else {
            self.counts.unreadable += 1;
            return Some("ce_id has no version".to_owned());
        };
        if seen.versions.contains(&version) {
            self.counts.repeats += 1;
            return Some(format!("version {version} was told before"));
        }
        if let Some(&last) = seen.versions.back()
            && version < last
        {
            self.counts.out_of_order += 1;
            return Some(format!("version {version} comes after {last}"));
        }
        if seen.versions.len() >= VERSIONS_REMEMBERED {
            seen.versions.pop_front();
        }
        seen.versions.push_back(version);
        None
    }

    /// The todos by `NAMESPACE/ID`.
    pub fn todos(&self) -> &BTreeMap<String, Todo> {
        &self.todos
    }

    /// The kept records behind number `after`.
    pub fn records_after(&self, after: u64) -> Vec<Numbered> {
        self.records.iter().filter(|record| record.number > after).cloned().collect()
    }

    /// The counts.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The first records that broke a promise, and how.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Forgets everything, to be filled from the topic's beginning.
    pub fn start_over(&mut self) {
        *self = Self::new(self.keep);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `TYPE VERSION`, or `tombstone`, about `shop/a`.
    fn record(text: &str) -> Record {
        let (event, version) = text.split_once(' ').unwrap_or((text, ""));
        let value = json!({
            "id": "a", "when": "2030-01-01T00:00:00Z", "message": text,
            "meta": { "version": version, "createdAt": "2026-01-01T00:00:00Z" }
        });
        let headers = [
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", format!("u/{version}")),
            ("ce_type", format!("x.{event}")),
        ];
        Record {
            partition: 0,
            offset: 0,
            key: "shop/a".to_owned(),
            headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            value: (event != "tombstone").then_some(value),
        }
    }

    fn table(records: &[&str]) -> Table {
        let mut table = Table::new(3);
        records.iter().for_each(|text| table.apply(record(text)));
        table
    }

    #[test]
    fn records_add_up_to_the_last_state() {
        let grown = table(&["created 1", "updated 2", "snapshot 9"]);
        assert_eq!(grown.todos()["shop/a"].spec.message, "snapshot 9");
        assert_eq!(*grown.counts(), Counts { records: 3, created: 1, updated: 1, snapshots: 1, ..Counts::default() });
        let gone = table(&["created 1", "deleted 2"]);
        assert!(gone.todos().is_empty());
        let counts = Counts { records: 4, created: 2, deleted: 1, tombstones: 1, ..Counts::default() };
        assert_eq!(*table(&["created 1", "deleted 2", "tombstone", "created 3"]).counts(), counts);
    }

    #[test]
    fn a_tombstone_alone_removes_too() {
        let table = table(&["created 1", "tombstone"]);
        assert!(table.todos().is_empty() && table.complaints().is_empty());
    }

    #[track_caller]
    fn broken(records: &[&str], repeats: u64, out_of_order: u64) {
        let table = table(records);
        assert_eq!((table.counts().repeats, table.counts().out_of_order), (repeats, out_of_order), "{records:?}");
        assert_eq!(table.complaints().len() as u64, repeats + out_of_order, "{:?}", table.complaints());
    }

    #[test]
    fn broken_promises_are_counted() {
        broken(&["created 1", "updated 2", "deleted 3", "tombstone", "created 4"], 0, 0);
        broken(&["created 1", "created 1"], 1, 0);
        broken(&["created 1", "updated 2", "created 1", "updated 2"], 2, 0);
        broken(&["updated 2", "created 1"], 0, 1);
        broken(&["deleted 3", "tombstone", "deleted 3", "tombstone"], 1, 0);
        broken(&["deleted 3", "tombstone", "tombstone"], 1, 0);
        broken(&["created 10", "updated 9"], 0, 1);
    }

    #[test]
    fn a_repetition_beyond_memory_still_is_a_broken_promise() {
        let long: Vec<String> = (1..=30).map(|version| format!("updated {version}")).collect();
        let mut table = table(&long.iter().map(String::as_str).collect::<Vec<_>>());
        table.apply(record("updated 1"));
        assert_eq!((table.counts().repeats, table.counts().out_of_order), (0, 1));
    }

    #[test]
    fn skipped_versions_are_added_up_and_gaps_counted() {
        let mut table = Table::new(9);
        for (version, skipped) in [(1, "2"), (4, "unknown"), (8, "3")] {
            let mut record = record(&format!("updated {version}"));
            record.headers.insert("kab_skipped".to_owned(), skipped.to_owned());
            table.apply(record);
        }
        assert_eq!((table.counts().skipped, table.counts().gaps), (5, 1));
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_changes_nothing() {
        let table = table(&["created 1", "exploded 2", "updated"]);
        assert_eq!(table.counts().unreadable, 2);
        let table = self::table(&["created 1", "exploded 2"]);
        assert_eq!(table.todos()["shop/a"].spec.message, "created 1");
    }

    #[test]
    fn the_last_records_are_kept_and_numbered() {
        let table = table(&["created 1", "updated 2", "updated 3", "updated 4"]);
        let numbers = |after| table.records_after(after).iter().map(|record| record.number).collect::<Vec<_>>();
        assert_eq!((numbers(0), numbers(3), numbers(4)), (vec![2, 3, 4], vec![4], vec![]));
    }
}
