//! A cache and what its followers are told: the entities as the *watch* has told them, and the history of its changes.
//!
//! The cache may be ahead of the watch by our own writes. Followers are told what the watch tells, because only there versions grow in order,
//! so that a version says exactly what a follower has. What the watch has told is the cache but for a few entities; those are kept in `ahead`
//! until the watch has caught up. So an own write is told once, when the watch brings it.
//!
//! The history begins with the first follower: a sidecar that nobody follows pays nothing for it. A view holds one of these behind its lock.

mod event;
mod history;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::cache::Cache;
use crate::entity::{Entity, Key};
use crate::feed::{Change, Delta};
use crate::version::Version;

pub use event::{Event, Position, PositionFault, render};
use history::History;
pub use history::{Cursor, HISTORY_BYTES};

/// The cache of one watch, and what its followers are told.
#[derive(Debug, Default)]
pub struct Followed {
    cache: Cache,
    /// What the watch has told of the entities for which the cache shows something else; `None`: that there is none.
    ahead: HashMap<Key, Option<Arc<Entity>>>,
    history: Option<History>,
}

impl Followed {
    /// The cache.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// The cache, for what does not change the entities that it holds.
    pub fn cache_mut(&mut self) -> &mut Cache {
        &mut self.cache
    }

    /// Takes the whole state at a version.
    pub fn replace(&mut self, version: Version, entities: Vec<Arc<Entity>>) {
        let before = self.history.is_some().then(|| self.told());
        let listed = entities.clone();
        self.cache.replace(version, entities);
        self.ahead.clear();
        let ours = |entity: &&Arc<Entity>| entity.version > version;
        let same = self.cache.len() == listed.len() && !self.cache.range(None).any(|entity| ours(&entity));
        if !same {
            for entity in &listed {
                if self.cache.find(&entity.key).is_none_or(|shown| shown.version != entity.version) {
                    self.ahead.insert(entity.key.clone(), Some(Arc::clone(entity)));
                }
            }
            for entity in self.cache.range(None).filter(ours) {
                self.ahead.entry(entity.key.clone()).or_insert(None);
            }
        }
        if let (Some(history), Some(before)) = (&mut self.history, before) {
            history.relisted(version, before, listed);
        }
    }

    /// Lets everything go; followers have to start over.
    pub fn clear(&mut self) {
        self.cache.clear();
        self.ahead.clear();
        if let Some(history) = &mut self.history {
            history.start_over(self.cache.version());
        }
    }

    /// Takes a change from the watch.
    pub fn observe(&mut self, delta: &Delta) {
        let entity = &delta.entity;
        if entity.version <= self.cache.version() {
            return;
        }
        let before = self.find_told(&entity.key).cloned();
        self.cache.observe(delta);
        let after = (delta.change != Change::Deleted).then(|| Arc::clone(entity));
        self.settle(&entity.key, after);
        if let Some(history) = &mut self.history {
            history.record(delta, before);
        }
    }

    /// The watch has told everything up to `version`.
    pub fn bookmark(&mut self, version: Version) {
        self.cache.bookmark(version);
        if let Some(history) = &mut self.history {
            history.bookmark(version);
        }
    }

    /// Takes the answer to one of our own writes, or to a read at the API server.
    pub fn written(&mut self, entity: Arc<Entity>) {
        let key = entity.key.clone();
        let told = self.find_told(&key).cloned();
        self.cache.written(entity);
        self.settle(&key, told);
    }

    /// Takes the answer to one of our own deletes that removed the entity at once.
    pub fn deleted(&mut self, key: &Key, uid: &str, version: Option<Version>, now: Instant) {
        let told = self.find_told(key).cloned();
        self.cache.deleted(key, uid, version, now);
        self.settle(key, told);
    }

    /// What the watch has told that there is, in key order but for the few of which the cache shows something else; and the place behind it. What
    /// comes behind that place ([`Followed::after`]) follows without a gap and without repetition.
    pub fn follow(&mut self) -> (Vec<Arc<Entity>>, Cursor) {
        let version = self.cache.version();
        let cursor = self.history.get_or_insert_with(|| History::new(version)).now();
        (self.told(), cursor)
    }

    /// The place behind what a follower has, if the history reaches back to it.
    pub fn resume(&self, position: Position) -> Option<Cursor> {
        self.history.as_ref()?.resume(position)
    }

    /// At most `most` events behind a place, and the place behind them. `None`: the history does not reach back to it any more.
    pub fn after(&self, cursor: Cursor, most: usize) -> Option<(Vec<Arc<Event>>, Cursor)> {
        self.history.as_ref()?.after(cursor, most)
    }

    /// Bytes that the history holds, beside those of the cache.
    pub fn history_bytes(&self) -> usize {
        self.history.as_ref().map_or(0, History::bytes)
    }

    fn find_told(&self, key: &Key) -> Option<&Arc<Entity>> {
        match self.ahead.get(key) {
            Some(told) => told.as_ref(),
            None => self.cache.find(key),
        }
    }

    fn told(&self) -> Vec<Arc<Entity>> {
        let shown = self.cache.range(None).filter(|entity| !self.ahead.contains_key(&entity.key));
        shown.chain(self.ahead.values().flatten()).cloned().collect()
    }

    /// The watch has told `told` of the key; it is kept only where the cache shows something else.
    fn settle(&mut self, key: &Key, told: Option<Arc<Entity>>) {
        let of = |entity: Option<&Arc<Entity>>| entity.map(|entity| (entity.version, entity.uid.clone()));
        if of(self.cache.find(key)) == of(told.as_ref()) {
            self.ahead.remove(key);
        } else {
            self.ahead.insert(key.clone(), told);
        }
    }
}

#[cfg(test)]
mod tests;
