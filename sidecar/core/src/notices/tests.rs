//! What is told of a feed, case by case; random histories with crashes are in the model.

use super::*;
use crate::cache::tests::state;

pub(super) fn settings(bytes: usize, attempts: Option<u32>) -> Settings {
    Settings { bytes, attempts }
}

pub(super) fn now() -> Now {
    Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH }
}

pub(super) fn delta(change: Change, id: &str, version: u64) -> Feed {
    Feed::Delta(Delta { change, entity: state(id, &format!("uid-{id}"), version) })
}

fn relisted(version: u64, items: &[(&str, u64)]) -> Feed {
    let entities = items.iter().map(|(id, version)| state(id, &format!("uid-{id}"), *version)).collect();
    Feed::Relisted { version: Version(version), entities }
}

fn entities(items: &[(&str, u64)]) -> Vec<Arc<Entity>> {
    items.iter().map(|(id, version)| state(id, &format!("uid-{id}"), *version)).collect()
}

fn notices(place: Option<&str>, known: Option<(u64, &[(&str, u64)])>) -> Notices {
    let known = known.map(|(version, items)| (Version(version), entities(items)));
    Notices::new(settings(usize::MAX, None), place.map(|place| place.parse().unwrap()), known)
}

fn text(notice: &Notice) -> String {
    let before = notice.before.as_ref().map_or(String::new(), |before| format!(" was {}", before.version));
    let skipped = if notice.skipped == Skipped::Known(0) { "" } else { " ?" };
    format!("{} {} {}{before}{skipped}", notice.event.name(), notice.entity.key.id, notice.version)
}

/// Everything that can be taken, acknowledged at once.
fn told(notices: &mut Notices) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(taken) = notices.take(now().instant) {
        told.push(text(&taken.notice));
        assert!(!notices.done(&taken, Ended::Acknowledged, now().instant, 0.5));
    }
    told
}

fn place(notices: &Notices) -> String {
    notices.place().map_or("nowhere".to_owned(), |place| place.to_string())
}

#[test]
fn a_first_start_tells_everything_that_exists_once() {
    let mut first = notices(None, None);
    assert_eq!((first.from(), place(&first).as_str()), (None, "nowhere"));
    first.fed(relisted(10, &[("a", 3), ("b", 5)]), now());
    assert_eq!(place(&first), "10 but 3 5");
    assert_eq!(told(&mut first), ["snapshot a 3 ?", "snapshot b 5 ?"]);
    assert_eq!((place(&first).as_str(), first.gaps(), first.bytes()), ("10", 0, 0));
    first.fed(delta(Change::Modified, "a", 11), now());
    assert_eq!(told(&mut first), ["updated a 11 was 3"]);
}

#[test]
fn a_restart_goes_on_behind_the_place_and_tells_what_was_not_acknowledged_and_what_followed_it() {
    let mut next = notices(Some("20 but 12 15-18"), None);
    assert_eq!(next.from(), Some(Version(11)));
    for (id, version) in [("a", 12), ("b", 13), ("c", 15), ("d", 16), ("c", 18)] {
        next.fed(delta(Change::Modified, id, version), now());
        assert_eq!(place(&next), "20 but 12 15-18", "not before all of them have a name");
    }
    next.fed(Feed::Bookmark(Version(20)), now());
    assert_eq!(place(&next), "20 but 12 15-18");
    next.fed(delta(Change::Modified, "b", 21), now());
    assert_eq!(place(&next), "21 but 12 15-18 21");
    assert_eq!(told(&mut next), ["updated a 12 ?", "updated c 15 ?", "updated b 21 was 13", "updated c 18 was 15"]);
    assert_eq!(place(&next), "21");
}

#[test]
fn a_restart_without_a_change_tells_nothing() {
    let mut next = notices(Some("20"), Some((20, &[("a", 3)])));
    assert_eq!(next.from(), Some(Version(20)));
    next.fed(Feed::Bookmark(Version(25)), now());
    assert_eq!((told(&mut next), place(&next).as_str()), (vec![], "25"));
}

#[test]
fn lost_history_is_made_good_from_what_was_told_last() {
    let mut this = notices(Some("20"), Some((21, &[("a", 3), ("b", 5), ("c", 21)])));
    this.fed(delta(Change::Added, "c", 21), now());
    assert_eq!(told(&mut this), ["created c 21"]);
    let mut list = entities(&[("a", 3), ("b", 30), ("d", 31)]);
    this.fed(Feed::Relisted { version: Version(35), entities: list.clone() }, now());
    assert_eq!(told(&mut this), ["deleted c 22 ?", "snapshot b 30 was 5 ?", "snapshot d 31 ?"]);
    // The same name again is another life.
    list[0] = state("a", "uid-other", 36);
    this.fed(Feed::Relisted { version: Version(40), entities: list }, now());
    assert_eq!(told(&mut this), ["deleted a 4 ?", "snapshot a 36 ?"]);
    assert_eq!((this.gaps(), place(&this).as_str()), (0, "40"));
}

#[test]
fn lost_history_after_a_restart_leaves_the_states_that_were_not_acknowledged_and_is_counted() {
    for known in [None, Some((34, [("a", 3), ("b", 30)].as_slice()))] {
        let mut next = notices(Some("20 but 4-8 12"), known);
        next.fed(relisted(35, &[("a", 3), ("b", 30), ("c", 8), ("d", 12), ("e", 19)]), now());
        assert_eq!(told(&mut next), ["snapshot b 30 ?", "snapshot c 8 ?", "snapshot d 12 ?"]);
        assert_eq!((next.gaps(), place(&next).as_str()), (1, "35"));
    }
}

#[test]
fn a_store_restored_to_the_past_tells_every_state_again_where_nothing_else_is_known() {
    let mut next = notices(Some("50"), None);
    next.fed(relisted(30, &[("a", 3), ("b", 29)]), now());
    assert_eq!(told(&mut next), ["snapshot a 3 ?", "snapshot b 29 ?"]);
    assert_eq!((next.gaps(), place(&next).as_str()), (1, "30"));
    next.fed(delta(Change::Added, "c", 60), now());
    assert_eq!(place(&next), "60 but 60");
    // Where it is known, only the difference.
    next.fed(relisted(40, &[("a", 3), ("b", 29)]), now());
    assert_eq!(place(&next), "40", "what was undone is not a place to go on from");
    assert_eq!(told(&mut next), ["created c 60", "deleted c 61 ?"]);
}

#[test]
fn one_that_is_refused_holds_up_its_own_entity_only_and_is_given_up_at_a_limit() {
    let mut this = Notices::new(settings(usize::MAX, Some(3)), None, None);
    this.fed(relisted(1, &[]), now());
    for (id, version) in [("a", 2), ("b", 3), ("a", 4), ("b", 5)] {
        this.fed(delta(Change::Added, id, version), now());
    }
    let start = now().instant;
    let first = this.take(start).unwrap();
    assert_eq!((text(&first.notice).as_str(), first.attempt), ("created a 2", 1));
    assert!(!this.done(&first, Ended::Failed(None), start, 1.0));
    assert_eq!(told(&mut this), ["created b 3", "created b 5"]);
    assert_eq!(place(&this), "5 but 2-4");
    // The app was not there: no attempt.
    let second = this.take(start + Duration::from_secs(1)).unwrap();
    assert_eq!(second.attempt, 2);
    assert!(!this.done(&second, Ended::Untried, start, 1.0));
    let second = this.take(start + Duration::from_secs(1)).unwrap();
    assert_eq!(second.attempt, 2);
    assert!(!this.done(&second, Ended::Failed(Some(Duration::from_secs(7))), start, 1.0));
    assert_eq!(this.take(start + Duration::from_secs(6)), None);
    let third = this.take(start + Duration::from_secs(7)).unwrap();
    assert!(this.done(&third, Ended::Failed(None), start, 1.0), "given up");
    assert_eq!(place(&this), "5 but 4");
    let next = this.take(start + Duration::from_secs(7)).unwrap();
    assert_eq!((text(&next.notice).as_str(), next.attempt), ("created a 4", 1));
    assert!(this.done(&next, Ended::Rejected, start, 1.0), "will never be taken");
    assert_eq!((place(&this).as_str(), this.waiting()), ("5", 0));
}

#[test]
fn what_is_too_much_is_not_taken_until_half_of_it_is_gone() {
    let one = {
        let mut this = notices(None, None);
        this.fed(relisted(1, &[("a", 1)]), now());
        this.bytes()
    };
    let mut this = Notices::new(settings(4 * one, None), None, None);
    this.fed(relisted(1, &[]), now());
    for version in 2..6 {
        assert!(this.has_room(true));
        this.fed(delta(Change::Added, &format!("n{version}")[..1], version), now());
    }
    assert!(!this.has_room(true));
    assert_eq!(this.from(), Some(Version(5)), "it goes on there");
    let drained = |this: &mut Notices| {
        let taken = this.take(now().instant).unwrap();
        this.done(&taken, Ended::Acknowledged, now().instant, 0.5);
    };
    drained(&mut this);
    assert!(!this.has_room(false));
    drained(&mut this);
    drained(&mut this);
    assert!(this.has_room(false));
}

#[test]
fn more_than_can_be_named_is_told_again_after_a_restart_rather_than_lost() {
    let mut this = notices(None, None);
    this.fed(relisted(1, &[]), now());
    let most = MOST_EXCEPTIONS as u64;
    for version in 2..most + 12 {
        this.fed(delta(Change::Added, &format!("n{version}"), version), now());
    }
    let place = this.place().unwrap();
    assert_eq!((place.version, place.exceptions.len()), (Version(most + 1), MOST_EXCEPTIONS));
}
