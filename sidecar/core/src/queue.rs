//! A work queue: which key is to be worked on next, and when. Pure: the time is an argument, and so is chance.
//!
//! A key is in it once, however often it is added, and is never handed out while it is worked on: what is added meanwhile comes again afterwards. So
//! one entity's work is strictly one at a time and in order, while different ones run beside each other. Keys are handed out in the order in which they
//! became due, so that none waits for another that keeps changing or failing. Attempts that fail come again by themselves, later and later.
//!
//! It holds keys and no work: what there is to do with a key, the caller looks up when it is handed out. It never drops a key that it took;
//! one that it cannot take ([`Queue::add`]) it says so of, and the caller comes back with everything there is once [`Queue::has_room`]. `reconciler` and
//! `notifier` own one each.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::backoff::Backoff;
use crate::budget::{Bucket, Rate};

/// After failures: a second at first, five minutes at most.
pub const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(300) };

/// What bounds a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How long to wait after failures.
    pub backoff: Backoff,
    /// How many keys are handed out in a second; absent: as many as there are hands.
    pub rate: Option<Rate>,
    /// How many keys may be due or worked on before [`Queue::add`] takes no other. Those that wait for their time do not count: each was worked on once, or was
    /// added for later, so that whoever adds knows how many there can be.
    pub most: usize,
}

/// What became of a key that was worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do.
    Done,
    /// Nothing is left to do until then.
    After(Duration),
    /// It failed, and comes again: after the time that was asked for (`Retry-After`), or after the queue's own.
    Retry(Option<Duration>),
    /// It failed, and another attempt makes no sense before the key is added again.
    OnChange,
    /// It was not attempted: it comes again as the first of all, and counts as no failure.
    Untried,
}

/// A key that is to be worked on now; say [`Queue::done`] of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken<K> {
    /// The key.
    pub key: K,
    /// From 1; grows while attempts fail.
    pub attempt: u32,
    /// How long it was due.
    pub waited: Duration,
}

/// What a scrape shows of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// Keys that are due.
    pub due: usize,
    /// Keys that wait for their time.
    pub waiting: usize,
    /// Of all keys, those whose last attempt failed.
    pub failing: usize,
    /// Keys that are worked on.
    pub working: usize,
    /// How long the first of those that are due has been so.
    pub oldest: Duration,
}

/// The queue. `K` is cheap to clone.
#[derive(Debug)]
pub struct Queue<K> {
    limits: Limits,
    bucket: Option<Bucket>,
    entries: HashMap<K, Entry>,
    /// Keys whose state is [`State::Due`], first come first.
    due: VecDeque<K>,
    /// Keys whose state is [`State::Waiting`], by their time; the number tells two of one time apart.
    waiting: BTreeMap<(Instant, u64), K>,
    order: u64,
    working: usize,
    failing: usize,
    paused: bool,
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// In a row.
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Due { since: Instant },
    Waiting { place: (Instant, u64), why: Wait },
    Working { changed: Option<Instant>, later: Option<Instant> },
}

/// Why a key waits, which says what a change means.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// There is nothing to do before: a change makes it due.
    Nothing,
    /// An attempt failed: a change may have helped, but a key that changes all the time must not be tried all the time. So the wait shrinks to that after
    /// a first failure.
    Backoff { first: Instant },
    /// Who failed asked for it: a change does not matter to them.
    Asked,
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Empty.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            bucket: limits.rate.map(Bucket::new),
            entries: HashMap::new(),
            due: VecDeque::new(),
            waiting: BTreeMap::new(),
            order: 0,
            working: 0,
            failing: 0,
            paused: false,
        }
    }

    /// There is something to do with the key, as something has changed: now, or after what is being done with it. `false`: the queue is full and does
    /// not know of it.
    pub fn add(&mut self, key: K, now: Instant) -> bool {
        let has_room = self.has_room();
        match self.entries.get_mut(&key) {
            None if !has_room => return false,
            None => {
                self.entries.insert(key.clone(), Entry { state: State::Due { since: now }, failures: 0 });
                self.due.push_back(key);
            }
            Some(Entry { state: State::Due { .. } | State::Waiting { why: Wait::Asked, .. }, .. }) => {}
            Some(Entry { state: State::Working { changed, .. }, .. }) => {
                changed.get_or_insert(now);
            }
            Some(Entry { state: State::Waiting { place, why }, .. }) => {
                let (place, why) = (*place, *why);
                match why {
                    Wait::Backoff { first } if first > now => self.wait_until(key, first.min(place.0), why),
                    _ => self.make_due(key, now),
                }
            }
        }
        true
    }

    /// As [`Queue::add`], for what changes nothing about an attempt that failed: one more thing behind the one that is still to be done. No wait
    /// after a failure gets shorter.
    pub fn append(&mut self, key: K, now: Instant) -> bool {
        let waits =
            |entry: &Entry| matches!(entry.state, State::Waiting { why: Wait::Backoff { .. } | Wait::Asked, .. });
        self.entries.get(&key).is_some_and(waits) || self.add(key, now)
    }

    /// There will be something to do with the key then, if it is not looked at before.
    pub fn add_after(&mut self, key: K, after: Duration, now: Instant) {
        let due = now + after;
        match self.entries.get_mut(&key) {
            None => {
                self.entries.insert(key.clone(), Entry { state: State::Due { since: now }, failures: 0 });
                self.wait_until(key, due, Wait::Nothing);
            }
            Some(Entry { state: State::Waiting { place, why: Wait::Nothing }, .. }) => {
                if due < place.0 {
                    self.wait_until(key, due, Wait::Nothing);
                }
            }
            Some(Entry { state: State::Working { later, .. }, .. }) => {
                *later = Some(later.map_or(due, |later| later.min(due)));
            }
            Some(Entry { state: State::Due { .. } | State::Waiting { .. }, .. }) => {}
        }
    }

    /// Whether [`Queue::add`] would take a key that it does not hold.
    pub fn has_room(&self) -> bool {
        self.due.len() + self.working < self.limits.most
    }

    /// The key that has been due for longest, unless the queue is paused or its rate used up.
    pub fn take(&mut self, now: Instant) -> Option<Taken<K>> {
        if self.paused {
            return None;
        }
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= now) {
            let ((due, _), key) = first.remove_entry();
            self.set_due(key, due);
        }
        if self.due.is_empty() || self.bucket.as_mut().is_some_and(|bucket| bucket.take(now).is_err()) {
            return None;
        }
        let key = self.due.pop_front()?;
        let entry = self.entries.get_mut(&key)?;
        let waited = match entry.state {
            State::Due { since } => now.saturating_duration_since(since),
            State::Waiting { .. } | State::Working { .. } => Duration::ZERO,
        };
        entry.state = State::Working { changed: None, later: None };
        self.working += 1;
        Some(Taken { key, attempt: entry.failures.saturating_add(1), waited })
    }

    /// The key is not worked on any more. `jitter` is a random number in 0..1.
    pub fn done(&mut self, key: &K, outcome: Outcome, now: Instant, jitter: f64) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        let State::Working { changed, later } = entry.state else { return };
        self.working -= 1;
        let failed_before = entry.failures > 0;
        entry.failures = match outcome {
            Outcome::Done | Outcome::After(_) | Outcome::OnChange => 0,
            Outcome::Retry(_) => entry.failures.saturating_add(1),
            Outcome::Untried => entry.failures,
        };
        let failures = entry.failures;
        match (failed_before, failures > 0) {
            (false, true) => self.failing += 1,
            (true, false) => self.failing -= 1,
            _ => {}
        }
        let key = key.clone();
        match outcome {
            Outcome::Untried => {
                self.entries.insert(key.clone(), Entry { state: State::Due { since: now }, failures });
                self.due.push_front(key);
            }
            Outcome::Retry(Some(asked)) => self.wait_until(key, now + asked, Wait::Asked),
            Outcome::Retry(None) => {
                let first = now + self.limits.backoff.base;
                let due = now + self.limits.backoff.delay(failures, jitter);
                let due = if changed.is_some() { due.min(first) } else { due };
                self.wait_until(key, due, Wait::Backoff { first });
            }
            Outcome::Done | Outcome::After(_) | Outcome::OnChange => {
                let asked = match outcome {
                    Outcome::After(after) => Some(now + after),
                    _ => None,
                };
                match (changed, asked.into_iter().chain(later).min()) {
                    (Some(since), _) => self.set_due(key, since),
                    (None, Some(due)) => self.wait_until(key, due, Wait::Nothing),
                    (None, None) => {
                        self.entries.remove(&key);
                    }
                }
            }
        }
    }

    /// Hands nothing out until [`Queue::resume`]: whom the work needs is away. Nothing is forgotten meanwhile.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Whom the work needs is back.
    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// When to ask [`Queue::take`] again that has handed nothing out; absent: when something is added or done, or the queue goes on.
    pub fn wake_at(&self, now: Instant) -> Option<Instant> {
        if self.paused {
            return None;
        }
        let due =
            if self.due.is_empty() { self.waiting.keys().next().map(|(due, _)| (*due).max(now)) } else { Some(now) };
        let wait = self.bucket.as_ref().map_or(Duration::ZERO, |bucket| bucket.wait(now));
        due.map(|due| due.max(now + wait))
    }

    /// What it holds.
    pub fn numbers(&self, now: Instant) -> Numbers {
        let oldest = self.due.front().and_then(|key| self.entries.get(key)).and_then(|entry| match entry.state {
            State::Due { since } => Some(now.saturating_duration_since(since)),
            State::Waiting { .. } | State::Working { .. } => None,
        });
        Numbers {
            due: self.due.len(),
            waiting: self.waiting.len(),
            failing: self.failing,
            working: self.working,
            oldest: oldest.unwrap_or_default(),
        }
    }

    /// From waiting to due.
    fn make_due(&mut self, key: K, since: Instant) {
        if let Some(Entry { state: State::Waiting { place, .. }, .. }) = self.entries.get(&key) {
            self.waiting.remove(place);
        }
        self.set_due(key, since);
    }

    fn set_due(&mut self, key: K, since: Instant) {
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.state = State::Due { since };
            self.due.push_back(key);
        }
    }

    /// From another time, or from work.
    fn wait_until(&mut self, key: K, due: Instant, why: Wait) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let State::Waiting { place, .. } = entry.state {
            self.waiting.remove(&place);
        }
        self.order += 1;
        let place = (due, self.order);
        entry.state = State::Waiting { place, why };
        self.waiting.insert(place, key);
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
