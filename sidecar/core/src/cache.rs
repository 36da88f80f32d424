//! The cache of one watch: what exists, ready to send; filled by a list, followed by a watch, ahead by our own writes.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::entity::{Entity, Key};
use crate::feed::Delta;
use crate::query::ListQuery;
use crate::version::Version;

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
///
/// Versions decide: a state never replaces a newer one. The watch has told everything up to [`Cache::version`], so the answer to
/// one of our own writes is taken only when it is newer than that; an older one is already here, or already gone again.
#[derive(Debug, Default)]
pub struct Cache {
    // entries: BTreeMap<Key, Arc<Entity>>, version, uids that we deleted and whose deletion the watch has not told yet, bytes
}

impl Cache {
    /// Takes the whole state at a version; what is newer by our own writes stays.
    pub fn replace(&mut self, version: Version, entities: Vec<Arc<Entity>>) {
        let _ = (version, entities);
        todo!()
    }

    /// Takes a change from the watch. One at or before [`Cache::version`] (a watch that replays for the bridge) changes nothing.
    pub fn observe(&mut self, delta: &Delta) {
        let _ = delta;
        todo!()
    }

    /// The watch has told everything up to `version`.
    pub fn bookmark(&mut self, version: Version) {
        let _ = version;
        todo!()
    }

    /// Takes the answer to one of our own creates, replaces or patches.
    pub fn written(&mut self, entity: Arc<Entity>) {
        let _ = entity;
        todo!()
    }

    /// Takes the answer to one of our own deletes that removed the entity at once. `now` bounds how long the uid is remembered.
    pub fn deleted(&mut self, key: &Key, uid: &str, now: Instant) {
        let _ = (key, uid, now);
        todo!()
    }

    /// The entity as last known.
    pub fn find(&self, key: &Key) -> Option<&Arc<Entity>> {
        let _ = key;
        todo!()
    }

    /// A page in key order.
    pub fn list(&self, query: &ListQuery) -> Page {
        let _ = query;
        todo!()
    }

    /// Up to where the watch has told everything.
    pub fn version(&self) -> Version {
        todo!()
    }

    /// Entities held.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held: JSON, keys, labels and the structs around them.
    pub fn bytes(&self) -> usize {
        todo!()
    }
}

/// The list's body: `{"items":[…],"nextPageToken":…,"meta":{"version":"…"}}`, joined from the entities' own bytes.
pub fn render(page: &Page) -> Bytes {
    let _ = page;
    todo!()
}
