//! Tests of the outbox.

use proptest::prelude::*;
use std::collections::HashMap;

use super::*;
use crate::ledger::testing::entity;

fn change(event: Event, id: &str, uid: &str, version: u64) -> Change {
    let entity = Arc::new(entity(id, uid, version));
    Change { event, entity, skipped: Skipped::Known(0), learned: SystemTime::UNIX_EPOCH }
}

fn fill(limit: usize, changes: &[(Event, &str, u64)]) -> Outbox {
    let mut outbox = Outbox::new(limit);
    for (event, id, version) in changes {
        outbox.push(change(*event, id, "u", *version)).unwrap();
    }
    outbox
}

fn show(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| {
            let skipped = match change.skipped {
                Skipped::Known(0) => String::new(),
                Skipped::Known(count) => format!(" +{count}"),
                Skipped::Unknown => " +?".to_owned(),
            };
            format!("{} {}@{}{skipped}", change.event.name(), change.entity.key.id, change.entity.version)
        })
        .collect()
}

fn relist(version: u64) -> Relist {
    Relist { version: Version(version), entities: Vec::new(), learned: SystemTime::UNIX_EPOCH }
}

use Event::{Created, Deleted, Updated};

#[test]
fn within_the_bound_everything_leaves_as_it_came() {
    let mut outbox = fill(1 << 20, &[(Created, "a", 1), (Updated, "a", 2), (Created, "b", 3), (Deleted, "a", 4)]);
    assert_eq!(show(&outbox.take(usize::MAX)), ["created a@1", "updated a@2", "created b@3", "deleted a@4"]);
    assert!(outbox.is_empty());
    assert_eq!((outbox.bytes(), outbox.collapsed()), (0, 0));
}

#[test]
fn a_batch_ends_when_it_is_heavy_enough() {
    let mut outbox = fill(1 << 20, &[(Created, "a", 1), (Created, "b", 2), (Created, "c", 3)]);
    assert_eq!(show(&outbox.take(1)), ["created a@1"]);
    assert_eq!(outbox.len(), 2);
}

#[test]
fn collapsed_changes_keep_the_newest_and_the_count_and_what_was_never_told_stays_created() {
    let mut outbox = fill(1 << 20, &[(Created, "a", 1), (Updated, "b", 2), (Updated, "a", 3), (Updated, "a", 4)]);
    outbox.collapse();
    outbox.push(change(Updated, "b", "u", 5)).unwrap();
    assert_eq!(show(&outbox.take(usize::MAX)), ["created a@4 +2", "updated b@5 +1"]);
    assert_eq!(outbox.collapsed(), 3);
}

#[test]
fn a_deletion_stays_when_its_name_lives_again() {
    let mut outbox = fill(1 << 20, &[(Updated, "a", 1), (Deleted, "a", 2)]);
    outbox.collapse();
    outbox.push(change(Created, "a", "w", 3)).unwrap();
    outbox.push(change(Updated, "a", "w", 4)).unwrap();
    assert_eq!(show(&outbox.take(usize::MAX)), ["deleted a@2 +1", "created a@4 +1"]);
}

#[test]
fn a_batch_never_ends_where_a_superseded_change_still_waits_in_a_later_one() {
    let mut outbox = fill(1 << 20, &[(Updated, "a", 1), (Updated, "b", 2), (Updated, "a", 3), (Updated, "c", 4)]);
    outbox.collapse();
    assert_eq!(show(&outbox.take(1)), ["updated b@2", "updated a@3 +1"]);
    assert_eq!(show(&outbox.take(1)), ["updated c@4"]);
}

#[test]
fn over_the_bound_the_newest_stay_and_too_many_entities_are_an_overflow() {
    let mut outbox = Outbox::new(5_000);
    for version in 1..=500 {
        outbox.push(change(Updated, "hot", "u", version)).unwrap();
    }
    assert!(outbox.bytes() <= 5_000);
    let changes = outbox.take(usize::MAX);
    let told: u64 =
        changes.iter().map(|change| if let Skipped::Known(count) = change.skipped { count + 1 } else { 0 }).sum();
    assert_eq!(told, 500);
    let mut outbox = Outbox::new(5_000);
    let pushed: Vec<_> =
        (1..100).map(|number| outbox.push(change(Created, &number.to_string(), "u", number))).collect();
    assert!(pushed.contains(&Err(Overflow)));
}

#[test]
fn a_single_change_larger_than_the_bound_still_fits() {
    let mut outbox = Outbox::new(1);
    assert_eq!(outbox.push(change(Created, "a", "u", 1)), Ok(()));
}

#[test]
fn what_is_put_back_leaves_first_and_together_when_it_was_collapsed() {
    let mut outbox = fill(1 << 20, &[(Updated, "a", 1), (Updated, "b", 2), (Updated, "a", 3)]);
    outbox.collapse();
    let taken = outbox.take(1);
    outbox.push(change(Updated, "c", "u", 4)).unwrap();
    outbox.put_back(taken);
    assert_eq!(show(&outbox.take(1)), ["updated b@2", "updated a@3 +1"]);
    assert_eq!(show(&outbox.take(1)), ["updated c@4"]);
    assert_eq!(outbox.bytes(), 0);
}

#[test]
fn a_relist_stands_between_what_came_before_and_after() {
    let mut outbox = fill(1 << 20, &[(Updated, "a", 1)]);
    outbox.relist(relist(5));
    outbox.push(change(Updated, "a", "u", 6)).unwrap();
    outbox.collapse();
    assert!(!outbox.relist_is_next());
    assert_eq!(show(&outbox.take(usize::MAX)), ["updated a@1"]);
    assert!(outbox.take(usize::MAX).is_empty());
    assert_eq!(outbox.take_relist(), Some(relist(5)));
    assert_eq!(show(&outbox.take(usize::MAX)), ["updated a@6"]);
}

#[test]
fn a_second_relist_supersedes_the_first_and_what_came_between() {
    let mut outbox = fill(1 << 20, &[(Updated, "a", 1)]);
    outbox.relist(relist(5));
    outbox.push(change(Updated, "a", "u", 6)).unwrap();
    outbox.relist(relist(7));
    assert_eq!(show(&outbox.take(usize::MAX)), ["updated a@1"]);
    assert_eq!(outbox.take_relist(), Some(relist(7)));
    assert!(outbox.is_empty());
    assert_eq!(outbox.bytes(), 0);
}

#[test]
fn a_put_back_keeps_the_place_of_a_relist() {
    let mut outbox = fill(1 << 20, &[(Updated, "a", 1), (Updated, "b", 2)]);
    let taken = outbox.take(1);
    outbox.relist(relist(5));
    outbox.push(change(Updated, "c", "u", 6)).unwrap();
    outbox.put_back(taken);
    assert_eq!(show(&outbox.take(usize::MAX)), ["updated a@1", "updated b@2"]);
    assert!(outbox.relist_is_next());
}

proptest! {
    #[test]
    fn whatever_is_pushed_leaves_in_order_with_every_version_told_or_counted(
        steps in prop::collection::vec((0..4usize, 0..8u8, prop::bool::weighted(0.2)), 1..120),
        limit in 1_000..6_000usize,
    ) {
        let mut outbox = Outbox::new(limit);
        let mut uids: HashMap<usize, u64> = HashMap::new();
        let (mut pushed, mut told, mut last_of) = (0u64, 0u64, HashMap::<Key, Version>::new());
        let mut version = 0;
        for (id, kind, take) in steps {
            version += 1;
            let lives = uids.contains_key(&id);
            let uid = *uids.entry(id).or_insert(version);
            let event = if !lives { Created } else if kind == 0 { uids.remove(&id); Deleted } else { Updated };
            pushed += 1;
            if outbox.push(change(event, &format!("e{id}"), &format!("u{uid}"), version)).is_err() {
                outbox.clear();
                told = pushed;
                last_of.clear();
                continue;
            }
            let changes = if take { outbox.take(700) } else { Vec::new() };
            let (taken, waiting) = (changes.len(), outbox.len());
            if kind == 7 && taken > 0 {
                outbox.put_back(changes);
                prop_assert_eq!(outbox.len(), taken + waiting);
                continue;
            }
            for change in &changes {
                let Skipped::Known(skipped) = change.skipped else { panic!("known") };
                told += skipped + 1;
                let before = last_of.insert(change.entity.key.clone(), change.entity.version);
                prop_assert!(before.is_none_or(|before| before < change.entity.version));
            }
            // What has left is a whole prefix of the history: a position there is true.
            if let Some(last) = changes.last() {
                prop_assert_eq!(told, pushed - (version - last.entity.version.0));
            }
        }
        for change in outbox.take(usize::MAX) {
            let Skipped::Known(skipped) = change.skipped else { panic!("known") };
            told += skipped + 1;
        }
        prop_assert_eq!(told, pushed);
        prop_assert_eq!(outbox.bytes(), 0);
    }
}
