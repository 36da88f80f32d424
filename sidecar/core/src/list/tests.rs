//! Lists over caches: pages, tags and projections, and the properties that index, order and pages must keep.

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

/// Entities of a kind with three indexed fields, and changes to them.
mod properties {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::entity::Entity;
    use crate::feed::{Change, Delta};

    fn fields() -> Arc<Fields> {
        let own = json!({ "type": "object", "properties": {
            "color": { "type": "string" }, "size": { "x-kubernetes-int-or-string": true }, "done": { "type": "boolean" },
            "when": { "type": "string", "format": "date-time" }, "nested": { "type": "object" },
        } });
        let selectable = ["spec.color", "spec.size", "spec.done", "spec.when", "status.phase"].map(str::to_owned);
        Arc::new(Fields::of(&own, None, true, &selectable))
    }

    fn entity() -> impl Strategy<Value = Entity> {
        let color = prop::sample::select(vec![json!("red"), json!("blue"), json!(null), json!("")]);
        let size = prop::sample::select(vec![
            json!(1),
            json!(1.0),
            json!(2),
            json!("1"),
            json!(0.5),
            json!(9_007_199_254_740_993_i64),
            json!(true),
            json!([1]),
        ]);
        let when = prop::sample::select(vec![
            json!("2026-01-01T00:00:00Z"),
            json!("2026-01-01T01:00:00+01:00"),
            json!("2026-01-02T00:00:00.5Z"),
            json!("soon"),
            json!(null),
        ]);
        let labels = prop::collection::btree_map("[ab]", prop::sample::select(vec!["x", "y", ""]), 0..3);
        let whole = (
            prop::sample::select(vec!["m", "n"]),
            "[a-e]",
            prop::option::of(color),
            prop::option::of(size),
            prop::option::of(any::<bool>()),
            prop::option::of(when),
            prop::option::of(prop::sample::select(vec!["Done", "Open"])),
            labels,
            1_u64..1_000_000,
        );
        whole.prop_map(|(namespace, id, color, size, done, when, phase, labels, version)| {
            let mut json = serde_json::Map::from_iter([("id".to_owned(), json!(id))]);
            let members = [("color", color), ("size", size), ("done", done.map(Json::from)), ("when", when)];
            json.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
            if let Some(phase) = phase {
                json.insert("status".into(), json!({ "phase": phase }));
            }
            json.insert(
                "meta".into(),
                json!({ "version": version.to_string(), "namespace": namespace, "labels": labels }),
            );
            Entity {
                key: key(&format!("{namespace}/{id}")),
                version: Version(version),
                uid: "u".into(),
                labels: labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
                deleting: false,
                annotated: false,
                marks: Default::default(),
                json: Bytes::from(Json::Object(json).to_string()),
            }
        })
    }

    /// A cache that came by its entities through changes, which is what its index must survive.
    fn cache(entities: Vec<Entity>, indexed: Option<&Arc<Fields>>) -> Cache {
        let mut cache = Cache::default();
        if let Some(fields) = indexed {
            cache.index_by(Arc::clone(fields));
        }
        for (at, mut entity) in (1..).zip(entities) {
            let change = if entity.version.0 % 7 == 0 { Change::Deleted } else { Change::Modified };
            entity.version = Version(at);
            if at % 5 == 0 {
                let all = cache.range(None).cloned().collect();
                cache.replace(Version(at - 1), all);
            }
            cache.observe(&Delta { change, entity: Arc::new(entity) });
        }
        cache
    }

    fn condition() -> impl Strategy<Value = String> {
        prop::sample::select(vec![
            "color == 'red'",
            "'blue' == self.color",
            "color in ['red', 'red', 'green']",
            "color in []",
            "color == ''",
            "color != 'red'",
            "size == 1",
            "size == 1u",
            "size == 1.0",
            "size == '1'",
            "size == 0.5",
            "size == 9007199254740993",
            "size in [1, '1', true]",
            "size > 1",
            "size == null",
            "done == true",
            "done",
            "!done",
            "status.phase == 'Done'",
            "status['phase'] in ['Open']",
            "!has(status.phase)",
            "meta.labels.a == 'x'",
            "meta.labels['b'] in ['x', 'y', 'x']",
            "meta.labels.a == 5",
            "'a' in meta.labels",
            "id == 'a'",
            "id in ['e', 'b', 'zz', 'b']",
            "id == 5",
            "id > 'b'",
            "has(self.color)",
            "nested.x == 1",
            "color.contains('e')",
            "when == timestamp('2026-01-01T00:00:00Z')",
            "when < timestamp('2026-01-02T00:00:00Z')",
            "when >= timestamp('2026-01-01T00:00:00Z')",
            "timestamp('2026-01-01T12:00:00+01:00') < when",
            "when <= timestamp('2020-01-01T00:00:00Z')",
            "color < 'red'",
            "'c' <= color",
            "size < 2 && size > 0",
            "status.phase > 'Done'",
            "done > false",
        ])
        .prop_map(str::to_owned)
    }

    fn filter() -> impl Strategy<Value = String> {
        prop::collection::vec((condition(), prop::sample::select(vec![" && ", " || "])), 1..4).prop_map(|parts| {
            let mut text = String::new();
            for (at, (condition, joined)) in parts.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { joined });
                text.push_str(condition);
            }
            text
        })
    }

    fn encoded(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02x}")).collect()
    }

    fn ids(page: &Page) -> Vec<(String, Version)> {
        page.items.iter().map(|entity| (format!("{:?}", entity.key), entity.version)).collect()
    }

    /// All pages of a list, one behind the other.
    fn pages(cache: &Cache, filters: &Filters, query: &str, limit: usize) -> Vec<(String, Version)> {
        let mut all = Vec::new();
        let mut token = String::new();
        loop {
            let asked = ListQuery::parse(&format!("{query}&limit={limit}{token}"), filters).unwrap();
            let page = cache.list(&asked).unwrap();
            assert!(page.items.len() <= limit && (page.next.is_none() || page.items.len() == limit));
            all.extend(ids(&page));
            match &page.next {
                Some(place) => token = format!("&pageToken={}", asked.page_token(place)),
                None => return all,
            }
        }
    }

    fn order() -> impl Strategy<Value = String> {
        let term = (
            prop::sample::select(vec![
                "id",
                "color",
                "size",
                "done",
                "when",
                "status.phase",
                "meta.labels.a",
                "nested.x",
            ]),
            prop::sample::select(vec!["", " asc", " desc"]),
        );
        prop::collection::vec(term, 0..4).prop_map(|terms| {
            let once: BTreeMap<&str, &str> = terms.into_iter().collect();
            once.into_iter().map(|(path, direction)| format!("{path}{direction}")).collect::<Vec<_>>().join(",")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        #[test]
        fn a_filter_answers_the_same_with_the_index_and_without(
            entities in prop::collection::vec(entity(), 0..40), filter in filter(), labels in prop::sample::select(vec!["", "a=x", "a in (x,y),!b", "b=", "a!=x"]),
            namespace in prop::sample::select(vec!["", "&namespace=m", "&namespace=o"]),
        ) {
            let fields = fields();
            let filters = Filters::new(Arc::clone(&fields));
            let query = format!("filter={}&labelSelector={}{namespace}", encoded(&filter), encoded(labels));
            let query = ListQuery::parse(&query, &filters).unwrap();
            let (with, without) = (cache(entities.clone(), Some(&fields)), cache(entities, None));
            // Without an index at all: each entity is asked.
            let mut asked = Vec::new();
            let mut failed = None;
            for entity in without.range(None) {
                let inside = query.namespace.is_none() || entity.key.namespace == query.namespace;
                if inside && query.selector.matches(entity) {
                    match query.filter.as_ref().unwrap().matches(entity, &mut Budget::default()) {
                        Ok(true) => asked.push((format!("{:?}", entity.key), entity.version)),
                        Ok(false) => {}
                        Err(fault) => { failed.get_or_insert(fault.to_string()); }
                    }
                }
            }
            for cache in [&with, &without] {
                match (cache.list(&query), &failed) {
                    (Ok(page), None) => prop_assert_eq!(ids(&page), asked.clone()),
                    (Err(problem), Some(fault)) => prop_assert!(problem.detail.contains(fault.as_str()), "{}", problem.detail),
                    (page, failed) => prop_assert!(false, "{page:?} {failed:?}"),
                }
            }
        }

        #[test]
        fn pages_make_up_the_whole_list_in_any_order(
            entities in prop::collection::vec(entity(), 0..40), filter in prop::option::of(prop::sample::select(vec!["color == 'red'", "id > 'a'"])),
            order in order(), limit in 1_usize..7,
        ) {
            let fields = fields();
            let filters = Filters::new(Arc::clone(&fields));
            let cache = cache(entities, Some(&fields));
            let mut query = filter.map_or_else(String::new, |filter| format!("filter={}", encoded(filter)));
            if !order.is_empty() {
                query.push_str(&format!("&orderBy={}", encoded(&order)));
            }
            let whole = ids(&cache.list(&ListQuery::parse(&query, &filters).unwrap()).unwrap());
            prop_assert_eq!(pages(&cache, &filters, &query, limit), whole);
        }

        #[test]
        fn what_nobody_changes_is_on_one_page_exactly(
            entities in prop::collection::vec(entity(), 1..40), changes in prop::collection::vec(entity(), 0..20), order in order(), limit in 1_usize..5,
        ) {
            let fields = fields();
            let filters = Filters::new(Arc::clone(&fields));
            let mut cache = cache(entities, Some(&fields));
            let changed: Vec<Key> = changes.iter().map(|entity| entity.key.clone()).collect();
            let untouched: Vec<_> = cache.range(None).filter(|entity| !changed.contains(&entity.key)).map(|entity| entity.key.clone()).collect();
            let mut changes = changes.into_iter();
            let (mut seen, mut token, mut version) = (Vec::new(), String::new(), 10_000);
            loop {
                let order = if order.is_empty() { String::new() } else { format!("&orderBy={}", encoded(&order)) };
                let query = ListQuery::parse(&format!("limit={limit}{order}{token}"), &filters).unwrap();
                let page = cache.list(&query).unwrap();
                seen.extend(page.items.iter().map(|entity| entity.key.clone()));
                let Some(place) = &page.next else { break };
                token = format!("&pageToken={}", query.page_token(place));
                for mut entity in changes.by_ref().take(3) {
                    version += 1;
                    let change = if entity.version.0 % 3 == 0 { Change::Deleted } else { Change::Modified };
                    entity.version = Version(version);
                    cache.observe(&Delta { change, entity: Arc::new(entity) });
                }
            }
            for key in untouched {
                prop_assert_eq!(seen.iter().filter(|seen| **seen == key).count(), 1, "{:?}", key);
            }
        }

        #[test]
        fn the_fingerprint_and_the_index_are_those_of_the_state_however_it_came_about(entities in prop::collection::vec(entity(), 0..40)) {
            let fields = fields();
            let grown = cache(entities, Some(&fields));
            let mut fresh = Cache::default();
            fresh.replace(grown.version(), grown.range(None).cloned().collect());
            fresh.index_by(Arc::clone(&fields));
            prop_assert_eq!((grown.fingerprint(), grown.bytes()), (fresh.fingerprint(), fresh.bytes()));
            if let Some(gone) = grown.range(None).next() {
                let left = grown.range(None).skip(1).cloned().collect();
                fresh.replace(grown.version(), left);
                prop_assert_ne!(grown.fingerprint(), fresh.fingerprint(), "without {:?}", gone.key);
            }
            fresh.replace(Version(1_000), Vec::new());
            prop_assert_eq!((fresh.fingerprint(), fresh.bytes()), (0, 0));
        }
    }

    #[test]
    fn the_tag_of_a_list_changes_with_the_entities_and_the_query_and_not_with_the_watch() {
        let filters = Filters::new(fields());
        let tag = |cache: &Cache, query: &str| {
            let query = ListQuery::parse(query, &filters).unwrap();
            let mut gathered = Gathered::default();
            gathered.gather(cache, &query);
            gathered.tag(&query)
        };
        let mut cache = filled(9, &[("a", "1", 1), ("b", "2", 2)]);
        let before = tag(&cache, "");
        cache.bookmark(Version(12));
        assert_eq!(tag(&cache, ""), before);
        for query in [
            "limit=1",
            "fields=id",
            "orderBy=id",
            "orderBy=id+desc",
            "namespace=shop",
            "labelSelector=a",
            "filter=id==%22a%22",
        ] {
            assert_ne!(tag(&cache, query), before, "{query}");
        }
        cache.written(crate::cache::tests::state("b", "2", 20));
        assert_ne!(tag(&cache, ""), before);
    }

    #[test]
    fn fields_cut_the_items_of_the_answer() {
        let filters = Filters::new(fields());
        let cache = filled(9, &[("a", "1", 1), ("b", "2", 2)]);
        let query = ListQuery::parse("fields=meta.version&orderBy=id+desc&limit=1", &filters).unwrap();
        let body: Json = serde_json::from_slice(&render(&cache.list(&query).unwrap(), &query)).unwrap();
        assert_eq!(body["items"], json!([{ "id": "b", "meta": { "version": "2" } }]));
    }

    #[test]
    fn a_filter_that_cannot_be_asked_refuses_the_list() {
        let filters = Filters::new(Arc::new(Fields::unknown()));
        let cache = filled(9, &[("a", "1", 1)]);
        let query = ListQuery::parse("filter=id+%2B+1+==+2", &filters).unwrap();
        let problem = cache.list(&query).unwrap_err();
        assert_eq!(problem.status, 400);
        assert!(problem.detail.contains("\"filter\" cannot be used: it cannot be asked of a: "), "{}", problem.detail);
    }
}
