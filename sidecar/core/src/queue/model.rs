//! The queue against what it promises, in random runs: nothing is lost, never two at one key, first due first served, attempts counted.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Action {
    Change(u8),
    Later(u8, u64),
    Take,
    /// One of those that are worked on ends.
    Finish(usize, Outcome),
    /// Milliseconds go by.
    Pass(u64),
    Pause,
    Resume,
}

fn action() -> impl Strategy<Value = Action> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Done),
        1 => (0_u64..5000).prop_map(|wait| Outcome::After(Duration::from_millis(wait))),
        3 => Just(Outcome::Retry(None)),
        1 => (0_u64..5000).prop_map(|wait| Outcome::Retry(Some(Duration::from_millis(wait)))),
        1 => Just(Outcome::OnChange),
        1 => Just(Outcome::Untried),
    ];
    prop_oneof![
        6 => (0_u8..6).prop_map(Action::Change),
        1 => (0_u8..6, 0_u64..9000).prop_map(|(key, wait)| Action::Later(key, wait)),
        6 => Just(Action::Take),
        6 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Action::Finish(which, outcome)),
        3 => (0_u64..4000).prop_map(Action::Pass),
        1 => Just(Action::Pause),
        1 => Just(Action::Resume),
    ]
}

#[derive(Default)]
struct Model {
    /// Of each key: the number of the last change that the queue took and nobody has begun to work on since.
    owed: BTreeMap<u8, u64>,
    changes: u64,
    working: BTreeSet<u8>,
    failures: BTreeMap<u8, u32>,
    /// Keys that have to come again without a change.
    again: BTreeSet<u8>,
}

impl Model {
    fn take(&mut self, queue: &mut Queue<u8>, now: Instant) -> Result<Option<u8>, TestCaseError> {
        let Some(taken) = queue.take(now) else { return Ok(None) };
        prop_assert!(self.working.insert(taken.key), "two at {}", taken.key);
        let failures = self.failures.get(&taken.key).copied().unwrap_or_default();
        prop_assert_eq!(taken.attempt, failures + 1);
        // What is worked on from now on sees every change so far.
        self.owed.remove(&taken.key);
        self.again.remove(&taken.key);
        Ok(Some(taken.key))
    }

    fn finish(&mut self, queue: &mut Queue<u8>, key: u8, outcome: Outcome, now: Instant) {
        self.working.remove(&key);
        queue.done(&key, outcome, now, 0.7);
        let failures = self.failures.entry(key).or_default();
        match outcome {
            Outcome::Retry(_) => *failures += 1,
            Outcome::Untried => {}
            _ => *failures = 0,
        }
        if matches!(outcome, Outcome::Retry(_) | Outcome::After(_) | Outcome::Untried) {
            self.again.insert(key);
        }
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_and_never_two_work_at_one_key(
        actions in prop::collection::vec(action(), 0..150),
        most in 3_usize..8,
    ) {
        let mut queue = Queue::new(Limits { backoff: BACKOFF, rate: None, most });
        let mut model = Model::default();
        let mut now = Instant::now();
        for action in actions {
            match action {
                Action::Change(key) => if queue.add(key, now) {
                    model.changes += 1;
                    model.owed.insert(key, model.changes);
                } else {
                    prop_assert!(!queue.has_room());
                },
                Action::Later(key, wait) => {
                    queue.add_after(key, Duration::from_millis(wait), now);
                    model.again.insert(key);
                }
                Action::Take => {
                    model.take(&mut queue, now)?;
                }
                Action::Finish(which, outcome) => if let Some(key) = model.working.iter().nth(which % model.working.len().max(1)).copied() {
                    model.finish(&mut queue, key, outcome, now);
                },
                Action::Pass(wait) => now += Duration::from_millis(wait),
                Action::Pause => queue.pause(),
                Action::Resume => queue.resume(),
            }
            let numbers = queue.numbers(now);
            prop_assert_eq!(numbers.working, model.working.len());
            prop_assert_eq!(numbers.failing, model.failures.iter().filter(|(_, failures)| **failures > 0).count());
            prop_assert_eq!(numbers.due + numbers.waiting + numbers.working, queue.entries.len());
            prop_assert!(queue.entries.len() <= most.max(6));
        }
        // Whoever is waited for comes back, and every attempt succeeds: then everything that is owed is done, and nothing is left.
        queue.resume();
        for key in std::mem::take(&mut model.working) {
            model.working.insert(key);
            model.finish(&mut queue, key, Outcome::Done, now);
        }
        for _ in 0..1000 {
            match model.take(&mut queue, now)? {
                Some(key) => model.finish(&mut queue, key, Outcome::Done, now),
                None => match queue.wake_at(now) {
                    Some(at) => {
                        prop_assert!(at > now, "it hands nothing out and wants to be asked again at once");
                        now = at;
                    }
                    None => break,
                },
            }
        }
        prop_assert!(model.owed.is_empty() && model.again.is_empty(), "lost {:?} {:?}", model.owed, model.again);
        prop_assert_eq!(queue.entries.len(), 0);
    }

    #[test]
    fn whoever_is_due_longer_comes_first(actions in prop::collection::vec(action(), 0..150)) {
        let mut queue = Queue::new(Limits { backoff: BACKOFF, rate: None, most: 100 });
        let mut model = Model::default();
        let mut now = Instant::now();
        // How often others were taken while a key was due.
        let mut passed: BTreeMap<u8, BTreeMap<u8, u32>> = BTreeMap::new();
        for action in actions {
            match action {
                Action::Change(key) => { queue.add(key, now); }
                Action::Take => {
                    let due: Vec<u8> = queue.due.iter().copied().collect();
                    if let Some(taken) = model.take(&mut queue, now)? {
                        passed.remove(&taken);
                        for waiting in due.into_iter().filter(|key| *key != taken) {
                            let times = passed.entry(waiting).or_default().entry(taken).or_default();
                            *times += 1;
                            prop_assert!(*times <= 1, "{taken} came twice while {waiting} was due");
                        }
                    }
                }
                Action::Finish(which, outcome) if outcome != Outcome::Untried => {
                    if let Some(key) = model.working.iter().nth(which % model.working.len().max(1)).copied() {
                        model.finish(&mut queue, key, outcome, now);
                    }
                }
                Action::Pass(wait) => now += Duration::from_millis(wait),
                _ => {}
            }
        }
    }
}
