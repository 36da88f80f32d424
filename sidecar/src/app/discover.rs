//! Waits until a configured kind is there and then lets it be served; a kind that can never be served ends the process.

use std::sync::Arc;
use std::time::Duration;

use runtime::readiness::Part;
use sidecar_core::kind::Kind;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::kinds::{Kinds, Served};
use crate::store::{Discovery, Store, Wanted};
use crate::view::{KindView, View};

/// Between two looks: short at first, because a definition is often applied together with the sidecar.
const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(5);

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
        let served = Served::new(Arc::clone(&kind), schema, KindView::new(views.clone()));
        if let Some(slot) = self.kinds.slot(self.index) {
            slot.serve(served);
        }
        self.found.send_replace(Some(Found { kind, views }));
        stop.cancelled().await;
        Ok(())
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
