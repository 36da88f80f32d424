//! Followers against a model of one API server: whatever is written, answered, told, listed anew or passed over, a follower's table is in the end
//! what the watch has told, and nothing is told twice.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::cache::tests::{key, state};

const IDS: [&str; 4] = ["a", "b", "c", "d"];

fn delta(change: Change, id: &str, uid: &str, version: u64) -> Delta {
    Delta { change, entity: state(id, uid, version) }
}

fn filled(version: u64, entities: &[(&str, &str, u64)]) -> Followed {
    let mut followed = Followed::default();
    followed.replace(Version(version), entities.iter().map(|(id, uid, version)| state(id, uid, *version)).collect());
    followed
}

/// What an unfiltered follower is told behind a cursor.
fn told(followed: &Followed, cursor: Cursor) -> Vec<(String, Change, String)> {
    let (events, _) = followed.after(cursor, usize::MAX).expect("the history reaches back");
    events
        .iter()
        .filter_map(|event| Some((event.position.to_string(), event.to(|_| true)?, event.entity.key.id.to_string())))
        .collect()
}

fn event(position: &str, change: Change, id: &str) -> (String, Change, String) {
    (position.to_owned(), change, id.to_owned())
}

#[test]
fn an_own_write_is_told_once_when_the_watch_brings_it() {
    let mut followed = filled(10, &[("a", "1", 5)]);
    followed.written(state("a", "1", 12));
    followed.written(state("new", "2", 13));
    let (present, cursor) = followed.follow();
    assert_eq!(present, vec![state("a", "1", 5)], "the watch has told no more");
    followed.observe(&delta(Change::Modified, "a", "1", 11));
    followed.observe(&delta(Change::Modified, "a", "1", 12));
    followed.observe(&delta(Change::Added, "new", "2", 13));
    let expected = [("11", Change::Modified, "a"), ("12", Change::Modified, "a"), ("13", Change::Added, "new")];
    assert_eq!(told(&followed, cursor), expected.map(|(position, change, id)| event(position, change, id)));
    assert!(followed.ahead.is_empty());
}

#[test]
fn an_own_delete_is_told_once_when_the_watch_brings_it() {
    let mut followed = filled(10, &[("a", "1", 5)]);
    followed.deleted(&key("a"), "1", None, Instant::now());
    assert_eq!(followed.cache().len(), 0);
    let (present, cursor) = followed.follow();
    assert_eq!(present, vec![state("a", "1", 5)]);
    followed.observe(&delta(Change::Deleted, "a", "1", 12));
    assert_eq!(told(&followed, cursor), vec![event("12", Change::Deleted, "a")]);
    assert!(followed.ahead.is_empty() && followed.follow().0.is_empty());
}

#[test]
fn a_list_made_anew_is_told_as_what_changed() {
    let mut followed = filled(10, &[("gone", "1", 3), ("again", "2", 4), ("same", "3", 5), ("changed", "4", 6)]);
    let (_, cursor) = followed.follow();
    let list = [("again", "9", 15), ("same", "3", 5), ("changed", "4", 20), ("new", "5", 18)];
    followed.replace(Version(30), list.iter().map(|(id, uid, version)| state(id, uid, *version)).collect());
    let expected = vec![
        event("10.1", Change::Deleted, "again"),
        event("10.2", Change::Deleted, "gone"),
        event("15", Change::Added, "again"),
        event("18", Change::Added, "new"),
        event("20", Change::Modified, "changed"),
    ];
    assert_eq!(told(&followed, cursor), expected);
    for (resumed, missing) in [("10", 5), ("10.1", 4), ("10.2", 3), ("15", 2), ("20", 0), ("30", 0)] {
        let cursor = followed.resume(resumed.parse().unwrap()).unwrap();
        assert_eq!(told(&followed, cursor), expected[5 - missing..], "{resumed}");
    }
    for unknown in ["9", "31"] {
        assert_eq!(followed.resume(unknown.parse().unwrap()), None, "{unknown}");
    }
}

#[test]
fn a_restore_to_the_past_makes_everyone_start_over_and_old_positions_stay_unusable() {
    let mut followed = filled(10, &[("a", "1", 5)]);
    let (_, cursor) = followed.follow();
    followed.observe(&delta(Change::Modified, "a", "1", 20));
    followed.replace(Version(8), vec![state("a", "1", 5)]);
    assert!(followed.after(cursor, 10).is_none());
    followed.observe(&delta(Change::Modified, "a", "1", 15));
    let position = |text: &str| text.parse::<Position>().unwrap();
    assert_eq!(followed.resume(position("15")), None, "it may be the 15 of before");
    followed.observe(&delta(Change::Modified, "a", "1", 21));
    followed.observe(&delta(Change::Modified, "a", "1", 22));
    assert_eq!(followed.resume(position("20")), None);
    assert_eq!(told(&followed, followed.resume(position("21")).unwrap()), vec![event("22", Change::Modified, "a")]);
}

#[test]
fn the_history_is_bounded_by_bytes_and_whom_it_passed_by_starts_over() {
    let one = Event::new(Position::default(), None, state("a", "1", 10), false).footprint();
    let mut history = History::with_limit(Version(10), 3 * one + one / 2);
    let start = history.now();
    for version in 11..=14 {
        history.record(&delta(Change::Added, "a", "1", version), None);
        assert!(history.bytes() <= 3 * one + one / 2);
    }
    assert!(history.after(start, 10).is_none());
    assert_eq!(history.resume("10".parse().unwrap()), None);
    let (events, _) = history.after(history.resume("11".parse().unwrap()).unwrap(), 10).unwrap();
    assert_eq!(events.iter().map(|event| event.position.version.0).collect::<Vec<_>>(), [12, 13, 14]);
    let (some, cursor) = history.after(history.resume("11".parse().unwrap()).unwrap(), 2).unwrap();
    assert_eq!((some.len(), cursor.position.to_string().as_str()), (2, "13"));
    history.bookmark(Version(40));
    assert_eq!(
        history.after(cursor, 10).unwrap().1.position.to_string(),
        "40",
        "a follower comes along with bookmarks"
    );
}

#[test]
fn nothing_is_kept_while_nobody_follows() {
    let mut followed = filled(10, &[]);
    followed.observe(&delta(Change::Added, "a", "1", 11));
    assert_eq!((followed.history_bytes(), followed.resume("10".parse().unwrap())), (0, None));
    followed.follow();
    followed.observe(&delta(Change::Added, "b", "2", 12));
    assert!(followed.history_bytes() > 0);
}

#[derive(Debug, Clone)]
enum Action {
    Write(usize),
    Delete(usize),
    /// Its answer reaches the cache at once, before the watch.
    OwnWrite(usize),
    OwnDelete(usize),
    Watch(usize),
    Relist,
    /// A follower reads so many events, then comes back with its position if so.
    Read(usize, usize, bool),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        3 => (0..4usize).prop_map(Action::Write),
        2 => (0..4usize).prop_map(Action::Delete),
        3 => (0..4usize).prop_map(Action::OwnWrite),
        2 => (0..4usize).prop_map(Action::OwnDelete),
        5 => (1..4usize).prop_map(Action::Watch),
        1 => Just(Action::Relist),
        5 => (0..2usize, 1..4usize, any::<bool>()).prop_map(|(who, most, back)| Action::Read(who, most, back)),
    ]
}

#[derive(Default)]
struct Server {
    version: u64,
    log: Vec<Delta>,
    present: BTreeMap<Key, Arc<Entity>>,
    told: usize,
}

impl Server {
    fn write(&mut self, id: usize) -> Arc<Entity> {
        self.version += 1;
        let before = self.present.get(&key(IDS[id]));
        let uid = before.map_or_else(|| format!("uid-{}", self.version), |before| before.uid.to_string());
        let change = if before.is_some() { Change::Modified } else { Change::Added };
        let entity = state(IDS[id], &uid, self.version);
        self.present.insert(entity.key.clone(), Arc::clone(&entity));
        self.log.push(Delta { change, entity: Arc::clone(&entity) });
        entity
    }

    fn delete(&mut self, id: usize) -> Option<Arc<Entity>> {
        let before = self.present.remove(&key(IDS[id]))?;
        self.version += 1;
        let entity = state(IDS[id], &before.uid, self.version);
        self.log.push(Delta { change: Change::Deleted, entity: Arc::clone(&entity) });
        Some(entity)
    }
}

struct Follower {
    sees: fn(&Entity) -> bool,
    cursor: Cursor,
    table: BTreeMap<Key, u64>,
}

impl Follower {
    fn new(followed: &mut Followed, sees: fn(&Entity) -> bool) -> Self {
        let (present, cursor) = followed.follow();
        let seen = present.iter().filter(|entity| sees(entity));
        let table = seen.map(|entity| (entity.key.clone(), entity.version.0)).collect();
        Self { sees, cursor, table }
    }

    fn read(&mut self, followed: &Followed, most: usize) {
        let (events, cursor) = followed.after(self.cursor, most).expect("the history is long enough");
        for event in events {
            assert!(event.position > self.cursor.position, "nothing is told twice");
            self.cursor.position = event.position;
            let version = event.entity.version.0;
            match event.to(self.sees) {
                Some(Change::Added) => assert_eq!(self.table.insert(event.entity.key.clone(), version), None),
                Some(Change::Modified) => assert!(self.table.insert(event.entity.key.clone(), version).is_some()),
                Some(Change::Deleted) => assert!(self.table.remove(&event.entity.key).is_some()),
                None => {}
            }
        }
        self.cursor = cursor;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_follower_s_table_is_what_the_watch_has_told(actions in proptest::collection::vec(action(), 0..80)) {
        let (mut server, mut followed) = (Server::default(), Followed::default());
        followed.replace(Version(0), Vec::new());
        let mut followers = [Follower::new(&mut followed, |_| true), Follower::new(&mut followed, |entity| entity.version.0 % 3 != 0)];
        for action in actions.into_iter().chain([Action::Watch(usize::MAX), Action::Read(0, 1000, true), Action::Read(1, 1000, true)]) {
            match action {
                Action::Write(id) => drop(server.write(id)),
                Action::Delete(id) => drop(server.delete(id)),
                Action::OwnWrite(id) => followed.written(server.write(id)),
                Action::OwnDelete(id) => {
                    if let Some(entity) = server.delete(id) {
                        followed.deleted(&entity.key, &entity.uid, None, Instant::now());
                    }
                }
                Action::Watch(count) => {
                    for delta in server.log.iter().skip(server.told).take(count) {
                        followed.observe(delta);
                        server.told += 1;
                    }
                }
                Action::Relist => {
                    followed.replace(Version(server.version), server.present.values().cloned().collect());
                    server.told = server.log.len();
                }
                Action::Read(who, most, back) => {
                    followers[who].read(&followed, most);
                    if back {
                        let position = followers[who].cursor.position.to_string().parse().unwrap();
                        followers[who].cursor = followed.resume(position).expect("nothing is lost yet");
                    }
                }
            }
            let mut told = BTreeMap::new();
            for delta in server.log.iter().take(server.told) {
                told.insert(delta.entity.key.clone(), (delta.change != Change::Deleted).then(|| Arc::clone(&delta.entity)));
            }
            let told: Vec<_> = told.into_values().flatten().collect();
            let mut present = followed.follow().0;
            present.sort_by(|left, right| left.key.cmp(&right.key));
            prop_assert_eq!(&present, &told);
        }
        for follower in followers {
            let expected: BTreeMap<_, _> = server.present.values().filter(|entity| (follower.sees)(entity)).map(|entity| (entity.key.clone(), entity.version.0)).collect();
            prop_assert_eq!(follower.table, expected);
        }
    }
}
