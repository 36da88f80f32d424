//! The broadcast of one kind as a state machine: what to do next, so that nothing is lost, nothing told twice, all in order.
//!
//! Owns the position, what waits, and every decision between them. It never does IO and never looks at a clock: the bridge
//! feeds it with what the informer tells and with what came of the last Kafka call, and carries out the effects, one Kafka call
//! at a time. Invariants: a position moves only with or behind its records; what is told of an entity has a higher version
//! than what was told before (but after an etcd restored to the past); what vanished becomes a deletion.
//!
//! The way: open (producer, position, what was sent after the position) → attach at the informer from the position → send what is fed.
//! After a loss of history the informer feeds the whole state; the ledger first takes the version out of the position, so that a
//! crash in between leads here again, then has the topic read back and tells the difference.

pub mod batch;
pub mod compare;
#[cfg(test)]
mod model;
pub mod position;
pub mod readback;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use contract::record::Event;

use crate::backoff::Backoff;
use crate::entity::Key;
use crate::envelope;
use crate::feed::{Delta, Feed};
use crate::ledger::batch::{Batch, Item};
use crate::ledger::position::{Offsets, Position};
use crate::ledger::readback::{Life, Readings};
use crate::outbox::{Change, Outbox, Relist, Skipped};
use crate::version::Version;

/// A batch takes what waits up to about so many bytes: large enough that a transaction's fixed cost (five answers of brokers, one after the other, with
/// nothing else under way) does not count, small enough that memory holds one twice, here and in librdkafka, and that its end does not take long.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// A batch of so many changes was begun while more came than batches of one or two can keep up with: about 1,500 a second.
const CROWD: usize = 8;
/// How long changes then gather for the next one, so that what a transaction costs brokers is shared by more of them.
const GATHER: Duration = Duration::from_millis(8);
/// An idle kind's position follows the bookmarks no more often than this.
const POSITION_INTERVAL: Duration = Duration::from_secs(5);
/// How long to wait for somebody to raise the topic's record size.
const TOO_LARGE_PAUSE: Duration = Duration::from_secs(30);
/// Kafka away, or a call that failed.
const AWAY: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(5) };
/// Another sidecar has taken over the broadcast: coming back soon would only take it away again.
const FENCED: Backoff = Backoff { base: Duration::from_secs(5), max: Duration::from_secs(60) };

/// When a step is made, and a random number in 0..1 for its backoff.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For waits.
    pub instant: Instant,
    /// For `ce_time`.
    pub wall: SystemTime,
    /// Spreads retries.
    pub jitter: f64,
}

/// What Kafka showed when the producer was ready.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Opened {
    /// Our position, if there is a record of it.
    pub position: Option<Position>,
    /// What the topic has of us after the position's offsets.
    pub sent: Readings,
    /// The end of each partition of the topic.
    pub ends: Offsets,
    /// Whether the topic was not there and has just been made.
    pub created: bool,
}

/// Why a Kafka call failed, by what it means for the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// Nothing was told; the same producer can send the batch again.
    Again,
    /// What was told is not known, or the producer is of no more use: open again.
    Renew,
    /// Another producer of the same transactional id has taken over: open again, later.
    Fenced,
    /// A record is larger than the topic takes; nothing was told.
    TooLarge,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The informer told something.
    Fed(Feed),
    /// The informer ended the feed.
    FeedClosed,
    /// The outcome of [`Effect::Open`].
    Opened(Opened),
    /// The outcome of [`Effect::Send`]: all is there, and the partitions' ends behind our records.
    Sent(Offsets),
    /// The outcome of [`Effect::ReadBack`].
    ReadBack(Readings),
    /// The Kafka call under way failed; or, with none under way, the producer has turned out to be of no more use.
    Failed(Failure),
    /// [`Ledger::wake_at`] has come.
    Tick,
    /// Take nothing more in; tell what waits.
    Stop,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Make a producer (a new one, fencing older ones), and read position and topic ends. Answered by `Opened` or `Failed`.
    Open,
    /// Ask the informer for a new feed from a version on, in place of any older feed.
    Attach {
        /// Where to go on; absent: the whole state first.
        from: Option<Version>,
    },
    /// Drop the feed.
    Detach,
    /// Send a batch and its position. Answered by `Sent` or `Failed`.
    Send(Arc<Batch>),
    /// Read the whole topic. Answered by `ReadBack` or `Failed`.
    ReadBack,
}

/// The state machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ledger {
    state: State,
    attached: bool,
    stopping: bool,
    /// The newest version that the informer told; what is not newer is a repetition.
    told: Version,
    outbox: Outbox,
    /// What is being compared with the topic, until all that follows from it is told.
    comparing: Option<Relist>,
    /// What is left to tell of the comparison, and the version that the position then gets.
    backlog: Option<(VecDeque<Item>, Version)>,
    /// The position in Kafka, as last confirmed.
    position: Option<Position>,
    /// What had been sent after the position when we opened, and the highest version of it.
    sent: Readings,
    sent_to: Version,
    ends: Offsets,
    positioned_at: Option<Instant>,
    /// While much comes, what waits is not sent before.
    gathering_until: Option<Instant>,
    failures: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    /// No producer; opens at that time. A batch whose fate is open is kept until the position tells.
    Closed { until: Instant, batch: Option<Arc<Batch>> },
    /// A producer is being made.
    Opening { batch: Option<Arc<Batch>> },
    /// The producer has nothing to do.
    Idle,
    /// A batch is being sent.
    Sending(Arc<Batch>),
    /// The producer is good; at that time it sends the batch again.
    Paused { until: Instant, batch: Arc<Batch> },
    /// The topic is being read back, to be compared.
    Reading,
}

impl Ledger {
    /// A closed one, that opens at its first tick. `queue_bytes` bounds what waits.
    pub fn new(queue_bytes: usize, now: Instant) -> Self {
        Self {
            state: State::Closed { until: now, batch: None },
            attached: false,
            stopping: false,
            told: Version::default(),
            outbox: Outbox::new(queue_bytes),
            comparing: None,
            backlog: None,
            position: None,
            sent: Readings::new(),
            sent_to: Version::default(),
            ends: Offsets::new(),
            positioned_at: None,
            gathering_until: None,
            failures: 0,
        }
    }

    /// Takes what happened and says what to do now.
    pub fn step(&mut self, input: Input, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Fed(feed) if self.attached => self.fed(feed, now, &mut effects),
            Input::Fed(_) => {}
            Input::FeedClosed => {
                if self.attached && !self.stopping {
                    effects.push(self.attach());
                }
            }
            Input::Opened(opened) => self.opened(opened, &mut effects),
            Input::Sent(ends) => self.sent(ends, now),
            Input::ReadBack(readings) => {
                if self.state == State::Reading {
                    self.state = State::Idle;
                    let told = self.comparing.clone();
                    self.backlog = told.map(|relist| (compare::compare(&relist, readings), relist.version));
                }
            }
            Input::Failed(failure) => self.failed(failure, now),
            Input::Tick => self.tick(now, &mut effects),
            Input::Stop => {
                self.stopping = true;
                self.attached = false;
                effects.push(Effect::Detach);
            }
        }
        self.pump(now, &mut effects);
        effects
    }

    /// When the next tick is due, if any.
    pub fn wake_at(&self) -> Option<Instant> {
        match &self.state {
            State::Closed { until, .. } | State::Paused { until, .. } => Some(*until),
            State::Idle if !self.outbox.is_empty() => self.gathering_until,
            State::Idle if self.unpositioned() => self.positioned_at.map(|at| at + POSITION_INTERVAL),
            _ => None,
        }
    }

    /// Whether all is told that can be told: what a stop waits for.
    pub fn is_drained(&self) -> bool {
        let nothing_waits = self.outbox.is_empty() && self.comparing.is_none();
        match &self.state {
            State::Idle => nothing_waits && !self.unpositioned(),
            State::Closed { batch, .. } | State::Opening { batch } => {
                nothing_waits && batch.as_ref().is_none_or(|batch| batch.items.is_empty())
            }
            State::Paused { .. } | State::Sending(_) | State::Reading => false,
        }
    }

    /// The position in Kafka, as last confirmed.
    pub fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// What waits.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// When the sidecar learned of the oldest change that is not told yet.
    pub fn oldest(&self) -> Option<SystemTime> {
        let batch = match &self.state {
            State::Sending(batch) | State::Paused { batch, .. } => Some(batch),
            State::Closed { batch, .. } | State::Opening { batch } => batch.as_ref(),
            State::Idle | State::Reading => None,
        };
        let under_way = batch.into_iter().flat_map(|batch| &batch.items);
        let left = self.backlog.iter().flat_map(|(items, _)| items.front());
        let compared = self.comparing.iter().map(|relist| relist.learned);
        under_way.take(1).chain(left).filter_map(Item::learned).chain(compared).chain(self.outbox.oldest()).min()
    }

    fn fed(&mut self, feed: Feed, now: Now, effects: &mut Vec<Effect>) {
        match feed {
            Feed::Delta(Delta { change, entity }) => {
                let version = entity.version;
                if version <= self.told {
                    return;
                }
                self.told = version;
                let event = change_event(change);
                if version > self.sent_to {
                    self.sent.clear();
                } else if was_sent(&self.sent, &entity.key, event, version) {
                    return;
                }
                let change = Change { event, entity, skipped: Skipped::Known(0), learned: now.wall };
                if self.outbox.push(change).is_err() {
                    // Kafka has been away for long. The API server's history is the longer queue, and a comparison what follows it.
                    self.outbox.clear();
                    (self.comparing, self.backlog) = (None, None);
                    self.attached = false;
                    effects.push(Effect::Detach);
                }
            }
            Feed::Bookmark(version) => {
                self.told = self.told.max(version);
                self.confirm(now, effects);
            }
            Feed::Relisted { version, entities } => {
                self.told = version;
                self.sent.clear();
                self.sent_to = Version::default();
                self.outbox.relist(Relist { version, entities, learned: now.wall });
            }
        }
    }

    /// Nothing has happened, and the API server says so: the position is written again, because whoever follows the topic knows by its time how
    /// current that is.
    fn confirm(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let idle = self.state == State::Idle && self.outbox.is_empty() && self.comparing.is_none();
        let known = self.position.as_ref().and_then(|position| position.version) == Some(self.told);
        if idle && known && self.positioned_at.is_none_or(|at| at + POSITION_INTERVAL <= now.instant) {
            self.send(Vec::new(), Some(self.told), effects);
        }
    }

    fn opened(&mut self, opened: Opened, effects: &mut Vec<Effect>) {
        let State::Opening { batch } = self.replace(State::Idle) else { return };
        let Opened { mut position, sent, ends, created } = opened;
        let end = |partition| ends.get(partition).copied().unwrap_or(0);
        if let Some(position) = &mut position
            && (created || position.offsets.iter().any(|(partition, offset)| end(partition) < *offset))
        {
            // The topic is not the one that the position speaks of: it was deleted and made anew.
            *position = Position::default();
        }
        let version = |position: &Option<Position>| position.as_ref().and_then(|position| position.version);
        let found = version(&position);
        let listening = self.attached || self.stopping;
        // Whoever else compares writes a position of its own: with ours nobody has told anything but us.
        let landed = batch.as_ref().is_some_and(|batch| Some(&batch.position) == position.as_ref());
        let ours = landed || position == self.position;
        let compares = self.comparing.is_some() || self.outbox.relist_is_next();
        let told = batch.as_ref().is_some_and(|batch| batch.position.version == found);
        let continuous = listening && found.is_some() && (self.comparing.is_none() || told && self.backlog.is_none());
        if continuous && told {
            // What looked like a failure was none.
            self.comparing = None;
            self.position = position;
            self.ends = ends;
        } else if continuous && found == version(&self.position) {
            self.ends = ends;
            let items = batch.iter().flat_map(|batch| &batch.items);
            let changes: Vec<Change> = items
                .filter_map(|item| match item {
                    Item::Change(change) => Some(change.clone()),
                    Item::Vanished(_) | Item::Tombstone { .. } => None,
                })
                .filter(|change| !was_sent(&sent, &change.entity.key, change.event, change.entity.version))
                .collect();
            self.outbox.put_back(changes);
        } else if listening && found.is_none() && ours && compares {
            // How much of the comparison is told, comparing again tells; what came behind it still waits, and none of it is passed over.
            self.backlog = None;
            if let Some(relist) = self.comparing.take() {
                self.outbox.put_back_relist(relist);
            }
            self.position = position;
            self.ends = ends;
        } else {
            self.start_over(position, sent, ends);
            if !self.stopping {
                effects.push(self.attach());
            }
        }
    }

    fn start_over(&mut self, position: Option<Position>, sent: Readings, ends: Offsets) {
        self.outbox.clear();
        (self.comparing, self.backlog) = (None, None);
        self.told = position.as_ref().and_then(|position| position.version).unwrap_or_default();
        self.position = position;
        self.sent_to = sent.values().map(|known| known.version).max().unwrap_or_default();
        self.sent = sent;
        self.ends = ends;
    }

    fn attach(&mut self) -> Effect {
        self.attached = true;
        Effect::Attach { from: (self.told > Version::default()).then_some(self.told) }
    }

    fn sent(&mut self, ends: Offsets, now: Now) {
        if let State::Sending(batch) = self.replace(State::Idle) {
            for (partition, end) in ends {
                let known = self.ends.entry(partition).or_insert(end);
                *known = end.max(*known);
            }
            self.position = Some(batch.position.clone());
            if self.backlog.is_none() && batch.position.version.is_some() {
                self.comparing = None;
            }
            self.positioned_at = Some(now.instant);
            self.gathering_until = (batch.items.len() >= CROWD).then(|| now.instant + GATHER);
            self.failures = 0;
        }
    }

    fn failed(&mut self, failure: Failure, now: Now) {
        self.failures = self.failures.saturating_add(1);
        let backoff = if failure == Failure::Fenced { FENCED } else { AWAY };
        let until = now.instant + backoff.delay(self.failures, now.jitter);
        let state = self.replace(State::Idle);
        self.state = match (failure, state) {
            (Failure::TooLarge, State::Sending(batch)) => {
                // A newer version of the entity may be smaller: it takes the larger one's place. All else stays in order.
                self.outbox.collapse();
                State::Closed { until: now.instant + TOO_LARGE_PAUSE, batch: Some(batch) }
            }
            (Failure::Again, State::Sending(batch)) => State::Paused { until, batch },
            (_, State::Sending(batch)) => State::Closed { until, batch: Some(batch) },
            (_, State::Opening { batch }) => State::Closed { until, batch },
            (_, State::Reading) => State::Closed { until, batch: None },
            // With nothing under way: what was sent to is not there any more.
            (_, State::Idle) => State::Closed { until, batch: None },
            (_, other) => other,
        };
    }

    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match self.replace(State::Idle) {
            State::Closed { until, batch } if until <= now.instant => {
                self.state = State::Opening { batch };
                effects.push(Effect::Open);
            }
            State::Paused { until, batch } if until <= now.instant => {
                self.state = State::Sending(batch.clone());
                effects.push(Effect::Send(batch));
            }
            other => self.state = other,
        }
    }

    /// With nothing under way: the next thing to do.
    fn pump(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !matches!(self.state, State::Idle) {
            return;
        }
        if !self.attached && !self.stopping {
            // The feed was dropped when too much waited. Kafka has answered since, so begin again where it stands.
            self.told = self.position.as_ref().and_then(|position| position.version).unwrap_or_default();
            effects.push(self.attach());
        } else if let Some((items, version)) = self.backlog.take() {
            self.send_backlog(items, version, effects);
        } else if self.outbox.relist_is_next() {
            self.compare(effects);
        } else if !self.outbox.is_empty() {
            if self.gathers(now) {
                return;
            }
            let changes = self.outbox.take(BATCH_BYTES);
            let last = changes.last().map_or(self.told, |change| change.entity.version);
            let version = if self.outbox.is_empty() { self.told } else { last };
            self.send(changes.into_iter().map(Item::Change).collect(), Some(version), effects);
        } else if self.unpositioned() {
            let due = self.positioned_at.is_none_or(|at| at + POSITION_INTERVAL <= now.instant);
            if due || self.stopping {
                self.send(Vec::new(), Some(self.told), effects);
            }
        }
    }

    /// Whether what waits waits for more. A full batch does not, and neither does a stop.
    fn gathers(&self, now: Now) -> bool {
        let full = self.outbox.bytes() >= BATCH_BYTES;
        !full && !self.stopping && self.gathering_until.is_some_and(|until| until > now.instant)
    }

    /// Tells the next part of a comparison. The position gets a version only with the last part.
    fn send_backlog(&mut self, mut items: VecDeque<Item>, version: Version, effects: &mut Vec<Effect>) {
        let mut part = Vec::new();
        let mut weight = 0;
        while weight < BATCH_BYTES
            && let Some(item) = items.pop_front()
        {
            weight += match &item {
                Item::Change(change) => envelope::weight(&change.entity),
                Item::Vanished(gone) => gone.bytes,
                Item::Tombstone { key } => key.len(),
            };
            part.push(item);
        }
        if items.is_empty() {
            self.send(part, Some(version), effects);
        } else {
            self.backlog = Some((items, version));
            self.send(part, None, effects);
        }
    }

    /// The whole state is next. Whoever starts before it is told must compare too, so the position loses its version first.
    fn compare(&mut self, effects: &mut Vec<Effect>) {
        if self.position.as_ref().is_some_and(|position| position.version.is_some()) {
            self.send(Vec::new(), None, effects);
        } else if let Some(relist) = self.outbox.take_relist() {
            self.comparing = Some(relist);
            self.state = State::Reading;
            effects.push(Effect::ReadBack);
        }
    }

    fn send(&mut self, items: Vec<Item>, version: Option<Version>, effects: &mut Vec<Effect>) {
        let position = Position { version, offsets: self.offsets(version) };
        let batch = Arc::new(Batch { items, position });
        self.state = State::Sending(batch.clone());
        effects.push(Effect::Send(batch));
    }

    /// From where on somebody who starts at `version` must read to find what was sent beyond it: as long as it lies before what
    /// an earlier run had sent, from where that run's position said.
    fn offsets(&self, version: Option<Version>) -> Offsets {
        match &self.position {
            Some(position) if version.is_some_and(|version| version < self.sent_to) => position.offsets.clone(),
            _ => self.ends.clone(),
        }
    }

    /// Whether the informer has told more than the position says, with nothing left to tell.
    fn unpositioned(&self) -> bool {
        let at = self.position.as_ref().and_then(|position| position.version);
        at.is_some_and(|at| at < self.told) && self.outbox.is_empty() && self.comparing.is_none()
    }

    fn replace(&mut self, state: State) -> State {
        std::mem::replace(&mut self.state, state)
    }
}

/// Whether the topic has the change already. A deletion is told again when its tombstone is missing.
fn was_sent(sent: &Readings, key: &Key, event: Event, version: Version) -> bool {
    if sent.is_empty() {
        return false;
    }
    sent.get(&envelope::key(key)).is_some_and(|known| {
        version < known.version || version == known.version && !(event == Event::Deleted && known.life == Life::Deleted)
    })
}

fn change_event(change: crate::feed::Change) -> Event {
    match change {
        crate::feed::Change::Added => Event::Created,
        crate::feed::Change::Modified => Event::Updated,
        crate::feed::Change::Deleted => Event::Deleted,
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
