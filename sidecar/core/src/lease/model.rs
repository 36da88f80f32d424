//! Every run of an election: candidates whose clocks run at different speeds and who may stand still at any step, an API server that
//! answers late, or stores what nobody hears of, or long after the caller gave up; and what must hold in each state.
//!
//! Drives the real [`Candidate`]. Faults put in on purpose show that the search would find them. Time is in units: one step of the true time
//! is two of a slow clock and three of a fast one, far more apart than any two real clocks.

use stateright::{Checker, HasDiscoveries, Model, Property};

use super::*;

/// When every clock stands after a step.
const NOON: Moment = units(100);

const fn units(count: u64) -> Moment {
    Duration::from_millis(count)
}

/// About the relation of the product's own defaults (10 s, 6 s, 2 s), for clocks that go two or three units at a time.
const FINE: Durations = Durations { lease: units(9), renew: units(5), retry: units(2) };
/// The same for clocks that go one unit at a time.
const COARSE: Durations = Durations { lease: units(3), renew: units(2), retry: units(1) };

/// A fault that the product does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// The API server stores whatever is written.
    WritesWithoutBase,
    /// A holder counts from when it heard of its write.
    CountsFromTheAnswer,
    /// Nothing is left for clocks that run at different speeds.
    NoMargin,
}

struct Election {
    durations: Durations,
    speeds: [u64; 2],
    fault: Fault,
    /// How many answers may get lost, or requests come late.
    losses: u8,
    /// Whether a person may delete the Lease once both know it.
    deletion: bool,
    /// Whether one candidate may end in good order.
    end: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    /// Time goes on, whoever should have done something.
    Time,
    /// A candidate looks at its clock.
    Wake(usize),
    /// The API server carries out a request, and the answer arrives.
    Serve(usize),
    /// The API server carries out a request, and the answer is on its way for long.
    ServeSlowly(usize),
    /// The answer arrives after all.
    Hear(usize),
    /// The caller gives up. The server never does what it had not done.
    GiveUp(usize),
    /// The caller gives up; the server does it later.
    GiveUpEarly(usize),
    /// What the caller gave up is done.
    ServeLate(usize),
    Stop(usize),
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    candidate: Candidate,
    clock: Moment,
    request: Option<Request>,
    late: Option<Claim>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Request {
    Sent(Effect),
    Answered(Input),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    lease: Option<Lease>,
    versions: u64,
    processes: [Process; 2],
    losses: u8,
    deletions: u8,
}

impl State {
    fn new(model: &Election) -> Self {
        let durations = match model.fault {
            Fault::NoMargin => Durations { renew: model.durations.lease, ..model.durations },
            _ => model.durations,
        };
        let process = |name: &str| Process {
            candidate: Candidate::new(name.to_owned(), None, durations, NOON),
            clock: NOON,
            request: None,
            late: None,
        };
        let processes = [process("a"), process("b")];
        Self { lease: None, versions: 0, processes, losses: model.losses, deletions: u8::from(model.deletion) }
    }

    fn step(&mut self, at: usize, input: Input, model: &Election) {
        let process = &mut self.processes[at];
        if let (Fault::CountsFromTheAnswer, super::State::Writing { sent, .. }) =
            (model.fault, &mut process.candidate.state)
        {
            *sent = process.clock;
        }
        if let Some(effect) = process.candidate.step(input, process.clock, 0.0) {
            process.request = Some(Request::Sent(effect));
        }
    }

    fn store(&mut self, claim: &Claim, model: &Election) -> Result<Lease, Failure> {
        let stands = self.lease.as_ref().map(|lease| lease.version.clone());
        if model.fault != Fault::WritesWithoutBase && stands != claim.base {
            return Err(Failure::Conflict);
        }
        self.versions += 1;
        let lease = Lease {
            version: self.versions.to_string(),
            holder: claim.holder.clone(),
            app: claim.app.clone(),
            duration: claim.duration,
            transitions: claim.transitions,
            shards: claim.shards,
        };
        self.lease = Some(lease.clone());
        Ok(lease)
    }

    fn serve(&mut self, at: usize, model: &Election) {
        let Some(Request::Sent(effect)) = self.processes[at].request.clone() else { return };
        let answer = match effect {
            Effect::Read => Input::Read(Ok(self.lease.clone())),
            Effect::Write(claim) => Input::Written(self.store(&claim, model)),
        };
        self.processes[at].request = Some(Request::Answered(answer));
    }

    fn hear(&mut self, at: usize, model: &Election) {
        if let Some(Request::Answered(input)) = self.processes[at].request.take() {
            self.step(at, input, model);
        }
    }

    fn give_up(&mut self, at: usize, model: &Election) {
        let unknown = match self.processes[at].request.take() {
            Some(Request::Sent(Effect::Read) | Request::Answered(Input::Read(_))) => Input::Read(Err(Failure::Unknown)),
            _ => Input::Written(Err(Failure::Unknown)),
        };
        self.step(at, unknown, model);
    }

    fn wake(&mut self, at: usize, model: &Election) {
        self.step(at, Input::Tick, model);
    }

    fn is_due(&self, at: usize) -> bool {
        let process = &self.processes[at];
        process.request.is_none() && process.candidate.wake_at().is_some_and(|due| due <= process.clock)
    }

    fn time(&mut self, model: &Election) {
        for (process, speed) in self.processes.iter_mut().zip(model.speeds) {
            process.clock += units(speed);
        }
    }

    fn leads(&self, at: usize) -> bool {
        let process = &self.processes[at];
        matches!(process.candidate.standing(process.clock), Standing::Leading(_))
    }

    /// Whether `at`, the other one dead and without a fault from now on, comes to lead (or has ended).
    fn takes_over(&self, at: usize, model: &Election) -> bool {
        let mut alone = self.clone();
        // What the other has under way may come first; two whole durations, and a wait before each request.
        if let Some(late) = alone.processes[1 - at].late.take() {
            drop(alone.store(&late, model));
        }
        for _ in 0..20 {
            while alone.processes[at].request.is_some() || alone.is_due(at) {
                if alone.is_due(at) {
                    alone.wake(at, model);
                }
                alone.serve(at, model);
                alone.hear(at, model);
            }
            if alone.leads(at) || alone.processes[at].candidate.has_ended() {
                return true;
            }
            alone.time(model);
        }
        false
    }
}

impl State {
    /// The same state with every clock set back to the same hour and the versions called anew: states that differ only in when, or in
    /// names, become one.
    fn normal(mut self) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut rename = |version: &mut String| {
            let at = names.iter().position(|name| name == version).unwrap_or_else(|| {
                names.push(version.clone());
                names.len() - 1
            });
            *version = at.to_string();
        };
        // Whether it ever changed hands is all that is asked of the number of times.
        let mut one = |version: Option<&mut String>, transitions: &mut u64| {
            *transitions = (*transitions).min(1);
            version.into_iter().for_each(&mut rename);
        };
        if let Some(lease) = &mut self.lease {
            one(Some(&mut lease.version), &mut lease.transitions);
        }
        for process in &mut self.processes {
            process.rebase();
            if let Some(seen) = &mut process.candidate.seen {
                one(Some(&mut seen.lease.version), &mut seen.lease.transitions);
            }
            match &mut process.request {
                Some(Request::Sent(Effect::Write(claim))) => one(claim.base.as_mut(), &mut claim.transitions),
                Some(Request::Answered(Input::Read(Ok(Some(lease))) | Input::Written(Ok(lease)))) => {
                    one(Some(&mut lease.version), &mut lease.transitions);
                }
                _ => {}
            }
            if let Some(late) = &mut process.late {
                one(late.base.as_mut(), &mut late.transitions);
            }
        }
        self.versions = names.len() as u64;
        self
    }
}

impl Process {
    /// What is long past is as good as just past the longest time that anybody waits for.
    fn rebase(&mut self) {
        let (now, longest) = (self.clock, self.candidate.durations.lease);
        self.clock = NOON;
        let moved = |moment: Moment| (moment + NOON).saturating_sub(now).max(NOON - longest);
        let candidate = &mut self.candidate;
        candidate.terms = candidate.terms.min(1);
        candidate.term = candidate.term.filter(|term| now < term.until);
        if let Some(term) = &mut candidate.term {
            (term.number, term.epoch, term.until) = (1, term.epoch.min(1), moved(term.until));
        }
        if let Some(seen) = &mut candidate.seen {
            seen.at = moved(seen.at);
        }
        match &mut candidate.state {
            super::State::Waiting { until, .. } => *until = moved(*until).max(NOON),
            super::State::Writing { sent, .. } => *sent = moved(*sent),
            super::State::Reading | super::State::Ended => {}
        }
    }
}

impl Model for Election {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State::new(self)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.push(Action::Time);
        for at in 0..2 {
            let process = &state.processes[at];
            if let Some(late) = &process.late {
                let stands = state.lease.as_ref().map(|lease| &lease.version);
                // One that would only be refused need not come at all.
                if stands == late.base.as_ref() || self.fault == Fault::WritesWithoutBase {
                    actions.push(Action::ServeLate(at));
                }
            }
            if state.is_due(at) {
                actions.push(Action::Wake(at));
            }
            match &process.request {
                Some(Request::Sent(effect)) => {
                    actions.push(Action::Serve(at));
                    if state.losses > 0 {
                        actions.extend([Action::ServeSlowly(at), Action::GiveUp(at)]);
                        if matches!(effect, Effect::Write(_)) {
                            actions.push(Action::GiveUpEarly(at));
                        }
                    }
                }
                Some(Request::Answered(_)) => actions.extend([Action::Hear(at), Action::GiveUp(at)]),
                None => {}
            }
            if self.end && at == 0 && !process.candidate.stopping {
                actions.push(Action::Stop(at));
            }
        }
        let known = |process: &Process| process.candidate.seen.is_some();
        if state.deletions > 0 && state.lease.is_some() && state.processes.iter().all(known) {
            actions.push(Action::Delete);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        match action {
            Action::Time => state.time(self),
            Action::Wake(at) => state.wake(at, self),
            Action::Serve(at) => {
                state.serve(at, self);
                state.hear(at, self);
            }
            Action::ServeSlowly(at) => {
                state.losses -= 1;
                state.serve(at, self);
            }
            Action::Hear(at) => state.hear(at, self),
            Action::GiveUp(at) => {
                if let Some(Request::Sent(_)) = state.processes[at].request {
                    state.losses -= 1;
                }
                state.give_up(at, self);
            }
            Action::GiveUpEarly(at) => {
                state.losses -= 1;
                if let Some(Request::Sent(Effect::Write(claim))) = &state.processes[at].request {
                    state.processes[at].late = Some(claim.clone());
                }
                state.give_up(at, self);
            }
            Action::ServeLate(at) => {
                if let Some(late) = state.processes[at].late.take() {
                    drop(state.store(&late, self));
                }
            }
            Action::Stop(at) => state.step(at, Input::Stop, self),
            Action::Delete => {
                state.deletions -= 1;
                state.lease = None;
            }
        }
        Some(state.normal())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NEVER_TWO, |_, state: &State| !(state.leads(0) && state.leads(1))),
            Property::always("whoever is left takes over", |model: &Election, state: &State| {
                (0..2).all(|at| state.takes_over(at, model))
            }),
            Property::sometimes("one leads, and then the other", |_, state: &State| {
                state.leads(1) && state.lease.as_ref().is_some_and(|lease| lease.transitions > 0)
            }),
        ]
    }
}

const NEVER_TWO: &str = "never two at once";

const QUIET: Election =
    Election { durations: COARSE, speeds: [1, 1], fault: Fault::None, losses: 0, deletion: false, end: false };

/// How much more than usual: `KAB_MODEL=2 cargo test --release -p sidecar-core model`.
fn scale() -> u8 {
    std::env::var("KAB_MODEL").ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[test]
fn two_never_hold_a_lease_at_once_and_whoever_is_left_takes_over() {
    let models = [
        Election { losses: 1, ..QUIET },
        Election { deletion: true, end: true, ..QUIET },
        Election { durations: FINE, speeds: [2, 3], ..QUIET },
    ];
    for model in models {
        let model = Election { losses: model.losses + scale(), ..model };
        let checker = model.checker().threads(2).spawn_bfs().join();
        checker.assert_properties();
    }
}

#[test]
fn the_model_finds_each_fault_that_is_put_into_an_election() {
    for fault in [Fault::WritesWithoutBase, Fault::CountsFromTheAnswer, Fault::NoMargin] {
        let model = Election { durations: FINE, speeds: [2, 3], fault, losses: 1, ..QUIET };
        let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        assert!(checker.discovery(NEVER_TWO).is_some(), "{fault:?} was not found");
    }
}
