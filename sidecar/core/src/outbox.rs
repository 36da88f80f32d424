//! The changes that wait for Kafka: in order, bounded by bytes, and collapsed to the newest per entity when the bound is met.
//!
//! Owns the order and the count of what was passed over. Never talks to anyone: the ledger fills and empties it.
//!
//! Three rules: changes of one entity leave in the order in which they came; a deletion is never collapsed away; and a batch
//! never ends where an earlier change has been superseded by a later one that still waits, so that a position can always be
//! "every change up to this version is told, or superseded by one that is".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use contract::record::Event;

use crate::entity::{Entity, Key};
use crate::envelope;
use crate::version::Version;

/// How many versions of an entity were passed over since its last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Skipped {
    /// That many.
    Known(u64),
    /// There was a gap, and nobody knows.
    Unknown,
}

impl Skipped {
    /// Both, and the `more` that lie between.
    fn and(self, more: u64, other: Self) -> Self {
        match (self, other) {
            (Self::Known(one), Self::Known(two)) => Self::Known(one + more + two),
            _ => Self::Unknown,
        }
    }
}

/// A change of an entity that is to become a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Change {
    /// What the record will say.
    pub event: Event,
    /// The entity after it; for a deletion its last state.
    pub entity: Arc<Entity>,
    /// Versions passed over before it.
    pub skipped: Skipped,
    /// When the sidecar learned of it.
    pub learned: SystemTime,
}

/// The whole state at a version, told after a loss of history: a barrier between the changes before it and after it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Relist {
    /// The list's version.
    pub version: Version,
    /// Everything that exists then.
    pub entities: Vec<Arc<Entity>>,
    /// When it was told.
    pub learned: SystemTime,
}

/// More waits than the bound allows, even collapsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

/// What waits. Numbers grow from change to change: a slot's number is its place in the order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outbox {
    limit: usize,
    bytes: usize,
    next: u64,
    waiting: BTreeMap<u64, Change>,
    /// Stands before every change of that number or a higher one.
    barrier: Option<(u64, Relist)>,
    /// Present once the bound was met and until the outbox is empty: the last slot of each entity behind the barrier.
    newest: Option<BTreeMap<Key, u64>>,
    /// The last slot that stands for superseded changes too: no batch ends before it.
    collapsed_to: Option<u64>,
    collapsed: u64,
}

impl Outbox {
    /// An empty one that holds about `limit` bytes of records.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            next: 0,
            waiting: BTreeMap::new(),
            barrier: None,
            newest: None,
            collapsed_to: None,
            collapsed: 0,
        }
    }

    /// Takes the next change.
    ///
    /// # Errors
    /// When more waits than the bound allows, even with one change per entity: the caller must start over.
    pub fn push(&mut self, change: Change) -> Result<(), Overflow> {
        self.insert(change);
        if self.bytes > self.limit && self.newest.is_none() {
            self.collapse();
        }
        if self.bytes > self.limit && self.waiting.len() > 1 { Err(Overflow) } else { Ok(()) }
    }

    /// Takes the whole state at a version. What waited behind an earlier one is superseded.
    pub fn relist(&mut self, relist: Relist) {
        if let Some((at, _)) = self.barrier.take() {
            let superseded = self.waiting.split_off(&at);
            self.bytes -= superseded.values().map(cost).sum::<usize>();
            self.collapsed_to = last_collapsed(&self.waiting);
        }
        self.barrier = Some((self.next, relist));
    }

    /// Puts back changes that were taken and not told: they stand before everything else again.
    pub fn put_back(&mut self, changes: impl IntoIterator<Item = Change>) {
        let later = std::mem::take(&mut self.waiting);
        let barrier = self.barrier.take();
        let collapsing = self.newest.take().is_some();
        self.collapsed_to = None;
        self.bytes = 0;
        for change in changes {
            self.insert(change);
        }
        let mut barrier = barrier.map(|(at, relist)| (later.range(..at).count(), relist));
        for (index, change) in later.into_values().enumerate() {
            if let Some((_, relist)) = barrier.take_if(|(before, _)| *before == index) {
                self.barrier = Some((self.next, relist));
            }
            self.insert(change);
        }
        if let Some((_, relist)) = barrier {
            self.barrier = Some((self.next, relist));
        }
        if collapsing {
            self.collapse();
        }
    }

    /// Keeps only the newest change per entity from now until the outbox is empty; deletions stay.
    pub fn collapse(&mut self) {
        let all = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        self.newest = Some(BTreeMap::new());
        for (number, change) in all {
            self.place(number, change);
        }
    }

    /// Puts back a relist that was taken and not told to the end, in front of everything; unless a newer one waits, which stands for it and for
    /// all that came between.
    pub fn put_back_relist(&mut self, relist: Relist) {
        match self.barrier.take() {
            None => self.barrier = Some((0, relist)),
            Some((at, newer)) => {
                let kept = self.waiting.split_off(&at);
                self.bytes = kept.values().map(cost).sum();
                self.waiting = kept;
                self.collapsed_to = last_collapsed(&self.waiting);
                self.barrier = Some((at, newer));
            }
        }
    }

    /// Whether the state of a relist is next.
    pub fn relist_is_next(&self) -> bool {
        match (&self.barrier, self.waiting.keys().next()) {
            (Some((at, _)), Some(first)) => at <= first,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// Takes the relist that is next.
    pub fn take_relist(&mut self) -> Option<Relist> {
        if self.relist_is_next() { self.barrier.take().map(|(_, relist)| relist) } else { None }
    }

    /// Takes the next changes: as many as weigh `bytes`, at least one, and more where a batch must not end.
    pub fn take(&mut self, bytes: usize) -> Vec<Change> {
        let barrier = self.barrier.as_ref().map_or(u64::MAX, |(at, _)| *at);
        let mut taken = Vec::new();
        let mut weight = 0;
        while let Some(first) = self.waiting.first_entry() {
            let number = *first.key();
            let within_collapse = self.collapsed_to.is_some_and(|last| number <= last);
            if number >= barrier || (weight >= bytes && !within_collapse) {
                break;
            }
            let change = first.remove();
            weight += cost(&change);
            if let Some(newest) = &mut self.newest
                && newest.get(&change.entity.key) == Some(&number)
            {
                newest.remove(&change.entity.key);
            }
            taken.push(change);
        }
        self.bytes -= weight;
        if self.waiting.is_empty() {
            self.newest = None;
            self.collapsed_to = None;
        }
        taken
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        let collapsed = self.collapsed;
        *self = Self { next: self.next, collapsed, ..Self::new(self.limit) };
    }

    /// Whether nothing waits, not even a relist.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.barrier.is_none()
    }

    /// Bytes that wait, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Changes that were collapsed into later ones, ever.
    pub fn collapsed(&self) -> u64 {
        self.collapsed
    }

    /// When the sidecar learned of the oldest change that waits.
    pub fn oldest(&self) -> Option<SystemTime> {
        let relist = self.barrier.as_ref().map(|(_, relist)| relist.learned);
        self.waiting.values().next().map(|change| change.learned).into_iter().chain(relist).min()
    }

    fn insert(&mut self, change: Change) {
        let number = self.next;
        self.next += 1;
        self.place(number, change);
    }

    /// Puts a change at a number higher than all present, collapsed with an earlier one of its entity if that is the mode.
    fn place(&mut self, number: u64, mut change: Change) {
        let barrier = self.barrier.as_ref().map(|(at, _)| *at).filter(|at| *at <= number);
        if let Some(newest) = &mut self.newest
            && let Some(earlier) = newest.insert(change.entity.key.clone(), number)
            && barrier.is_none_or(|at| earlier >= at)
            && let Some(before) = self.waiting.remove(&earlier)
        {
            if supersedes(&before, &change) {
                self.bytes -= cost(&before);
                self.collapsed += 1;
                change = supersede(before, change);
            } else {
                self.waiting.insert(earlier, before);
            }
        }
        if change.skipped != Skipped::Known(0) {
            self.collapsed_to = Some(number);
        }
        self.bytes += cost(&change);
        self.waiting.insert(number, change);
    }
}

/// The last slot that stands for others too.
fn last_collapsed(waiting: &BTreeMap<u64, Change>) -> Option<u64> {
    waiting.iter().rev().find(|(_, change)| change.skipped != Skipped::Known(0)).map(|(number, _)| *number)
}

/// Whether `later` may stand for `before`: never for a deletion, and never for another life of the same name.
fn supersedes(before: &Change, later: &Change) -> bool {
    before.event != Event::Deleted && before.entity.uid == later.entity.uid
}

/// `later`, standing for `before` too. What was never told as created is told so now.
fn supersede(before: Change, later: Change) -> Change {
    let event = match (before.event, later.event) {
        (Event::Created, Event::Updated) => Event::Created,
        (_, event) => event,
    };
    Change { event, skipped: before.skipped.and(1, later.skipped), learned: before.learned, ..later }
}

/// Bytes that a waiting change holds: its record (twice the key for a tombstone is noise) and the slot.
fn cost(change: &Change) -> usize {
    envelope::weight(&change.entity) + std::mem::size_of::<Change>() + std::mem::size_of::<Entity>()
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
