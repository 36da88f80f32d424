//! Tests of the ledger: the whole way between an API server and a topic, both simulated, with every fault at every step.

use std::collections::{BTreeMap, HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::entity::Entity;
use crate::envelope::Envelope;
use crate::ledger::batch::Place;
use crate::ledger::readback::{Readback, Reading};
use crate::ledger::testing::{entity, todo};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Exactly,
    AtLeast,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    key: String,
    headers: BTreeMap<&'static str, String>,
    value: Option<Vec<u8>>,
}

impl Told {
    fn event(&self) -> Option<Event> {
        self.headers.get("ce_type").and_then(|name| Event::of_type(name))
    }

    fn id(&self) -> Option<(&str, Version)> {
        self.headers.get("ce_id").and_then(|id| envelope::read_event_id(id))
    }

    fn show(&self) -> String {
        let Some((uid, version)) = self.id() else { return format!("tombstone {}", self.key) };
        let skipped = self.headers.get("kab_skipped").map(|skipped| format!(" +{skipped}")).unwrap_or_default();
        format!("{} {} {uid}/{version}{skipped}", self.event().map_or("?", Event::name), self.key)
    }
}

/// How a Kafka call ends.
#[derive(Debug, Clone, Copy)]
enum Outcome {
    Fine,
    /// Nothing was written.
    Refused(Failure),
    /// All was written, and nobody knows.
    Unheard,
    /// At least once: so many records were written, and no position.
    Part(usize),
}

/// An API server, a topic, a position, and one process between them that may die.
struct World {
    delivery: Delivery,
    version: u64,
    forgotten: u64,
    live: BTreeMap<String, Arc<Entity>>,
    history: Vec<Delta>,
    topic: Vec<Told>,
    position: Option<Position>,
    ledger: Ledger,
    cursor: Option<u64>,
    relist: bool,
    job: Option<Effect>,
    clock: Instant,
    queue_bytes: usize,
}

impl World {
    fn new(delivery: Delivery, queue_bytes: usize) -> Self {
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

    fn write(&mut self, id: &str, delete: bool) {
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

    fn step(&mut self, input: Input) {
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
    fn feed(&mut self) -> bool {
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

    fn bookmark(&mut self) {
        while self.feed() {}
        if self.cursor.is_some() {
            self.step(Input::Fed(Feed::Bookmark(Version(self.version))));
        }
    }

    fn tick(&mut self) {
        self.clock += Duration::from_secs(60);
        self.step(Input::Tick);
    }

    fn crash(&mut self) {
        self.ledger = Ledger::new(self.queue_bytes, self.clock);
        self.cursor = None;
        self.relist = false;
        self.job = None;
    }

    fn read(&self, mut readback: Readback, from: i64) -> Readings {
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

    fn end(&self) -> Offsets {
        Offsets::from([(0, i64::try_from(self.topic.len()).unwrap())])
    }

    fn records(&self, batch: &Batch) -> Vec<Told> {
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

    fn finish(&mut self, outcome: Outcome) {
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
    fn settle(&mut self) {
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

    fn shown(&self) -> Vec<String> {
        self.topic.iter().map(Told::show).collect()
    }

    /// What is promised, over all that was ever told.
    fn check(&self) {
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

#[test]
fn the_first_start_tells_what_exists_as_snapshots_and_then_every_change() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.write("x", false);
    world.settle();
    world.write("x", false);
    world.write("y", false);
    world.write("x", true);
    world.settle();
    world.check();
    assert_eq!(
        world.shown(),
        [
            "snapshot shop/x x-1/1",
            "updated shop/x x-1/2",
            "created shop/y y-3/3",
            "deleted shop/x x-1/4",
            "tombstone shop/x",
        ]
    );
}

#[test]
fn a_restart_goes_on_where_it_was_and_repeats_nothing() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.write("x", false);
    world.settle();
    let before = world.topic.len();
    world.crash();
    world.settle();
    assert_eq!(world.topic.len(), before);
    world.crash();
    world.write("x", false);
    world.write("x", false);
    world.settle();
    world.check();
    assert_eq!(world.shown()[before..], ["updated shop/x x-1/2", "updated shop/x x-1/3"]);
}

#[test]
fn deleted_while_disconnected_becomes_a_tombstone() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.write("x", false);
    world.write("y", false);
    world.settle();
    world.crash();
    world.write("x", true);
    world.write("y", false);
    world.forgotten = world.version;
    world.settle();
    world.check();
    assert_eq!(
        world.shown()[2..],
        ["deleted shop/x x-1/2 +unknown", "tombstone shop/x", "snapshot shop/y y-2/4 +unknown"]
    );
}

#[test]
fn an_etcd_restored_to_the_past_is_told_as_it_is_now() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    for id in ["x", "x", "x", "y"] {
        world.write(id, false);
    }
    world.settle();
    // Back to version 1: x as it was, no y.
    world.crash();
    world.history.truncate(1);
    world.version = 1;
    world.live = BTreeMap::from([("x".to_owned(), world.history[0].entity.clone())]);
    let before = world.topic.len();
    world.settle();
    assert_eq!(
        world.shown()[before..],
        ["deleted shop/y y-4/5 +unknown", "tombstone shop/y", "snapshot shop/x x-1/1 +unknown"]
    );
    world.write("x", false);
    world.settle();
    assert_eq!(world.shown().last().unwrap(), "updated shop/x x-1/2");
}

#[test]
fn a_crash_in_the_middle_of_a_comparison_compares_again() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.write("x", false);
    world.settle();
    world.crash();
    world.write("x", false);
    world.forgotten = world.version;
    world.tick();
    world.finish(Outcome::Fine);
    world.feed();
    world.finish(Outcome::Fine);
    assert_eq!(world.position.as_ref().unwrap().version, None, "whoever starts now must compare");
    world.crash();
    world.settle();
    world.check();
}

#[test]
fn a_topic_that_was_made_anew_gets_everything_again() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.write("x", false);
    world.settle();
    world.write("x", false);
    world.settle();
    world.topic.clear();
    world.crash();
    world.settle();
    assert_eq!(world.shown(), ["snapshot shop/x x-1/2"]);
}

#[test]
fn with_kafka_away_changes_collapse_and_are_counted() {
    let mut world = World::new(Delivery::Exactly, 4_000);
    world.write("x", false);
    world.settle();
    for _ in 0..200 {
        world.write("x", false);
        while world.feed() {}
        if let Some(Effect::Send(_)) = &world.job {
            world.finish(Outcome::Refused(Failure::Again));
        }
    }
    world.settle();
    world.check();
    let counted: u64 = world.topic[1..]
        .iter()
        .map(|told| 1 + told.headers.get("kab_skipped").map_or(0, |skipped| skipped.parse::<u64>().unwrap()))
        .sum();
    assert_eq!(counted, 200);
    assert!(world.topic.len() < 20, "{:#?}", world.shown());
}

#[test]
fn with_kafka_away_for_long_and_many_entities_it_starts_over_when_kafka_is_back() {
    let mut world = World::new(Delivery::Exactly, 4_000);
    world.settle();
    for number in 0..100 {
        world.write(&format!("e{number}"), false);
        world.feed();
    }
    assert_eq!(world.cursor, None, "it no longer listens");
    world.settle();
    world.check();
    assert_eq!(world.topic.len(), 100);
}

#[test]
fn a_record_that_is_too_large_stops_the_broadcast_until_a_newer_version_fits() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.settle();
    world.write("large", false);
    world.write("other", false);
    while world.feed() {}
    world.finish(Outcome::Refused(Failure::TooLarge));
    assert!(world.topic.is_empty());
    assert!(world.ledger.wake_at().is_some_and(|at| at == world.clock + TOO_LARGE_PAUSE));
    world.write("large", false);
    while world.feed() {}
    world.settle();
    world.check();
    assert_eq!(world.shown(), ["created shop/other other-2/2", "created shop/large large-1/3 +1"]);
}

#[test]
fn what_the_informer_repeats_is_told_once() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.settle();
    world.write("x", false);
    let delta = world.history[0].clone();
    for _ in 0..3 {
        world.step(Input::Fed(Feed::Delta(delta.clone())));
    }
    world.settle();
    assert_eq!(world.shown(), ["created shop/x x-1/1"]);
}

#[test]
fn a_commit_whose_answer_was_lost_is_found_and_nothing_that_waits_is_dropped() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.write("x", false);
    world.settle();
    world.write("x", false);
    world.feed();
    world.write("x", false);
    world.feed();
    world.finish(Outcome::Unheard);
    // History is gone meanwhile: only what waits in memory still knows the version in between.
    world.forgotten = world.version;
    world.cursor = Some(world.version);
    world.settle();
    world.check();
    assert_eq!(world.shown()[1..], ["updated shop/x x-1/2", "updated shop/x x-1/3"]);
}

#[test]
fn a_fenced_sidecar_waits_longer_and_then_starts_from_the_others_position() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.write("y", false);
    world.settle();
    world.write("x", false);
    while world.feed() {}
    world.finish(Outcome::Refused(Failure::Fenced));
    assert!(world.ledger.wake_at().is_some_and(|at| at >= world.clock + FENCED.base / 2));
    // The other sidecar told it.
    let mut other = World::new(Delivery::Exactly, 1 << 20);
    std::mem::swap(&mut other.topic, &mut world.topic);
    (other.position, other.version) = (world.position.clone(), world.version);
    (other.history, other.live) = (world.history.clone(), world.live.clone());
    other.settle();
    world.topic = other.topic;
    world.position = other.position;
    world.settle();
    world.check();
    assert_eq!(world.shown(), ["snapshot shop/y y-1/1", "created shop/x x-2/2"]);
}

#[test]
fn a_bookmark_moves_the_position_of_an_idle_kind_but_not_often() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.write("x", false);
    world.settle();
    world.write("x", false);
    world.feed();
    world.finish(Outcome::Fine);
    let told = world.topic.len();
    let at = |world: &World| world.position.as_ref().unwrap().version;
    world.version += 10;
    world.bookmark();
    assert_eq!(world.job, None, "not at once after the last one");
    assert_eq!(world.ledger.wake_at(), Some(world.clock + POSITION_INTERVAL));
    world.tick();
    world.finish(Outcome::Fine);
    assert_eq!(at(&world), Some(Version(12)));
    assert_eq!(world.topic.len(), told);
}

#[test]
fn a_stop_takes_nothing_more_in_tells_what_waits_and_leaves_the_position_behind_it() {
    let mut world = World::new(Delivery::Exactly, 1 << 20);
    world.settle();
    world.write("x", false);
    world.write("y", false);
    while world.feed() {}
    world.step(Input::Stop);
    assert_eq!(world.cursor, None);
    assert!(!world.ledger.is_drained());
    while world.job.is_some() {
        world.finish(Outcome::Fine);
    }
    assert!(world.ledger.is_drained());
    assert_eq!(world.shown(), ["created shop/x x-1/1", "created shop/y y-2/2"]);
    world.check();
}

#[derive(Debug, Clone)]
enum Step {
    Write { id: u8, delete: bool },
    Feed(u8),
    Bookmark,
    Finish(Outcome),
    Tick,
    Crash,
    Forget,
    FeedClosed,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        12 => Just(Outcome::Fine),
        1 => Just(Outcome::Refused(Failure::Again)),
        1 => Just(Outcome::Refused(Failure::Renew)),
        1 => Just(Outcome::Refused(Failure::TooLarge)),
        1 => Just(Outcome::Refused(Failure::Fenced)),
        2 => Just(Outcome::Unheard),
        3 => (0..6usize).prop_map(Outcome::Part),
    ];
    let step = prop_oneof![
        8 => (0..5u8, prop::bool::weighted(0.3)).prop_map(|(id, delete)| Step::Write { id, delete }),
        8 => (1..6u8).prop_map(Step::Feed),
        1 => Just(Step::Bookmark),
        12 => outcome.prop_map(Step::Finish),
        3 => Just(Step::Tick),
        1 => Just(Step::Crash),
        1 => Just(Step::Forget),
        1 => Just(Step::FeedClosed),
    ];
    prop::collection::vec(step, 1..150)
}

fn run(delivery: Delivery, queue_bytes: usize, steps: Vec<Step>) {
    let mut world = World::new(delivery, queue_bytes);
    for step in steps {
        match step {
            Step::Write { id, delete } => world.write(&format!("e{id}"), delete),
            Step::Feed(count) => {
                for _ in 0..count {
                    world.feed();
                }
            }
            Step::Bookmark => world.bookmark(),
            // Part of a batch and too large at once does not happen in a transaction; at least once, the rest may be there.
            Step::Finish(outcome) => world.finish(outcome),
            Step::Tick => world.tick(),
            Step::Crash => world.crash(),
            Step::Forget => world.forgotten = world.version,
            Step::FeedClosed => {
                if world.cursor.is_some() {
                    world.step(Input::FeedClosed);
                }
            }
        }
    }
    world.settle();
    world.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn exactly_once_nothing_is_lost_repeated_or_out_of_order_whatever_fails(steps in steps(), queue in 1_500..20_000usize) {
        run(Delivery::Exactly, queue, steps);
    }

    #[test]
    fn at_least_once_nothing_is_lost_or_out_of_order_whatever_fails(steps in steps(), queue in 1_500..20_000usize) {
        run(Delivery::AtLeast, queue, steps);
    }
}
