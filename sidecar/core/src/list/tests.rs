use super::*;
use crate::cache::tests::{filled, key};
use crate::fields::Fields;
use crate::filter::Filters;
use crate::selector::LabelSelector;

fn behind(id: &str) -> Place {
    Place { values: Vec::new(), key: key(id) }
}

#[test]
fn a_list_is_paged_in_key_order_and_holds_to_its_namespace() {
    let cache = filled(9, &[("n/b", "1", 1), ("m/z", "2", 2), ("n/a", "3", 3), ("n/c", "4", 4), ("o/a", "5", 5)]);
    let ids = |page: &Page| page.items.iter().map(|entity| entity.key.id.to_string()).collect::<Vec<_>>();
    let mut query = ListQuery { namespace: Some("n".into()), limit: Some(2), ..ListQuery::default() };
    let first = cache.list(&query).unwrap();
    assert_eq!((ids(&first), first.next.clone()), (vec!["a".into(), "b".into()], Some(behind("n/b"))));
    query.after = first.next;
    let last = cache.list(&query).unwrap();
    assert_eq!((ids(&last), last.next), (vec!["c".into()], None));
    // Behind a key of another namespace.
    query.after = Some(behind("m/z"));
    assert_eq!(ids(&cache.list(&query).unwrap()), ["a", "b"]);
    let all = cache.list(&ListQuery::default()).unwrap();
    assert_eq!((all.items.len(), all.version), (5, Version(9)));
    query = ListQuery { limit: Some(5), ..ListQuery::default() };
    assert_eq!(
        cache.list(&query).unwrap().next,
        None,
        "a page that is just full is the last one when nothing is behind it"
    );
    query.selector = LabelSelector::parse("app!=x").unwrap();
    assert_eq!(cache.list(&query).unwrap().items.len(), 0);
}

#[test]
fn a_list_s_body_is_joined_in_one_allocation() {
    let cache = filled(9, &[("a", "1", 1), ("b", "2", 2), ("c", "3", 3)]);
    let query = ListQuery { limit: Some(2), ..ListQuery::default() };
    let page = cache.list(&query).unwrap();
    let body: serde_json::Value = serde_json::from_slice(&render(&page, &query)).unwrap();
    assert_eq!(body["items"][1]["id"], "b");
    assert_eq!(body["meta"]["version"], "9");
    let token = body["nextPageToken"].as_str().unwrap();
    let next = ListQuery::parse(&format!("pageToken={token}"), &Filters::new(Arc::new(Fields::unknown()))).unwrap();
    assert_eq!(next.after, Some(behind("b")));
    let empty = render(&Cache::default().list(&ListQuery::default()).unwrap(), &ListQuery::default());
    assert_eq!(&empty[..], br#"{"items":[],"nextPageToken":null,"meta":{"version":"0"}}"#);
}
