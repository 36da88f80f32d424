//! The parameters of a list as tables, and the page token against every alteration.

use proptest::prelude::*;

use super::*;
use crate::entity::Key;
use crate::fields::Fields;

fn parse(query: &str) -> Result<ListQuery, Problem> {
    ListQuery::parse(query, &Filters::new(Arc::new(Fields::unknown())))
}

fn refused(query: &str) -> String {
    let problem = parse(query).expect_err(query);
    assert_eq!(problem.status, 400, "{query}");
    problem.detail
}

#[test]
fn the_known_parameters_are_read() {
    assert_eq!(parse("").unwrap(), ListQuery::default());
    let query = parse("namespace=shop&limit=10&labelSelector=app%3Dweb%2C+tier+in+%28a%29&").unwrap();
    assert_eq!(query.namespace.as_deref(), Some("shop"));
    assert_eq!(query.limit, Some(10));
    assert_eq!(query.selector, LabelSelector::parse("app=web,tier in (a)").unwrap());
    assert_eq!(parse("labelSelector=").unwrap(), ListQuery::default());
    // Only the first = divides.
    assert_eq!(parse("labelSelector=app=web").unwrap().selector, LabelSelector::parse("app=web").unwrap());
}

#[test]
fn what_is_wrong_is_named() {
    for (query, says) in [
        (
            "limt=1",
            "there is no query parameter \"limt\" here; known: namespace, labelSelector, filter, orderBy, fields, limit, pageToken",
        ),
        ("filter=id+%3D%3D", "\"filter\" cannot be used: at character 6: "),
        ("orderBy=id+up", "\"orderBy\" cannot be used: expected asc or desc"),
        ("fields=,", "\"fields\" cannot be used: a field's name is missing"),
        ("limit=1&limit=1", "\"limit\" cannot be used: it is given twice"),
        ("limit=1&lim%69t=2", "it is given twice"),
        ("limit=0", "\"0\" is not a number from 1 to 10000"),
        ("limit=10001", "is not a number"),
        ("limit=+5", "is not a number"),
        ("limit=%2B5", "is not a number"),
        ("limit=-1", "is not a number"),
        ("limit", "\"\" is not a number"),
        ("namespace=Shop", "\"namespace\" cannot be used"),
        ("namespace=a.b", "\"namespace\" cannot be used"),
        ("namespace=", "\"namespace\" cannot be used"),
        ("labelSelector=a%20b", "\"labelSelector\" cannot be used: expected one of"),
        ("labelSelector=%zz", "cannot be decoded"),
        ("labelSelector=%e", "cannot be decoded"),
        ("labelSelector=%ff", "cannot be decoded"),
        ("pageToken=abc", "\"pageToken\" cannot be used: it is not one that a list gave"),
        ("pageToken=", "\"pageToken\" cannot be used"),
        ("=1", "there is no query parameter \"\""),
    ] {
        let detail = refused(query);
        assert!(detail.contains(says), "{query}: {detail}");
    }
}

#[test]
fn a_segment_of_a_path_keeps_its_plus() {
    assert_eq!(decode_segment("a+b%2Fc").as_deref(), Some("a+b/c"));
    assert_eq!(decode_segment("%"), None);
}

fn place(id: &str) -> Place {
    Place { values: Vec::new(), key: Key { namespace: Some("shop".into()), id: id.into() } }
}

#[test]
fn a_token_is_taken_only_for_the_list_that_gave_it() {
    let lists = ["", "namespace=shop", "labelSelector=a=b", "filter=id==%22a%22", "orderBy=id", "orderBy=id+desc"];
    for list in lists {
        let query = parse(list).unwrap();
        let values = (0..query.order.len()).map(|_| crate::order::SortValue::Text("a".into())).collect();
        let token = query.page_token(&Place { values, ..place("a") });
        for other in lists {
            let taken = parse(&format!("{other}&limit=3&fields=id&pageToken={token}"));
            assert_eq!(taken.is_ok(), list == other, "{list} {other}");
            if let Err(problem) = taken {
                assert!(problem.detail.contains("it belongs to a list with another"), "{}", problem.detail);
            }
        }
    }
}

#[test]
fn an_altered_token_is_refused() {
    let token = ListQuery::default().page_token(&place("buy-milk"));
    for index in 0..token.len() {
        let mut altered: Vec<char> = token.chars().collect();
        altered[index] = if altered[index] == 'A' { 'B' } else { 'A' };
        let altered: String = altered.into_iter().collect();
        assert!(parse(&format!("pageToken={altered}")).is_err(), "{altered}");
        assert!(parse(&format!("pageToken={}", &token[..index])).is_err());
    }
}

proptest! {
    #[test]
    fn a_token_leads_back_to_its_key(namespace in proptest::option::of("[a-z][a-z0-9-]{0,8}"), id in "[a-z][a-z0-9.-]{0,20}") {
        let place = Place { values: Vec::new(), key: Key { namespace: namespace.map(Into::into), id: id.into() } };
        let query = parse(&format!("pageToken={}", ListQuery::default().page_token(&place))).unwrap();
        prop_assert_eq!(query.after, Some(place));
    }

    #[test]
    fn what_was_encoded_is_decoded(text in "\\PC*") {
        prop_assert_eq!(decode(&percent_encode(&text)), Some(text));
    }

    #[test]
    fn no_query_is_too_odd_to_answer(query in "\\PC*") {
        let _ = parse(&query);
    }
}
