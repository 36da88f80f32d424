//! How long to wait before trying again: exponential, capped, spread by jitter. Pure: the caller brings the randomness.

use std::time::Duration;

/// The bounds of a backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The longest wait after the first failure.
    pub base: Duration,
    /// The longest wait ever.
    pub max: Duration,
}

impl Backoff {
    /// The wait after the `failures`th failure in a row (from 1): between a half and the whole of `base` doubled each
    /// time up to `max`. `jitter` is a random number in 0..1; what lies outside is cut.
    pub fn delay(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.base.saturating_mul(1 << doublings).min(self.max);
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
        whole.mul_f64(0.5 + jitter / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { base: Duration::from_millis(800), max: Duration::from_secs(30) };

    #[test]
    fn the_wait_doubles_up_to_the_maximum() {
        let waits: Vec<u128> = (1..9).map(|failures| BACKOFF.delay(failures, 1.0).as_millis()).collect();
        assert_eq!(waits, [800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        assert_eq!(BACKOFF.delay(u32::MAX, 1.0), BACKOFF.max);
    }

    #[test]
    fn jitter_spreads_over_the_upper_half_and_nonsense_is_cut() {
        assert_eq!(BACKOFF.delay(1, 0.0).as_millis(), 400);
        assert_eq!(BACKOFF.delay(1, 0.5).as_millis(), 600);
        assert_eq!(BACKOFF.delay(1, 7.0).as_millis(), 800);
        assert_eq!(BACKOFF.delay(0, -1.0).as_millis(), 400);
        assert_eq!(BACKOFF.delay(1, f64::NAN).as_millis(), 600);
    }
}
