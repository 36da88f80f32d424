//! Whether the app is there: what its answers to real calls and to probes say, and when to probe next.
//!
//! Never does IO and never looks at a clock. `sidecar/src/hooks/health.rs` makes the probes; drivers stop feeding the app while it is
//! [`Standing::Away`], so that its absence costs neither attempts nor CPU.
//!
//! Only probes decide that the app is away: a call that failed may be the fault of one hook. But it is a reason to probe at once, and then
//! quickly, so that an app that has gone is known to have gone within a second or so. Any answer to anything says that it is there.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// The wait after the first probe that failed; each further one waits longer, up to the interval.
const SUSPICION: Duration = Duration::from_millis(200);

/// How eagerly to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Between two looks at an app that is there and that nobody calls; never longer between two looks at one that is away.
    pub interval: Duration,
    /// Failed probes in a row until it counts as away.
    pub threshold: u32,
}

/// What is known of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It answers, or nobody has noticed yet that it does not.
    Up,
    /// It does not answer. Also at first, until it has.
    Away {
        /// When that was noticed.
        since: Instant,
    },
}

/// What a real call has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answered, whatever it said.
    Answered,
    /// It took no connection, broke it off, or was late.
    Doubtful,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// [`Health::wake_at`] has come.
    Tick,
    /// A real call has ended.
    Called(Sign),
    /// The probe under way has ended; whether the app passed.
    Probed(bool),
}

/// The state of one app.
#[derive(Debug)]
pub struct Health {
    settings: Settings,
    standing: Standing,
    /// Probes that failed in a row.
    failures: u32,
    /// When to probe; absent while a probe is under way.
    next: Option<Instant>,
    /// A call failed while a probe was under way that may have begun before.
    doubted: bool,
    /// When the last probe ended: the next one for a call that failed is no earlier than a moment behind.
    probed: Option<Instant>,
}

impl Health {
    /// Away until a first probe, which is due at once, says otherwise.
    pub fn new(settings: Settings, now: Instant) -> Self {
        Self {
            settings,
            standing: Standing::Away { since: now },
            failures: 0,
            next: Some(now),
            doubted: false,
            probed: None,
        }
    }

    /// What is known.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// When [`Input::Tick`] is due; absent while a probe is under way.
    pub fn wake_at(&self) -> Option<Instant> {
        self.next
    }

    /// Takes what happened; answers whether to probe now. `jitter` is a random number in 0..1.
    #[must_use]
    pub fn step(&mut self, input: Input, now: Instant, jitter: f64) -> bool {
        match input {
            Input::Tick => {
                let due = self.next.is_some_and(|next| next <= now);
                if due {
                    self.next = None;
                }
                return due;
            }
            Input::Called(Sign::Answered) => {
                self.passed(now);
            }
            Input::Called(Sign::Doubtful) => match &mut self.next {
                // While it fails already, the next probe comes soon enough.
                Some(next) if self.failures == 0 => {
                    let earliest = self.probed.map_or(now, |probed| probed + SUSPICION);
                    *next = earliest.max(now).min(*next);
                }
                Some(_) => {}
                None => self.doubted = true,
            },
            Input::Probed(true) => {
                let again = std::mem::take(&mut self.doubted);
                (self.next, self.probed) = (Some(now), Some(now));
                self.passed(now);
                if again {
                    self.next = Some(now + SUSPICION.min(self.settings.interval));
                }
            }
            Input::Probed(false) => {
                self.doubted = false;
                self.failures = self.failures.saturating_add(1);
                let backoff = Backoff { base: SUSPICION.min(self.settings.interval), max: self.settings.interval };
                self.next = Some(now + backoff.delay(self.failures, jitter));
                if self.standing == Standing::Up && self.failures >= self.settings.threshold {
                    self.standing = Standing::Away { since: now };
                }
            }
        }
        false
    }

    fn passed(&mut self, now: Instant) {
        self.failures = 0;
        self.standing = Standing::Up;
        if let Some(next) = &mut self.next {
            *next = now + self.settings.interval;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SETTINGS: Settings = Settings { interval: Duration::from_secs(5), threshold: 3 };

    fn up(now: Instant) -> Health {
        let mut health = Health::new(SETTINGS, now);
        assert!(health.step(Input::Tick, now, 0.5));
        assert!(!health.step(Input::Probed(true), now, 0.5));
        assert_eq!(health.standing(), Standing::Up);
        health
    }

    #[test]
    fn an_app_is_away_until_it_has_answered_once_and_is_probed_at_once() {
        let now = Instant::now();
        let mut health = Health::new(SETTINGS, now);
        assert_eq!((health.standing(), health.wake_at()), (Standing::Away { since: now }, Some(now)));
        assert!(health.step(Input::Tick, now, 0.5));
        assert_eq!(health.wake_at(), None, "one probe at a time");
        assert!(!health.step(Input::Probed(false), now, 1.0));
        assert_eq!(health.wake_at(), Some(now + SUSPICION));
        assert_eq!(health.standing(), Standing::Away { since: now });
        assert!(!health.step(Input::Called(Sign::Answered), now, 0.5));
        assert_eq!((health.standing(), health.wake_at()), (Standing::Up, Some(now + SETTINGS.interval)));
    }

    #[test]
    fn answers_to_real_calls_make_probes_needless() {
        let start = Instant::now();
        let mut health = up(start);
        for seconds in 1..60 {
            let now = start + Duration::from_secs(seconds);
            assert!(!health.step(Input::Tick, now, 0.5));
            assert!(!health.step(Input::Called(Sign::Answered), now, 0.5));
        }
    }

    #[test]
    fn a_call_that_fails_has_it_probed_at_once_and_some_failed_probes_make_it_away() {
        let mut now = Instant::now() + Duration::from_secs(1);
        let mut health = up(now);
        assert!(!health.step(Input::Called(Sign::Doubtful), now, 0.5));
        let began = now;
        for failures in 1..=3 {
            assert_eq!(health.standing(), Standing::Up, "{failures}");
            now = health.wake_at().unwrap();
            assert!(health.step(Input::Tick, now, 1.0));
            // Others that fail change nothing about that.
            assert!(!health.step(Input::Called(Sign::Doubtful), now, 1.0));
            assert!(!health.step(Input::Probed(false), now, 1.0));
            assert!(!health.step(Input::Called(Sign::Doubtful), now, 1.0));
        }
        assert_eq!(health.standing(), Standing::Away { since: now });
        assert!(now - began < Duration::from_secs(1), "{:?}", now - began);
        for _ in 0..10 {
            let wake = health.wake_at().unwrap();
            assert!(wake > now && wake - now <= SETTINGS.interval);
            now = wake;
            assert!(health.step(Input::Tick, now, 1.0));
            assert!(!health.step(Input::Probed(false), now, 1.0));
        }
        assert!(!health.step(Input::Called(Sign::Answered), now, 1.0));
        assert_eq!(health.standing(), Standing::Up);
    }

    #[test]
    fn a_hook_that_fails_beside_an_app_that_passes_its_probes_does_not_make_it_away_nor_probe_without_end() {
        let start = Instant::now();
        let mut health = up(start);
        let mut probes = 0;
        for millis in 0..10_000 {
            let now = start + Duration::from_millis(millis);
            assert!(!health.step(Input::Called(Sign::Doubtful), now, 0.5));
            if health.step(Input::Tick, now, 0.5) {
                probes += 1;
                assert!(!health.step(Input::Called(Sign::Doubtful), now, 0.5));
                assert!(!health.step(Input::Probed(true), now, 0.5));
            }
            assert_eq!(health.standing(), Standing::Up);
        }
        assert!(probes <= 51, "{probes}");
    }

    fn input() -> impl Strategy<Value = Input> {
        prop_oneof![
            Just(Input::Called(Sign::Answered)),
            Just(Input::Called(Sign::Doubtful)),
            any::<bool>().prop_map(Input::Probed),
        ]
    }

    proptest! {
        #[test]
        fn there_is_always_a_next_probe_and_one_that_passes_ends_every_absence(
            inputs in proptest::collection::vec((input(), 0..9000u64), 0..60)
        ) {
            let mut now = Instant::now();
            let mut health = Health::new(SETTINGS, now);
            let mut probing = false;
            for (input, millis) in inputs {
                now += Duration::from_millis(millis);
                if !probing {
                    prop_assert!(health.wake_at().is_some_and(|wake| wake <= now + SETTINGS.interval));
                    probing = health.step(Input::Tick, now, 0.5);
                }
                match input {
                    Input::Probed(_) if !probing => continue,
                    Input::Probed(_) => probing = false,
                    _ => {}
                }
                prop_assert!(!health.step(input, now, 0.5));
                if matches!(input, Input::Probed(true) | Input::Called(Sign::Answered)) {
                    prop_assert_eq!(health.standing(), Standing::Up);
                }
            }
        }
    }
}
