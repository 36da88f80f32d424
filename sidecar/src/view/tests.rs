//! Lists over several namespaces, and waiting for a version.

use bytes::Bytes;
use sidecar_core::feed::Change;
use sidecar_core::list::Page;
use sidecar_core::order::Place;

use super::*;

fn key(namespace: &str, id: &str) -> Key {
    Key { namespace: Some(namespace.into()), id: id.into() }
}

fn entity(namespace: &str, id: &str, version: u64) -> Arc<Entity> {
    Arc::new(Entity {
        key: key(namespace, id),
        version: Version(version),
        uid: format!("{namespace}-{id}").into(),
        labels: Box::default(),
        deleting: false,
        annotated: false,
        marks: Default::default(),
        json: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
    })
}

fn view(namespace: &str, version: u64, ids: &[&str]) -> Arc<View> {
    let view = View::new(Some(namespace.into()));
    view.fill(Version(version), ids.iter().map(|id| entity(namespace, id, 1)).collect(), Instant::now());
    Arc::new(view)
}

fn page(kind: &KindView, query: &ListQuery) -> Page {
    kind.list(query, Instant::now()).gathered.page(query).unwrap()
}

fn ids(page: &Page) -> Vec<String> {
    page.items
        .iter()
        .map(|entity| format!("{}/{}", entity.key.namespace.as_deref().unwrap_or(""), entity.key.id))
        .collect()
}

#[test]
fn pages_go_over_namespaces_in_key_order_and_say_whether_more_follows() {
    let kind = KindView::new(vec![view("shop", 7, &["a", "b"]), view("bar", 9, &["x"]), view("empty", 8, &[])]);
    let place = |namespace, id| Some(Place { values: Vec::new(), key: key(namespace, id) });
    let all = page(&kind, &ListQuery::default());
    assert_eq!(ids(&all), ["bar/x", "shop/a", "shop/b"]);
    assert_eq!((all.version, all.next), (Version(7), None));

    for (limit, expected, next) in [
        (1, vec!["bar/x"], place("bar", "x")),
        (2, vec!["bar/x", "shop/a"], place("shop", "a")),
        (3, vec!["bar/x", "shop/a", "shop/b"], None),
    ] {
        let page = page(&kind, &ListQuery { limit: Some(limit), ..ListQuery::default() });
        assert_eq!((ids(&page), page.next), (expected.into_iter().map(str::to_owned).collect(), next), "limit {limit}");
    }
    let behind = ListQuery { after: place("bar", "x"), limit: Some(1), ..ListQuery::default() };
    assert_eq!(ids(&page(&kind, &behind)), ["shop/a"]);
    let one = ListQuery { namespace: Some("shop".into()), ..ListQuery::default() };
    let page = page(&kind, &one);
    assert_eq!((ids(&page).len(), page.version), (2, Version(7)));
}

#[test]
fn every_change_moves_the_tag_of_a_list() {
    let view = view("shop", 7, &["a"]);
    let kind = KindView::new(vec![Arc::clone(&view)]);
    let query = ListQuery::default();
    let tag = || kind.list(&query, Instant::now()).gathered.tag(&query);
    let before = tag();
    view.written(entity("shop", "b", 8));
    assert_ne!(tag(), before, "an own write, which the cache's version does not show");
}

#[tokio::test]
async fn waiting_ends_when_the_watch_or_the_entity_has_come_there() {
    let view = view("shop", 7, &["a"]);
    view.written(entity("shop", "own", 12));
    view.reached(Version(12), Some(&key("shop", "own"))).await;
    let waiting = tokio::spawn({
        let view = Arc::clone(&view);
        async move { view.reached(Version(20), None).await }
    });
    let delta = |version| Delta { change: Change::Modified, entity: entity("shop", "a", version) };
    view.observe(&delta(19), Instant::now());
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    view.observe(&delta(20), Instant::now());
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
}

#[test]
fn what_is_too_much_is_let_go_and_followers_wait_and_start_over() {
    let view = view("shop", 7, &["a", "b"]);
    let (_, cursor) = view.follow();
    view.lose(Loss::Full);
    view.written(entity("shop", "own", 12));
    assert_eq!((view.is_filled(), view.loss(), view.size().entities), (false, Some(Loss::Full), 0));
    assert!(view.after(cursor, 8).unwrap().0.is_empty(), "nothing is told while nothing is known");
    view.fill(Version(20), vec![entity("shop", "a", 1)], Instant::now());
    assert_eq!((view.is_filled(), view.loss(), view.size().entities), (true, None, 1));
    assert!(view.after(cursor, 8).is_none(), "a follower starts over");
}

#[test]
fn a_kind_that_is_gone_is_not_read_and_followers_are_told_the_difference_when_it_is_back() {
    let view = view("shop", 7, &["a", "b"]);
    let (_, cursor) = view.follow();
    view.lose(Loss::Gone);
    assert!(!view.is_filled());
    view.fill(Version(20), vec![entity("shop", "a", 1)], Instant::now());
    let (events, _) = view.after(cursor, 8).unwrap();
    assert_eq!(events.len(), 1, "one is deleted");
}

#[tokio::test]
async fn a_view_that_a_watch_only_passes_through_keeps_versions_alone_and_tells_of_redefinitions() {
    let shown = view("shop", 7, &["a"]);
    let passing = shown.passing();
    let mut breaks = shown.breaks();
    passing.fill(Version(9), vec![entity("shop", "a", 1), entity("shop", "b", 9)], Instant::now());
    let delta = Delta { change: Change::Modified, entity: entity("shop", "a", 12) };
    passing.observe(&delta, Instant::now());
    assert!(passing.is_filled());
    assert_eq!((passing.size().entities, *passing.progress().borrow()), (0, Version(12)));
    passing.broken();
    assert!(breaks.has_changed().unwrap() && *breaks.borrow_and_update() == 1);
    shown.redefine();
    passing.redefinition().await;
}
