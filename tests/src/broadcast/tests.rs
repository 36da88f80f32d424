//! Histories that are right, and for each kind of fault some that are wrong by it.

use super::*;

/// A history in the making: each write and each record comes later than the one before.
#[derive(Default, Clone)]
struct Making {
    now: Moment,
    history: History,
}

fn state(version: u64, generation: u64) -> State {
    State { version, generation, message: format!("m{version}") }
}

impl Making {
    fn later(&mut self) -> Moment {
        self.now += 10;
        self.now
    }

    fn write(mut self, key: Option<&str>, came: Came) -> Self {
        let received = self.later();
        self.history.writes.push(Write { key: key.map(str::to_owned), received, came });
        self
    }

    fn stored(self, key: &str, uid: &str, version: u64, generation: u64) -> Self {
        self.write(Some(key), Came::Stored(uid.to_owned(), state(version, generation)))
    }

    fn deleted(self, key: &str, uid: &str) -> Self {
        self.write(Some(key), Came::Deleted(uid.to_owned()))
    }

    fn maybe(self, key: &str) -> Self {
        self.write(Some(key), Came::Maybe)
    }

    fn record(mut self, key: &str, what: impl FnOnce(Moment) -> What) -> Self {
        let now = self.later();
        let place = (0, i64::try_from(self.history.told.len()).unwrap());
        self.history.told.push(Told { key: key.to_owned(), place, produced: now, what: what(now) });
        self
    }

    fn event(self, key: &str, event: Event, (uid, version): (&str, u64), state: State, skipped: Skipped) -> Self {
        self.record(key, |learned| What::Event { event, id: (uid.to_owned(), version), state, skipped, learned })
    }

    /// A state, with how many versions were passed over.
    fn tells(self, key: &str, event: Event, uid: &str, version: u64, generation: u64, skipped: u64) -> Self {
        self.event(key, event, (uid, version), state(version, generation), Skipped::Known(skipped))
    }

    /// A state that was met and followed others.
    fn meets(self, key: &str, uid: &str, version: u64, generation: u64) -> Self {
        self.event(key, Event::Snapshot, (uid, version), state(version, generation), Skipped::Unknown)
    }

    /// A deletion in this version, which shows that state, and its tombstone.
    fn ends(self, key: &str, uid: &str, version: u64, (last, generation): (u64, u64), skipped: u64) -> Self {
        self.event(key, Event::Deleted, (uid, version), state(last, generation), Skipped::Known(skipped)).tombstone(key)
    }

    /// A deletion that was found.
    fn misses(self, key: &str, uid: &str, (last, generation): (u64, u64)) -> Self {
        self.event(key, Event::Deleted, (uid, last + 1), state(last, generation), Skipped::Unknown).tombstone(key)
    }

    fn tombstone(self, key: &str) -> Self {
        self.record(key, |_| What::Tombstone)
    }

    /// A whole state is compared while this happens.
    fn compares(mut self, meanwhile: impl FnOnce(Self) -> Self) -> Self {
        let begin = self.later();
        let mut then = meanwhile(self);
        let end = then.later();
        then.history.gaps.push((begin, end));
        then
    }

    /// This is done and then undone.
    fn undoes(mut self, meanwhile: impl FnOnce(Self) -> Self) -> Self {
        let taken = self.later();
        let mut then = meanwhile(self);
        let at = then.later();
        then.history.restores.push(Restore { taken, at });
        then
    }

    fn check(&self, expected: &[Fault]) {
        let findings = judge(&self.history);
        let found: BTreeSet<Fault> = findings.wrong.iter().map(|(fault, _)| *fault).collect();
        let expected: BTreeSet<Fault> = expected.iter().copied().collect();
        assert_eq!(found, expected, "{:#?}\n{:#?}", findings.wrong, self.history);
    }
}

fn begun() -> Making {
    Making::default()
}

use Event::{Created, Deleted, Snapshot, Updated};
use Fault::{LostDeletion, LostState, Order, Repeated, Unaccounted, Untrue};

/// Two lives of one entity and the beginning of another, all told.
fn written() -> Making {
    begun()
        .stored("milk", "u", 1, 1)
        .stored("milk", "u", 2, 2)
        .stored("bread", "w", 3, 1)
        .stored("milk", "u", 4, 3)
        .deleted("milk", "u")
        .stored("milk", "v", 6, 1)
}

fn whole() -> Making {
    written()
        .tells("milk", Created, "u", 1, 1, 0)
        .tells("milk", Updated, "u", 2, 2, 0)
        .tells("bread", Created, "w", 3, 1, 0)
        .tells("milk", Updated, "u", 4, 3, 0)
        .ends("milk", "u", 5, (4, 3), 0)
        .tells("milk", Created, "v", 6, 1, 0)
}

#[test]
fn what_tells_everything_is_right() {
    whole().check(&[]);
    let findings = judge(&whole().history);
    assert_eq!((findings.acknowledged, findings.events, findings.deletions), (6, 6, 1));
    begun().check(&[]);
}

#[test]
fn any_record_that_is_missing_is_found() {
    for missing in 0..whole().history.told.len() {
        let mut making = whole();
        making.history.told.remove(missing);
        let findings = judge(&making.history);
        assert!(!findings.wrong.is_empty(), "without record {missing}");
    }
}

#[test]
fn any_record_that_is_told_twice_is_found() {
    for repeated in 0..whole().history.told.len() {
        for place in repeated + 1..=whole().history.told.len() {
            let mut making = whole();
            let again = making.history.told[repeated].clone();
            let event = matches!(again.what, What::Event { .. });
            making.history.told.insert(place, again);
            let findings = judge(&making.history);
            assert!(!findings.wrong.is_empty(), "record {repeated} again at {place}");
            assert_eq!(findings.count(Repeated), usize::from(event), "record {repeated} again at {place}");
        }
    }
}

#[test]
fn any_two_records_of_a_key_that_are_told_the_wrong_way_round_are_found() {
    let records = whole().history.told;
    for first in 0..records.len() {
        for second in first + 1..records.len() {
            if records[first].key != records[second].key {
                continue;
            }
            let mut making = whole();
            making.history.told.swap(first, second);
            assert!(!judge(&making.history).wrong.is_empty(), "records {first} and {second}");
        }
    }
}

#[test]
fn a_last_state_that_is_not_told_is_lost() {
    begun().stored("milk", "u", 1, 1).check(&[LostState]);
    let both = || begun().stored("milk", "u", 1, 1).stored("milk", "u", 2, 2).tells("milk", Created, "u", 1, 1, 0);
    both().check(&[LostState]);
    both().tells("milk", Updated, "u", 2, 2, 0).check(&[]);
    // A later life of which nothing is told.
    let later = || both().deleted("milk", "u").stored("milk", "v", 4, 1);
    later().tells("milk", Updated, "u", 2, 2, 0).ends("milk", "u", 3, (2, 2), 0).check(&[LostState]);
}

#[test]
fn a_deletion_that_is_not_told_is_lost() {
    let gone = || begun().stored("milk", "u", 1, 1).tells("milk", Created, "u", 1, 1, 0).deleted("milk", "u");
    gone().check(&[LostDeletion]);
    gone().ends("milk", "u", 2, (1, 1), 0).check(&[]);
    // Its tombstone is part of it.
    let open = || gone().event("milk", Deleted, ("u", 2), state(1, 1), Skipped::Known(0));
    open().check(&[LostDeletion]);
    open().stored("milk", "v", 3, 1).tells("milk", Created, "v", 3, 1, 0).check(&[LostDeletion]);
    // Another life does not make up for it.
    gone().stored("milk", "v", 3, 1).tells("milk", Created, "v", 3, 1, 0).check(&[LostDeletion]);
}

#[test]
fn a_life_of_which_nothing_is_told_is_lost_unless_it_lies_in_a_gap() {
    let unseen = |making: Making| making.stored("milk", "u", 1, 1).deleted("milk", "u");
    let next = |making: Making| making.stored("bread", "w", 3, 1).tells("bread", Created, "w", 3, 1, 0);
    next(unseen(begun())).check(&[LostDeletion]);
    next(unseen(begun()).compares(|making| making)).check(&[]);
    // Whoever told of what came later had seen it.
    next(unseen(begun())).compares(|making| making).check(&[LostDeletion]);
    // What began after the comparison is not in it.
    next(unseen(begun().compares(|making| making))).check(&[LostDeletion]);
    let findings = judge(&next(unseen(begun()).compares(|making| making)).history);
    assert_eq!(findings.unseen, 1);
}

#[test]
fn what_goes_back_or_goes_on_after_its_end_is_out_of_order() {
    let both = || begun().stored("milk", "u", 1, 1).stored("milk", "u", 2, 2).tells("milk", Created, "u", 1, 1, 0);
    both()
        .tells("milk", Updated, "u", 2, 2, 0)
        .tells("milk", Updated, "u", 1, 1, 0)
        .check(&[LostState, Order, Repeated]);
    both().tells("milk", Created, "u", 2, 2, 0).check(&[Order]);
    both().tells("milk", Updated, "u", 2, 2, 0).tombstone("milk").check(&[Order]);
    let ended = both().tells("milk", Updated, "u", 2, 2, 0).deleted("milk", "u").ends("milk", "u", 3, (2, 2), 0);
    ended.stored("milk", "u", 4, 3).tells("milk", Updated, "u", 4, 3, 0).check(&[Order, LostDeletion]);
}

#[test]
fn what_was_passed_over_has_to_be_counted() {
    let three = || begun().stored("milk", "u", 1, 1).stored("milk", "u", 2, 2).stored("milk", "u", 3, 3);
    three().tells("milk", Created, "u", 3, 3, 2).check(&[]);
    three().tells("milk", Created, "u", 3, 3, 1).check(&[Unaccounted]);
    let first = || three().tells("milk", Created, "u", 1, 1, 0);
    first().tells("milk", Updated, "u", 3, 3, 1).check(&[]);
    first().tells("milk", Updated, "u", 3, 3, 0).check(&[Unaccounted]);
    first().tells("milk", Updated, "u", 3, 3, 2).check(&[Unaccounted]);
    first().event("milk", Updated, ("u", 3), state(3, 3), Skipped::Unknown).check(&[Unaccounted]);
    three().tells("milk", Updated, "u", 3, 3, 2).check(&[Unaccounted]);
    // A deletion shows the last state: that one is not passed over.
    let gone = || first().deleted("milk", "u");
    gone().ends("milk", "u", 4, (3, 3), 2).check(&[]);
    gone().ends("milk", "u", 4, (3, 3), 1).check(&[Unaccounted]);
    three().deleted("milk", "u").ends("milk", "u", 4, (3, 3), 3).check(&[]);
    assert_eq!(judge(&first().tells("milk", Updated, "u", 3, 3, 1).history).counted, 1);
}

#[test]
fn in_a_gap_nobody_counts_and_outside_of_one_everybody_does() {
    let three = || begun().stored("milk", "u", 1, 1).stored("milk", "u", 2, 2).stored("milk", "u", 3, 3);
    let first = || three().tells("milk", Created, "u", 1, 1, 0);
    first().compares(|making| making.meets("milk", "u", 3, 3)).check(&[]);
    first().meets("milk", "u", 3, 3).check(&[Unaccounted]);
    first().compares(|making| making.tells("milk", Snapshot, "u", 3, 3, 1)).check(&[Unaccounted]);
    three().compares(|making| making.tells("milk", Snapshot, "u", 3, 3, 0)).check(&[]);
    three().compares(|making| making.tells("milk", Snapshot, "u", 3, 3, 2)).check(&[Unaccounted]);
    let missed = || first().deleted("milk", "u");
    missed().compares(|making| making.misses("milk", "u", (1, 1))).check(&[]);
    missed().misses("milk", "u", (1, 1)).check(&[Unaccounted]);
    let findings = judge(&first().compares(|making| making.meets("milk", "u", 3, 3)).history);
    assert_eq!((findings.unknown, findings.counted), (1, 0));
}

#[test]
fn what_nobody_wrote_is_untrue() {
    begun().tells("milk", Created, "u", 1, 1, 0).check(&[Untrue]);
    let one = || begun().stored("milk", "u", 1, 1);
    one()
        .event("milk", Created, ("u", 1), State { message: "other".to_owned(), ..state(1, 1) }, Skipped::Known(0))
        .check(&[LostState, Untrue]);
    one().event("milk", Created, ("u", 2), state(1, 1), Skipped::Known(0)).check(&[Untrue]);
    let told = || one().tells("milk", Created, "u", 1, 1, 0);
    told().tells("milk", Updated, "u", 2, 2, 0).check(&[Untrue]);
    // Nobody deleted it.
    told().ends("milk", "u", 2, (1, 1), 0).check(&[Untrue]);
    // Nor had anybody when that was sent.
    told().ends("milk", "u", 2, (1, 1), 0).deleted("milk", "u").check(&[Untrue]);
    begun().tells("milk", Created, "u", 1, 1, 0).stored("milk", "u", 1, 1).check(&[Untrue]);
}

#[test]
fn a_write_without_an_answer_may_be_told_once_and_need_not_be() {
    let one = || begun().stored("milk", "u", 1, 1).maybe("milk").tells("milk", Created, "u", 1, 1, 0);
    one().check(&[]);
    one().tells("milk", Updated, "u", 2, 2, 0).check(&[]);
    one().ends("milk", "u", 2, (1, 1), 0).check(&[]);
    one().tells("milk", Updated, "u", 2, 2, 0).tells("milk", Updated, "u", 3, 3, 0).check(&[Untrue]);
    begun().maybe("milk").tells("milk", Created, "u", 1, 1, 0).check(&[]);
    begun().write(None, Came::Maybe).tells("milk", Created, "u", 1, 1, 0).check(&[]);
    begun().maybe("bread").tells("milk", Created, "u", 1, 1, 0).check(&[Untrue]);
    assert_eq!(judge(&one().tells("milk", Updated, "u", 2, 2, 0).history).shown, 1);
    // What was acknowledged after it shows whether it had its effect.
    let then = || one().stored("milk", "u", 3, 3);
    then().tells("milk", Updated, "u", 3, 3, 0).check(&[Unaccounted]);
    then().tells("milk", Updated, "u", 2, 2, 0).tells("milk", Updated, "u", 3, 3, 0).check(&[]);
    then().check(&[LostState]);
    // Another life shows that it was a deletion.
    let again = || one().stored("milk", "v", 5, 1);
    again().ends("milk", "u", 4, (1, 1), 0).tells("milk", Created, "v", 5, 1, 0).check(&[]);
    again().tells("milk", Created, "v", 5, 1, 0).check(&[LostDeletion]);
}

/// A store that goes back from version 3 and 4 to version 2, and on from there.
fn restored() -> Making {
    begun()
        .stored("milk", "u", 1, 1)
        .stored("eggs", "e", 2, 1)
        .tells("milk", Created, "u", 1, 1, 0)
        .tells("eggs", Created, "e", 2, 1, 0)
        .undoes(|making| {
            let written = making.stored("milk", "u", 3, 2).stored("bread", "w", 4, 1).deleted("eggs", "e");
            let told = written.tells("milk", Updated, "u", 3, 2, 0).tells("bread", Created, "w", 4, 1, 0);
            told.ends("eggs", "e", 5, (2, 1), 0)
        })
}

#[test]
fn after_a_restore_the_topic_has_to_end_with_what_was_restored() {
    restored().check(&[LostState, LostDeletion]);
    let right = || {
        restored().compares(|making| {
            let found = making.misses("bread", "w", (4, 1)).meets("milk", "u", 1, 1);
            found.tells("eggs", Snapshot, "e", 2, 1, 0)
        })
    };
    right().check(&[]);
    for missing in right().history.told.len() - 4..right().history.told.len() {
        let mut making = right();
        making.history.told.remove(missing);
        assert!(!judge(&making.history).wrong.is_empty(), "without record {missing}");
    }
    // What was gone in both may begin again in any version.
    let gone = || {
        let before = begun().stored("milk", "u", 1, 1).tells("milk", Created, "u", 1, 1, 0).deleted("milk", "u");
        let undone = before.ends("milk", "u", 2, (1, 1), 0).undoes(|making| {
            let lived = making.stored("milk", "v", 3, 1).tells("milk", Created, "v", 3, 1, 0).deleted("milk", "v");
            lived.ends("milk", "v", 5, (3, 1), 0)
        });
        undone.compares(|making| making).stored("milk", "w", 4, 1)
    };
    gone().tells("milk", Created, "w", 4, 1, 0).check(&[]);
    gone().tells("milk", Updated, "w", 4, 1, 0).check(&[Unaccounted]);
    // Where another life was undone, its end is found and the earlier one is met.
    let another = || {
        let before = begun().stored("milk", "u", 1, 1).tells("milk", Created, "u", 1, 1, 0);
        let undone = before.undoes(|making| {
            let ended = making.deleted("milk", "u").ends("milk", "u", 2, (1, 1), 0);
            ended.stored("milk", "v", 3, 1).tells("milk", Created, "v", 3, 1, 0)
        });
        undone.compares(|making| making.misses("milk", "v", (3, 1)).tells("milk", Snapshot, "u", 1, 1, 0))
    };
    another().check(&[]);
    let twice = another().compares(|making| making.tells("milk", Snapshot, "u", 1, 1, 0));
    twice.check(&[Repeated, Order]);
    // From there on the order holds again.
    let on = || right().stored("milk", "u", 3, 2);
    on().check(&[LostState]);
    on().tells("milk", Updated, "u", 3, 2, 0).check(&[]);
    on().tells("milk", Updated, "u", 3, 2, 0).tells("milk", Updated, "u", 3, 2, 0).check(&[Repeated, Order]);
    on().tells("milk", Updated, "u", 3, 2, 0)
        .compares(|making| making.meets("milk", "u", 1, 1))
        .check(&[Repeated, Order, LostState]);
}
