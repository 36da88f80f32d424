//! The expirer of an owned kind that is not found yet, in one scope.

use std::convert::Infallible;

use runtime::tasks::{Stage, Tasks};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::discover::Found;
use super::{Parts, found};
use crate::config::KindConfig;
use crate::expirer::{Expirer, Metrics};
use crate::leases::Leadership;
use crate::store::Store;

/// What an expirer is made of, but for what is found.
struct ExpireLater {
    store: Store,
    leadership: Leadership,
    metrics: Metrics,
    place: usize,
}

impl Parts {
    /// The expirer of a kind in one scope, where the app owns it.
    pub(super) fn expirer(
        &self,
        kind: &KindConfig,
        (place, title): (usize, &str),
        leadership: &Leadership,
        finding: &watch::Receiver<Option<Found>>,
        tasks: &mut Tasks,
    ) {
        if !kind.owned {
            return;
        }
        let (store, leadership, metrics) = (self.store.clone(), leadership.clone(), self.expiry.clone());
        let (later, finding) = (ExpireLater { store, leadership, metrics, place }, finding.clone());
        tasks.spawn(Stage::Work, format!("expiry {title}"), |stop| later.run(finding, stop));
    }
}

impl ExpireLater {
    async fn run(self, finding: watch::Receiver<Option<Found>>, stop: CancellationToken) -> Result<(), Infallible> {
        let Some((kind, view)) = found(finding, self.place, &stop).await else { return Ok(()) };
        let Self { store, leadership, metrics, .. } = self;
        Expirer { kind, view, store, leadership, metrics }.run(stop).await
    }
}
