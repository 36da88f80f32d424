//! How far an app was notified, kept in the Lease that lets the sidecar notify it: what was read from it, and what is to be written with its next renewal.
//!
//! Only the holder writes it, and only on top of the Lease that it read: so who gets the Lease gets the place of whoever had it before, and can never be
//! overtaken by an older one. It costs no request of its own.

use std::sync::Arc;

use parking_lot::Mutex;

/// What the keeper of a Lease and a driver share.
#[derive(Debug, Clone, Default)]
pub(super) struct Notified {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// As last read.
    read: Option<String>,
    /// What this sidecar has come to, and in which epoch: nobody else has held the Lease in it.
    reached: Option<(u64, String)>,
}

impl Notified {
    /// The place to go on from in an epoch.
    pub(super) fn begin(&self, epoch: u64) -> Option<String> {
        let shared = self.shared.lock();
        let reached = shared.reached.as_ref().filter(|(of, _)| *of == epoch);
        reached.map(|(_, place)| place).or(shared.read.as_ref()).cloned()
    }

    /// To be written with the next renewal or, at the latest, when the Lease is handed over.
    pub(super) fn reach(&self, epoch: u64, place: String) {
        self.shared.lock().reached = Some((epoch, place));
    }

    /// The Lease was read, or written.
    pub(super) fn found(&self, place: Option<String>) {
        self.shared.lock().read = place;
    }

    /// What is to be written into a Lease that is held in this epoch.
    pub(super) fn news(&self, epoch: u64) -> Option<String> {
        let shared = self.shared.lock();
        let reached = shared.reached.as_ref().filter(|(of, _)| *of == epoch);
        reached.map(|(_, place)| place).filter(|place| shared.read.as_ref() != Some(place)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_reached_is_news_until_it_is_written_and_only_in_its_epoch() {
        let notified = Notified::default();
        notified.found(Some("10".to_owned()));
        assert_eq!((notified.begin(1).as_deref(), notified.news(1)), (Some("10"), None));
        notified.reach(1, "12".to_owned());
        assert_eq!((notified.begin(1).as_deref(), notified.news(1).as_deref()), (Some("12"), Some("12")));
        assert_eq!(notified.news(2), None, "another may have come further");
        assert_eq!(notified.begin(2).as_deref(), Some("10"));
        notified.found(Some("12".to_owned()));
        assert_eq!(notified.news(1), None);
    }
}
