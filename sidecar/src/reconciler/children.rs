//! The children of a kind's entities, as watches on their kinds have told.

use std::sync::Arc;

use contract::names::PARENT;
use sidecar_core::entity::Entity;
use sidecar_core::followed::{Cursor, Event};
use sidecar_core::kind::Kind;
use sidecar_core::reconcile::child::parent_of;
use sidecar_core::version::Version;
use tokio::sync::watch;

use crate::view::View;

/// How many events are read at a time.
const EVENTS: usize = 256;

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

    /// Follows all of them from now on.
    pub(super) fn follow(&self) -> Followers {
        let views = self.views.iter().map(|view| Follower::new(Arc::clone(view)));
        Followers { followers: views.collect() }
    }
}

/// One follower for each kind of children.
pub(super) struct Followers {
    followers: Vec<Follower>,
}

impl Followers {
    /// Returns when there may be something to hear.
    pub(super) async fn changed(&mut self) {
        let changes: Vec<_> = self.followers.iter_mut().map(|follower| Box::pin(follower.progress.changed())).collect();
        if changes.is_empty() {
            return std::future::pending().await;
        }
        // The senders live as long as the views, so this cannot fail.
        let _ = futures::future::select_all(changes).await;
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

/// A place in what a view tells.
pub(super) struct Follower {
    view: Arc<View>,
    cursor: Cursor,
    progress: watch::Receiver<Version>,
}

impl Follower {
    pub(super) fn new(view: Arc<View>) -> Self {
        let progress = view.progress();
        let (_, cursor) = view.follow();
        Self { view, cursor, progress }
    }

    /// Returns when there may be something to hear.
    pub(super) async fn changed(&mut self) {
        // The sender lives as long as the view, so this cannot fail.
        let _ = self.progress.changed().await;
    }

    /// Hands over every change since the last call; `false`: some are not known any more.
    pub(super) fn each(&mut self, mut hear: impl FnMut(&Event)) -> bool {
        self.progress.mark_unchanged();
        loop {
            let Some((events, cursor)) = self.view.after(self.cursor, EVENTS) else {
                (_, self.cursor) = self.view.follow();
                return false;
            };
            self.cursor = cursor;
            events.iter().for_each(|event| hear(event));
            if events.len() < EVENTS {
                return true;
            }
        }
    }
}
