//! The children of a kind's entities, as watches on their kinds have told.

use std::sync::Arc;

use contract::names::PARENT;
use sidecar_core::entity::Entity;
use sidecar_core::kind::Kind;
use sidecar_core::reconcile::child::parent_of;

use crate::view::{Follower, View};

/// The kinds of children that are declared, with a view each: of those objects alone that have our label.
#[derive(Debug, Clone, Default)]
pub struct Children {
    /// In the order of the configuration.
    pub kinds: Vec<Arc<Kind>>,
    /// One for each kind.
    pub views: Vec<Arc<View>>,
}

impl Children {
    /// Whether everything is known of all kinds.
    pub(super) fn are_known(&self) -> bool {
        self.views.iter().all(|view| view.is_filled())
    }

    /// What has an entity's label, with the place of its kind.
    pub(super) fn of(&self, uid: &str) -> Vec<(usize, Arc<Entity>)> {
        let views = self.views.iter().enumerate();
        views.flat_map(|(kind, view)| view.labelled(PARENT, uid).into_iter().map(move |child| (kind, child))).collect()
    }

    /// A kind and its view.
    pub(super) fn kind(&self, place: usize) -> Option<(&Arc<Kind>, &Arc<View>)> {
        Some((self.kinds.get(place)?, self.views.get(place)?))
    }
}

/// One follower for each view of several.
pub(super) struct Followers {
    followers: Vec<Follower>,
}

impl Followers {
    /// From now on.
    pub(super) fn new(views: &[Arc<View>]) -> Self {
        Self { followers: views.iter().map(|view| Follower::new(Arc::clone(view))).collect() }
    }

    /// Leaves out what there is to hear.
    pub(super) fn pass(&mut self) {
        for follower in &mut self.followers {
            follower.each(|_| {});
        }
    }

    /// Returns when there may be something to hear.
    pub(super) async fn changed(&mut self) {
        let changes: Vec<_> = self.followers.iter_mut().map(|follower| Box::pin(follower.changed())).collect();
        if changes.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(changes).await;
    }

    /// The uids of the parents whose children have changed; `None` where that is not known any more: then any may have.
    pub(super) fn hear(&mut self) -> Option<Vec<Box<str>>> {
        let mut parents = Vec::new();
        let mut lost = false;
        for follower in &mut self.followers {
            lost |= !follower.each(|event| {
                let states = [event.before.as_ref(), Some(&event.entity)];
                parents.extend(states.into_iter().flatten().filter_map(|child| parent_of(child)).map(Box::from));
            });
        }
        parents.dedup();
        (!lost).then_some(parents)
    }
}
