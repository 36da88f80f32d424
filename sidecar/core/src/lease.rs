//! Who works on a shard of a kind: one candidate of an election that is held over a Kubernetes Lease.
//!
//! Owns every decision of it: when to read and to write the Lease, when it is ours, and until when we may work. It never does IO and
//! never looks at a clock; `sidecar/src/leases.rs` carries out the effects, one request at a time.
//!
//! Two rules keep two holders from working at once, whatever the clocks of other machines say and however long a process stands still:
//! a holder may work until [`Durations::renew`] after it *sent* its last successful write, by its own clock; and another may take the Lease
//! only when it has not changed for the whole duration that is written in it, by the other's own clock, which begins when the other first saw
//! it so. No time that is written in a Lease is ever compared with a clock. Writes carry the version that they are based on.

#[cfg(test)]
mod model;
#[cfg(test)]
#[path = "lease_tests.rs"]
mod tests;
pub mod wire;

use std::time::Duration;

/// A point in time on the local clock, which never goes back and goes on while the process, or the machine, stands still.
pub type Moment = Duration;

/// client-go's three durations, under its names where it has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Durations {
    /// How long a Lease must stand unchanged until another may take it (`leaseDuration`).
    pub lease: Duration,
    /// How long a holder works after its last successful write was sent (`renewDeadline`). What is left to `lease` covers clocks that run
    /// at different speeds, and the end of work that is under way.
    pub renew: Duration,
    /// How long to wait between two looks, and between two renewals (`retryPeriod`).
    pub retry: Duration,
}

/// The Lease, as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// metadata.resourceVersion.
    pub version: String,
    /// Who holds it; absent when it was handed over.
    pub holder: Option<String>,
    /// The application whose it is: its replicas hold it in turns.
    pub app: Option<String>,
    /// What the holder promised: it stops before so much time has passed without a renewal.
    pub duration: Duration,
    /// How often it went from one holder to another.
    pub transitions: u64,
    /// For which number of shards it stands; absent where nobody wrote one.
    pub shards: Option<u32>,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The version that must still stand; absent: there must be no Lease.
    pub base: Option<String>,
    /// Who is to hold it; absent: it is handed over.
    pub holder: Option<String>,
    /// The application whose it is from now on; absent: as it was.
    pub app: Option<String>,
    /// How long it lasts without a renewal.
    pub duration: Duration,
    /// Counts holders.
    pub transitions: u64,
    /// Whether the holder changes with it.
    pub acquired: bool,
    /// For which number of shards it stands from now on; absent: as it was. Never together with `acquired`: only who has seen what stands in a Lease
    /// while holding it may change that.
    pub shards: Option<u32>,
}

/// Why a request had no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The Lease is not the one that the write was based on; nothing was written.
    Conflict,
    /// Nobody knows: a write may have been stored, or may still be.
    Unknown,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Input {
    /// [`Candidate::wake_at`] has come.
    Tick,
    /// The outcome of [`Effect::Read`]; `None`: there is no such Lease.
    Read(Result<Option<Lease>, Failure>),
    /// The outcome of [`Effect::Write`]: the Lease as it was stored.
    Written(Result<Lease, Failure>),
    /// All work has ended: hand over.
    Stop,
    /// Whether the Lease is to be taken when it is free. A holder goes on to hold it until [`Input::Yield`].
    Want(bool),
    /// The work of this term has ended: hand over, and stand by.
    Yield,
    /// Write that the Lease stands for so many shards, at once and only while it is held without a gap.
    Declare(u32),
}

/// A request to make.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Read the Lease.
    Read,
    /// Write it.
    Write(Claim),
}

/// A time without gap in which this candidate holds the Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Term {
    /// Counts the terms of this candidate: with another number, there was a gap between.
    pub number: u64,
    /// `leaseTransitions`: greater with every other holder.
    pub epoch: u64,
    /// From then on another may hold the Lease: no work without looking at the clock.
    pub until: Moment,
}

/// What a candidate knows of the election.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Nobody is known to lead: nothing was read yet, or this candidate could not renew in time.
    Unknown,
    /// It may work.
    Leading(Term),
    /// It may end what it has begun, and begin nothing: the Lease is not wanted any more.
    Yielding(Term),
    /// Another of the same application holds the Lease, or may.
    Standby {
        /// Who held it last.
        holder: Option<String>,
    },
    /// The Lease is another application's, and stays so until a person deletes it.
    Foreign {
        /// The application.
        app: String,
    },
}

/// One candidate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    identity: String,
    app: Option<String>,
    durations: Durations,
    seen: Option<Seen>,
    term: Option<Term>,
    terms: u64,
    stopping: bool,
    wanted: bool,
    declared: Option<u32>,
    state: State,
}

/// The Lease as we last saw it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Seen {
    lease: Lease,
    /// When we first saw it so.
    at: Moment,
    /// It was deleted since; whoever held it may still be at work.
    deleted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum State {
    /// Nothing to do before. `sure`: nothing that we wrote can have been stored unheard.
    Waiting { until: Moment, sure: bool },
    /// A read is under way.
    Reading,
    /// A write is under way since.
    Writing { sent: Moment, handing_over: bool },
    /// Handed over, or not ours to hand over.
    Ended,
}

impl Candidate {
    /// One that reads at its first tick. `identity` must not be another living process's. An `app` without a name is no other than any.
    pub fn new(identity: String, app: Option<String>, durations: Durations, now: Moment) -> Self {
        let state = State::Waiting { until: now, sure: false };
        let (wanted, declared) = (true, None);
        Self { identity, app, durations, seen: None, term: None, terms: 0, stopping: false, wanted, declared, state }
    }

    /// Takes what happened and says what request to make now. `jitter` is a random number in 0..1.
    pub fn step(&mut self, input: Input, now: Moment, jitter: f64) -> Option<Effect> {
        self.term = self.term.filter(|term| now < term.until);
        if self.term.is_none() {
            self.declared = None;
        }
        match (input, &self.state) {
            (Input::Tick, State::Waiting { until, .. }) if *until <= now => self.act(now),
            (Input::Read(Ok(lease)), State::Reading) => {
                self.observe(lease, now);
                self.decide(now, jitter)
            }
            (Input::Read(Err(_)), State::Reading) => self.wait(now, jitter, false),
            (Input::Written(Ok(lease)), State::Writing { sent, handing_over }) => {
                let (sent, handing_over) = (*sent, *handing_over);
                self.observe(Some(lease), now);
                if handing_over {
                    return if self.stopping { self.end() } else { self.wait(now, jitter, true) };
                }
                self.hold(sent, now);
                if self.stopping { self.hand_over(now) } else { self.wait(now, jitter, true) }
            }
            (Input::Written(Err(Failure::Conflict)), State::Writing { .. }) => self.read(),
            (Input::Written(Err(Failure::Unknown)), State::Writing { .. }) => self.wait(now, jitter, false),
            (Input::Stop, state) => {
                let waits = matches!(state, State::Waiting { .. });
                self.stopping = true;
                self.term = None;
                if waits { self.act(now) } else { None }
            }
            (Input::Want(wanted), state) => {
                // Who begins to want a Lease that stands free need not wait for the next look.
                let begins = wanted && !self.wanted && matches!(state, State::Waiting { .. });
                self.wanted = wanted;
                if begins && !self.stopping { self.act(now) } else { None }
            }
            (Input::Yield, State::Waiting { sure: true, .. }) if !self.wanted && self.is_held() => {
                self.term = None;
                self.hand_over(now)
            }
            (Input::Declare(shards), state) if self.term.is_some() => {
                let news = self.declared != Some(shards) && matches!(state, State::Waiting { .. });
                self.declared = Some(shards);
                if news && !self.stopping { self.act(now) } else { None }
            }
            _ => None,
        }
    }

    /// When the next tick is due, if any; also when the term runs out.
    pub fn wake_at(&self) -> Option<Moment> {
        let next = match &self.state {
            State::Waiting { until, .. } => Some(*until),
            State::Reading | State::Writing { .. } | State::Ended => None,
        };
        next.into_iter().chain(self.term.map(|term| term.until)).min()
    }

    /// Whether the Lease is handed over, as far as it was ours.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether it takes the Lease when that is free.
    pub fn wants(&self) -> bool {
        self.wanted
    }

    /// The Lease, as it was last seen; also one that was deleted since.
    pub fn lease(&self) -> Option<&Lease> {
        self.seen.as_ref().map(|seen| &seen.lease)
    }

    /// Whether, and until when, this candidate may work.
    pub fn standing(&self, now: Moment) -> Standing {
        match (self.term.filter(|term| now < term.until), &self.seen) {
            (Some(term), _) if self.wanted => Standing::Leading(term),
            (Some(term), _) => Standing::Yielding(term),
            (None, None) => Standing::Unknown,
            (None, Some(seen)) if self.is_mine(&seen.lease) => Standing::Unknown,
            (None, Some(seen)) => match &seen.lease.app {
                Some(app) if self.is_foreign(&seen.lease) && !seen.deleted => Standing::Foreign { app: app.clone() },
                _ => Standing::Standby { holder: seen.lease.holder.clone() },
            },
        }
    }

    /// A waiting candidate's turn: a holder that is sure of the Lease renews it, everybody else looks.
    fn act(&mut self, now: Moment) -> Option<Effect> {
        let sure = matches!(self.state, State::Waiting { sure: true, .. });
        match &self.seen {
            Some(seen) if sure && self.is_mine(&seen.lease) && self.stopping => self.hand_over(now),
            Some(seen) if sure && self.is_mine(&seen.lease) && self.term.is_some() => {
                let seen = seen.clone();
                self.claim(&seen, now)
            }
            _ => self.read(),
        }
    }

    fn read(&mut self) -> Option<Effect> {
        self.state = State::Reading;
        Some(Effect::Read)
    }

    fn observe(&mut self, lease: Option<Lease>, now: Moment) {
        match (lease, &mut self.seen) {
            (Some(lease), Some(seen)) if seen.lease.version == lease.version => seen.deleted = false,
            (Some(lease), _) => self.seen = Some(Seen { lease, at: now, deleted: false }),
            // Somebody may have taken it before it was deleted, and not know that it is gone: as if taken now.
            (None, Some(seen)) if !seen.deleted => (seen.deleted, seen.at) = (true, now),
            (None, _) => {}
        }
        if self.seen.as_ref().is_some_and(|seen| !self.is_mine(&seen.lease)) {
            self.term = None;
        }
    }

    /// What to do about the Lease as it was just read.
    fn decide(&mut self, now: Moment, jitter: f64) -> Option<Effect> {
        let Some(seen) = self.seen.clone() else {
            return match (self.stopping, self.wanted) {
                (true, _) => self.end(),
                (false, true) => self.create(now),
                (false, false) => self.wait(now, jitter, true),
            };
        };
        let mine = self.is_mine(&seen.lease);
        if self.stopping {
            return if mine && !seen.deleted { self.hand_over(now) } else { self.end() };
        }
        if !self.wanted && self.term.is_none() {
            // A term that was cut short had its end looked at by whoever worked; what is left of the Lease is of no use.
            return if mine && !seen.deleted { self.hand_over(now) } else { self.wait(now, jitter, true) };
        }
        let expired = seen.at + seen.lease.duration <= now;
        let free = if seen.deleted {
            expired || mine && self.term.is_some()
        } else {
            mine || (expired || seen.lease.holder.is_none()) && !self.is_foreign(&seen.lease)
        };
        if free { self.claim(&seen, now) } else { self.wait(now, jitter, true) }
    }

    fn create(&mut self, now: Moment) -> Option<Effect> {
        self.write(None, 0, true, now)
    }

    /// Renews what is ours, takes what is free.
    fn claim(&mut self, seen: &Seen, now: Moment) -> Option<Effect> {
        let mine = self.is_mine(&seen.lease);
        let transitions = if mine { seen.lease.transitions } else { seen.lease.transitions.saturating_add(1) };
        let base = (!seen.deleted).then(|| seen.lease.version.clone());
        self.write(base, transitions, !mine, now)
    }

    fn write(&mut self, base: Option<String>, transitions: u64, acquired: bool, now: Moment) -> Option<Effect> {
        self.state = State::Writing { sent: now, handing_over: false };
        let holder = Some(self.identity.clone());
        let (duration, shards) = (self.durations.lease, self.declared.filter(|_| !acquired));
        Some(Effect::Write(Claim { base, holder, app: self.app.clone(), duration, transitions, acquired, shards }))
    }

    fn hand_over(&mut self, now: Moment) -> Option<Effect> {
        let Some(seen) = &self.seen else { return self.end() };
        let claim = Claim {
            base: Some(seen.lease.version.clone()),
            holder: None,
            app: None,
            duration: self.durations.lease,
            transitions: seen.lease.transitions,
            acquired: false,
            shards: None,
        };
        self.state = State::Writing { sent: now, handing_over: true };
        Some(Effect::Write(claim))
    }

    /// A write of ours was stored: the term goes on, or a new one begins if it is not too late for that.
    fn hold(&mut self, sent: Moment, now: Moment) {
        let until = sent + self.durations.renew;
        let epoch = self.seen.as_ref().map_or(0, |seen| seen.lease.transitions);
        if self.stopping || until <= now {
            return;
        }
        let number = match self.term {
            Some(term) if term.epoch == epoch => term.number,
            _ => {
                self.terms += 1;
                self.terms
            }
        };
        self.term = Some(Term { number, epoch, until });
    }

    fn wait(&mut self, now: Moment, jitter: f64, sure: bool) -> Option<Effect> {
        let spread = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
        let until = now + self.durations.retry.mul_f64(1.0 + spread / 5.0);
        self.state = State::Waiting { until, sure };
        None
    }

    fn end(&mut self) -> Option<Effect> {
        self.state = State::Ended;
        None
    }

    fn is_held(&self) -> bool {
        self.seen.as_ref().is_some_and(|seen| self.is_mine(&seen.lease) && !seen.deleted)
    }

    fn is_mine(&self, lease: &Lease) -> bool {
        lease.holder.as_deref() == Some(self.identity.as_str())
    }

    fn is_foreign(&self, lease: &Lease) -> bool {
        matches!((&self.app, &lease.app), (Some(ours), Some(theirs)) if ours != theirs)
    }
}
