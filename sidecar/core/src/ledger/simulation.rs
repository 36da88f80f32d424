//! An API server, a topic and a process between them that may die: what the tests of the ledger run in.
//!
//! Owns the faults that a test can ask for and the check of what is promised. Used by tests alone.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::*;
use crate::entity::Entity;
use crate::envelope::Envelope;
use crate::ledger::batch::Place;
use crate::ledger::readback::{Readback, Reading};
use crate::ledger::testing::{entity, todo};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Exactly,
    AtLeast,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) key: String,
    pub(crate) headers: BTreeMap<&'static str, String>,
    pub(crate) value: Option<Vec<u8>>,
}

impl Told {
    pub(crate) fn event(&self) -> Option<Event> {
        self.headers.get("ce_type").and_then(|name| Event::of_type(name))
    }

    pub(crate) fn id(&self) -> Option<(&str, Version)> {
        self.headers.get("ce_id").and_then(|id| envelope::read_event_id(id))
    }

    pub(crate) fn show(&self) -> String {
        let Some((uid, version)) = self.id() else { return format!("tombstone {}", self.key) };
        let skipped = self.headers.get("kab_skipped").map(|skipped| format!(" +{skipped}")).unwrap_or_default();
        format!("{} {} {uid}/{version}{skipped}", self.event().map_or("?", Event::name), self.key)
    }
}

/// How a Kafka call ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    Fine,
    /// Nothing was written.
    Refused(Failure),
    /// All was written, and nobody knows.
    Unheard,
    /// At least once: so many records were written, and no position.
    Part(usize),
}

/// An API server, a topic, a position, and one process between them that may die.
pub(crate) struct World {
    pub(crate) delivery: Delivery,
    pub(crate) version: u64,
    pub(crate) forgotten: u64,
    pub(crate) live: BTreeMap<String, Arc<Entity>>,
    pub(crate) history: Vec<Delta>,
    pub(crate) topic: Vec<Told>,
    pub(crate) position: Option<Position>,
    pub(crate) ledger: Ledger,
    pub(crate) cursor: Option<u64>,
    pub(crate) relist: bool,
    pub(crate) job: Option<Effect>,
    pub(crate) clock: Instant,
    pub(crate) queue_bytes: usize,
}

impl World {
    pub(crate) fn new(delivery: Delivery, queue_bytes: usize) -> Self {
        let clock = Instant::now();
        Self {
            delivery,
            version: 0,
            forgotten: 0,
            live: BTreeMap::new(),
            history: Vec::new(),
            topic: Vec::new(),
            position: None,
            ledger: Ledger::new(queue_bytes, clock),
            cursor: None,
            relist: false,
            job: None,
            clock,
            queue_bytes,
        }
    }

    pub(crate) fn write(&mut self, id: &str, delete: bool) {
        self.version += 1;
        let before = self.live.get(id).cloned();
        let uid = before.as_ref().map_or_else(|| format!("{id}-{}", self.version), |before| before.uid.to_string());
        let after = Arc::new(entity(id, &uid, self.version));
        let change = match (before, delete) {
            (None, _) => crate::feed::Change::Added,
            (Some(_), false) => crate::feed::Change::Modified,
            (Some(_), true) => crate::feed::Change::Deleted,
        };
        if change == crate::feed::Change::Deleted {
            self.live.remove(id);
        } else {
            self.live.insert(id.to_owned(), after.clone());
        }
        self.history.push(Delta { change, entity: after });
    }

    pub(crate) fn step(&mut self, input: Input) {
        let now = Now { instant: self.clock, wall: SystemTime::UNIX_EPOCH, jitter: 0.5 };
        for effect in self.ledger.step(input, now) {
            match effect {
                Effect::Attach { from } => {
                    let from = from.map(|version| version.0);
                    self.relist = from.is_none_or(|from| from < self.forgotten || from > self.version);
                    self.cursor = Some(from.unwrap_or_default());
                }
                Effect::Detach => self.cursor = None,
                job => assert_eq!(self.job.replace(job), None, "one Kafka call at a time"),
            }
        }
    }

    /// Tells the bridge the next thing, if there is one.
    pub(crate) fn feed(&mut self) -> bool {
        let Some(cursor) = self.cursor else { return false };
        if self.relist || cursor < self.forgotten {
            self.relist = false;
            self.cursor = Some(self.version);
            let entities = self.live.values().cloned().collect();
            self.step(Input::Fed(Feed::Relisted { version: Version(self.version), entities }));
            return true;
        }
        let Some(delta) = self.history.iter().find(|delta| delta.entity.version.0 > cursor).cloned() else {
            return false;
        };
        self.cursor = Some(delta.entity.version.0);
        self.step(Input::Fed(Feed::Delta(delta)));
        true
    }

    pub(crate) fn bookmark(&mut self) {
        while self.feed() {}
        if self.cursor.is_some() {
            self.step(Input::Fed(Feed::Bookmark(Version(self.version))));
        }
    }

    pub(crate) fn tick(&mut self) {
        self.clock += Duration::from_secs(60);
        self.step(Input::Tick);
    }

    pub(crate) fn crash(&mut self) {
        self.ledger = Ledger::new(self.queue_bytes, self.clock);
        self.cursor = None;
        self.relist = false;
        self.job = None;
    }

    pub(crate) fn read(&self, mut readback: Readback, from: i64) -> Readings {
        for (offset, told) in self.topic.iter().enumerate().skip(usize::try_from(from).unwrap()) {
            let header = |name| told.headers.get(name).map(String::as_str);
            readback.take(Reading {
                key: &told.key,
                id: header("ce_id"),
                event_type: header("ce_type"),
                source: header("ce_source"),
                value: told.value.as_deref(),
                place: Place { partition: 0, offset: i64::try_from(offset).unwrap() },
            });
        }
        readback.done()
    }

    pub(crate) fn end(&self) -> Offsets {
        Offsets::from([(0, i64::try_from(self.topic.len()).unwrap())])
    }

    pub(crate) fn records(&self, batch: &Batch) -> Vec<Told> {
        let envelope = Envelope::new("c", &todo());
        let tell = |item: &Item| {
            let body = match item {
                Item::Vanished(gone) => self.topic[usize::try_from(gone.place.offset).unwrap()].value.clone(),
                _ => None,
            };
            let records = envelope.records(item, body.as_deref());
            records
                .iter()
                .map(|record| Told {
                    key: record.key.to_string(),
                    headers: record.headers.iter().map(|(name, value)| (*name, value.to_string())).collect(),
                    value: record.value.map(<[u8]>::to_vec),
                })
                .collect::<Vec<_>>()
        };
        batch.items.iter().flat_map(tell).collect()
    }

    pub(crate) fn finish(&mut self, outcome: Outcome) {
        let Some(job) = self.job.take() else { return };
        let source = Envelope::new("c", &todo()).source().to_owned();
        if let (Effect::Open | Effect::ReadBack, Outcome::Refused(_) | Outcome::Unheard | Outcome::Part(_)) =
            (&job, outcome)
        {
            return self.step(Input::Failed(Failure::Renew));
        }
        match job {
            Effect::Open => {
                let position = self.position.clone();
                let from = position.as_ref().and_then(|position| position.offsets.get(&0)).copied();
                let sent = from.map(|from| self.read(Readback::since(&source, "shop"), from)).unwrap_or_default();
                self.step(Input::Opened(Opened { position, sent, ends: self.end(), created: false }));
            }
            Effect::ReadBack => self.step(Input::ReadBack(self.read(Readback::whole(&source, "shop"), 0))),
            Effect::Send(batch) => {
                let records = self.records(&batch);
                match outcome {
                    Outcome::Refused(failure) => self.step(Input::Failed(failure)),
                    Outcome::Part(count) if self.delivery == Delivery::AtLeast => {
                        self.topic.extend(records.into_iter().take(count));
                        self.step(Input::Failed(Failure::Renew));
                    }
                    Outcome::Part(_) => self.step(Input::Failed(Failure::Renew)),
                    Outcome::Fine | Outcome::Unheard => {
                        self.topic.extend(records);
                        self.position = Some(batch.position.clone());
                        let heard = matches!(outcome, Outcome::Fine);
                        let end = self.end();
                        self.step(if heard { Input::Sent(end) } else { Input::Failed(Failure::Renew) });
                    }
                }
            }
            Effect::Attach { .. } | Effect::Detach => unreachable!("not a Kafka call"),
        }
    }

    /// Lets everything run without a fault until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..2_000 {
            if self.job.is_some() {
                self.finish(Outcome::Fine);
            } else if !self.feed() {
                let before = self.topic.len();
                self.tick();
                if self.job.is_none() && self.topic.len() == before && self.ledger.is_drained() {
                    return;
                }
            }
        }
        panic!("still at work: {:?}", self.ledger);
    }

    pub(crate) fn shown(&self) -> Vec<String> {
        self.topic.iter().map(Told::show).collect()
    }

    /// What is promised, over all that was ever told.
    pub(crate) fn check(&self) {
        let mut last: HashMap<&str, &Told> = HashMap::new();
        let mut ids = HashSet::new();
        let mut ended = HashSet::new();
        for told in &self.topic {
            let before = last.insert(&told.key, told);
            let Some((uid, version)) = told.id() else {
                let before = before.and_then(Told::event);
                assert_eq!(before, Some(Event::Deleted), "a tombstone follows its deletion: {:#?}", self.shown());
                continue;
            };
            let repeated = !ids.insert((uid, version));
            let deleted_again = self.delivery == Delivery::AtLeast && told.event() == Some(Event::Deleted);
            assert!(!repeated || deleted_again, "{} twice: {:#?}", told.show(), self.shown());
            if let Some((before_uid, before)) = before.and_then(Told::id) {
                let in_order = before < version || (deleted_again && before == version);
                assert!(in_order, "{} after {before}: {:#?}", told.show(), self.shown());
                assert!(before_uid == uid, "{} without the end of {before_uid}", told.show());
            }
            if told.event() == Some(Event::Deleted) {
                ended.insert(uid);
            }
        }
        for (uid, _) in &ids {
            let lives = self.live.values().any(|entity| &*entity.uid == *uid);
            assert_eq!(ended.contains(uid), !lives, "the deletion of {uid}: {:#?}", self.shown());
        }
        for told in last.values() {
            let lives = self.live.values().find(|entity| envelope::key(&entity.key) == told.key);
            assert_eq!(told.id().map(|(_, version)| version), lives.map(|entity| entity.version), "{}", told.show());
        }
        for entity in self.live.values() {
            assert!(last.contains_key(envelope::key(&entity.key).as_str()), "{:?} was never told", entity.key);
        }
        assert_eq!(self.position.as_ref().and_then(|position| position.version), Some(self.ledger.told));
    }
}
