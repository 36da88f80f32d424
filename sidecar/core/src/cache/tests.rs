use super::*;
use crate::selector::LabelSelector;

pub(super) fn key(id: &str) -> Key {
    let (namespace, id) = id.split_once('/').unwrap_or(("shop", id));
    Key { namespace: Some(namespace.into()), id: id.into() }
}

pub(super) fn state(id: &str, uid: &str, version: u64) -> Arc<Entity> {
    let key = key(id);
    let json = format!(r#"{{"id":"{}","meta":{{"uid":"{uid}","version":"{version}"}}}}"#, key.id);
    Arc::new(Entity {
        key,
        version: Version(version),
        uid: uid.into(),
        labels: Box::new([("app".into(), "x".into())]),
        deleting: false,
        annotated: false,
        json: Bytes::from(json),
    })
}

fn delta(change: Change, id: &str, uid: &str, version: u64) -> Delta {
    Delta { change, entity: state(id, uid, version) }
}

fn filled(version: u64, entities: &[(&str, &str, u64)]) -> Cache {
    let mut cache = Cache::default();
    cache.replace(Version(version), entities.iter().map(|(id, uid, version)| state(id, uid, *version)).collect());
    cache
}

fn shows(cache: &Cache, id: &str) -> Option<u64> {
    let bytes: usize = cache.list(&ListQuery::default()).items.iter().map(|entity| entity.footprint()).sum();
    assert_eq!(cache.bytes(), bytes, "the bytes are counted exactly");
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
    cache.deleted(&key("a"), "1", now);
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
fn a_successor_of_the_same_name_is_shown() {
    let now = Instant::now();
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.deleted(&key("a"), "1", now);
    cache.written(state("a", "2", 13));
    assert_eq!(shows(&cache, "a"), Some(13));
    // The deletion of the one before, told late.
    cache.observe(&delta(Change::Deleted, "a", "1", 12));
    assert_eq!(shows(&cache, "a"), Some(13));
    // The delete's answer comes after the successor was seen.
    let mut cache = filled(10, &[("a", "1", 5)]);
    cache.observe(&delta(Change::Deleted, "a", "1", 12));
    cache.observe(&delta(Change::Added, "a", "2", 13));
    cache.deleted(&key("a"), "1", now);
    assert_eq!(shows(&cache, "a"), Some(13));
}

#[test]
fn what_was_deleted_before_it_was_seen_never_appears() {
    let mut cache = filled(10, &[]);
    cache.deleted(&key("a"), "1", Instant::now());
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
    cache.deleted(&key("a"), "1", now);
    assert_eq!(cache.deleted.len(), 1);
    cache.deleted(&key("b"), "2", now + REMEMBER_DELETED);
    assert_eq!((cache.deleted.len(), cache.forget.len()), (1, 1));
}

#[test]
fn a_store_restored_to_the_past_undoes_everything() {
    let mut cache = filled(100, &[("a", "1", 90), ("b", "2", 40)]);
    cache.written(state("c", "3", 101));
    cache.deleted(&key("b"), "2", Instant::now());
    cache.replace(Version(50), vec![state("b", "2", 40)]);
    assert_eq!((shows(&cache, "a"), shows(&cache, "b"), shows(&cache, "c")), (None, Some(40), None));
    cache.observe(&delta(Change::Added, "a", "9", 51));
    assert_eq!((shows(&cache, "a"), cache.version()), (Some(51), Version(51)));
}

#[test]
fn a_list_is_paged_in_key_order_and_holds_to_its_namespace() {
    let cache = filled(9, &[("n/b", "1", 1), ("m/z", "2", 2), ("n/a", "3", 3), ("n/c", "4", 4), ("o/a", "5", 5)]);
    let ids = |page: &Page| page.items.iter().map(|entity| entity.key.id.to_string()).collect::<Vec<_>>();
    let mut query = ListQuery { namespace: Some("n".into()), limit: Some(2), ..ListQuery::default() };
    let first = cache.list(&query);
    assert_eq!((ids(&first), first.next.clone()), (vec!["a".into(), "b".into()], Some(key("n/b"))));
    query.after = first.next;
    let last = cache.list(&query);
    assert_eq!((ids(&last), last.next), (vec!["c".into()], None));
    // Behind a key of another namespace.
    query.after = Some(key("m/z"));
    assert_eq!(ids(&cache.list(&query)), ["a", "b"]);
    let all = cache.list(&ListQuery::default());
    assert_eq!((all.items.len(), all.version), (5, Version(9)));
    query = ListQuery { limit: Some(5), ..ListQuery::default() };
    assert_eq!(cache.list(&query).next, None, "a page that is just full is the last one when nothing is behind it");
    query.selector = LabelSelector::parse("app!=x").unwrap();
    assert_eq!(cache.list(&query).items.len(), 0);
}

#[test]
fn a_list_s_body_is_joined_in_one_allocation() {
    let cache = filled(9, &[("a", "1", 1), ("b", "2", 2), ("c", "3", 3)]);
    let page = cache.list(&ListQuery { limit: Some(2), ..ListQuery::default() });
    let body: serde_json::Value = serde_json::from_slice(&render(&page)).unwrap();
    assert_eq!(body["items"][1]["id"], "b");
    assert_eq!(body["meta"]["version"], "9");
    let token = body["nextPageToken"].as_str().unwrap();
    let next = ListQuery::parse(&format!("pageToken={token}")).unwrap();
    assert_eq!(next.after, Some(key("b")));
    let empty = render(&Cache::default().list(&ListQuery::default()));
    assert_eq!(&empty[..], br#"{"items":[],"nextPageToken":null,"meta":{"version":"0"}}"#);
}
