//! What exists, as the feed has told it: the states before changes, and what must have been deleted when a list comes in place of changes.
//!
//! Entities are shared with the cache, so this costs little beside it. Never decides what the app has acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use contract::record::Event;

use super::{Notice, event};
use crate::entity::{ByKey, Entity, Key};
use crate::feed::{Change, Delta};
use crate::outbox::Skipped;
use crate::version::Version;

/// The entities that exist. At first it may be ahead of the feed: it is the cache's state, and the feed begins before.
#[derive(Debug)]
pub(super) struct Known {
    present: BTreeSet<ByKey>,
    /// When the feed has come to this version, these are all that there are, in the state that the feed has told.
    at: Option<Version>,
    exact: bool,
}

impl Known {
    pub(super) fn new(known: Option<(Version, Vec<Arc<Entity>>)>) -> Self {
        let (at, entities) = match known {
            Some((version, entities)) => (Some(version), entities),
            None => (None, Vec::new()),
        };
        Self { present: entities.into_iter().map(ByKey).collect(), at, exact: false }
    }

    /// The feed has told everything up to a version.
    pub(super) fn come_to(&mut self, version: Version) {
        self.exact |= self.at.is_some_and(|at| at <= version);
    }

    pub(super) fn observe(&mut self, delta: &Delta) {
        let entity = &delta.entity;
        if self.find(&entity.key).is_some_and(|known| known.version > entity.version) {
            return;
        }
        match delta.change {
            Change::Added | Change::Modified => drop(self.present.replace(ByKey(Arc::clone(entity)))),
            Change::Deleted => drop(self.present.take(&entity.key)),
        }
    }

    /// What to tell of a change.
    pub(super) fn notice(&self, delta: &Delta, learned: SystemTime) -> Notice {
        let entity = Arc::clone(&delta.entity);
        let same = |known: &&Arc<Entity>| known.uid == entity.uid && known.version < entity.version;
        let before = match delta.change {
            Change::Modified => self.find(&entity.key).filter(same).cloned(),
            // A deletion tells the last state itself.
            Change::Added | Change::Deleted => None,
        };
        let version = entity.version;
        Notice { event: event(delta.change), entity, before, version, skipped: Skipped::Known(0), learned }
    }

    /// What must have happened since, given all that there is now; absent where what was before is not known.
    pub(super) fn difference(&self, now: &[Arc<Entity>], learned: SystemTime) -> Option<Vec<Notice>> {
        if !self.exact {
            return None;
        }
        let present: BTreeSet<&Key> = now.iter().map(|entity| &entity.key).collect();
        let vanished = self.present.iter().filter(|ByKey(known)| !present.contains(&known.key));
        let mut notices: Vec<Notice> = vanished.map(|ByKey(known)| deleted(known, learned)).collect();
        for entity in now {
            match self.find(&entity.key) {
                Some(known) if known.uid == entity.uid && known.version == entity.version => {}
                Some(known) if known.uid == entity.uid => notices.push(snapshot(entity, Some(known), learned)),
                // Another life of the same name: the one before has ended.
                Some(known) => notices.extend([deleted(known, learned), snapshot(entity, None, learned)]),
                None => notices.push(snapshot(entity, None, learned)),
            }
        }
        Some(notices)
    }

    fn find(&self, key: &Key) -> Option<&Arc<Entity>> {
        self.present.get(key).map(|ByKey(entity)| entity)
    }
}

/// A state whose way is not known.
pub(super) fn snapshot(entity: &Arc<Entity>, before: Option<&Arc<Entity>>, learned: SystemTime) -> Notice {
    let (entity, before, version) = (Arc::clone(entity), before.cloned(), entity.version);
    Notice { event: Event::Snapshot, entity, before, version, skipped: Skipped::Unknown, learned }
}

/// A deletion that nobody saw. Its version is the earliest that it can have had, as in a record ([`crate::ledger::batch::Vanished::deletion`]).
fn deleted(known: &Arc<Entity>, learned: SystemTime) -> Notice {
    let version = Version(known.version.0.saturating_add(1));
    let entity = Arc::clone(known);
    Notice { event: Event::Deleted, entity, before: None, version, skipped: Skipped::Unknown, learned }
}
