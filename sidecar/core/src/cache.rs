//! The cache of one watch: what exists, ready to send; filled by a list, followed by a watch, ahead by our own writes.
//!
//! Owns the rule which of two states of an entity is shown. The informer fills and follows it, the entity API reads it and adds the
//! answers to its own writes.
//!
//! Versions decide. What the watch has told reaches up to [`Cache::version`]; so
//! - the answer to one of our writes is taken only when it is newer than that: an older one is already here, or already gone again;
//! - a list replaces everything up to its own version, and what is newer stays, which can only be our own writes;
//! - a change never replaces a newer state, which again can only be ours.
//!
//! The answer to a delete carries no version. It names the uid, and no uid comes back: so the uid is remembered, and neither a change that
//! the watch tells late, nor a list that was made before, nor the late answer to an earlier write shows the entity again.
//! It says nothing of another entity that had the name before and of which the watch may still tell. So a version that the deleted entity had is remembered
//! too: what is older under that name is not shown. Where none is known (it was deleted whatever its version, and was not in the cache), such a predecessor may be
//! shown until the watch has told its deletion.
//!
//! A list *older* than what the watch has told means that the store was restored to the past: then nothing that was known counts.

#[cfg(test)]
mod model;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::entity::{ByKey, Entity, Key, Named};
use crate::feed::{Change, Delta};
use crate::fields::Fields;
use crate::fnv;
use crate::index::Index;
use crate::shelf::Shelf;
use crate::version::Version;

/// How long the uid of an entity that we deleted is remembered when the watch does not tell its deletion (because it had done so
/// before the answer came): longer than a watch lags, unless its history is lost and everything is listed again.
const REMEMBER_DELETED: Duration = Duration::from_secs(300);

/// The entities of one kind and namespace scope.
#[derive(Debug, Default)]
pub struct Cache {
    entries: Shelf,
    version: Version,
    bytes: usize,
    /// Of the entities' JSON alone.
    content: usize,
    fingerprint: u64,
    index: Index,
    /// Uids of entities that we deleted.
    deleted: HashSet<Arc<str>>,
    /// Names under which we deleted an entity of this version, which the watch has not told yet: what is older is not shown.
    overtaken: HashMap<Key, Version>,
    /// When they may be forgotten, soonest first.
    forget: VecDeque<(Instant, Arc<str>)>,
}

impl Cache {
    /// Takes the whole state at a version; what is newer by our own writes stays.
    pub fn replace(&mut self, version: Version, entities: Vec<Arc<Entity>>) {
        let mut before = std::mem::take(&mut self.entries);
        if version < self.version {
            // Restored to the past: our writes are undone with everything else, and a uid may live again.
            before.clear();
            self.deleted.clear();
            self.overtaken.clear();
            self.forget.clear();
        }
        self.version = version;
        self.bytes = 0;
        self.content = 0;
        self.fingerprint = 0;
        self.index.clear();
        let shown: Shelf = entities.into_iter().filter(|entity| !self.is_over(entity)).map(ByKey).collect();
        shown.behind(None).for_each(|entity| self.count(entity));
        self.entries = shown;
        self.overtaken.retain(|_, overtaken| *overtaken > version);
        for ByKey(ours) in before.into_iter().filter(|ByKey(entity)| entity.version > version) {
            self.insert(ours);
        }
    }

    /// Lets everything go; how far the watch has told stays.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
        self.content = 0;
        self.fingerprint = 0;
        self.index.clear();
    }

    /// Takes a change from the watch. One at or before [`Cache::version`] (a watch that replays for the bridge) changes nothing.
    pub fn observe(&mut self, delta: &Delta) {
        let entity = &delta.entity;
        if entity.version <= self.version {
            return;
        }
        self.version = entity.version;
        let newer_is_here = self.find(&entity.key).is_some_and(|ours| ours.version > entity.version);
        match delta.change {
            Change::Deleted => {
                self.deleted.remove(&*entity.uid);
                if !newer_is_here {
                    self.remove(&entity.key);
                }
            }
            Change::Added | Change::Modified => {
                if !newer_is_here && !self.is_over(entity) {
                    self.insert(Arc::clone(entity));
                }
            }
        }
    }

    /// The watch has told everything up to `version`.
    pub fn bookmark(&mut self, version: Version) {
        self.version = self.version.max(version);
        let told = self.version;
        self.overtaken.retain(|_, overtaken| *overtaken > told);
    }

    /// Takes the answer to one of our own creates, replaces or patches, also to a delete that finalizers hold, and to a read at the API server.
    pub fn written(&mut self, entity: Arc<Entity>) {
        let newest = self.find(&entity.key).map_or(self.version, |here| here.version.max(self.version));
        if entity.version > newest && !self.is_over(&entity) {
            self.insert(entity);
        }
    }

    /// Takes the answer to one of our own deletes that removed the entity at once. `version` is one that the entity had, where that is known.
    /// `now` bounds how long the uid is remembered.
    pub fn deleted(&mut self, key: &Key, uid: &str, version: Option<Version>, now: Instant) {
        while self.forget.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, uid)) = self.forget.pop_front() {
                self.deleted.remove(&uid);
            }
        }
        let here = self.find(key).map(|here| (here.version, *here.uid == *uid));
        let version = here.filter(|(_, same)| *same).map(|(here, _)| here).max(version);
        if here.is_some_and(|(here, same)| same || version.is_some_and(|version| here < version)) {
            self.remove(key);
        }
        if let Some(version) = version.filter(|version| *version > self.version) {
            let overtaken = self.overtaken.entry(key.clone()).or_default();
            *overtaken = version.max(*overtaken);
        }
        let uid: Arc<str> = Arc::from(uid);
        self.deleted.insert(Arc::clone(&uid));
        self.forget.push_back((now + REMEMBER_DELETED, uid));
    }

    /// The entity as last known.
    pub fn find(&self, key: &dyn Named) -> Option<&Arc<Entity>> {
        self.entries.find(key)
    }

    /// The entities behind a key, or all, in key order.
    pub fn range(&self, behind: Option<Key>) -> impl Iterator<Item = &Arc<Entity>> {
        self.entries.behind(behind.as_ref().map(|key| key as &dyn Named))
    }

    /// Indexes the fields that the kind's schema declares as selectable, from now on and for what is here. Labels are always indexed.
    pub fn index_by(&mut self, fields: Arc<Fields>) {
        self.index = Index::new(fields);
        self.entries.behind(None).for_each(|entity| self.index.insert(entity));
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Another number whenever another state is held, and the same for the same state wherever it is held. The numbers of several caches
    /// with nothing in common may be added.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Up to where the watch has told everything; 0 before the first fill.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Entities held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes held: JSON, keys, labels, the structs around them, and the index.
    pub fn bytes(&self) -> usize {
        self.bytes + self.index.bytes()
    }

    /// Bytes of the entities' business JSON alone: the same wherever they are held.
    pub fn content(&self) -> usize {
        self.content
    }

    /// Whether we have deleted it, or a successor of the same name.
    fn is_over(&self, entity: &Entity) -> bool {
        let overtaken = self.overtaken.get(&entity.key).is_some_and(|overtaken| entity.version < *overtaken);
        overtaken || self.deleted.contains(&*entity.uid)
    }

    fn insert(&mut self, entity: Arc<Entity>) {
        self.remove(&entity.key);
        self.count(&entity);
        self.entries.insert(ByKey(entity));
    }

    fn count(&mut self, entity: &Arc<Entity>) {
        self.bytes += entity.footprint();
        self.content += entity.json.len();
        self.fingerprint = self.fingerprint.wrapping_add(fingerprint(entity));
        self.index.insert(entity);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(before) = self.entries.take(key) {
            self.bytes -= before.footprint();
            self.content -= before.json.len();
            self.fingerprint = self.fingerprint.wrapping_sub(fingerprint(&before));
            self.index.remove(&before);
        }
    }
}

/// FNV-1a over what tells one state of an entity from every other, mixed so that sums of several do not meet.
fn fingerprint(entity: &Entity) -> u64 {
    let hash = fnv::fold(fnv::BASIS, entity.key.namespace.as_deref().unwrap_or_default().as_bytes());
    let hash = fnv::fold(fnv::fold(hash, b"/"), entity.key.id.as_bytes());
    let hash = fnv::fold(fnv::fold(hash, entity.uid.as_bytes()), &entity.version.0.to_be_bytes());
    fnv::mix(hash)
}

#[cfg(test)]
pub(crate) mod tests;
