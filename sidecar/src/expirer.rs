//! Deletes entities whose `meta.expiresAt` has come, while this sidecar leads.
//!
//! Owns the pace. When one is due is [`sidecar_core::expiry`]'s to say; whether it still is when it is deleted, the version in the request sees to. The
//! clock is the leader's wall clock, looked at again at least every [`LOOK`]. `app` constructs and runs it.

mod metrics;

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sidecar_core::entity::Key;
use sidecar_core::expiry::{self, Timetable};
use sidecar_core::kind::Kind;
use tokio_util::sync::CancellationToken;

use crate::leases::Leadership;
use crate::store::{Store, Write};
use crate::view::{Follower, View};
use metrics::Labels;
pub use metrics::Metrics;

/// Between two deletions: a thousand entities that expire at once take half a minute, and nobody else is kept from the API server.
const PAUSE: Duration = Duration::from_millis(30);
/// A wall clock may be set; what is due by the new one is seen no later.
const LOOK: Duration = Duration::from_secs(30);

/// One kind's expiry in one namespace scope, ready to run.
pub struct Expirer {
    /// The kind.
    pub kind: Arc<Kind>,
    /// Its entities.
    pub view: Arc<View>,
    /// The way to the API server.
    pub store: Store,
    /// Only the leader deletes.
    pub leadership: Leadership,
    /// Shared by all.
    pub metrics: Metrics,
}

impl Expirer {
    /// Deletes until `stop`.
    ///
    /// # Errors
    /// None: what fails is tried again.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        stop.run_until_cancelled(async {
            let mut leadership = self.leadership.clone();
            while let Ok(term) = leadership.gained().await {
                let mut lost = leadership.clone();
                tokio::select! {
                    () = self.term(term.number) => {}
                    () = lost.lost(term.number) => {}
                }
            }
        })
        .await;
        Ok(())
    }

    async fn term(&self, term: u64) {
        let labels = Labels::of(&self.kind, self.view.namespace().map(|namespace| &**namespace));
        let mut follower = Follower::new(Arc::clone(&self.view));
        let mut table = self.table();
        let (jitter, mut steps) = (RandomState::new(), 0_u64);
        loop {
            self.metrics.waiting(&labels, table.len());
            let now = Timestamp::now();
            let due = table.due(now).cloned();
            tokio::select! {
                biased;
                () = follower.changed() => {
                    let whole = follower.each(|event| match event.deleted {
                        true => table.forget(&event.entity.key),
                        false => table.observe(&event.entity),
                    });
                    if !whole {
                        table = self.table();
                    }
                }
                () = wait(due.as_ref(), table.next(), now) => {
                    let Some(key) = due else { continue };
                    steps += 1;
                    let spread = (jitter.hash_one(steps) >> 11) as f64 / (1_u64 << 53) as f64;
                    table.postpone(&key, now, spread);
                    if self.leadership.holds(term) {
                        self.metrics.deleted(&labels, self.delete(&key, now).await);
                    }
                }
            }
        }
    }

    /// Of everything that there is.
    fn table(&self) -> Timetable {
        let mut table = Timetable::default();
        for entity in self.view.follow().0 {
            table.observe(&entity);
        }
        table
    }

    /// Whether it is deleted now, unless it was changed meanwhile; the change is on its way to us then.
    async fn delete(&self, key: &Key, now: Timestamp) -> bool {
        let Some(entity) = self.view.find(key) else { return false };
        if expiry::of(&entity).is_none_or(|at| at > now) || entity.deleting {
            return false;
        }
        let base = Some(entity.version);
        match self.store.write(&self.kind, key, Some(entity), Write::Delete { base }, false).await {
            Ok(_) => true,
            Err(refused) => {
                let (kind, ns) = (self.kind.full_name(), key.namespace.as_deref());
                tracing::debug!(kind, ns, detail = refused.problem.detail, "failed to delete an expired entity");
                false
            }
        }
    }
}

/// Until one is due, or until it is time to look at the clock.
async fn wait(due: Option<&Key>, next: Option<Timestamp>, now: Timestamp) {
    let wait = match (due, next) {
        (Some(_), _) => PAUSE,
        (None, Some(next)) => Duration::try_from(next.duration_since(now)).unwrap_or_default().min(LOOK),
        (None, None) => return std::future::pending().await,
    };
    tokio::time::sleep(wait).await;
}

#[cfg(test)]
mod tests;
