//! A bucket of writes: a second's worth may come at once, and what is taken comes back evenly.
//!
//! Kept as one instant, the one at which the bucket would be full again if nothing more were taken (the generic cell rate algorithm): nothing has
//! to run for it to refill. Pure.

use std::fmt;
use std::time::{Duration, Instant};

/// Writes in a second, to a thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

/// What may be written now.
#[derive(Debug, Clone)]
pub struct Bucket {
    rate: Rate,
    /// When it is full again; absent or past: it is.
    full: Option<Instant>,
}

impl Rate {
    /// So many writes in a thousand seconds; absent for none, and for more than a million a second.
    pub fn new(thousandths: u64) -> Option<Self> {
        (1..=1_000_000_000).contains(&thousandths).then_some(Self(thousandths))
    }

    /// Writes in a thousand seconds.
    pub fn thousandths(self) -> u64 {
        self.0
    }

    /// Between two writes that come evenly.
    fn interval(self) -> Duration {
        Duration::from_nanos(1_000_000_000_000 / self.0)
    }

    /// How many may come at once: a second's worth, and one at least.
    pub fn burst(self) -> u32 {
        u32::try_from(self.0.div_ceil(1000)).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        if part == 0 { write!(f, "{whole}") } else { f.write_str(format!("{whole}.{part:03}").trim_end_matches('0')) }
    }
}

impl Bucket {
    /// Full.
    pub fn new(rate: Rate) -> Self {
        Self { rate, full: None }
    }

    /// Its rate.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one.
    ///
    /// # Errors
    /// After which time there is one; nothing is taken.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let wait = self.wait(now);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.full = Some(self.with_one_less(now));
        Ok(())
    }

    /// After which time there is one to be taken.
    pub fn wait(&self, now: Instant) -> Duration {
        let ahead = self.with_one_less(now).saturating_duration_since(now);
        ahead.saturating_sub(self.rate.interval() * self.rate.burst())
    }

    /// When it would be full again after one is taken.
    fn with_one_less(&self, now: Instant) -> Instant {
        self.full.map_or(now, |full| full.max(now)) + self.rate.interval()
    }

    /// How many have been taken that have not come back.
    pub fn used(&self, now: Instant) -> u64 {
        let missing = self.full.map_or(Duration::ZERO, |full| full.saturating_duration_since(now));
        u64::try_from(missing.as_nanos().div_ceil(self.rate.interval().as_nanos())).unwrap_or(u64::MAX)
    }
}
