//! The replica against a model of a store, its broadcast and a topic: partitions that are read in any order, transactions that become visible late,
//! comparisons, a store restored to the past, compaction, and readers that begin anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::followed::Followed;
use crate::kind::tests::todo;
use crate::ledger::position::Position;

const KEY: &str = "kab.c.*.todos.k8sasbackend.com";
const SOURCE: &str = "/clusters/c/apis/k8sasbackend.com/v1/todos";
const IDS: [&str; 4] = ["a", "b", "c", "d"];
const PARTITIONS: usize = 2;

#[derive(Debug, Clone)]
enum Action {
    Write(usize),
    Delete(usize),
    /// The store is restored to so many versions ago.
    Restore(u64),
    /// The broadcast lost its history: it compares.
    Lose,
    /// The broadcast sends so many changes, or the next step of a comparison; nothing of it is visible yet.
    Send(usize),
    /// The position becomes visible, and with it nothing but the position.
    Commit,
    /// So do the records of a partition.
    Mark(usize),
    Compact(usize),
    /// The reader begins anew.
    Begin,
    ReadPositions(usize),
    Read(usize, usize),
    /// The ends that it asked for are told.
    Ends,
}

/// A state of an entity: its uid, its version, and in which life of the store it was written.
type State = (u64, u64, u32);
type Present = BTreeMap<&'static str, State>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    State { met: bool },
    Deleted { found: bool },
    Tombstone,
}

#[derive(Debug, Clone)]
struct Written {
    id: &'static str,
    state: State,
    what: What,
}

#[derive(Default)]
struct Log {
    records: Vec<Option<Written>>,
    /// What is visible.
    stable: usize,
}

#[derive(Default)]
struct Model {
    life: u32,
    version: u64,
    present: Present,
    past: BTreeMap<(u32, u64), Present>,
    queue: Vec<(u64, Written)>,
    /// The broadcast has to compare; whether it has said so.
    compare: Option<bool>,
    logs: [Log; PARTITIONS],
    /// Version and life.
    positions: Vec<(Option<u64>, u32, Offsets)>,
    sending: Option<(Option<u64>, Offsets)>,
    reader: Option<Reader>,
    view: Followed,
    cuts: usize,
}

struct Reader {
    replica: Replica,
    positions: usize,
    /// How many there were at the beginning.
    begun: usize,
    read: [usize; PARTITIONS],
    asked: Option<Offsets>,
    /// The position of the last cut.
    shown: Option<usize>,
}

fn partition(id: &str) -> usize {
    usize::from(id > "b")
}

impl Model {
    fn change(&mut self, id: &'static str, exists: bool) {
        self.version += 1;
        let before = self.present.get(id).copied();
        let uid = before.map_or(u64::from(self.life) * 1_000_000 + self.version, |before| before.0);
        let state = (uid, self.version, self.life);
        let what = if exists {
            self.present.insert(id, state);
            What::State { met: false }
        } else {
            self.present.remove(id);
            What::Deleted { found: false }
        };
        self.queue.push((self.version, Written { id, state, what }));
        self.remember();
    }

    fn remember(&mut self) {
        self.past.insert((self.life, self.version), self.present.clone());
    }

    fn ends(&self) -> Offsets {
        (0..).zip(&self.logs).map(|(partition, log)| (partition, log.records.len() as i64)).collect()
    }

    fn append(&mut self, written: Written) {
        let log = &mut self.logs[partition(written.id)];
        let tombstone = matches!(written.what, What::Deleted { .. });
        log.records.push(Some(written.clone()));
        if tombstone {
            log.records.push(Some(Written { what: What::Tombstone, ..written }));
        }
    }

    fn send(&mut self, most: usize) {
        if self.sending.is_some() {
            return;
        }
        // The next transaction begins when the one before is visible everywhere.
        (0..PARTITIONS).for_each(|partition| self.mark(partition));
        let before = self.ends();
        match self.compare {
            Some(false) => {
                self.compare = Some(true);
                self.sending = Some((None, before));
            }
            Some(true) => {
                self.compare = None;
                self.queue.clear();
                for written in self.difference() {
                    self.append(written);
                }
                self.sending = Some((Some(self.version), before));
            }
            None => {
                let taken: Vec<_> = self.queue.drain(..most.min(self.queue.len())).collect();
                let last = taken.last().map_or(self.version, |(version, _)| *version);
                let version = if self.queue.is_empty() { self.version } else { last };
                taken.into_iter().for_each(|(_, written)| self.append(written));
                self.sending = Some((Some(version), before));
            }
        }
    }

    /// What makes the topic right again, as the ledger decides it.
    fn difference(&self) -> Vec<Written> {
        let mut told: BTreeMap<&'static str, Written> = BTreeMap::new();
        for written in self.logs.iter().flat_map(|log| log.records.iter().flatten()) {
            told.insert(written.id, written.clone());
        }
        told.retain(|_, written| matches!(written.what, What::State { .. }));
        let mut difference = Vec::new();
        for (id, written) in &told {
            if self.present.get(id).is_none_or(|state| state.0 != written.state.0) {
                let state = (written.state.0, written.state.1 + 1, written.state.2);
                difference.push(Written { id, state, what: What::Deleted { found: true } });
            }
        }
        for (id, state) in &self.present {
            if told.get(id).is_none_or(|written| written.state != *state) {
                difference.push(Written { id, state: *state, what: What::State { met: true } });
            }
        }
        difference
    }

    fn commit(&mut self) {
        if let Some((version, offsets)) = self.sending.take() {
            self.positions.push((version, self.life, offsets));
        }
    }

    fn mark(&mut self, partition: usize) {
        if self.sending.is_none() {
            self.logs[partition].stable = self.logs[partition].records.len();
        }
    }

    /// What is newer than what the reader shows is not compacted: it lies in the segment that is being written. (Compaction that overtakes a
    /// reader takes states away from it that it should have shown; the next cut is right again.)
    fn compact(&mut self, partition: usize) {
        let shown = |reader: &Reader| reader.shown.or(reader.begun.checked_sub(1));
        let last = self.reader.as_ref().map_or(self.positions.len().checked_sub(1), shown);
        let spoken = last.and_then(|last| self.positions.get(last));
        let end = spoken.map_or(0, |(_, _, offsets)| offsets[&(partition as i32)] as usize);
        let read = self.reader.as_ref().map_or(usize::MAX, |reader| reader.read[partition]);
        let mut seen = BTreeSet::new();
        for (offset, slot) in self.logs[partition].records[..end].iter_mut().enumerate().rev() {
            let Some(written) = slot else { continue };
            let newest = seen.insert(written.id);
            let forgotten = written.what == What::Tombstone && offset < read;
            if !newest || forgotten {
                *slot = None;
            }
        }
    }

    fn begin(&mut self) {
        let subject =
            Subject { cluster: "c".to_owned(), topic: "t".to_owned(), kind: Arc::new(todo()), namespace: None };
        let first = (0..PARTITIONS as i32).map(|partition| (partition, 0)).collect();
        let replica = Replica::new(subject, first, usize::MAX);
        self.reader = Some(Reader {
            replica,
            positions: 0,
            begun: self.positions.len(),
            read: [0; PARTITIONS],
            asked: None,
            shown: None,
        });
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Write(id) => self.change(IDS[id % IDS.len()], true),
            Action::Delete(id) => {
                let id = IDS[id % IDS.len()];
                if self.present.contains_key(id) {
                    self.change(id, false);
                }
            }
            Action::Restore(back) => {
                let to = self.version.saturating_sub(*back);
                let Some(present) = self.past.get(&(self.life, to)).cloned() else { return };
                // Another life: what was under way of the broadcast is told all the same, and then it compares.
                if self.sending.is_some() {
                    return;
                }
                (self.life, self.version, self.present) = (self.life + 1, to, present);
                self.queue.clear();
                self.compare = Some(false);
                self.remember();
            }
            Action::Lose if self.compare.is_none() => self.compare = Some(false),
            Action::Send(most) => self.send(*most),
            Action::Commit => self.commit(),
            Action::Mark(partition) => self.mark(partition % PARTITIONS),
            Action::Compact(partition) => self.compact(partition % PARTITIONS),
            Action::Begin => self.begin(),
            Action::ReadPositions(count) => self.read_positions(*count),
            Action::Read(partition, count) => self.read(partition % PARTITIONS, *count),
            Action::Ends => self.tell_ends(),
            Action::Lose => {}
        }
        self.look();
    }

    fn read_positions(&mut self, count: usize) {
        let Some(reader) = &mut self.reader else { return };
        for _ in 0..count {
            if let Some((version, _, offsets)) = self.positions.get(reader.positions) {
                let json = Position { version: version.map(Version), offsets: offsets.clone() }.to_json("t");
                let written = SystemTime::UNIX_EPOCH + Duration::from_secs(reader.positions as u64);
                reader.replica.position(KEY, Some(json.as_bytes()), written).unwrap();
                reader.positions += 1;
                // An answer to what was asked before this position says too little of a later one.
                reader.asked = None;
            }
            if reader.positions >= reader.begun {
                reader.replica.positions_read().unwrap();
            }
        }
    }

    fn read(&mut self, partition: usize, count: usize) {
        let Some(reader) = &mut self.reader else { return };
        let log = &self.logs[partition];
        for _ in 0..count.min(log.stable.saturating_sub(reader.read[partition])) {
            let offset = reader.read[partition];
            reader.read[partition] += 1;
            let place = Place { partition: partition as i32, offset: offset as i64 };
            let Some(Written { id, state: (uid, version, life), what }) = &log.records[offset] else {
                reader.replica.reach(place.partition, place.offset + 1);
                continue;
            };
            let (event, skipped) = match what {
                What::State { met: true } => ("snapshot", None),
                What::State { met: false } => ("updated", None),
                What::Deleted { found } => ("deleted", found.then_some("unknown")),
                What::Tombstone => ("", None),
            };
            let value = json(*uid, *version, *life);
            let told = *what != What::Tombstone;
            let record = Record {
                key: &format!("shop/{id}"),
                id: Some(&format!("{uid}/{version}")),
                event_type: Some(event),
                source: Some(SOURCE),
                skipped,
                value: told.then_some(value.as_bytes()),
                place,
            };
            reader.replica.take(&record).unwrap();
        }
    }

    fn tell_ends(&mut self) {
        let Some(reader) = &mut self.reader else { return };
        if let Some(mut ends) = reader.asked.take() {
            // Whoever asks waits for the answer, and reads nothing meanwhile.
            for (end, read) in ends.values_mut().zip(reader.read) {
                *end = (read as i64).max(*end);
            }
            reader.replica.ends(ends).unwrap();
        }
    }

    /// Takes what is shown, and checks it.
    fn look(&mut self) {
        let ends = self.ends();
        let Some(reader) = &mut self.reader else { return };
        if let Some(Cut { version, written, content }) = reader.replica.next_cut() {
            self.cuts += 1;
            match content {
                Content::Whole(all) => self.view.replace(version, all),
                Content::Changes(changes) => {
                    for delta in changes {
                        assert!(delta.entity.version > self.view.cache().version() && delta.entity.version <= version);
                        self.view.observe(&delta);
                    }
                    self.view.bookmark(version);
                }
            }
            let position = written.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as usize;
            let life = self.positions[position].1;
            let first = reader.shown.replace(position).is_none();
            // A first state may be that after a restore which the position does not know of yet: the next one does.
            if !first || life == self.life {
                self.check(life, version);
            }
        }
        let Some(reader) = &mut self.reader else { return };
        // The ends are those of the time of asking, which is never before it is wanted.
        if reader.replica.wants_ends() {
            reader.asked.get_or_insert(ends);
        } else {
            reader.asked = None;
        }
    }

    /// What is shown is what there was at that version; a deletion that came later may be shown already.
    fn check(&self, life: u32, version: Version) {
        assert_eq!(self.view.cache().version(), version);
        let truth = &self.past[&(life, version.0)];
        for entity in self.view.cache().range(None) {
            let (uid, version, life) = truth.get(&*entity.key.id).unwrap_or_else(|| panic!("{entity:?} is no more"));
            assert_eq!(entity.json, json(*uid, *version, *life).as_bytes());
        }
        for (id, (uid, ..)) in truth {
            let key = Key { namespace: Some("shop".into()), id: (*id).into() };
            let gone = self.present.get(id).is_none_or(|now| now.0 != *uid);
            assert!(gone || self.view.cache().find(&key).is_some(), "{id} is not shown");
        }
    }

    /// Everything is sent and read: then what is shown is what there is.
    fn finish(&mut self) {
        if self.reader.is_none() {
            self.begin();
        }
        for _ in 0..4 {
            for action in [Action::Commit, Action::Mark(0), Action::Mark(1), Action::Send(usize::MAX), Action::Commit] {
                self.act(&action);
            }
        }
        for _ in 0..4 {
            for action in [Action::Mark(0), Action::Mark(1), Action::ReadPositions(1_000), Action::Ends] {
                self.act(&action);
            }
            self.act(&Action::Read(0, usize::MAX));
            self.act(&Action::Read(1, usize::MAX));
        }
        let shown: BTreeMap<String, Vec<u8>> =
            self.view.cache().range(None).map(|entity| (entity.key.id.to_string(), entity.json.to_vec())).collect();
        let there = self
            .present
            .iter()
            .map(|(id, (uid, version, life))| (id.to_string(), json(*uid, *version, *life).into_bytes()));
        assert_eq!(shown, there.collect());
        assert!(self.cuts > 0);
    }
}

fn json(uid: u64, version: u64, life: u32) -> String {
    format!(r#"{{"uid":{uid},"life":{life},"meta":{{"version":"{version}"}}}}"#)
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => (0..4usize).prop_map(Action::Write),
        3 => (0..4usize).prop_map(Action::Delete),
        1 => (1..6u64).prop_map(Action::Restore),
        1 => Just(Action::Lose),
        6 => (1..4usize).prop_map(Action::Send),
        6 => Just(Action::Commit),
        4 => (0..2usize).prop_map(Action::Mark),
        1 => (0..2usize).prop_map(Action::Compact),
        1 => Just(Action::Begin),
        5 => (1..4usize).prop_map(Action::ReadPositions),
        9 => (0..2usize, 1..6usize).prop_map(|(partition, count)| Action::Read(partition, count)),
        5 => Just(Action::Ends),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_cut_is_the_state_at_its_version_and_the_last_one_is_the_present(actions in proptest::collection::vec(action(), 0..150)) {
        let mut model = Model::default();
        model.remember();
        for action in &actions {
            model.act(action);
        }
        model.finish();
    }
}
