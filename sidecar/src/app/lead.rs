//! The Leases of a kind that is not found yet, and what they let the drivers know.

use std::convert::Infallible;

use runtime::kubernetes::Connection;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::discover::Found;
use super::found;
use crate::config::KindConfig;
use crate::leases::{self, Announcer, Identity, Keeper, Leadership, Purpose};

/// Whether this kind has work that only one sidecar may do, and what its Lease is for then.
pub(super) fn purpose(kind: &KindConfig, app: Option<&str>) -> Option<Purpose> {
    match (kind.owned, kind.hooks.notify.is_some(), app) {
        // Entities of every owned kind may expire.
        (true, ..) => Some(Purpose::Own),
        // The configuration gives an application a name that is notified of what it does not own.
        (false, true, Some(app)) => Some(Purpose::Notify(app.to_owned())),
        (false, ..) => None,
    }
}

/// What drivers hold of the Leases of a kind in one scope.
pub(super) struct Leading {
    /// What is done once for the whole kind: broadcast and notify.
    pub(super) whole: Leadership,
    /// What is done in each shard, by number: reconcile and finalize.
    pub(super) shards: Vec<Leadership>,
}

/// Where a keeper tells them.
pub(super) struct Announcers {
    whole: Announcer,
    shards: Vec<Announcer>,
}

/// The two ends, for so many shards.
pub(super) fn ends(shards: u32) -> (Announcers, Leading) {
    let (whole, led) = leases::leadership();
    let (announcers, leaderships) = (0..shards.max(1)).map(|_| leases::leadership()).unzip();
    (Announcers { whole, shards: announcers }, Leading { whole: led, shards: leaderships })
}

/// A keeper of the Leases of a kind that is not found yet.
pub(super) struct KeepLater {
    pub(super) connection: Connection,
    pub(super) identity: Identity,
    pub(super) announcers: Announcers,
    pub(super) purpose: Purpose,
    pub(super) part: runtime::readiness::Part,
    pub(super) metrics: leases::Metrics,
    pub(super) place: usize,
}

impl KeepLater {
    pub(super) async fn run(
        self,
        finding: watch::Receiver<Option<Found>>,
        stop: CancellationToken,
    ) -> Result<(), Infallible> {
        let Some((kind, view)) = found(finding, self.place, &stop).await else { return Ok(()) };
        let Self {
            connection: Connection { client, namespace: home, .. },
            identity,
            part,
            metrics,
            announcers,
            purpose,
            ..
        } = self;
        let (scope, Announcers { whole, shards }) = (view.namespace().cloned(), announcers);
        Keeper { client, kind, scope, home, purpose, identity, whole, shards, part, metrics }.run(stop).await
    }
}
