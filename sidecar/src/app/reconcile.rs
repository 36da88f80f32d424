//! The reconciler of a kind that is not found yet, in one scope and shard: it works while this sidecar leads, and has the watches of its children only then.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use runtime::kubernetes::Connection;
use runtime::readiness::{Need, Part};
use runtime::tasks::{Stage, Tasks};
use sidecar_core::health::Standing;
use sidecar_core::kind::Kind;
use sidecar_core::reconcile::child;
use sidecar_core::shard::Shard;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::discover::Found;
use super::{Parts, found, informer};
use crate::config::{HooksConfig, KindConfig, Reference};
use crate::events::Events;
use crate::hooks::Hooks;
use crate::informer::Informer;
use crate::kinds::Kinds;
use crate::leases::Leadership;
use crate::reconciler::{self, Children, Hook, Setting};
use crate::store::{Store, Wanted};
use crate::view::{KindView, View};

/// Between two looks for a kind of children that is not there.
const AGAIN: Duration = Duration::from_secs(3);

/// Looks at the same time for a kind that has a finalize hook alone.
const FINALIZING: usize = 4;

/// What a reconciler is made of, but for what is found.
pub(super) struct ReconcileLater {
    pub(super) connection: Connection,
    pub(super) store: Store,
    pub(super) kinds: Arc<Kinds>,
    /// The kind's place in the configuration.
    pub(super) index: usize,
    pub(super) config: KindConfig,
    pub(super) app: Hooks,
    pub(super) health: watch::Receiver<Standing>,
    pub(super) events: Events,
    pub(super) metrics: reconciler::Metrics,
    pub(super) informers: informer::Metrics,
    pub(super) part: Part,
    /// The scope's place among the kind's.
    pub(super) place: usize,
    pub(super) shard: Shard,
    pub(super) leadership: Leadership,
}

impl Parts {
    /// The reconcilers of a kind in one scope, one for each shard.
    pub(super) fn reconcilers(
        &self,
        kind: (usize, &KindConfig),
        (place, title): (usize, &str),
        shards: Vec<Leadership>,
        finding: &watch::Receiver<Option<Found>>,
        tasks: &mut Tasks,
    ) {
        let (index, config) = kind;
        if !config.hooks.works() {
            return;
        }
        for (shard, leadership) in Shard::all(config.shards).zip(shards) {
            let title = match shard.count {
                0 | 1 => format!("reconcile {title}"),
                _ => format!("reconcile {title}, shard {}", shard.index),
            };
            let later = ReconcileLater {
                connection: self.connection.clone(),
                store: self.store.clone(),
                kinds: Arc::clone(&self.kinds),
                index,
                config: config.clone(),
                app: self.hooks.clone(),
                health: self.hooks.health(),
                events: self.events.clone(),
                metrics: self.reconcilers.clone(),
                informers: self.informers.clone(),
                part: self.readiness.part(title.clone(), Need::Reported),
                place,
                shard,
                leadership,
            };
            let finding = finding.clone();
            tasks.spawn(Stage::Work, title, |stop| later.run(finding, stop));
        }
    }
}

impl ReconcileLater {
    pub(super) async fn run(
        mut self,
        finding: watch::Receiver<Option<Found>>,
        stop: CancellationToken,
    ) -> Result<(), Infallible> {
        let Some((kind, view)) = found(finding, self.place, &stop).await else { return Ok(()) };
        let Some(child_kinds) = stop.run_until_cancelled(self.child_kinds()).await else { return Ok(()) };
        let Some(related) = stop.run_until_cancelled(self.related()).await else { return Ok(()) };
        let setting = self.setting(&kind, &view, related);
        loop {
            self.part.up_with("standby: not the leader");
            let Some(Ok(term)) = stop.run_until_cancelled(self.leadership.gained()).await else { return Ok(()) };
            self.part.up();
            let mut leadership = self.leadership.clone();
            let children = children(&kind, &view, &child_kinds);
            let ending = stop.child_token();
            let engaged = leadership.engage();
            let working =
                reconciler::term(&setting, children.clone(), self.leadership.clone(), term.number, ending.clone());
            // Of no children it would end at once, and whoever looks at it must not wait for what is to come.
            let watching = async {
                join_all(self.informers(&children)).await;
                std::future::pending::<()>().await;
            };
            tokio::pin!(working, watching);
            tokio::select! {
                () = &mut working => return Ok(()),
                // They go on while what is under way is finished.
                () = &mut watching => {}
                () = leadership.lost(term.number) => {}
            }
            // Where the Lease is only about to be handed on, what is under way is finished first: the app must never work on one entity for two.
            ending.cancel();
            tokio::select! {
                () = &mut working => {}
                () = &mut watching => {}
                () = leadership.over(term.number) => {}
            }
            drop(engaged);
        }
    }

    /// The kinds that are shown with an entity, as soon as all of them are served.
    async fn related(&self) -> Vec<(Arc<Kind>, KindView)> {
        let wanted =
            self.config.hooks.reconcile.as_ref().map(|reconcile| reconcile.related.clone()).unwrap_or_default();
        let mut related = Vec::new();
        for Reference { group, version, kind } in wanted {
            loop {
                let mut served = self.kinds.served();
                let of = |found: &Kind| found.kind == kind && found.group == group && found.version == version;
                if let Some(found) = served.find(|served| of(&served.kind)) {
                    break related.push((Arc::clone(&found.kind), found.view.clone()));
                }
                self.part.down(format!("related: {kind} is not served yet"));
                tokio::time::sleep(AGAIN).await;
            }
        }
        related
    }

    fn setting(&self, kind: &Arc<Kind>, view: &Arc<View>, related: Vec<(Arc<Kind>, KindView)>) -> Setting {
        let HooksConfig { reconcile, finalize, .. } = &self.config.hooks;
        let hook = |path: &str, deadline| Hook { path: Arc::from(path), deadline };
        Setting {
            kind: Arc::clone(kind),
            view: Arc::clone(view),
            shard: self.shard,
            kinds: Arc::clone(&self.kinds),
            index: self.index,
            related,
            concurrency: reconcile.as_ref().map_or(FINALIZING, |reconcile| reconcile.concurrency),
            resync: reconcile.as_ref().and_then(|reconcile| reconcile.resync),
            reconcile: reconcile.as_ref().map(|reconcile| hook(&reconcile.path, reconcile.deadline)),
            finalize: finalize.as_ref().map(|finalize| hook(&finalize.path, finalize.deadline)),
            app: self.app.clone(),
            health: self.health.clone(),
            store: self.store.clone(),
            events: self.events.clone(),
            metrics: self.metrics.clone(),
        }
    }

    /// The kinds of children, as soon as all of them are there.
    async fn child_kinds(&self) -> Vec<Arc<Kind>> {
        let mut kinds = Vec::new();
        for Reference { group, version, kind } in &self.config.children {
            let wanted = Wanted { group: group.clone(), version: version.clone(), kind: kind.clone(), owned: false };
            loop {
                match self.store.discover(&wanted).await {
                    Ok(found) => break kinds.push(Arc::new(found.kind)),
                    Err(error) => self.part.down(format!("children: {error}")),
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
        kinds
    }

    fn informers(&self, children: &Children) -> Vec<impl Future<Output = Result<(), Infallible>> + use<>> {
        let kinds = children.kinds.iter().zip(&children.views);
        let informers = kinds.map(|(kind, view)| Informer {
            client: self.connection.client.clone(),
            kind: Arc::clone(kind),
            view: Arc::clone(view),
            attachments: informer::attachments().1,
            cache_bytes: self.config.cache_bytes,
            part: self.part.clone(),
            metrics: self.informers.clone(),
        });
        informers.map(|informer| informer.run(CancellationToken::new())).collect()
    }
}

/// Nothing is known of them yet.
fn children(parent: &Kind, view: &View, kinds: &[Arc<Kind>]) -> Children {
    let selector = child::selector(parent);
    let views = kinds.iter().map(|kind| {
        let namespace = view.namespace().filter(|_| kind.namespaced).cloned();
        Arc::new(View::new(namespace).selecting(&selector))
    });
    Children { kinds: kinds.to_vec(), views: views.collect() }
}
