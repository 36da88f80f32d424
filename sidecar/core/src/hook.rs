//! What a call of the app came to, and what follows from it: done, again after a while, or not before something changes.
//!
//! Owns the retry rule of all hooks and the reading of their answers ([`answer`]). Never calls anybody: the gateway `hooks` does, and the drivers
//! ask here what to make of it.

pub mod answer;

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use crate::backoff::Backoff;

/// Between attempts at one entity while the app fails: 1 s … 5 min.
pub const BACKOFF: Backoff = Backoff { base: Duration::from_secs(1), max: Duration::from_secs(300) };
/// The longest wait that an app may ask for: an hour. Whoever needs longer asks again.
const LONGEST: Duration = Duration::from_secs(3600);

/// Why there is no answer, or none that could be read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// Nobody listens there.
    #[error("the app does not take connections")]
    Away,
    /// The deadline passed.
    #[error("the app did not answer in time")]
    Late,
    /// The answer is larger than an answer may be.
    #[error("the app's answer is larger than 1 MiB")]
    TooLarge,
    /// The connection broke off, or what came is no HTTP.
    #[error("the app broke the connection off, or did not answer in HTTP")]
    Broken,
}

/// What a call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The app answered.
    Answered {
        /// With this HTTP status.
        status: u16,
        /// And asks for this long.
        retry_after: Option<Duration>,
    },
    /// The app answered 2xx, and what it said cannot be used.
    Unusable,
    /// It did not.
    Failed(Failure),
}

/// What to make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is done.
    Done,
    /// It failed, for now.
    Failing {
        /// The app asks for this long.
        asked: Option<Duration>,
    },
    /// The app will say the same until the entity is another.
    Rejected,
}

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// After this long.
    After(Duration),
    /// When the entity has changed.
    OnChange,
    /// There is no need.
    Never,
}

impl Outcome {
    /// What to make of it.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Answered { status: 200..=299, .. } => Verdict::Done,
            Self::Answered { status: 429 | 503, retry_after } => Verdict::Failing { asked: retry_after },
            // What else is a 4xx, or a redirect, which is not followed, will be the same next time.
            Self::Answered { status: 300..=499, .. } => Verdict::Rejected,
            // An answer that cannot be used is a fault in the app's code, which a new release of it takes away.
            Self::Answered { .. } | Self::Unusable | Self::Failed(_) => Verdict::Failing { asked: None },
        }
    }

    /// When to try again after `failures` in a row, this one included (from 1). `jitter` is a random number in 0..1.
    pub fn retry(self, failures: u32, jitter: f64) -> Retry {
        match self.verdict() {
            Verdict::Done => Retry::Never,
            Verdict::Rejected => Retry::OnChange,
            Verdict::Failing { asked: Some(asked) } => Retry::After(asked.min(LONGEST)),
            Verdict::Failing { asked: None } => Retry::After(BACKOFF.delay(failures, jitter)),
        }
    }
}

/// How long a `Retry-After` asks for: seconds, or a date (RFC 9110 §10.2.3). What is neither is not there.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
    }
    let date = DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
    let seconds = date.as_second().saturating_sub(now.as_second());
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, asked: Option<u64>) -> Outcome {
        Outcome::Answered { status, retry_after: asked.map(Duration::from_secs) }
    }

    #[test]
    fn each_outcome_has_its_retry() {
        let after = |millis| Retry::After(Duration::from_millis(millis));
        for (outcome, failures, expected) in [
            (answered(200, None), 1, Retry::Never),
            (answered(204, Some(5)), 1, Retry::Never),
            (answered(302, None), 1, Retry::OnChange),
            (answered(400, None), 1, Retry::OnChange),
            (answered(404, Some(9)), 1, Retry::OnChange),
            (answered(422, None), 7, Retry::OnChange),
            (answered(429, None), 1, after(1000)),
            (answered(429, Some(7)), 9, after(7000)),
            (answered(503, Some(0)), 9, after(0)),
            (answered(503, None), 3, after(4000)),
            (answered(503, Some(1_000_000)), 1, after(3_600_000)),
            (answered(500, Some(7)), 1, after(1000)),
            (answered(599, None), 2, after(2000)),
            (answered(100, None), 1, after(1000)),
            (Outcome::Unusable, 2, after(2000)),
            (Outcome::Failed(Failure::Away), 1, after(1000)),
            (Outcome::Failed(Failure::Late), 2, after(2000)),
            (Outcome::Failed(Failure::TooLarge), 4, after(8000)),
            (Outcome::Failed(Failure::Broken), 99, after(300_000)),
        ] {
            assert_eq!(outcome.retry(failures, 1.0), expected, "{outcome:?} {failures}");
        }
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now: Timestamp = "2026-11-22T18:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 22 Nov 2026 18:00:30 GMT", Some(30)),
            ("Sun, 22 Nov 2026 17:00:30 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text:?}");
        }
    }
}
