//! The last changes of one watch, for followers who come back: bounded by bytes, in the order of their positions.
//!
//! It is also what followers read from while they follow, each at its own pace, so that none has a buffer of its own. Who is so slow that
//! the history has passed it by has to start over.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::event::{Event, Position};
use crate::entity::{Entity, Key};
use crate::feed::{Change, Delta};
use crate::version::Version;

/// Some thousand changes of a usual entity: minutes at the rate at which people change things, seconds at the rate of an API server.
pub const HISTORY_BYTES: usize = 4 << 20;

/// A place in a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// A store that is restored to the past begins another history.
    generation: u64,
    /// What lies up to here has been read.
    pub position: Position,
}

impl Cursor {
    /// The same history, as far as `position`.
    #[must_use]
    pub fn at(self, position: Position) -> Self {
        Self { position, ..self }
    }
}

#[derive(Debug)]
pub(super) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    limit: usize,
    generation: u64,
    /// What lies behind this is all in `events`.
    floor: Position,
    /// Up to here everything is told.
    last: Position,
    /// Positions up to here may have been given before a restore, and then mean something else.
    undone: Option<Position>,
}

impl History {
    pub(super) fn new(version: Version) -> Self {
        Self::with_limit(version, HISTORY_BYTES)
    }

    pub(super) fn with_limit(version: Version, limit: usize) -> Self {
        let start = Position { version, step: 0 };
        Self { events: VecDeque::new(), bytes: 0, limit, generation: 0, floor: start, last: start, undone: None }
    }

    pub(super) fn record(&mut self, delta: &Delta, before: Option<Arc<Entity>>) {
        let position = Position { version: delta.entity.version, step: 0 };
        self.push(position, before, Arc::clone(&delta.entity), delta.change == Change::Deleted);
    }

    pub(super) fn bookmark(&mut self, version: Version) {
        self.last = self.last.max(Position { version, step: 0 });
    }

    /// Everything was listed again: what is different from before becomes events. In between states may have been passed over.
    pub(super) fn relisted(&mut self, version: Version, before: Vec<Arc<Entity>>, after: Vec<Arc<Entity>>) {
        if version < self.last.version {
            return self.start_over(version);
        }
        let mut known: HashMap<Key, Arc<Entity>> =
            before.into_iter().map(|entity| (entity.key.clone(), entity)).collect();
        let mut changed = Vec::new();
        let mut gone = Vec::new();
        for entity in after {
            match known.remove(&entity.key) {
                Some(old) if old.version == entity.version => {}
                Some(old) if old.uid != entity.uid => {
                    gone.push(old);
                    changed.push((None, entity));
                }
                old => changed.push((old, entity)),
            }
        }
        gone.extend(known.into_values());
        if changed.iter().any(|(_, entity)| entity.version <= self.last.version) {
            // What was told before says otherwise, so it is not the same store's past.
            return self.start_over(version);
        }
        gone.sort_by(|left, right| left.key.cmp(&right.key));
        changed.sort_by_key(|(_, entity)| entity.version);
        for old in gone {
            let position = Position { version: self.last.version, step: self.last.step.saturating_add(1) };
            self.push(position, Some(Arc::clone(&old)), old, true);
        }
        for (old, entity) in changed {
            self.push(Position { version: entity.version, step: 0 }, old, entity, false);
        }
        self.bookmark(version);
    }

    pub(super) fn now(&self) -> Cursor {
        Cursor { generation: self.generation, position: self.last }
    }

    pub(super) fn resume(&self, position: Position) -> Option<Cursor> {
        let sure = self.undone.is_none_or(|undone| position > undone);
        (sure && position >= self.floor && position <= self.last)
            .then_some(Cursor { generation: self.generation, position })
    }

    pub(super) fn after(&self, cursor: Cursor, most: usize) -> Option<(Vec<Arc<Event>>, Cursor)> {
        if cursor.generation != self.generation || cursor.position < self.floor {
            return None;
        }
        let begin = self.events.partition_point(|event| event.position <= cursor.position);
        let events: Vec<_> = self.events.range(begin..).take(most).cloned().collect();
        let all = begin + events.len() == self.events.len();
        let position = if all { self.last } else { events.last().map_or(cursor.position, |event| event.position) };
        Some((events, Cursor { position, ..cursor }))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, position: Position, before: Option<Arc<Entity>>, entity: Arc<Entity>, deleted: bool) {
        let event = Event::new(position, before, entity, deleted);
        self.last = self.last.max(position);
        self.bytes += event.footprint();
        self.events.push_back(Arc::new(event));
        while self.bytes > self.limit {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.footprint();
            self.floor = oldest.position;
        }
    }

    pub(super) fn start_over(&mut self, version: Version) {
        self.undone = self.undone.max(Some(self.last));
        self.generation += 1;
        self.events.clear();
        self.bytes = 0;
        self.last = Position { version, step: 0 };
        self.floor = self.last;
    }
}
