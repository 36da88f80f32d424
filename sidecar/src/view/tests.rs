//! Lists over several namespaces, and waiting for a version.

use bytes::Bytes;
use sidecar_core::feed::Change;

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
        json: Bytes::from(format!("{{\"id\":\"{id}\"}}")),
    })
}

fn view(namespace: &str, version: u64, ids: &[&str]) -> Arc<View> {
    let view = View::new(Some(namespace.into()));
    view.fill(Version(version), ids.iter().map(|id| entity(namespace, id, 1)).collect(), Instant::now());
    Arc::new(view)
}

fn ids(listing: &Listing) -> Vec<String> {
    listing
        .page
        .items
        .iter()
        .map(|entity| format!("{}/{}", entity.key.namespace.as_deref().unwrap_or(""), entity.key.id))
        .collect()
}

#[test]
fn pages_go_over_namespaces_in_key_order_and_say_whether_more_follows() {
    let kind = KindView::new(vec![view("shop", 7, &["a", "b"]), view("bar", 9, &["x"]), view("empty", 8, &[])]);
    let all = kind.list(&ListQuery::default(), Instant::now());
    assert_eq!(ids(&all), ["bar/x", "shop/a", "shop/b"]);
    assert_eq!((all.page.version, all.page.next), (Version(7), None));

    for (limit, expected, next) in [
        (1, vec!["bar/x"], Some(key("bar", "x"))),
        (2, vec!["bar/x", "shop/a"], Some(key("shop", "a"))),
        (3, vec!["bar/x", "shop/a", "shop/b"], None),
    ] {
        let page = kind.list(&ListQuery { limit: Some(limit), ..ListQuery::default() }, Instant::now());
        assert_eq!(
            (ids(&page), page.page.next),
            (expected.into_iter().map(str::to_owned).collect(), next),
            "limit {limit}"
        );
    }
    let behind = ListQuery { after: Some(key("bar", "x")), limit: Some(1), ..ListQuery::default() };
    assert_eq!(ids(&kind.list(&behind, Instant::now())), ["shop/a"]);
    let one = ListQuery { namespace: Some("shop".into()), ..ListQuery::default() };
    let listing = kind.list(&one, Instant::now());
    assert_eq!((ids(&listing).len(), listing.page.version), (2, Version(7)));
}

#[test]
fn every_change_moves_the_revision() {
    let view = view("shop", 7, &["a"]);
    let kind = KindView::new(vec![Arc::clone(&view)]);
    let revision = || kind.list(&ListQuery::default(), Instant::now()).revision;
    let before = revision();
    view.written(entity("shop", "b", 8));
    assert!(revision() > before, "an own write, which the cache's version does not show");
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
