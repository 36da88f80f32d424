//! Holds the Leases: lets drivers know whether they may work.
//!
//! Decides nothing: whose a Lease is, and until when, is [`sidecar_core::lease`]'s, and which shards are to be this sidecar's is
//! [`sidecar_core::shard`]'s. `app` constructs and runs a [`Keeper`] per kind and namespace scope; a driver holds a [`Leadership`], and asks it again
//! before everything that cannot be undone.

mod clock;
mod council;
mod election;
mod members;
mod metrics;
mod notified;
mod request;
#[cfg(test)]
mod shard_tests;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kube::Client;
use runtime::readiness::Part;
use sidecar_core::kind::Kind;
pub use sidecar_core::lease::{Durations, Standing, Term};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use council::Council;
pub use metrics::Metrics;
use notified::Notified;

/// The keeper has ended: the process is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keeper of the Lease has ended")]
pub struct Ended;

/// Whether this sidecar may do what only one may do. Clones know the same.
#[derive(Debug, Clone)]
pub struct Leadership {
    standing: watch::Receiver<Standing>,
    engaged: Arc<AtomicUsize>,
    notified: Notified,
}

/// Where a [`Keeper`] says what it knows.
#[derive(Debug)]
pub struct Announcer {
    standing: watch::Sender<Standing>,
    engaged: Arc<AtomicUsize>,
    notified: Notified,
}

/// Work under way: while there is any, a Lease that is not wanted any more is kept.
#[derive(Debug)]
pub struct Engagement(Arc<AtomicUsize>);

/// The two ends between a keeper and a driver.
pub fn leadership() -> (Announcer, Leadership) {
    let (sender, receiver) = watch::channel(Standing::Unknown);
    let engaged = Arc::new(AtomicUsize::new(0));
    let notified = Notified::default();
    let announcer = Announcer { standing: sender, engaged: Arc::clone(&engaged), notified: notified.clone() };
    (announcer, Leadership { standing: receiver, engaged, notified })
}

/// For tests of drivers: one that stands so for good.
#[cfg(test)]
pub(crate) fn leadership_that_is(standing: Standing) -> Leadership {
    let (announcer, leadership) = leadership();
    announcer.announce(standing);
    // Dropping it would tell that the process ends.
    std::mem::forget(announcer);
    leadership
}

impl Leadership {
    /// Whether the term of that number still goes on at this very moment, also after the process or the machine stood still. What was begun in it may be
    /// brought to its end.
    pub fn holds(&self, term: u64) -> bool {
        let standing = self.standing.borrow();
        let (Standing::Leading(now) | Standing::Yielding(now)) = &*standing else { return false };
        left(now, term).is_some()
    }

    /// What is known now.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Returns when what is known has changed since the last call.
    ///
    /// # Errors
    /// When the keeper has ended.
    pub async fn changed(&mut self) -> Result<(), Ended> {
        self.standing.changed().await.map_err(|_| Ended)
    }

    /// Returns when this sidecar leads.
    ///
    /// # Errors
    /// When the keeper has ended.
    pub async fn gained(&mut self) -> Result<Term, Ended> {
        loop {
            match self.standing() {
                Standing::Leading(term) if self.holds(term.number) => return Ok(term),
                _ => self.changed().await?,
            }
        }
    }

    /// Returns when nothing more is to be begun in the term of that number: it is over, or about to be handed on.
    pub async fn lost(&mut self, term: u64) {
        loop {
            let left = match &*self.standing.borrow_and_update() {
                Standing::Leading(now) => left(now, term),
                _ => None,
            };
            let Some(left) = left else { return };
            tokio::select! {
                changed = self.standing.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// How far the app had been notified when the term began, or has been since.
    pub fn notified(&self, term: &Term) -> Option<String> {
        self.notified.begin(term.epoch)
    }

    /// Keeps how far the app has been notified in a term: with the next renewal of the Lease, and at the latest when it is handed over.
    pub fn keep_notified(&self, term: &Term, place: String) {
        self.notified.reach(term.epoch, place);
    }

    /// Returns when the term of that number is over, so that nothing of it may go on.
    pub async fn over(&mut self, term: u64) {
        loop {
            let left = match &*self.standing.borrow_and_update() {
                Standing::Leading(now) | Standing::Yielding(now) => left(now, term),
                _ => None,
            };
            let Some(left) = left else { return };
            tokio::select! {
                changed = self.standing.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    /// Says that work is under way, until the answer is dropped.
    pub fn engage(&self) -> Engagement {
        self.engaged.fetch_add(1, Ordering::AcqRel);
        Engagement(Arc::clone(&self.engaged))
    }
}

impl Drop for Engagement {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Announcer {
    /// Whether work of its drivers is under way.
    fn is_engaged(&self) -> bool {
        self.engaged.load(Ordering::Acquire) > 0
    }

    fn announce(&self, standing: Standing) {
        self.standing.send_if_modified(|before| {
            let modified = *before != standing;
            *before = standing;
            modified
        });
    }
}

/// How much is left of a term, if it is the one of that number.
fn left(now: &Term, number: u64) -> Option<Duration> {
    let left = (now.number == number).then(|| now.until.checked_sub(clock::now()))?;
    left.filter(|left| !left.is_zero())
}

/// Who takes part in elections.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This process, among all that live.
    pub process: String,
    /// The application, where it has a name.
    pub app: Option<String>,
    /// How long things take.
    pub durations: Durations,
}

/// What a Lease is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// To act for a kind as its owner.
    Own,
    /// To notify the application of that name of a kind that it only consumes.
    Notify(String),
}

/// What a keeper is made of.
pub struct Keeper {
    /// How to reach the API server.
    pub client: Client,
    /// The kind that is to be worked on.
    pub kind: Arc<Kind>,
    /// Its namespace, or absent for all of them.
    pub scope: Option<Arc<str>>,
    /// Where the Lease for all namespaces is: the sidecar's own.
    pub home: String,
    /// What the Lease is for.
    pub purpose: Purpose,
    /// Who wants it.
    pub identity: Identity,
    /// Told who does what is done once for the whole kind: whoever holds the first shard's Lease.
    pub whole: Announcer,
    /// Told who works on each shard, by number; at least one.
    pub shards: Vec<Announcer>,
    /// `lease PLURAL`.
    pub part: Part,
    /// Shared by all keepers.
    pub metrics: Metrics,
}

impl Keeper {
    /// Takes part until `stop`, when all work has ended; then hands over.
    ///
    /// # Errors
    /// None: whatever fails is tried again.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        Council::new(self).run(stop).await;
        Ok(())
    }
}
