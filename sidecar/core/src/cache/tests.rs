//! The cache as tables: each interleaving of watch, list and own writes by itself.

use bytes::Bytes;

use super::*;

pub(crate) fn key(id: &str) -> Key {
    let (namespace, id) = id.split_once('/').unwrap_or(("shop", id));
    Key { namespace: Some(namespace.into()), id: id.into() }
}

pub(crate) fn state(id: &str, uid: &str, version: u64) -> Arc<Entity> {
    let key = key(id);
    let json = format!(r#"{{"id":"{}","meta":{{"uid":"{uid}","version":"{version}"}}}}"#, key.id);
    Arc::new(Entity {
        key,
        version: Version(version),
        uid: uid.into(),
        labels: Box::new([("app".into(), "x".into())]),
        deleting: false,
        annotated: false,
        marks: Default::default(),
        json: Bytes::from(json),
    })
}

fn delta(change: Change, id: &str, uid: &str, version: u64) -> Delta {
    Delta { change, entity: state(id, uid, version) }
}

pub(crate) fn filled(version: u64, entities: &[(&str, &str, u64)]) -> Cache {
    let mut cache = Cache::default();
    cache.replace(Version(version), entities.iter().map(|(id, uid, version)| state(id, uid, *version)).collect());
    cache
}

fn shows(cache: &Cache, id: &str) -> Option<u64> {
    let bytes: usize = cache.range(None).map(|entity| entity.footprint()).sum();
    assert_eq!(cache.bytes, bytes, "the bytes are counted exactly");
    cache.find(&key(id)).map(|entity| entity.version.0)
}

#[test]
fn the_watch_s_changes_are_shown_in_turn() {
    let mut cache = filled(10, &[("a", "1", 5)]);
    assert_eq!(shows(&cache, "a"), Some(5));
    cache.observe(&delta(Change::Modified, "a", "1", 11));
    assert_eq!(shows(&cache, "a"), Some(11));
    cache.observe(&delta(Change::Deleted, "a", "1", 12));
    assert_eq!((shows(&cache, "a"), cache.version(), cache.len()), (None, Version(12), 0));
}

#[test]
fn a_replay_for_the_bridge_changes_nothing() {
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.observe(&delta(Change::Modified, "a", "1", 4));
    cache.observe(&delta(Change::Deleted, "a", "1", 10));
    assert_eq!((shows(&cache, "a"), cache.version()), (Some(5), Version(10)));
}

#[test]
fn an_own_write_is_shown_at_once_and_the_watch_does_not_take_it_back() {
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.written(state("a", "1", 14));
    assert_eq!(shows(&cache, "a"), Some(14));
    cache.observe(&delta(Change::Modified, "a", "1", 12));
    assert_eq!((shows(&cache, "a"), cache.version()), (Some(14), Version(12)));
    cache.observe(&delta(Change::Modified, "a", "1", 14));
    cache.observe(&delta(Change::Modified, "a", "1", 15));
    assert_eq!(shows(&cache, "a"), Some(15));
}

#[test]
fn an_answer_that_the_watch_overtook_is_not_shown() {
    let mut cache = filled(10, &[]);
    cache.observe(&delta(Change::Added, "a", "1", 11));
    cache.observe(&delta(Change::Deleted, "a", "1", 12));
    cache.written(state("a", "1", 11));
    assert_eq!(shows(&cache, "a"), None);
}

#[test]
fn answers_in_the_wrong_order_show_the_newer_one() {
    let mut cache = filled(10, &[]);
    cache.written(state("a", "1", 12));
    cache.written(state("a", "1", 11));
    assert_eq!(shows(&cache, "a"), Some(12));
}

#[test]
fn a_write_answered_while_a_list_was_on_its_way_stays() {
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.written(state("a", "1", 21));
    cache.written(state("b", "2", 22));
    cache.replace(Version(20), vec![state("a", "1", 19)]);
    assert_eq!((shows(&cache, "a"), shows(&cache, "b")), (Some(21), Some(22)));
}

#[test]
fn a_write_that_the_list_no_longer_knows_is_gone() {
    let mut cache = filled(10, &[]);
    cache.written(state("a", "1", 15));
    cache.replace(Version(20), vec![]);
    assert_eq!(shows(&cache, "a"), None);
}

#[test]
fn an_own_delete_is_not_undone_by_what_the_watch_or_a_list_tells_late() {
    let now = Instant::now();
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.deleted(&key("a"), "1", None, now);
    assert_eq!(shows(&cache, "a"), None);
    cache.observe(&delta(Change::Modified, "a", "1", 11));
    assert_eq!(shows(&cache, "a"), None);
    cache.replace(Version(12), vec![state("a", "1", 11)]);
    assert_eq!(shows(&cache, "a"), None);
    cache.written(state("a", "1", 13));
    assert_eq!(shows(&cache, "a"), None);
    cache.observe(&delta(Change::Deleted, "a", "1", 14));
    assert_eq!(shows(&cache, "a"), None);
    assert!(cache.deleted.is_empty(), "once told, the uid is forgotten");
}

#[test]
fn a_predecessor_of_what_was_deleted_is_not_shown_again() {
    let now = Instant::now();
    // The watch lags: it has told nothing of the deletion of the first, and of the second, which was deleted in version 15.
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.deleted(&key("a"), "2", Some(Version(15)), now);
    assert_eq!(shows(&cache, "a"), None);
    cache.observe(&delta(Change::Modified, "a", "1", 11));
    cache.written(state("a", "1", 12));
    cache.replace(Version(12), vec![state("a", "1", 11)]);
    assert_eq!(shows(&cache, "a"), None);
    for told in [
        delta(Change::Deleted, "a", "1", 13),
        delta(Change::Added, "a", "2", 14),
        delta(Change::Modified, "a", "2", 15),
    ] {
        cache.observe(&told);
        assert_eq!(shows(&cache, "a"), None, "{told:?}");
    }
    cache.observe(&delta(Change::Deleted, "a", "2", 16));
    cache.observe(&delta(Change::Added, "a", "3", 17));
    cache.bookmark(Version(18));
    assert_eq!((shows(&cache, "a"), cache.overtaken.len()), (Some(17), 0));
    // The same when the second was here, by its own answer.
    let mut cache = filled(10, &[]);
    cache.written(state("a", "2", 14));
    cache.deleted(&key("a"), "2", None, now);
    cache.observe(&delta(Change::Added, "a", "1", 11));
    assert_eq!(shows(&cache, "a"), None);
    // And when the watch is ahead of the answer: what came after is not taken for what was before.
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.observe(&delta(Change::Deleted, "a", "1", 11));
    cache.observe(&delta(Change::Added, "a", "2", 12));
    cache.deleted(&key("a"), "1", Some(Version(5)), now);
    assert_eq!((shows(&cache, "a"), cache.overtaken.len()), (Some(12), 0));
}

#[test]
fn a_successor_of_the_same_name_is_shown() {
    let now = Instant::now();
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.deleted(&key("a"), "1", None, now);
    cache.written(state("a", "2", 13));
    assert_eq!(shows(&cache, "a"), Some(13));
    // The deletion of the one before, told late.
    cache.observe(&delta(Change::Deleted, "a", "1", 12));
    assert_eq!(shows(&cache, "a"), Some(13));
    // The delete's answer comes after the successor was seen.
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.observe(&delta(Change::Deleted, "a", "1", 12));
    cache.observe(&delta(Change::Added, "a", "2", 13));
    cache.deleted(&key("a"), "1", None, now);
    assert_eq!(shows(&cache, "a"), Some(13));
}

#[test]
fn what_was_deleted_before_it_was_seen_never_appears() {
    let mut cache = filled(10, &[]);
    cache.deleted(&key("a"), "1", None, Instant::now());
    cache.observe(&delta(Change::Added, "a", "1", 11));
    assert_eq!(shows(&cache, "a"), None);
    cache.observe(&delta(Change::Deleted, "a", "1", 12));
    assert_eq!((shows(&cache, "a"), cache.version()), (None, Version(12)));
}

#[test]
fn a_uid_whose_deletion_was_told_before_the_answer_is_forgotten_in_time() {
    let now = Instant::now();
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.observe(&delta(Change::Deleted, "a", "1", 11));
    cache.deleted(&key("a"), "1", None, now);
    assert_eq!(cache.deleted.len(), 1);
    cache.deleted(&key("b"), "2", None, now + REMEMBER_DELETED);
    assert_eq!((cache.deleted.len(), cache.forget.len()), (1, 1));
}

#[test]
fn a_store_restored_to_the_past_undoes_everything() {
    let mut cache = filled(100, &[("a", "1", 90), ("b", "2", 40)]);
    cache.written(state("c", "3", 101));
    cache.deleted(&key("b"), "2", None, Instant::now());
    cache.replace(Version(50), vec![state("b", "2", 40)]);
    assert_eq!((shows(&cache, "a"), shows(&cache, "b"), shows(&cache, "c")), (None, Some(40), None));
    cache.observe(&delta(Change::Added, "a", "9", 51));
    assert_eq!((shows(&cache, "a"), cache.version()), (Some(51), Version(51)));
}
