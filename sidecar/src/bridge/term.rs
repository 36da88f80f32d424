//! When a bridge may broadcast: only while its sidecar leads. Each term is a bridge of its own, which begins as after a restart.
//!
//! Owns the way from one term to the next. While another leads nothing is kept here: the position in Kafka, the API server's history and, beyond
//! it, the topic itself tell where to go on.

use tokio_util::sync::CancellationToken;

use crate::bridge::{Bridge, BridgeError, Setting};
use crate::leases::{Ended, Leadership, Standing};

/// Leave to make Kafka calls; asked before each that cannot be undone, on whatever thread.
#[derive(Debug, Clone)]
pub(super) struct Permit {
    stop: CancellationToken,
    term: Option<(Leadership, u64)>,
}

impl Permit {
    fn new(leadership: Leadership, term: u64) -> Self {
        Self { stop: CancellationToken::new(), term: Some((leadership, term)) }
    }

    /// For tests of the calls themselves.
    #[cfg(test)]
    pub(super) fn unlimited() -> Self {
        Self { stop: CancellationToken::new(), term: None }
    }

    /// Ends it for good.
    pub(super) fn cancel(&self) {
        self.stop.cancel();
    }

    /// Whether it has ended, or the Lease is, or soon may be, another's.
    pub(super) fn is_cancelled(&self) -> bool {
        self.stop.is_cancelled() || self.term.as_ref().is_some_and(|(leadership, term)| !leadership.holds(*term))
    }

    /// Returns when the Lease is lost.
    pub(super) async fn lost(&self) {
        match self.term.clone() {
            Some((mut leadership, term)) => leadership.lost(term).await,
            None => std::future::pending().await,
        }
    }
}

/// Broadcasts whenever this sidecar leads, until `stop`.
///
/// # Errors
/// As [`Bridge::run`].
pub async fn run(setting: Setting, mut leadership: Leadership, stop: CancellationToken) -> Result<(), BridgeError> {
    loop {
        let Some(term) = stop.run_until_cancelled(gained(&setting, &mut leadership)).await else { return Ok(()) };
        let permit = Permit::new(leadership.clone(), term?);
        // Where the Lease is given away, it goes on only when every call to Kafka has ended.
        let _engaged = leadership.engage();
        Bridge::new(setting.clone(), permit)?.run(stop.clone()).await?;
        if stop.is_cancelled() {
            return Ok(());
        }
    }
}

async fn gained(setting: &Setting, leadership: &mut Leadership) -> Result<u64, Ended> {
    loop {
        match leadership.standing() {
            Standing::Leading(term) if leadership.holds(term.number) => return Ok(term.number),
            Standing::Leading(_) | Standing::Yielding(_) | Standing::Unknown => {
                setting.part.down("waiting for the Lease")
            }
            Standing::Standby { .. } => setting.part.up_with("standby: another sidecar broadcasts"),
            Standing::Foreign { .. } => setting.part.up_with("another application's sidecar broadcasts"),
        }
        leadership.changed().await?;
    }
}
