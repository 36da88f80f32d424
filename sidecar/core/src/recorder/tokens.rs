//! A token bucket of whole tokens: so many at once, and then one in each interval.

use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) burst: u32,
    /// For one more.
    pub(super) each: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens {
    rate: Rate,
    /// When the bucket is, or was, full: each token that is missing lies one interval before it.
    full_at: Instant,
}

impl Tokens {
    pub(super) fn full(rate: Rate, now: Instant) -> Self {
        Self { rate, full_at: now }
    }

    /// Takes one, if more than `reserve` are there.
    pub(super) fn take(&mut self, reserve: u32, now: Instant) -> bool {
        let ready = now >= self.ready_at(reserve);
        if ready {
            self.full_at = self.full_at.max(now) + self.rate.each;
        }
        ready
    }

    /// When more than `reserve` are there.
    pub(super) fn ready_at(&self, reserve: u32) -> Instant {
        let spare = self.rate.each * self.rate.burst.saturating_sub(reserve.saturating_add(1));
        self.full_at.checked_sub(spare).unwrap_or(self.full_at)
    }

    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_goes_at_once_then_one_in_each_interval_and_a_reserve_is_left_alone() {
        let rate = Rate { burst: 3, each: Duration::from_secs(10) };
        let start = Instant::now() + Duration::from_secs(1000);
        let mut tokens = Tokens::full(rate, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(tokens.take(2, start), "a full one has more than two");
        assert!(!tokens.take(2, start));
        assert!(tokens.take(0, start) && tokens.take(0, start) && !tokens.take(0, start));
        assert_eq!((tokens.ready_at(0), tokens.ready_at(2)), (at(10), at(30)));
        assert!(!tokens.take(0, at(9)) && tokens.take(0, at(10)) && !tokens.take(0, at(10)));
        assert!(!tokens.is_full(at(39)) && tokens.is_full(at(40)));
    }
}
