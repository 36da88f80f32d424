//! The changes that the app is to be told, entity by entity, in order, and what it has acknowledged of them.
//!
//! Owns the lines of waiting changes and the [`Place`] that a restart goes on from; when an entity's next attempt is due is its [`Queue`]'s. It
//! never does IO and never looks at a clock; `sidecar/src/notifier.rs` feeds it, calls the app and keeps the place.
//!
//! Every entity has a line of its own, of which only the first change is ever under way: so one that the app refuses holds up nobody but its own
//! entity. Nothing is collapsed. More than the bound is not taken ([`Notices::has_room`]): the feed is let go, and taken up again behind what was
//! told; where the API server's history does not reach back by then, the difference to what was told last is told ([`Skipped::Unknown`]).

mod known;
pub mod message;
#[cfg(test)]
mod model;
pub mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use contract::record::Event;

use crate::entity::{Entity, Key};
use crate::feed::{Change, Delta, Feed};
use crate::outbox::Skipped;
use crate::queue::{Limits, Numbers, Outcome, Queue};
use crate::version::Version;
use known::Known;
use place::{Exception, MOST_EXCEPTIONS, Place};

/// A change that the app is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub event: Event,
    /// The entity after it; for a deletion its last known state.
    pub entity: Arc<Entity>,
    /// The entity before it, where that is known: of an update, or of a state whose way is not known.
    pub before: Option<Arc<Entity>>,
    /// The version of the change: the entity's, but for a deletion that was found out afterwards.
    pub version: Version,
    /// Changes that are passed over before it.
    pub skipped: Skipped,
    /// When the sidecar learned of it.
    pub learned: SystemTime,
}

impl Notice {
    /// The version by which a place names it, which no other entity's change has. A deletion that was found out has none of its own.
    fn named(&self) -> Version {
        match (self.event, self.skipped) {
            (Event::Deleted, Skipped::Unknown) => self.entity.version,
            _ => self.version,
        }
    }
}

/// One call to make; say [`Notices::done`] of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What to tell.
    pub notice: Arc<Notice>,
    /// From 1.
    pub attempt: u32,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The app has it.
    Acknowledged,
    /// Not yet: again, after what the app asks for or after a growing while.
    Failed(Option<Duration>),
    /// The app will never take it.
    Rejected,
    /// The app was not there: as if there had been no call.
    Untried,
}

/// What bounds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of changes that wait, about.
    pub bytes: usize,
    /// Failed attempts at one change until it is given up; absent: no limit.
    pub attempts: Option<u32>,
}

/// The time, as the caller has it.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For waits.
    pub instant: Instant,
    /// For `time`.
    pub wall: SystemTime,
}

/// What waits to be told of one kind and scope, in one term.
#[derive(Debug)]
pub struct Notices {
    settings: Settings,
    known: Known,
    /// Everything up to here has come: it waits, or is acknowledged.
    told: Option<Version>,
    /// Where an earlier term had come to, until the feed has come there again.
    resumed: Option<Resumed>,
    lines: HashMap<Key, Line>,
    /// The oldest version of each line.
    oldest: BTreeSet<(Version, Key)>,
    bytes: usize,
    queue: Queue<Key>,
    gaps: u64,
}

#[derive(Debug)]
struct Resumed {
    place: Place,
    /// Entities of which something is not acknowledged, as far as the feed has named them.
    pending: HashSet<Key>,
    /// What the app has had of them since.
    had: HashMap<Key, Version>,
}

/// The changes of one entity that wait, in order.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Arc<Notice>>,
}

impl Line {
    /// The least, not the first: after a restore to the past versions go back.
    fn oldest(&self) -> Option<Version> {
        let ends = self.waiting.front().zip(self.waiting.back());
        match ends.map(|(first, last)| (first.version, last.version)) {
            Some((first, last)) if first <= last => Some(first),
            _ => self.waiting.iter().map(|notice| notice.version).min(),
        }
    }
}

impl Notices {
    /// Goes on at `place`, where there was an earlier term. `known` is what exists at some version, for what lies before changes.
    pub fn new(settings: Settings, place: Option<Place>, known: Option<(Version, Vec<Arc<Entity>>)>) -> Self {
        let limits = Limits { backoff: crate::hook::BACKOFF, rate: None, most: usize::MAX };
        Self {
            settings,
            known: Known::new(known),
            told: None,
            resumed: place.map(|place| Resumed { place, pending: HashSet::new(), had: HashMap::new() }),
            lines: HashMap::new(),
            oldest: BTreeSet::new(),
            bytes: 0,
            queue: Queue::new(limits),
            gaps: 0,
        }
    }

    /// Behind which version the feed has to begin; absent: with everything that exists.
    pub fn from(&self) -> Option<Version> {
        self.told.or_else(|| self.resumed.as_ref().map(|resumed| resumed.place.begin()))
    }

    /// Whether the feed may go on. What it must not when there is too much it may again when half of it is gone.
    pub fn has_room(&self, feeding: bool) -> bool {
        self.bytes < if feeding { self.settings.bytes } else { self.settings.bytes / 2 }
    }

    /// Takes the next message of the feed.
    pub fn fed(&mut self, feed: Feed, now: Now) {
        match feed {
            Feed::Delta(delta) => {
                let version = delta.entity.version;
                if let Some(skipped) = self.is_news(&delta) {
                    self.push(Notice { skipped, ..self.known.notice(&delta, now.wall) }, now.instant);
                }
                self.known.observe(&delta);
                self.come_to(version);
            }
            Feed::Bookmark(version) => self.come_to(version),
            Feed::Relisted { version, entities } => self.relisted(version, entities, now),
        }
    }

    /// The next change to tell, if one is due.
    pub fn take(&mut self, now: Instant) -> Option<Taken> {
        let taken = self.queue.take(now)?;
        let notice = self.lines.get(&taken.key).and_then(|line| line.waiting.front()).cloned();
        match notice {
            Some(notice) => Some(Taken { notice, attempt: taken.attempt }),
            None => {
                self.queue.done(&taken.key, Outcome::Done, now, 0.0);
                None
            }
        }
    }

    /// A call has ended. Answers whether the change is given up. `jitter` is a random number in 0..1.
    pub fn done(&mut self, taken: &Taken, ended: Ended, now: Instant, jitter: f64) -> bool {
        let key = &taken.notice.entity.key;
        let spent = self.settings.attempts.is_some_and(|most| taken.attempt >= most);
        let (outcome, given_up) = match ended {
            Ended::Untried => (Outcome::Untried, false),
            Ended::Failed(asked) if !spent => (Outcome::Retry(asked), false),
            Ended::Failed(_) | Ended::Rejected => (Outcome::Done, true),
            Ended::Acknowledged => (Outcome::Done, false),
        };
        if outcome == Outcome::Done {
            if let Some(resumed) = &mut self.resumed {
                resumed.had.insert(key.clone(), taken.notice.version);
            }
            if self.pop(key) {
                self.queue.append(key.clone(), now);
            }
        }
        self.queue.done(key, outcome, now, jitter);
        given_up
    }

    /// Hands nothing out until [`Notices::resume`]: the app is away.
    pub fn pause(&mut self) {
        self.queue.pause();
    }

    /// The app is back.
    pub fn resume(&mut self) {
        self.queue.resume();
    }

    /// When to ask [`Notices::take`] again that has handed nothing out.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.queue.wake_at(now)
    }

    /// How far the app has acknowledged; absent before anything was fed. What it leaves out is more than [`MOST_EXCEPTIONS`] entities of which something
    /// waits behind others' acknowledged changes: then those are told again after a restart.
    pub fn place(&self) -> Option<Place> {
        if let Some(resumed) = &self.resumed {
            // Until the feed has come to where it was, all that is not acknowledged cannot be named.
            return Some(resumed.place.clone());
        }
        let told = self.told?;
        let beyond = self.oldest.iter().nth(MOST_EXCEPTIONS).map(|(version, _)| Version(version.0.saturating_sub(1)));
        let version = beyond.unwrap_or(told).min(told);
        let exceptions = self.oldest.iter().take(MOST_EXCEPTIONS).filter(|(first, _)| *first <= version);
        let exceptions = exceptions.map(|(first, key)| {
            let line = || self.lines.get(key).into_iter().flat_map(|line| &line.waiting).map(|notice| notice.named());
            let first = line().min().unwrap_or(*first);
            Exception { first, last: line().filter(|last| *last <= version).max().unwrap_or(first).max(first) }
        });
        Some(Place { version, exceptions: exceptions.collect() })
    }

    /// Changes that wait, or are under way.
    pub fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.waiting.len()).sum()
    }

    /// Bytes of them, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the sidecar learned of the oldest of them.
    pub fn oldest(&self) -> Option<SystemTime> {
        self.lines.values().filter_map(|line| line.waiting.front()).map(|notice| notice.learned).min()
    }

    /// Entities, as their queue has them.
    pub fn numbers(&self, now: Instant) -> Numbers {
        self.queue.numbers(now)
    }

    /// How often history was lost together with the knowledge of what had been told: deletions may have been missed.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Whether the app has not acknowledged it yet, and what may have been passed over before it: a place does not say why its first change waits, which
    /// may stand for others.
    fn is_news(&mut self, delta: &Delta) -> Option<Skipped> {
        let (version, key) = (delta.entity.version, &delta.entity.key);
        let Some(Resumed { place, pending, .. }) = &mut self.resumed else { return Some(Skipped::Known(0)) };
        if version > place.version || pending.contains(key) {
            return Some(Skipped::Known(0));
        }
        let begins = place.exceptions.iter().any(|exception| exception.first == version);
        begins.then(|| {
            pending.insert(key.clone());
            Skipped::Unknown
        })
    }

    fn come_to(&mut self, version: Version) {
        self.told = self.told.max(Some(version));
        self.known.come_to(version);
        self.resumed = self.resumed.take().filter(|resumed| resumed.place.version > version);
    }

    /// The whole state, where its changes cannot be told one by one.
    fn relisted(&mut self, version: Version, entities: Vec<Arc<Entity>>, now: Now) {
        let notices = match self.known.difference(&entities, now.wall) {
            Some(notices) => notices,
            None => {
                let had = self.resumed.as_ref().map(|resumed| resumed.place.clone());
                let had = had.or(self.told.map(|version| Place { version, exceptions: Vec::new() }));
                self.gaps += u64::from(had.is_some());
                // What was acknowledged in a past that was undone says nothing.
                let had = had.filter(|had| had.version <= version);
                let waits = |entity: &Arc<Entity>| {
                    let last = self.lines.get(&entity.key).and_then(|line| line.waiting.back());
                    last.is_some_and(|last| last.version == entity.version)
                };
                let since = self.resumed.as_ref().map(|resumed| &resumed.had);
                let just =
                    |entity: &Arc<Entity>| since.and_then(|since| since.get(&entity.key)) == Some(&entity.version);
                let news = |entity: &&Arc<Entity>| {
                    !waits(entity) && !just(entity) && had.as_ref().is_none_or(|had| had.lacks(entity.version))
                };
                entities.iter().filter(news).map(|entity| known::snapshot(entity, None, now.wall)).collect()
            }
        };
        for notice in notices {
            self.push(notice, now.instant);
        }
        self.known = Known::new(Some((version, entities)));
        (self.told, self.resumed) = (None, None);
        self.come_to(version);
    }

    fn push(&mut self, notice: Notice, now: Instant) {
        let key = notice.entity.key.clone();
        let line = self.lines.entry(key.clone()).or_default();
        let before = line.oldest();
        self.bytes += cost(&notice);
        line.waiting.push_back(Arc::new(notice));
        let after = line.oldest();
        self.reorder(&key, before, after);
        self.queue.append(key, now);
    }

    /// Takes the first of a line out; answers whether there is more.
    fn pop(&mut self, key: &Key) -> bool {
        let Some(line) = self.lines.get_mut(key) else { return false };
        let before = line.oldest();
        if let Some(notice) = line.waiting.pop_front() {
            self.bytes = self.bytes.saturating_sub(cost(&notice));
        }
        let after = line.oldest();
        let more = !line.waiting.is_empty();
        if !more {
            self.lines.remove(key);
        }
        self.reorder(key, before, after);
        more
    }

    fn reorder(&mut self, key: &Key, before: Option<Version>, after: Option<Version>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.oldest.remove(&(before, key.clone()));
        }
        if let Some(after) = after {
            self.oldest.insert((after, key.clone()));
        }
    }
}

/// What a record would call it.
fn event(change: Change) -> Event {
    match change {
        Change::Added => Event::Created,
        Change::Modified => Event::Updated,
        Change::Deleted => Event::Deleted,
    }
}

/// Bytes that a waiting change holds.
fn cost(notice: &Notice) -> usize {
    let before = notice.before.as_ref().map_or(0, |before| before.footprint());
    size_of::<Notice>() + notice.entity.footprint() + before
}
