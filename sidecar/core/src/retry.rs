//! Whether a request to the API server that failed is sent once more: only within the caller's patience, and only where that can have no
//! second effect. Pure: the caller brings time spent and randomness, waits, and sends. The store calls it after each try.

use std::time::Duration;

use crate::backoff::Backoff;

/// How long a caller waits for repetitions, tries included; longer outages are the caller's to bridge.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// All tries of a request.
const TRIES: u32 = 4;
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(1) };

/// What it would do if a request arrived twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Twice {
    /// Nothing: it reads, or is a dry run.
    Harmless,
    /// The second one is refused when the first one was carried out: it names a version that must be the present one, or the name of what is to be created.
    Refused,
    /// It has an effect again.
    Effective,
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It never arrived, or was turned away unread (429).
    NotDone,
    /// It may have been carried out: the connection broke off, or the API server has a fault (5xx).
    Unknown,
}

/// What an answer's status says, if it is one that a repetition can change.
pub fn failure(status: u16) -> Option<Failure> {
    match status {
        429 => Some(Failure::NotDone),
        500..=599 => Some(Failure::Unknown),
        _ => None,
    }
}

/// How long to wait before the request is sent again; absent when it is not. `tries` have been made (from 1) and took `spent`; `asked` is the API server's
/// `Retry-After`, which is kept or not tried at all; `jitter` is a random number in 0..1.
pub fn wait(
    twice: Twice,
    failure: Failure,
    tries: u32,
    spent: Duration,
    asked: Option<Duration>,
    jitter: f64,
) -> Option<Duration> {
    if tries >= TRIES || (failure == Failure::Unknown && twice == Twice::Effective) {
        return None;
    }
    let wait = BACKOFF.delay(tries, jitter).max(asked.unwrap_or_default());
    (spent + wait <= PATIENCE).then_some(wait)
}

/// Whether an answer to a repetition says nothing about the request as a whole, because a try before may have been carried out and be the reason for it.
pub fn inconclusive(uncertain: bool, status: u16) -> bool {
    uncertain && (400..500).contains(&status)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn only_what_has_no_second_effect_is_sent_again() {
        use Failure::{NotDone, Unknown};
        for (twice, failure, again) in [
            (Twice::Harmless, NotDone, true),
            (Twice::Harmless, Unknown, true),
            (Twice::Refused, NotDone, true),
            (Twice::Refused, Unknown, true),
            (Twice::Effective, NotDone, true),
            (Twice::Effective, Unknown, false),
        ] {
            assert_eq!(wait(twice, failure, 1, NOW, None, 0.5).is_some(), again, "{twice:?} {failure:?}");
        }
    }

    #[test]
    fn waits_grow_and_end_with_tries_and_patience() {
        let after = |tries, spent| wait(Twice::Harmless, Failure::Unknown, tries, spent, None, 1.0);
        let millis = |wait: Option<Duration>| wait.map(|wait| wait.as_millis());
        assert_eq!([1, 2, 3, 4].map(|tries| millis(after(tries, NOW))), [Some(100), Some(200), Some(400), None]);
        assert_eq!(millis(after(1, PATIENCE - Duration::from_millis(100))), Some(100));
        assert_eq!(after(1, PATIENCE), None);
        let asked = |seconds| wait(Twice::Effective, Failure::NotDone, 1, NOW, Some(Duration::from_secs(seconds)), 1.0);
        assert_eq!([asked(0), asked(1), asked(7)].map(millis), [Some(100), Some(1000), None]);
    }

    #[test]
    fn statuses_are_told_apart() {
        for (status, expected) in [
            (200, None),
            (404, None),
            (409, None),
            (422, None),
            (429, Some(Failure::NotDone)),
            (500, Some(Failure::Unknown)),
            (503, Some(Failure::Unknown)),
        ] {
            assert_eq!(failure(status), expected, "{status}");
        }
        assert!(inconclusive(true, 409) && inconclusive(true, 404) && inconclusive(true, 429));
        assert!(!inconclusive(false, 409) && !inconclusive(true, 200) && !inconclusive(true, 503));
    }
}
