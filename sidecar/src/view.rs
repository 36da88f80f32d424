//! What one informer knows, shared: it writes, the entity API reads and adds the answers to its own writes.
//!
//! A [`View`] is one watch's cache behind a lock that is never held across an await; a [`KindView`] is all views of a kind, one for each
//! namespace scope. Nothing here asks the API server.

mod follower;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use sidecar_core::budget::Usage;
use sidecar_core::entity::{Entity, Key, Named};
use sidecar_core::feed::Delta;
use sidecar_core::fields::Fields;
use sidecar_core::followed::{Cursor, Event, Followed, Position};
use sidecar_core::list::Gathered;
use sidecar_core::query::ListQuery;
use sidecar_core::version::Version;
use sidecar_core::watch::Loss;
use tokio::sync::{Notify, watch};

pub use follower::Follower;

/// The shared cache of one watch.
#[derive(Debug)]
pub struct View {
    namespace: Option<Arc<str>>,
    /// Of the labels that its watch is restricted to.
    selector: Option<Arc<str>>,
    state: RwLock<State>,
    /// How far the watch has come; who waits for a version listens here.
    progress: watch::Sender<Version>,
    /// How often the watch has ended or could not be opened.
    breaks: Arc<watch::Sender<u64>>,
    /// Rung when the kind's definition has changed.
    redefined: Arc<Notify>,
    /// Whether entities are kept, and not only versions.
    keeps: bool,
}

#[derive(Debug, Default)]
struct State {
    followed: Followed,
    filled: bool,
    /// Why nothing is to be read.
    lost: Option<Loss>,
    /// When the cache was last known to be current.
    confirmed: Option<Instant>,
}

/// What a scrape shows of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Entities held.
    pub entities: usize,
    /// Bytes held.
    pub bytes: usize,
    /// Bytes of the entities' business JSON alone.
    pub content: usize,
    /// Bytes of past changes, held for followers.
    pub history: usize,
}

impl View {
    /// Empty; `namespace` is what its watch is restricted to.
    pub fn new(namespace: Option<Arc<str>>) -> Self {
        let progress = watch::Sender::new(Version::default());
        let breaks = Arc::new(watch::Sender::new(0));
        let state = RwLock::default();
        Self { namespace, selector: None, state, progress, breaks, redefined: Arc::default(), keeps: true }
    }

    /// Of what its watch is restricted to by labels too.
    #[must_use]
    pub fn selecting(self, selector: &str) -> Self {
        Self { selector: Some(Arc::from(selector)), ..self }
    }

    /// For a watch of what another view is filled with from elsewhere: nobody reads it, so it keeps nothing. What says that the kind's definition
    /// has changed is shared.
    #[must_use]
    pub fn passing(&self) -> Self {
        let (breaks, redefined) = (Arc::clone(&self.breaks), Arc::clone(&self.redefined));
        Self { breaks, redefined, keeps: false, ..Self::new(self.namespace.clone()) }
    }

    /// The namespace that its watch is restricted to.
    pub fn namespace(&self) -> Option<&Arc<str>> {
        self.namespace.as_ref()
    }

    /// The label selector that its watch is restricted to.
    pub fn selector(&self) -> Option<&str> {
        self.selector.as_deref()
    }

    /// The informer has the whole state.
    pub fn fill(&self, version: Version, entities: Vec<Arc<Entity>>, now: Instant) {
        let entities = if self.keeps { entities } else { Vec::new() };
        self.change(now, |state| {
            state.followed.replace(version, entities);
            state.filled = true;
            state.lost = None;
        });
    }

    /// Nothing is to be read until the next fill. What is too much is let go.
    pub fn lose(&self, why: Loss) {
        let mut state = self.state.write();
        state.lost = Some(why);
        state.filled = false;
        if why == Loss::Full {
            state.followed.clear();
        }
    }

    /// The informer was told of a change.
    pub fn observe(&self, delta: &Delta, now: Instant) {
        self.change(now, |state| match self.keeps {
            true => state.followed.observe(delta),
            false => state.followed.bookmark(delta.entity.version),
        });
    }

    /// The informer was told how far its watch has come.
    pub fn bookmark(&self, version: Version, now: Instant) {
        self.change(now, |state| state.followed.bookmark(version));
    }

    /// The watch has ended or could not be opened: among other reasons because the kind's definition has changed.
    pub fn broken(&self) {
        self.breaks.send_modify(|breaks| *breaks += 1);
    }

    /// The kind's definition has changed, so that everything has to be listed again.
    pub fn redefine(&self) {
        self.redefined.notify_one();
    }

    /// Returns once after each [`View::redefine`]. Cancelling loses nothing.
    pub async fn redefinition(&self) {
        self.redefined.notified().await;
    }

    /// Changes with each [`View::broken`].
    pub fn breaks(&self) -> watch::Receiver<u64> {
        self.breaks.subscribe()
    }

    fn change(&self, now: Instant, change: impl FnOnce(&mut State)) {
        let version = {
            let mut state = self.state.write();
            change(&mut state);
            state.confirmed = Some(now);
            state.followed.cache().version()
        };
        self.progress.send_replace(version);
    }

    /// The answer to one of our own writes, or to a read at the API server.
    pub fn written(&self, entity: Arc<Entity>) {
        let mut state = self.state.write();
        if state.lost != Some(Loss::Full) {
            state.followed.written(entity);
        }
    }

    /// The answer to one of our own deletes that removed the entity at once.
    pub fn deleted(&self, key: &Key, uid: &str, version: Option<Version>, now: Instant) {
        self.state.write().followed.deleted(key, uid, version, now);
    }

    /// The entity as last known.
    pub fn find(&self, key: &Key) -> Option<Arc<Entity>> {
        self.state.read().followed.cache().find(key).cloned()
    }

    /// The entity as last known, and how long ago that was known to be current; `None` while nothing is to be read.
    pub fn look(&self, key: &dyn Named, now: Instant) -> Option<(Option<Arc<Entity>>, Duration)> {
        let state = self.state.read();
        let age = state.confirmed.map_or(Duration::ZERO, |confirmed| now.saturating_duration_since(confirmed));
        state.filled.then(|| (state.followed.cache().find(key).cloned(), age))
    }

    /// At most `most` keys behind another, in order; `None` while nothing is to be read.
    pub fn keys(&self, behind: Option<Key>, most: usize) -> Option<Vec<Key>> {
        let state = self.state.read();
        let keys = || state.followed.cache().range(behind).take(most).map(|entity| entity.key.clone()).collect();
        state.filled.then(keys)
    }

    /// All entities in a namespace, or all where that is absent.
    pub fn within(&self, namespace: Option<&str>) -> Vec<Arc<Entity>> {
        let state = self.state.read();
        let entities = state.followed.cache().range(None);
        entities.filter(|entity| namespace.is_none() || entity.key.namespace.as_deref() == namespace).cloned().collect()
    }

    /// The entities with a label.
    pub fn labelled(&self, name: &str, value: &str) -> Vec<Arc<Entity>> {
        let state = self.state.read();
        let cache = state.followed.cache();
        cache.index().labelled(name, value).filter_map(|key| cache.find(key)).cloned().collect()
    }

    /// What the watch has told that there is, and the place behind it: what follows from there joins without a gap and without repetition.
    pub fn follow(&self) -> (Vec<Arc<Entity>>, Cursor) {
        self.state.write().followed.follow()
    }

    /// The place behind what a follower has, if that is still known.
    pub fn resume(&self, position: Position) -> Option<Cursor> {
        self.state.read().followed.resume(position)
    }

    /// At most `most` events behind a place, and the place behind them; `None` when the follower has to start over.
    pub fn after(&self, cursor: Cursor, most: usize) -> Option<(Vec<Arc<Event>>, Cursor)> {
        let state = self.state.read();
        if state.lost.is_some() {
            // Nothing is known of now: a follower waits until there is.
            return Some((Vec::new(), cursor));
        }
        state.followed.after(cursor, most)
    }

    /// Changes whenever there may be something to tell.
    pub fn progress(&self) -> watch::Receiver<Version> {
        self.progress.subscribe()
    }

    /// Whether the informer has listed everything once, and nothing is lost since.
    pub fn is_filled(&self) -> bool {
        self.state.read().filled
    }

    /// Why there is nothing to be read, if it is for more than that it is not filled yet.
    pub fn loss(&self) -> Option<Loss> {
        self.state.read().lost
    }

    /// How long ago the cache was last known to be current.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        self.state.read().confirmed.map(|confirmed| now.saturating_duration_since(confirmed))
    }

    /// What it holds.
    pub fn size(&self) -> Size {
        let state = self.state.read();
        let cache = state.followed.cache();
        Size {
            entities: cache.len(),
            bytes: cache.bytes(),
            content: cache.content(),
            history: state.followed.history_bytes(),
        }
    }

    /// Looks at the entity of `key` (absent when there is none) now and whenever the watch has told something, until that decides.
    pub async fn until<T>(&self, key: &Key, mut decide: impl FnMut(Option<&Arc<Entity>>) -> Option<T>) -> T {
        let mut progress = self.progress.subscribe();
        loop {
            progress.mark_unchanged();
            if let Some(decided) = decide(self.find(key).as_ref()) {
                return decided;
            }
            // The sender lives as long as the view, so this cannot fail.
            let _ = progress.changed().await;
        }
    }

    /// Returns once the watch has come to `version`, or the entity of `key` has.
    pub async fn reached(&self, version: Version, key: Option<&Key>) {
        let mut progress = self.progress.subscribe();
        let enough = |told: &Version| {
            *told >= version || key.and_then(|key| self.find(key)).is_some_and(|entity| entity.version >= version)
        };
        // The sender lives as long as the view, so this cannot fail.
        let _ = progress.wait_for(enough).await;
    }
}

/// What may belong to a list, and what an answer says of the cache it came from.
#[derive(Debug)]
pub struct Listing {
    /// The entities; the filter and the order are still to be asked, which needs no lock.
    pub gathered: Gathered,
    /// The age of the oldest cache that was asked.
    pub age: Duration,
}

/// All views of a kind, in the order of their namespaces.
#[derive(Debug, Clone)]
pub struct KindView {
    views: Arc<[Arc<View>]>,
    /// Of the views, where not all namespaces are served.
    namespaces: Option<Arc<[Arc<str>]>>,
}

impl KindView {
    /// One view of everything, or one for each of some namespaces.
    pub fn new(mut views: Vec<Arc<View>>) -> Self {
        views.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        let namespaces = views.iter().map(|view| view.namespace.clone()).collect();
        Self { views: views.into(), namespaces }
    }

    /// Why there is nothing to be read.
    pub fn loss(&self) -> Option<Loss> {
        self.views.iter().find_map(|view| view.loss())
    }

    /// Whether every informer has listed everything once, and nothing is lost since.
    pub fn is_filled(&self) -> bool {
        self.views.iter().all(|view| view.is_filled())
    }

    /// How many entities there are and how large they are; absent while that is not known of all of them.
    pub fn usage(&self) -> Option<Usage> {
        self.views.iter().try_fold(Usage::default(), |sum, view| {
            let Size { entities, content, .. } = view.is_filled().then(|| view.size())?;
            Some(Usage { objects: sum.objects + entities as u64, bytes: sum.bytes + content as u64 })
        })
    }

    /// All views.
    pub fn views(&self) -> &[Arc<View>] {
        &self.views
    }

    /// The view that holds what is in `namespace` (absent for a cluster-scoped kind), if it is served.
    pub fn of(&self, namespace: Option<&str>) -> Option<&Arc<View>> {
        self.views.iter().find(|view| view.namespace.is_none() || view.namespace.as_deref() == namespace)
    }

    /// The namespaces that are served, where not all are.
    pub fn namespaces(&self) -> Option<&[Arc<str>]> {
        self.namespaces.as_deref()
    }

    /// Indexes the fields that the kind's schema declares as selectable.
    pub fn index_by(&self, fields: &Arc<Fields>) {
        for view in self.views.iter() {
            view.state.write().followed.cache_mut().index_by(Arc::clone(fields));
        }
    }

    /// What may belong to a list, from all views that the query reaches, in key order: a view's keys all lie in its namespace, and views are
    /// in that order.
    pub fn list(&self, query: &ListQuery, now: Instant) -> Listing {
        let reached = self.views.iter().filter(|view| match (&query.namespace, &view.namespace) {
            (Some(asked), Some(held)) => asked == held,
            _ => true,
        });
        let mut listing = Listing { gathered: Gathered::default(), age: Duration::ZERO };
        for view in reached {
            let state = view.state.read();
            listing.gathered.gather(state.followed.cache(), query);
            let age = state.confirmed.map_or(Duration::ZERO, |confirmed| now.saturating_duration_since(confirmed));
            listing.age = listing.age.max(age);
        }
        listing
    }

    /// Returns once every watch that the namespace reaches (all, if absent) has come to `version`, or the entity of `key` has.
    pub async fn reached(&self, version: Version, namespace: Option<&str>, key: Option<&Key>) {
        for view in self.views.iter() {
            let asked = namespace.is_none() || view.namespace.is_none() || view.namespace.as_deref() == namespace;
            if asked {
                view.reached(version, key).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
