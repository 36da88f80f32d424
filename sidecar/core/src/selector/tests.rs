//! Label selectors: what they match, and what is told of those that are none.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::entity::Key;
use crate::version::Version;

fn entity(labels: &[(&str, &str)]) -> Entity {
    let mut labels: Vec<(Box<str>, Box<str>)> =
        labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    labels.sort();
    Entity {
        key: Key { namespace: None, id: Arc::from("a") },
        version: Version(1),
        uid: "u".into(),
        labels: labels.into(),
        deleting: false,
        annotated: false,
        marks: Default::default(),
        json: Bytes::new(),
    }
}

#[test]
fn selectors_mean_what_they_mean_to_kubectl() {
    let entity = entity(&[("app", "web"), ("tier", "a"), ("example.com/x", "1"), ("none", "")]);
    for (selector, fits) in [
        ("", true),
        ("  ", true),
        ("app", true),
        ("!app", false),
        ("nope", false),
        ("!nope", true),
        ("! nope", true),
        ("app=web", true),
        ("app==web", true),
        (" app = web , tier = a ", true),
        ("app=web,tier=b", false),
        ("app!=web", false),
        ("app!=other", true),
        ("nope!=x", true),
        ("app in (web)", true),
        ("app in (x, web , y)", true),
        ("app in(x,y)", false),
        ("nope in (x)", false),
        ("tier notin (a,b)", false),
        ("tier notin (b)", true),
        ("nope notin (b)", true),
        ("example.com/x=1", true),
        ("none=", true),
        ("none=,app=web", true),
        ("none in ()", true),
        ("none in (,x)", true),
        ("app!=", true),
        ("in=web", false),
        ("app in (in)", false),
    ] {
        let parsed = LabelSelector::parse(selector).unwrap_or_else(|error| panic!("{selector}: {error}"));
        assert_eq!(parsed.matches(&entity), fits, "{selector}");
    }
}

#[test]
fn a_wrong_selector_says_what_is_wrong_and_where() {
    for (selector, says) in [
        ("a=b,", "expected the name of a label at position 5, found the end"),
        (",a", "expected the name of a label at position 1, found a comma"),
        ("a b", "expected one of =, ==, !=, in, notin, a comma or the end at position 3, found \"b\""),
        ("a in b", "expected ( and a list of values at position 6, found \"b\""),
        ("a in (b", "expected a comma or ) at position 8, found the end"),
        ("a=b=c", "expected a comma or the end at position 4, found ="),
        ("a=(b)", "expected a value at position 3, found ("),
        ("!a=b", "expected a comma or the end at position 3, found ="),
        ("a >3", "'>' at position 3 is not supported"),
        ("-a=b", "\"-a\" is no label"),
        ("Ex_/a=b", "\"Ex_/a\" is no label: before the '/'"),
        ("/a", "\"/a\" is no label"),
        ("a/", "\"a/\" is no label"),
        ("a=b$", "\"b$\" is no label value"),
        ("a in (ä)", "\"ä\" is no label value"),
    ] {
        let error = LabelSelector::parse(selector).expect_err(selector);
        assert!(error.starts_with(says), "{selector}: {error}");
    }
}
