//! Tests of the recorder.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

struct World {
    recorder: Recorder,
    start: Instant,
    at: Duration,
}

impl World {
    fn new() -> Self {
        Self { recorder: Recorder::new("pod-1", 7), start: Instant::now(), at: Duration::ZERO }
    }

    fn now(&self) -> Now {
        let wall = Timestamp::from_second(1_700_000_000).unwrap() + self.at;
        Now { instant: self.start + self.at, wall }
    }

    fn pass(&mut self, seconds: u64) {
        self.at += Duration::from_secs(seconds);
    }

    fn tell(&mut self, id: &str, message: &str) {
        let now = self.now();
        self.recorder.tell(&about(id), Note::warning(Reason::HookFailing, Action::Reconcile, message), now);
    }

    /// Makes every request that may be made now; each has the same answer.
    fn write(&mut self, answer: Answer) -> Vec<String> {
        let mut written = Vec::new();
        while let Some(write) = self.recorder.next(self.now().instant) {
            written.push(show(&write));
            self.recorder.done(answer, self.now().instant);
            assert!(written.len() < 10_000, "it comes to an end");
        }
        written
    }

    fn counts(&mut self) -> Vec<Outcome> {
        let mut counts: Vec<Outcome> = self.recorder.counts().into_iter().map(|(_, outcome)| outcome).collect();
        counts.sort();
        counts
    }

    /// Seconds from now on.
    fn wakes(&self) -> Option<u64> {
        self.recorder.wake_at().map(|at| at.saturating_duration_since(self.now().instant).as_secs())
    }
}

fn about(id: &str) -> About {
    About { name: id.to_owned(), ..About::pod("shop", id, Some("u")) }
}

fn show(write: &Write) -> String {
    let body: Value = serde_json::from_slice(&write.body).unwrap();
    let id = write.name.split('.').next().unwrap();
    let count = body["series"]["count"].as_u64().map_or_else(String::new, |count| format!(" x{count}"));
    if write.creates { format!("{id}: {}{count}", body["note"].as_str().unwrap()) } else { format!("{id}{count}") }
}

#[test]
fn the_same_again_is_a_series_that_is_written_at_once_at_first_and_then_once_a_minute() {
    let mut world = World::new();
    world.tell("a", "attempt 1 failed");
    assert_eq!(world.write(Answer::Stored), ["a: attempt 1 failed"]);
    world.tell("a", "attempt 2 failed");
    assert_eq!(world.write(Answer::Stored), ["a x2"]);
    world.tell("a", "attempt 13 failed");
    assert_eq!(world.write(Answer::Stored), ["a x3"]);
    for _ in 0..40 {
        world.tell("a", "attempt 14 failed");
        world.pass(1);
        assert_eq!(world.write(Answer::Stored), [""; 0]);
    }
    assert_eq!(world.wakes(), Some(20));
    world.pass(20);
    assert_eq!(world.write(Answer::Stored), ["a x43"]);
    assert_eq!(world.counts(), [vec![Outcome::Created], vec![Outcome::Counted; 3]].concat());
    assert_eq!(world.wakes(), None, "there is nothing more to say");
}

#[test]
fn another_object_reason_action_severity_or_text_is_another_event() {
    let mut world = World::new();
    let now = world.now();
    for (id, note) in [
        ("a", Note::warning(Reason::Stalled, Action::Reconcile, "x")),
        ("b", Note::warning(Reason::Stalled, Action::Reconcile, "x")),
        ("a", Note::normal(Reason::Stalled, Action::Reconcile, "x")),
        ("a", Note::warning(Reason::HookFailing, Action::Reconcile, "x")),
        ("a", Note::warning(Reason::Stalled, Action::Finalize, "x")),
        ("a", Note::warning(Reason::Stalled, Action::Reconcile, "y")),
        ("a", Note::warning(Reason::Custom("Stalled".try_into().unwrap()), Action::Reconcile, "z")),
    ] {
        world.recorder.tell(&about(id), note, now);
    }
    assert_eq!(world.write(Answer::Stored).len(), 7);
}

#[test]
fn what_comes_again_after_a_long_time_is_a_new_event() {
    let mut world = World::new();
    world.tell("a", "x");
    world.write(Answer::Stored);
    world.pass(361);
    world.tell("a", "x");
    assert_eq!(world.write(Answer::Stored), ["a: x"]);
}

#[test]
fn what_is_told_again_before_it_is_written_is_a_series_from_the_start() {
    let mut world = World::new();
    world.tell("a", "x");
    world.tell("a", "x");
    assert_eq!(world.write(Answer::Stored), ["a: x x2"]);
}

#[test]
fn one_object_takes_no_more_than_its_share_and_leaves_others_theirs() {
    let mut world = World::new();
    for number in 0..30 {
        let word = "x".repeat(number + 1);
        world.tell("noisy", &word);
    }
    world.tell("quiet", "x");
    assert_eq!(world.write(Answer::Stored).len(), 11);
    assert_eq!(world.counts().iter().filter(|outcome| **outcome == Outcome::Limited).count(), 20);
    world.pass(60);
    world.tell("noisy", "one more");
    world.tell("noisy", "and another");
    assert_eq!(world.write(Answer::Stored), ["noisy: one more"]);
}

#[test]
fn many_objects_together_are_bounded_too() {
    let mut world = World::new();
    (0..500).for_each(|number| world.tell(&format!("o{number}"), "x"));
    assert_eq!(world.write(Answer::Stored).len(), 100);
    assert_eq!(world.counts().iter().filter(|outcome| **outcome == Outcome::Limited).count(), 400);
}

#[test]
fn while_the_api_server_is_away_what_is_told_waits_a_while_and_is_then_dropped_and_counted() {
    let mut world = World::new();
    world.tell("a", "x");
    let now = world.now().instant;
    assert!(world.recorder.next(now).is_some());
    assert_eq!(world.recorder.wake_at(), None, "one at a time");
    world.recorder.done(Answer::Away(Some(Duration::from_secs(5))), now);
    assert!(world.recorder.next(now).is_none());
    assert_eq!(world.wakes(), Some(5), "not before the API server wants");
    world.pass(5);
    assert_eq!(world.write(Answer::Stored), ["a: x"], "nothing is lost by a short absence");
    world.counts();
    world.tell("b", "x");
    for _ in 0..30 {
        world.write(Answer::Away(None));
        world.pass(world.wakes().unwrap_or(10) + 1);
    }
    assert_eq!((world.counts(), world.wakes()), (vec![Outcome::Away], None));
}

#[test]
fn of_too_many_that_wait_the_oldest_gives_way() {
    let mut world = World::new();
    world.tell("first", "x");
    world.write(Answer::Away(Some(Duration::from_secs(100))));
    for number in 0..300 {
        world.at += Duration::from_millis(300);
        world.tell(&format!("o{number}"), "x");
    }
    let counts = world.counts();
    let full = counts.iter().filter(|outcome| **outcome == Outcome::Full).count();
    assert!(full > 0 && counts.len() - full == counts.iter().filter(|o| **o == Outcome::Limited).count(), "{counts:?}");
    world.pass(20);
    let written = world.write(Answer::Stored);
    assert_eq!(written.len(), 256);
    assert!(!written.contains(&"first: x".to_owned()));
}

#[test]
fn without_the_right_nothing_waits_and_it_is_tried_again_after_a_minute() {
    let mut world = World::new();
    world.tell("a", "x");
    world.tell("b", "x");
    assert_eq!(world.write(Answer::Denied), ["a: x"]);
    world.tell("c", "x");
    assert_eq!((world.counts(), world.wakes()), (vec![Outcome::Denied; 3], None));
    world.pass(60);
    world.tell("c", "x");
    assert_eq!(world.write(Answer::Stored), ["c: x"]);
}

#[test]
fn an_event_that_is_gone_is_made_anew_and_one_that_is_refused_is_forgotten() {
    let mut world = World::new();
    world.tell("a", "x");
    let first = world.recorder.next(world.now().instant).unwrap();
    world.recorder.done(Answer::Stored, world.now().instant);
    world.tell("a", "x");
    assert!(!world.recorder.next(world.now().instant).unwrap().creates);
    world.recorder.done(Answer::Gone, world.now().instant);
    let again = world.recorder.next(world.now().instant).unwrap();
    assert!(again.creates && again.name != first.name, "{again:?}");
    world.recorder.done(Answer::Gone, world.now().instant);
    assert_eq!((world.counts(), world.wakes()), (vec![Outcome::Created, Outcome::Refused], None));
}

#[test]
fn at_the_end_nothing_waits_for_a_better_time() {
    let mut world = World::new();
    for _ in 0..5 {
        world.tell("a", "x");
        world.write(Answer::Stored);
    }
    assert_eq!(world.wakes(), Some(60));
    let now = world.now().instant;
    world.recorder.hasten(now);
    assert_eq!(world.write(Answer::Stored), ["a x5"]);
}

#[derive(Debug, Clone)]
enum Step {
    Tell(u8, u8),
    Pass(u16),
    Write,
    Done(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u8, 0..4_u8).prop_map(|(object, text)| Step::Tell(object, text)),
        2 => (0..200_u16).prop_map(Step::Pass),
        4 => Just(Step::Write),
        4 => (0..10_u8).prop_map(Step::Done),
    ]
}

proptest! {
    /// Everything that is told is an Event, is in a count, or is counted as left out; there is one request at a time; and a request is there whenever
    /// it was promised.
    #[test]
    fn nothing_that_is_told_is_lost_uncounted(steps in proptest::collection::vec(step(), 0..200)) {
        let mut world = World::new();
        let (mut told, mut dropped) = (0_u64, 0_u64);
        let mut counts: HashMap<String, u64> = HashMap::new();
        let mut flight: Option<Write> = None;
        let settle = |world: &mut World, flight: &mut Option<Write>, answer, counts: &mut HashMap<String, u64>| {
            let Some(write) = flight.take() else { return };
            world.recorder.done(answer, world.now().instant);
            if answer == Answer::Stored {
                let body: Value = serde_json::from_slice(&write.body).unwrap();
                let count = body["series"]["count"].as_u64().unwrap_or(1);
                let before = counts.insert(write.name.clone(), count).unwrap_or(0);
                assert!(count > before, "a count only grows");
            }
        };
        for step in steps {
            match step {
                Step::Tell(object, text) => {
                    world.tell(&format!("o{object}"), &"x".repeat(usize::from(text) + 1));
                    told += 1;
                }
                Step::Pass(seconds) => world.pass(u64::from(seconds)),
                Step::Write => {
                    let due = world.recorder.wake_at().is_some_and(|at| at <= world.now().instant);
                    let idle = flight.is_none();
                    if let Some(write) = world.recorder.next(world.now().instant) {
                        prop_assert!(idle && due, "one at a time, and not before it was promised");
                        flight = Some(write);
                    }
                }
                Step::Done(dice) => {
                    let answer = match dice {
                        0..6 => Answer::Stored,
                        6..9 => Answer::Away(None),
                        _ => Answer::Refused,
                    };
                    settle(&mut world, &mut flight, answer, &mut counts);
                }
            }
        }
        settle(&mut world, &mut flight, Answer::Stored, &mut counts);
        world.recorder.hasten(world.now().instant);
        while let Some(at) = world.recorder.wake_at() {
            world.at = world.at.max(at.saturating_duration_since(world.start));
            flight = world.recorder.next(world.now().instant);
            settle(&mut world, &mut flight, Answer::Stored, &mut counts);
        }
        dropped += world.recorder.counts().iter().filter(|(_, outcome)| *outcome > Outcome::Counted).count() as u64;
        let written: u64 = counts.values().sum();
        prop_assert!(written <= told, "{written} of {told}");
        prop_assert!(written == told || dropped > 0, "{written} of {told} and nothing dropped");
    }
}
