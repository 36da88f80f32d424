//! What a budget lets through: tables, and against a count of tokens that are poured in one by one.

use proptest::prelude::*;

use super::*;
use crate::kind::tests::todo;

fn budget(objects: Option<u64>, bytes: Option<u64>, thousandths: Option<u64>) -> Budget {
    Budget::new(Limits { objects, bytes, writes_per_second: thousandths.and_then(Rate::new) })
}

fn usage(objects: u64, bytes: u64) -> Usage {
    Usage { objects, bytes }
}

#[test]
fn objects_and_bytes_are_counted_with_what_is_under_way() {
    let now = Instant::now();
    let mut budget = budget(Some(10), Some(1000), None);
    assert_eq!(budget.admit(usage(8, 500), usage(1, 100), now), Ok(()));
    assert_eq!(budget.admit(usage(8, 500), usage(1, 100), now), Ok(()));
    let full = Refusal::Full { bound: Bound::Objects, limit: 10, used: 10, more: 1 };
    assert_eq!(budget.admit(usage(8, 500), usage(1, 100), now), Err(full));
    let full = Refusal::Full { bound: Bound::Bytes, limit: 1000, used: 700, more: 301 };
    assert_eq!(budget.admit(usage(8, 500), usage(0, 301), now), Err(full));
    assert_eq!(budget.admit(usage(8, 500), usage(0, 300), now), Ok(()), "up to the bound");
    budget.settle(usage(1, 100));
    assert_eq!(budget.admit(usage(8, 500), usage(1, 0), now), Ok(()), "what was refused or failed is given back");
}

#[test]
fn what_adds_nothing_passes_however_much_there_is() {
    let now = Instant::now();
    let mut budget = budget(Some(1), Some(1), None);
    assert_eq!(budget.admit(usage(5, 500), usage(0, 0), now), Ok(()));
    assert_eq!(budget.admit(usage(5, 500), usage(0, 1), now).map_err(|refusal| refusal.bound()), Err(Bound::Bytes));
}

#[test]
fn a_seconds_writes_may_come_at_once_and_then_they_come_evenly() {
    let start = Instant::now();
    let mut budget = budget(None, None, Some(2000));
    let at = |millis| start + Duration::from_millis(millis);
    let mut ask = |millis| budget.admit(Usage::default(), usage(1, 1), at(millis)).is_ok();
    assert_eq!([ask(0), ask(0), ask(0), ask(499)], [true, true, false, false]);
    assert_eq!([ask(500), ask(999), ask(1000), ask(1000)], [true, false, true, false]);
    assert_eq!(
        [ask(60_000), ask(60_000), ask(60_000)],
        [true, true, false],
        "no more than a second's worth is saved up"
    );
}

#[test]
fn a_refusal_for_size_costs_no_write_and_too_many_say_when_to_come_back() {
    let now = Instant::now();
    let mut budget = budget(Some(1), None, Some(400));
    assert!(budget.admit(usage(1, 0), usage(1, 0), now).is_err());
    assert_eq!(budget.used(Some(usage(1, 0)), now), [(Bound::Objects, 1.0, 1.0), (Bound::Writes, 0.0, 1.0)]);
    assert_eq!(budget.admit(usage(0, 0), usage(1, 0), now), Ok(()));
    budget.settle(usage(1, 0));
    let refusal = budget.admit(usage(0, 0), usage(1, 0), now).unwrap_err();
    let (problem, retry_after) = refusal.told(&todo());
    assert_eq!((problem.status, retry_after), (429, Some(3)), "2.5 s, rounded up");
    assert!(problem.detail.contains("0.4 times a second") && problem.detail.contains("3 s"), "{}", problem.detail);
    assert_eq!(budget.used(None, now), [(Bound::Writes, 1.0, 1.0)]);
    assert_eq!(budget.used(None, now + Duration::from_secs(3)), [(Bound::Writes, 0.0, 1.0)]);
}

#[test]
fn what_is_over_says_the_bound_the_use_and_the_remedy() {
    let told = |refusal: Refusal| refusal.told(&todo());
    let (problem, retry_after) = told(Refusal::Full { bound: Bound::Objects, limit: 10, used: 10, more: 1 });
    assert_eq!((problem.status, retry_after), (507, None));
    assert_eq!(
        problem.detail,
        "there are 10 todos and the budget is 10 (budget.objects): delete some, or ask whoever configures this sidecar for more"
    );
    let (problem, _) = told(Refusal::Full { bound: Bound::Bytes, limit: 1000, used: 900, more: 200 });
    assert!(problem.detail.contains("900 bytes, this would add about 200, and the budget is 1000"), "{problem:?}");
}

proptest! {
    /// In any window of time no more go through than the burst and what the window pours in; and whoever comes back when told to gets through.
    #[test]
    fn no_window_has_more_than_its_share(thousandths in 1_u64..50_000, steps in prop::collection::vec(0_u64..3_000, 1..80)) {
        let rate = Rate::new(thousandths).unwrap();
        let mut bucket = Bucket::new(rate);
        let start = Instant::now();
        let (mut millis, mut taken) = (0, Vec::new());
        for step in steps {
            millis += step;
            let now = start + Duration::from_millis(millis);
            match bucket.take(now) {
                Ok(()) => taken.push(millis),
                Err(wait) => {
                    prop_assert_eq!(bucket.clone().take(now + wait), Ok(()));
                    prop_assert!(bucket.clone().take(now + wait - Duration::from_nanos(1)).is_err());
                }
            }
        }
        for (first, from) in taken.iter().enumerate() {
            for (last, to) in taken.iter().enumerate().skip(first) {
                let poured = (to - from) as f64 * thousandths as f64 / 1e6;
                prop_assert!((last - first + 1) as f64 <= f64::from(rate.burst()) + poured + 1e-6);
            }
        }
    }
}
