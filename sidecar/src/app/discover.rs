//! Waits until a configured kind is there, lets it be served, and reads its schema again when its definition may have changed; a kind that can
//! never be served, or not as it was found, ends the process.

use std::sync::Arc;
use std::time::Duration;

use futures::future::select_all;
use runtime::readiness::Part;
use sidecar_core::budget::Limits;
use sidecar_core::kind::Kind;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::budget;
use crate::kinds::{Kinds, Served, Slot};
use crate::store::{Discovery, Store, Wanted};
use crate::view::{KindView, View};

/// Between two looks: short at first, because a definition is often applied together with the sidecar.
const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(5);
/// When the schema is read again after a watch has ended: the API server ends a kind's watches when its definition changes, and
/// publishes the schema a moment later.
const AGAIN: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(10)];

/// The part of a kind that one informer follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// The whole cluster.
    All,
    /// The sidecar's own namespace.
    Own(Arc<str>),
    /// A namespace by name.
    Named(Arc<str>),
}

impl Scope {
    pub(super) fn namespace(&self) -> Option<&Arc<str>> {
        match self {
            Self::All => None,
            Self::Own(namespace) | Self::Named(namespace) => Some(namespace),
        }
    }
}

/// A kind that is there, with a view for each scope.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) kind: Arc<Kind>,
    pub(super) views: Vec<Arc<View>>,
}

/// The search for one kind.
pub(super) struct Discover {
    pub(super) store: Store,
    pub(super) wanted: Wanted,
    pub(super) kinds: Arc<Kinds>,
    /// The kind's place in the configuration.
    pub(super) index: usize,
    pub(super) budget: Limits,
    /// Whether the app reconciles it.
    pub(super) reconciled: bool,
    pub(super) budgets: budget::Metrics,
    pub(super) scopes: Vec<Scope>,
    /// The caches that cannot be filled before.
    pub(super) waiting: Vec<Part>,
    pub(super) found: watch::Sender<Option<Found>>,
}

impl Discover {
    /// # Errors
    /// When the kind can never be served as it is.
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let Some(discovery) = stop.run_until_cancelled(self.search()).await else { return Ok(()) };
        let Discovery { kind, schema } = discovery?;
        let views = self.views(&kind)?;
        let kind = Arc::new(kind);
        tracing::info!(kind = %kind.full_name(), owned = kind.owned, scopes = views.len(), "found");
        let served = Served::new(Arc::clone(&kind), schema, KindView::new(views.clone()))
            .with_budget(self.budget, self.budgets.clone())
            .reconciled(self.reconciled);
        if let Some(slot) = self.kinds.slot(self.index) {
            slot.serve(served);
        }
        self.found.send_replace(Some(Found { kind: Arc::clone(&kind), views: views.clone() }));
        stop.run_until_cancelled(self.follow(&kind, &views)).await.unwrap_or(Ok(()))
    }

    /// Reads the schema again after each end of a watch; ends only with an error.
    async fn follow(&self, kind: &Kind, views: &[Arc<View>]) -> Result<(), AppError> {
        // The group of a definition has a dot. What is built in changes with the API server, and its schemas are long.
        if !kind.group.contains('.') {
            return std::future::pending().await;
        }
        let mut breaks: Vec<_> = views.iter().map(|view| view.breaks()).collect();
        loop {
            broken(&mut breaks).await;
            for wait in AGAIN {
                tokio::time::sleep(wait).await;
                self.look_again(kind, views).await?;
            }
        }
    }

    async fn look_again(&self, kind: &Kind, views: &[Arc<View>]) -> Result<(), AppError> {
        match self.store.discover(&self.wanted).await {
            Ok(discovery) if discovery.kind == *kind => {
                let served = self.kinds.slot(self.index).and_then(Slot::served);
                if served.is_some_and(|served| served.redescribe(discovery.schema)) {
                    tracing::info!(kind = %kind.full_name(), "its definition has changed");
                    views.iter().for_each(|view| view.redefine());
                }
                Ok(())
            }
            Ok(_) => Err(AppError::Redefined { kind: kind.full_name() }),
            Err(error) if error.is_final() => Err(AppError::Unservable(error)),
            // Away or gone for now; the watch says so too, and its next end brings us back here.
            Err(_) => Ok(()),
        }
    }

    async fn search(&self) -> Result<Discovery, AppError> {
        let mut wait = SOON;
        loop {
            match self.store.discover(&self.wanted).await {
                Ok(discovery) => return Ok(discovery),
                Err(error) if error.is_final() => return Err(AppError::Unservable(error)),
                Err(error) => {
                    let why = error.to_string();
                    for part in &self.waiting {
                        part.down(why.clone());
                    }
                    if let Some(slot) = self.kinds.slot(self.index) {
                        slot.wait(why);
                    }
                }
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LATER);
        }
    }

    fn views(&self, kind: &Kind) -> Result<Vec<Arc<View>>, AppError> {
        if kind.namespaced {
            return Ok(self.scopes.iter().map(|scope| Arc::new(View::new(scope.namespace().cloned()))).collect());
        }
        match self.scopes.as_slice() {
            // What is not said is `own`, which for a kind outside of namespaces can only mean all of it.
            [Scope::All | Scope::Own(_)] => Ok(vec![Arc::new(View::new(None))]),
            _ => Err(AppError::ClusterScoped { kind: kind.kind.clone() }),
        }
    }
}

/// Returns when a watch has ended since the last time.
async fn broken(breaks: &mut [watch::Receiver<u64>]) {
    let changes = breaks.iter_mut().map(|breaks| Box::pin(breaks.changed()));
    // The views live as long as the process, so this cannot fail.
    let _ = select_all(changes).await;
}
