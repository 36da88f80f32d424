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
//!
//! A list *older* than what the watch has told means that the store was restored to the past: then nothing that was known counts.

#[cfg(test)]
mod model;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::entity::{Entity, Key};
use crate::feed::{Change, Delta};
use crate::query::ListQuery;
use crate::version::Version;

/// How long the uid of an entity that we deleted is remembered when the watch does not tell its deletion (because it had done so
/// before the answer came): longer than a watch lags, unless its history is lost and everything is listed again.
const REMEMBER_DELETED: Duration = Duration::from_secs(300);

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The entities, in key order.
    pub items: Vec<Arc<Entity>>,
    /// The key to go on behind, when there are more.
    pub next: Option<Key>,
    /// How far the cache had come.
    pub version: Version,
}

/// The entities of one kind and namespace scope.
#[derive(Debug, Default)]
pub struct Cache {
    entries: BTreeMap<Key, Arc<Entity>>,
    version: Version,
    bytes: usize,
    /// Uids of entities that we deleted.
    deleted: HashSet<Arc<str>>,
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
            self.forget.clear();
        }
        self.version = version;
        self.bytes = 0;
        for entity in entities {
            if !self.deleted.contains(&*entity.uid) {
                self.insert(entity);
            }
        }
        for ours in before.into_values().filter(|entity| entity.version > version) {
            self.insert(ours);
        }
    }

    /// Takes a change from the watch. One at or before [`Cache::version`] (a watch that replays for the bridge) changes nothing.
    pub fn observe(&mut self, delta: &Delta) {
        let entity = &delta.entity;
        if entity.version <= self.version {
            return;
        }
        self.version = entity.version;
        let newer_is_here = self.entries.get(&entity.key).is_some_and(|ours| ours.version > entity.version);
        match delta.change {
            Change::Deleted => {
                self.deleted.remove(&*entity.uid);
                if !newer_is_here {
                    self.remove(&entity.key);
                }
            }
            Change::Added | Change::Modified => {
                if !newer_is_here && !self.deleted.contains(&*entity.uid) {
                    self.insert(Arc::clone(entity));
                }
            }
        }
    }

    /// The watch has told everything up to `version`.
    pub fn bookmark(&mut self, version: Version) {
        self.version = self.version.max(version);
    }

    /// Takes the answer to one of our own creates, replaces or patches, also to a delete that finalizers hold, and to a read at the API server.
    pub fn written(&mut self, entity: Arc<Entity>) {
        let newest = self.entries.get(&entity.key).map_or(self.version, |here| here.version.max(self.version));
        if entity.version > newest && !self.deleted.contains(&*entity.uid) {
            self.insert(entity);
        }
    }

    /// Takes the answer to one of our own deletes that removed the entity at once. `now` bounds how long the uid is remembered.
    pub fn deleted(&mut self, key: &Key, uid: &str, now: Instant) {
        while self.forget.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, uid)) = self.forget.pop_front() {
                self.deleted.remove(&uid);
            }
        }
        if self.entries.get(key).is_some_and(|here| *here.uid == *uid) {
            self.remove(key);
        }
        let uid: Arc<str> = Arc::from(uid);
        self.deleted.insert(Arc::clone(&uid));
        self.forget.push_back((now + REMEMBER_DELETED, uid));
    }

    /// The entity as last known.
    pub fn find(&self, key: &Key) -> Option<&Arc<Entity>> {
        self.entries.get(key)
    }

    /// A page in key order.
    pub fn list(&self, query: &ListQuery) -> Page {
        let first =
            query.namespace.as_ref().map(|namespace| Key { namespace: Some(Arc::clone(namespace)), id: Arc::from("") });
        // The later of the two is where to begin; with the namespace's first key nothing is left out, for no id is empty.
        let begin = match (&query.after, &first) {
            (Some(after), Some(first)) => Bound::Excluded(after.max(first)),
            (Some(key), None) | (None, Some(key)) => Bound::Excluded(key),
            (None, None) => Bound::Unbounded,
        };
        let mut matching = self
            .entries
            .range::<Key, _>((begin, Bound::Unbounded))
            .map(|(_, entity)| entity)
            .take_while(|entity| query.namespace.is_none() || entity.key.namespace == query.namespace)
            .filter(|entity| query.selector.matches(entity));
        let items: Vec<_> = match query.limit {
            Some(limit) => matching.by_ref().take(limit).cloned().collect(),
            None => matching.by_ref().cloned().collect(),
        };
        let next = matching.next().and_then(|_| items.last()).map(|last| last.key.clone());
        Page { items, next, version: self.version }
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

    /// Bytes held: JSON, keys, labels and the structs around them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn insert(&mut self, entity: Arc<Entity>) {
        self.bytes += entity.footprint();
        if let Some(before) = self.entries.insert(entity.key.clone(), entity) {
            self.bytes -= before.footprint();
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some(before) = self.entries.remove(key) {
            self.bytes -= before.footprint();
        }
    }
}

/// The list's body: `{"items":[…],"nextPageToken":…,"meta":{"version":"…"}}`, joined from the entities' own bytes.
pub fn render(page: &Page) -> Bytes {
    // Neither a token (base64url) nor a version (a number) needs escaping.
    let token =
        page.next.as_ref().map_or_else(|| "null".to_owned(), |key| format!("\"{}\"", ListQuery::page_token(key)));
    let tail = format!("],\"nextPageToken\":{token},\"meta\":{{\"version\":\"{}\"}}}}", page.version);
    let head = b"{\"items\":[";
    let items: usize = page.items.iter().map(|entity| entity.json.len()).sum();
    let commas = page.items.len().saturating_sub(1);
    let mut out = Vec::with_capacity(head.len() + items + commas + tail.len());
    out.extend_from_slice(head);
    for (index, entity) in page.items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&entity.json);
    }
    out.extend_from_slice(tail.as_bytes());
    Bytes::from(out)
}

#[cfg(test)]
mod tests;
