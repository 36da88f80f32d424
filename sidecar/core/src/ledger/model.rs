//! Every run of a broadcast: a writer, a watch with its history, one or two sidecars that may die, stand still or lose their Lease at any
//! step, and a Kafka whose transactions commit, abort, or leave nobody knowing; and what must hold in each state, and at the end of each run.
//!
//! Drives the real [`Ledger`], [`Outbox`], envelope and read-back. Faults put in on purpose show that the search would find them. Bounded by
//! how often each thing may happen; `KAB_MODEL=1 cargo test --release -p sidecar-core ledger::model` allows one more of each.

mod consumer;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::*;
use crate::entity::Entity;
use crate::envelope::Envelope;
use crate::ledger::batch::Place;
use crate::ledger::readback::{Readback, Reading};
use crate::ledger::testing::{entity, todo};
use consumer::Record;

/// A fault that the product does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A transaction that is refused moves the position all the same.
    PositionWithoutRecords,
    /// A deletion has no tombstone.
    NoTombstone,
    /// An older producer may go on beside a newer one.
    NoFencing,
    /// After a loss of history the whole state is not compared with the topic.
    NoComparison,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delivery {
    Exactly,
    AtLeast,
}

/// How often each thing may happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Left {
    writes: u8,
    /// Kafka calls that fail or are not heard of, feeds that break off.
    failures: u8,
    crashes: u8,
    /// Times that history is forgotten.
    forgets: u8,
    /// Versions of other kinds, which a bookmark tells.
    bookmarks: u8,
    /// Times that the Lease goes to the other sidecar, whatever the first one does.
    handovers: u8,
}

const NOTHING: Left = Left { writes: 0, failures: 0, crashes: 0, forgets: 0, bookmarks: 0, handovers: 0 };

#[derive(Debug, Clone)]
struct Scope {
    ids: u8,
    /// What exists before the first start.
    before: u8,
    queue_bytes: usize,
    delivery: Delivery,
    fault: Fault,
    left: Left,
}

const LARGE: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    Write(u8),
    Delete(u8),
    Forget,
    Bookmark,
    Feed(usize),
    CloseFeed(usize),
    Tick(usize),
    Call(usize, Outcome),
    /// With nothing under way, its producer turns out to be of no more use.
    Lose(usize),
    Crash {
        at: usize,
        landed: bool,
    },
    Take(usize),
    /// It learns that the Lease is another's.
    Notice {
        at: usize,
        landed: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    Fine,
    Refused(Failure),
    /// Done, and nobody hears of it.
    Unheard,
    /// At least once: so many records, and no position.
    Part(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Call {
    /// Makes a producer.
    Open,
    /// Has made it, and reads.
    Look,
    Send(Arc<Batch>),
    ReadBack,
}

/// Where a feed stands: the last version told, and whether the whole state comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Cursor {
    at: u64,
    relist: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Sidecar {
    ledger: Option<Ledger>,
    cursor: Option<Cursor>,
    call: Option<Call>,
    /// Of its producer.
    epoch: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    version: u64,
    live: BTreeMap<u8, Arc<Entity>>,
    history: Vec<Delta>,
    forgotten: u64,
    topic: Vec<Arc<Record>>,
    position: Option<Position>,
    /// Of the newest producer.
    epoch: u8,
    holder: Option<usize>,
    sidecars: [Sidecar; 2],
    left: Left,
    /// Whether anything happened that may pass versions over.
    gap: bool,
    /// What the first list showed.
    listed: Option<u64>,
}

static START: LazyLock<Instant> = LazyLock::new(Instant::now);
static ENVELOPE: LazyLock<Envelope> = LazyLock::new(|| Envelope::new("c", &todo()));

impl State {
    fn new(scope: &Scope) -> Self {
        let mut state = Self {
            version: 0,
            live: BTreeMap::new(),
            history: Vec::new(),
            forgotten: 0,
            topic: Vec::new(),
            position: None,
            epoch: 0,
            holder: Some(0),
            sidecars: <[Sidecar; 2]>::default(),
            left: scope.left.clone(),
            gap: false,
            listed: None,
        };
        (0..scope.before).for_each(|id| state.write(id, false));
        state.sidecars[0].ledger = Some(Ledger::new(scope.queue_bytes, *START));
        state
    }

    fn write(&mut self, id: u8, delete: bool) {
        self.version += 1;
        let name = format!("e{id}");
        let before = self.live.remove(&id);
        let uid = before.as_ref().map_or_else(|| format!("u{}", self.version), |before| before.uid.to_string());
        let after = Arc::new(entity(&name, &uid, self.version));
        let change = match (before, delete) {
            (None, _) => crate::feed::Change::Added,
            (Some(_), false) => crate::feed::Change::Modified,
            (Some(_), true) => crate::feed::Change::Deleted,
        };
        if !delete {
            self.live.insert(id, after.clone());
        }
        self.history.push(Delta { change, entity: after });
    }

    fn step(&mut self, at: usize, input: Input, instant: Instant) {
        let sidecar = &mut self.sidecars[at];
        let Some(ledger) = &mut sidecar.ledger else { return };
        for effect in ledger.step(input, Now { instant, wall: SystemTime::UNIX_EPOCH, jitter: 0.5 }) {
            let call = match effect {
                Effect::Attach { from } => {
                    let from = from.map(|version| version.0);
                    let relist = from.is_none_or(|from| from < self.forgotten);
                    sidecar.cursor = Some(Cursor { at: from.unwrap_or_default(), relist });
                    continue;
                }
                Effect::Detach => {
                    // More waited than fits.
                    sidecar.cursor = None;
                    self.gap = true;
                    continue;
                }
                Effect::Open => Call::Open,
                Effect::Send(batch) => Call::Send(batch),
                Effect::ReadBack => Call::ReadBack,
            };
            assert_eq!(sidecar.call.replace(call), None, "one Kafka call at a time");
            if self.holder != Some(at) {
                // It looks at the clock before each call.
                *sidecar = Sidecar::default();
                return;
            }
        }
    }

    /// What the informer tells next.
    fn next(&self, at: usize, fault: Fault) -> Option<Feed> {
        let cursor = self.sidecars[at].cursor?;
        let (newest, version) = (self.version, Version(self.version));
        if cursor.relist || cursor.at < self.forgotten {
            if fault == Fault::NoComparison && cursor.at > 0 {
                return Some(Feed::Bookmark(version));
            }
            return Some(Feed::Relisted { version, entities: self.live.values().cloned().collect() });
        }
        let delta = self.history.iter().find(|delta| delta.entity.version.0 > cursor.at).cloned();
        delta.map(Feed::Delta).or_else(|| (cursor.at < newest).then_some(Feed::Bookmark(version)))
    }

    fn feed(&mut self, at: usize, fault: Fault) {
        let Some(feed) = self.next(at, fault) else { return };
        let told = match &feed {
            Feed::Delta(delta) => delta.entity.version.0,
            Feed::Bookmark(version) => version.0,
            Feed::Relisted { version, .. } => {
                self.listed.get_or_insert(version.0);
                version.0
            }
        };
        self.sidecars[at].cursor = Some(Cursor { at: told, relist: false });
        self.step(at, Input::Fed(feed), *START);
    }

    fn is_stale(&self, at: usize, scope: &Scope) -> bool {
        scope.delivery == Delivery::Exactly && scope.fault != Fault::NoFencing && self.sidecars[at].epoch != self.epoch
    }

    fn read(&self, mut readback: Readback, from: i64) -> Readings {
        for (offset, record) in self.topic.iter().enumerate().skip(usize::try_from(from).unwrap()) {
            readback.take(Reading {
                key: &record.key,
                id: record.id.as_deref(),
                event_type: record.event_type.as_deref(),
                source: record.id.as_ref().map(|_| ENVELOPE.source()),
                value: record.value.as_deref(),
                place: Place { partition: 0, offset: i64::try_from(offset).unwrap() },
            });
        }
        readback.done()
    }

    fn ends(&self) -> Offsets {
        Offsets::from([(0, i64::try_from(self.topic.len()).unwrap())])
    }

    fn records(&self, batch: &Batch, fault: Fault) -> Vec<Arc<Record>> {
        let mut all = Vec::new();
        for item in &batch.items {
            let body = match item {
                Item::Vanished(gone) => self.topic[usize::try_from(gone.place.offset).unwrap()].value.clone(),
                _ => None,
            };
            for record in ENVELOPE.records(item, body.as_deref()) {
                let header = |name| {
                    record.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.to_string())
                };
                all.push(Arc::new(Record {
                    key: record.key.to_string(),
                    id: header("ce_id"),
                    event_type: header("ce_type"),
                    skipped: header("kab_skipped"),
                    value: record.value.map(<[u8]>::to_vec),
                }));
            }
        }
        all.retain(|record| fault != Fault::NoTombstone || record.value.is_some());
        all
    }

    /// Stores a batch as far as Kafka gets.
    fn store(&mut self, batch: &Batch, outcome: Outcome, scope: &Scope) {
        let records = self.records(batch, scope.fault);
        match outcome {
            Outcome::Fine | Outcome::Unheard => {
                self.topic.extend(records);
                self.position = Some(batch.position.clone());
            }
            Outcome::Part(count) => self.topic.extend(records.into_iter().take(count)),
            Outcome::Refused(_) if scope.fault == Fault::PositionWithoutRecords => {
                self.position = Some(batch.position.clone());
            }
            Outcome::Refused(_) => {}
        }
    }

    fn call(&mut self, at: usize, outcome: Outcome, scope: &Scope) {
        let Some(call) = self.sidecars[at].call.take() else { return };
        let input = match (call, outcome) {
            (Call::Send(batch), _) if self.is_stale(at, scope) => {
                drop(batch);
                Input::Failed(Failure::Fenced)
            }
            (Call::Send(batch), outcome) => {
                self.store(&batch, outcome, scope);
                match outcome {
                    Outcome::Fine => Input::Sent(self.ends()),
                    Outcome::Refused(failure) => Input::Failed(failure),
                    Outcome::Unheard | Outcome::Part(_) => Input::Failed(Failure::Renew),
                }
            }
            (_, Outcome::Refused(_) | Outcome::Unheard | Outcome::Part(_)) => Input::Failed(Failure::Renew),
            (Call::Open, Outcome::Fine) => {
                self.epoch += 1;
                self.sidecars[at].epoch = self.epoch;
                self.sidecars[at].call = Some(Call::Look);
                return;
            }
            (Call::Look, Outcome::Fine) => {
                let position = self.position.clone();
                let known = position.as_ref().filter(|position| position.version.is_some());
                let from = known.map(|position| position.offsets.get(&0).copied().unwrap_or(0));
                let since = Readback::since(ENVELOPE.source(), "shop");
                let sent = from.map(|from| self.read(since, from)).unwrap_or_default();
                Input::Opened(Opened { position, sent, ends: self.ends(), created: false })
            }
            (Call::ReadBack, Outcome::Fine) => {
                Input::ReadBack(self.read(Readback::whole(ENVELOPE.source(), "shop"), 0))
            }
        };
        self.step(at, input, *START);
    }

    /// The ledger is gone, and with it the call under way; what it sent may have arrived.
    fn drop_ledger(&mut self, at: usize, landed: bool, scope: &Scope) {
        if let (true, Some(Call::Send(batch))) = (landed, self.sidecars[at].call.clone())
            && !self.is_stale(at, scope)
        {
            self.store(&batch, Outcome::Fine, scope);
        }
        self.sidecars[at] = Sidecar::default();
    }

    fn is_sending(&self, at: usize, scope: &Scope) -> bool {
        matches!(self.sidecars[at].call, Some(Call::Send(_))) && !self.is_stale(at, scope)
    }
}

impl Model for Scope {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let left = &state.left;
        if left.writes > 0 {
            actions.extend((0..self.ids).map(Action::Write));
            actions.extend(state.live.keys().copied().map(Action::Delete));
        }
        if left.forgets > 0 && state.version > state.forgotten {
            actions.push(Action::Forget);
        }
        if left.bookmarks > 0 {
            actions.push(Action::Bookmark);
        }
        for at in 0..2 {
            let sidecar = &state.sidecars[at];
            if state.holder != Some(at) && (state.holder.is_none() || left.handovers > 0) && sidecar.ledger.is_none() {
                actions.push(Action::Take(at));
            }
            let Some(ledger) = &sidecar.ledger else { continue };
            if state.holder != Some(at) {
                actions.push(Action::Notice { at, landed: false });
                if state.is_sending(at, self) {
                    actions.push(Action::Notice { at, landed: true });
                }
            }
            if left.crashes > 0 {
                actions.push(Action::Crash { at, landed: false });
                if state.is_sending(at, self) {
                    actions.push(Action::Crash { at, landed: true });
                }
            }
            if state.next(at, self.fault).is_some() {
                actions.push(Action::Feed(at));
            }
            if left.failures > 0 && sidecar.cursor.is_some() {
                actions.push(Action::CloseFeed(at));
            }
            if ledger.wake_at().is_some() {
                actions.push(Action::Tick(at));
            }
            if left.failures > 0 && ledger.state == super::State::Idle {
                actions.push(Action::Lose(at));
            }
            let Some(call) = &sidecar.call else { continue };
            actions.push(Action::Call(at, Outcome::Fine));
            if left.failures > 0 {
                actions.push(Action::Call(at, Outcome::Refused(Failure::Renew)));
            }
            if left.failures > 0 && state.is_sending(at, self) {
                actions.push(Action::Call(at, Outcome::Refused(Failure::Again)));
                actions.push(Action::Call(at, Outcome::Unheard));
                if let (Call::Send(batch), Delivery::AtLeast) = (call, self.delivery) {
                    let count = state.records(batch, self.fault).len();
                    actions.extend((1..=count).map(|count| Action::Call(at, Outcome::Part(count))));
                }
            }
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Write(id) | Action::Delete(id) => {
                state.left.writes -= 1;
                state.write(id, matches!(action, Action::Delete(_)));
            }
            Action::Forget => {
                state.left.forgets -= 1;
                state.gap = true;
                state.forgotten = state.version;
            }
            Action::Bookmark => {
                state.left.bookmarks -= 1;
                state.version += 1;
            }
            Action::Feed(at) => state.feed(at, self.fault),
            Action::CloseFeed(at) => {
                state.left.failures -= 1;
                state.sidecars[at].cursor = None;
                state.step(at, Input::FeedClosed, *START);
            }
            Action::Tick(at) => {
                let due = state.sidecars[at].ledger.as_ref().and_then(Ledger::wake_at)?;
                state.step(at, Input::Tick, due);
            }
            Action::Call(at, outcome) => {
                if outcome != Outcome::Fine {
                    state.left.failures -= 1;
                }
                state.call(at, outcome, self);
            }
            Action::Lose(at) => {
                state.left.failures -= 1;
                state.step(at, Input::Failed(Failure::Renew), *START);
            }
            Action::Crash { at, landed } => {
                state.left.crashes -= 1;
                state.gap = true;
                state.drop_ledger(at, landed, self);
                if state.holder == Some(at) {
                    state.holder = None;
                }
            }
            Action::Take(at) => {
                if state.holder.is_some() {
                    state.left.handovers -= 1;
                }
                state.gap = true;
                state.holder = Some(at);
                state.sidecars[at].ledger = Some(Ledger::new(self.queue_bytes, *START));
            }
            Action::Notice { at, landed } => state.drop_ledger(at, landed, self),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(RIGHT, |scope: &Scope, state: &State| state.wrong(scope.delivery).is_none()),
            Property::always("whatever happened, in the end all is told", |scope: &Scope, state: &State| {
                let mut actions = Vec::new();
                scope.actions(state, &mut actions);
                !actions.is_empty() || state.missing().is_none()
            }),
            Property::sometimes("a run comes to its end", |scope: &Scope, state: &State| {
                let mut actions = Vec::new();
                scope.actions(state, &mut actions);
                actions.is_empty()
            }),
        ]
    }
}

const RIGHT: &str = "nothing is told twice, out of order or miscounted";

fn one_more() -> u8 {
    std::env::var("KAB_MODEL").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn scope(left: Left) -> Scope {
    Scope { ids: 1, before: 1, queue_bytes: LARGE, delivery: Delivery::Exactly, fault: Fault::None, left }
}

#[expect(clippy::print_stderr, reason = "by hand one wants to see how much was searched")]
fn holds(name: &str, mut scope: Scope) {
    let more = one_more();
    let left = &mut scope.left;
    for count in [&mut left.writes, &mut left.failures, &mut left.crashes, &mut left.forgets, &mut left.handovers] {
        *count += if *count > 0 { more } else { 0 };
    }
    let start = Instant::now();
    let checker = scope.clone().checker().threads(2).spawn_bfs().join();
    eprintln!("{name}: {} states in {:?}", checker.unique_state_count(), start.elapsed());
    for property in [RIGHT, "whatever happened, in the end all is told"] {
        if let Some(path) = checker.discovery(property) {
            let last = path.last_state();
            let (wrong, missing) = (last.wrong(scope.delivery), last.missing());
            let topic: Vec<String> = last
                .topic
                .iter()
                .map(|record| format!("{:?} {:?} {:?}", record.id, record.event(), record.skipped))
                .collect();
            let actions = path.clone().into_actions();
            panic!("{name}: {property}: {wrong:?} {missing:?}\n{actions:#?}\n{topic:#?}");
        }
    }
    checker.assert_properties();
}

#[test]
fn one_sidecar_that_crashes_while_its_history_is_lost() {
    holds("crash and 410", scope(Left { writes: 3, crashes: 1, forgets: 1, ..NOTHING }));
}

#[test]
fn one_sidecar_whose_kafka_calls_fail_passes_nothing_over() {
    holds("failures", scope(Left { writes: 2, failures: 2, bookmarks: 1, ..NOTHING }));
}

#[test]
fn everything_at_once_to_one_sidecar() {
    holds("all", scope(Left { writes: 2, failures: 1, crashes: 1, forgets: 1, ..NOTHING }));
}

#[test]
fn two_sidecars_one_of_which_stands_still_past_its_lease() {
    holds("two", scope(Left { writes: 2, handovers: 2, ..NOTHING }));
    holds("two and a failure", scope(Left { writes: 1, failures: 1, handovers: 1, ..NOTHING }));
    holds("back and forth", Scope { before: 0, ..scope(Left { writes: 1, handovers: 2, ..NOTHING }) });
    holds("two and 410", Scope { before: 0, ..scope(Left { writes: 1, forgets: 1, handovers: 1, ..NOTHING }) });
}

#[test]
fn a_queue_that_is_too_small_collapses_and_starts_over() {
    let small = Scope { ids: 2, before: 0, queue_bytes: 700, ..scope(Left { writes: 4, ..NOTHING }) };
    holds("small queue", small);
}

#[test]
fn at_least_once_nothing_is_lost() {
    let left = Left { writes: 2, failures: 1, crashes: 1, ..NOTHING };
    holds("at least once", Scope { delivery: Delivery::AtLeast, ..scope(left) });
}

#[test]
fn the_model_finds_each_fault_that_is_put_into_a_broadcast() {
    let cases = [
        (Fault::PositionWithoutRecords, Left { writes: 1, failures: 1, ..NOTHING }),
        (Fault::NoTombstone, Left { writes: 1, ..NOTHING }),
        (Fault::NoFencing, Left { writes: 1, handovers: 1, ..NOTHING }),
        (Fault::NoComparison, Left { writes: 1, forgets: 1, crashes: 1, ..NOTHING }),
    ];
    for (fault, left) in cases {
        let scope = Scope { fault, ..scope(left) };
        let checker = scope.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let found = checker.discoveries().into_keys().any(|name| !name.starts_with("a run"));
        assert!(found, "{fault:?} was not found among {} states", checker.unique_state_count());
    }
}
