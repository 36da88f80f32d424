//! What each outcome and each call means, by example.

use super::*;

const LIMITS: Limits = Limits { backoff: BACKOFF, rate: None, most: 1000 };

fn queue() -> (Queue<&'static str>, Instant) {
    (Queue::new(LIMITS), Instant::now())
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// The keys that are due, none of them given back.
fn all(queue: &mut Queue<&'static str>, now: Instant) -> Vec<&'static str> {
    std::iter::from_fn(|| queue.take(now)).map(|taken| taken.key).collect()
}

#[test]
fn a_key_is_handed_out_once_however_often_it_is_added() {
    let (mut queue, now) = queue();
    for key in ["a", "b", "a", "c", "b"] {
        assert!(queue.add(key, now));
    }
    assert_eq!(queue.numbers(now + seconds(2)), Numbers { due: 3, oldest: seconds(2), ..Numbers::default() });
    assert_eq!(all(&mut queue, now), ["a", "b", "c"]);
    assert_eq!(queue.wake_at(now), None);
}

#[test]
fn what_changes_while_it_is_worked_on_comes_again_after() {
    let (mut queue, now) = queue();
    queue.add("a", now);
    assert_eq!(all(&mut queue, now), ["a"]);
    queue.add("a", now);
    queue.add("b", now);
    assert_eq!(all(&mut queue, now), ["b"], "a is still worked on");
    queue.done(&"a", Outcome::Done, now, 0.5);
    assert_eq!(all(&mut queue, now), ["a"]);
    queue.done(&"a", Outcome::Done, now, 0.5);
    assert_eq!(all(&mut queue, now), [] as [&str; 0]);
    assert_eq!(queue.numbers(now).working, 1);
}

#[test]
fn failures_come_again_later_and_later_and_a_success_ends_that() {
    let (mut queue, mut now) = queue();
    queue.add("a", now);
    for (attempt, wait) in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300].into_iter().enumerate() {
        let taken = queue.take(now).unwrap();
        assert_eq!(taken.attempt as usize, attempt + 1);
        queue.done(&"a", Outcome::Retry(None), now, 1.0);
        assert_eq!(queue.wake_at(now), Some(now + seconds(wait)));
        assert_eq!(queue.take(now + seconds(wait) - Duration::from_millis(1)), None);
        assert_eq!(queue.numbers(now).failing, 1);
        now += seconds(wait);
    }
    assert_eq!(queue.take(now).unwrap().attempt, 12);
    queue.done(&"a", Outcome::Done, now, 1.0);
    assert_eq!(queue.numbers(now), Numbers::default());
    queue.add("a", now);
    assert_eq!(queue.take(now).unwrap().attempt, 1);
}

#[test]
fn a_change_shortens_a_long_wait_to_that_after_a_first_failure() {
    let (mut queue, now) = queue();
    queue.add("a", now);
    let mut late = now;
    for _ in 0..10 {
        queue.take(late).unwrap();
        queue.done(&"a", Outcome::Retry(None), late, 1.0);
        late = queue.wake_at(late).unwrap();
    }
    let failed = late - seconds(300);
    queue.add("a", failed + Duration::from_millis(300));
    assert_eq!(
        queue.wake_at(failed),
        Some(failed + seconds(1)),
        "one that changes all the time is tried once a second"
    );
    assert_eq!(queue.take(failed + seconds(1)).unwrap().attempt, 11);
}

#[test]
fn one_more_thing_behind_another_that_failed_shortens_no_wait() {
    let (mut queue, now) = queue();
    queue.append("a", now);
    for wait in [1, 2, 4] {
        queue.take(now).or_else(|| queue.take(queue.wake_at(now)?)).unwrap();
        queue.done(&"a", Outcome::Retry(None), now, 1.0);
        assert!(queue.append("a", now));
        assert_eq!(queue.wake_at(now), Some(now + seconds(wait)));
    }
}

#[test]
fn who_asks_for_time_gets_it_whatever_changes() {
    let (mut queue, now) = queue();
    queue.add("a", now);
    queue.take(now).unwrap();
    queue.done(&"a", Outcome::Retry(Some(seconds(40))), now, 0.0);
    queue.add("a", now + seconds(1));
    assert_eq!(queue.wake_at(now), Some(now + seconds(40)));
    assert_eq!(queue.take(now + seconds(40)).unwrap().attempt, 2);
}

#[test]
fn what_is_asked_for_later_comes_then_or_with_a_change() {
    let (mut queue, now) = queue();
    queue.add("a", now);
    queue.take(now).unwrap();
    queue.done(&"a", Outcome::After(seconds(3600)), now, 0.0);
    queue.add_after("a", seconds(60), now);
    queue.add_after("a", seconds(7200), now);
    assert_eq!(queue.wake_at(now), Some(now + seconds(60)));
    queue.add("a", now + seconds(1));
    assert_eq!(queue.take(now + seconds(1)).unwrap().attempt, 1);
    queue.add_after("a", seconds(5), now);
    queue.done(&"a", Outcome::Done, now + seconds(1), 0.0);
    assert_eq!(queue.wake_at(now), Some(now + seconds(5)));
}

#[test]
fn what_is_refused_for_good_is_quiet_until_it_changes() {
    let (mut queue, now) = queue();
    queue.add("a", now);
    queue.take(now).unwrap();
    queue.done(&"a", Outcome::Retry(None), now, 0.0);
    queue.add("a", now + seconds(9));
    queue.take(now + seconds(9)).unwrap();
    queue.done(&"a", Outcome::OnChange, now + seconds(9), 0.0);
    assert_eq!(queue.wake_at(now), None);
    queue.add("a", now + seconds(10));
    assert_eq!(queue.take(now + seconds(10)).unwrap().attempt, 1);
    queue.add("a", now + seconds(10));
    queue.done(&"a", Outcome::OnChange, now + seconds(10), 0.0);
    assert_eq!(all(&mut queue, now + seconds(10)), ["a"], "it changed while it was refused");
}

#[test]
fn nothing_is_handed_out_in_a_pause_and_the_untried_come_first_after_it() {
    let (mut queue, now) = queue();
    for key in ["a", "b", "c"] {
        queue.add(key, now);
    }
    assert_eq!(queue.take(now).unwrap().key, "a");
    queue.pause();
    queue.done(&"a", Outcome::Untried, now, 0.0);
    queue.add("d", now);
    assert_eq!((queue.take(now), queue.wake_at(now)), (None, None));
    queue.resume();
    let taken = queue.take(now).unwrap();
    assert_eq!((taken.key, taken.attempt), ("a", 1), "no attempt was burnt");
    assert_eq!(all(&mut queue, now), ["b", "c", "d"]);
}

#[test]
fn a_full_queue_says_so_and_still_takes_back_what_it_handed_out() {
    let mut queue = Queue::new(Limits { most: 2, ..LIMITS });
    let now = Instant::now();
    assert!(queue.add("a", now) && queue.add("b", now));
    assert!(!queue.add("c", now) && !queue.append("c", now));
    assert!(queue.add("a", now), "known already");
    queue.take(now).unwrap();
    assert!(!queue.has_room());
    queue.done(&"a", Outcome::Retry(None), now, 0.0);
    assert!(queue.has_room() && queue.add("c", now));
    assert!(!queue.add("d", now));
    queue.add_after("d", seconds(1), now);
    assert!(queue.add("a", now), "known already");
    assert_eq!(queue.numbers(now), Numbers { due: 2, waiting: 2, failing: 1, ..Numbers::default() });
}

#[test]
fn a_rate_spreads_what_is_handed_out() {
    let mut queue = Queue::new(Limits { rate: Rate::new(2000), ..LIMITS });
    let now = Instant::now();
    for key in ["a", "b", "c", "d"] {
        queue.add(key, now);
    }
    assert_eq!(all(&mut queue, now), ["a", "b"]);
    let next = queue.wake_at(now).unwrap();
    assert_eq!(next, now + Duration::from_millis(500));
    assert_eq!(all(&mut queue, next), ["c"]);
}
