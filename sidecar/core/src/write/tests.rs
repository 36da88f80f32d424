//! Writes as tables: the request that each becomes, and the problem that each wrong one gets.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::kind::tests::{config_map, todo};

fn key() -> Key {
    Key { namespace: Some("shop".into()), id: "a".into() }
}

fn anonymous() -> Key {
    Key { namespace: Some("shop".into()), id: Arc::from("") }
}

fn body(text: &str) -> Body<'_> {
    Body::parse(text.as_bytes()).unwrap_or_else(|problem| panic!("{text}: {problem:?}"))
}

fn text(request: &Request) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}

/// An entity as the cache has it, from a Kubernetes object's metadata (without name and version) and the rest of it.
fn existing(kind: &Kind, metadata: &str, rest: &str) -> Entity {
    let object = format!(r#"{{"metadata":{{"name":"a","namespace":"shop","resourceVersion":"7"{metadata}}}{rest}}}"#);
    crate::mapping::entity(kind, object.as_bytes()).unwrap()
}

fn refused(result: Result<Request, Problem>) -> (u16, String) {
    let problem = result.expect_err("is refused");
    let pointer = problem.errors.first().map(|error| error.pointer.clone()).unwrap_or_default();
    (problem.status, pointer)
}

#[test]
fn a_create_posts_the_object_with_its_fields_as_written() {
    let body = body(
        r#"{ "id": "a", "message":"x \u00e9", "n": 1.50e2, "big": 123456789012345678901234567890, "status": {"phase": "x"},
             "meta": {"labels": {"b": "c"}, "expiresAt": "2027-01-01T00:00:00Z", "version": "1", "namespace": "shop"} }"#,
    );
    let request = create(&todo(), &key(), &body).unwrap();
    assert_eq!((request.method, request.content_type), (Method::Post, "application/json"));
    assert_eq!(
        text(&request),
        r#"{"apiVersion":"k8sasbackend.com/v1","kind":"Todo","metadata":{"annotations":{"k8sasbackend.com/expires-at":"2027-01-01T00:00:00Z"},"labels":{"b":"c"},"name":"a"},"spec":{"message":"x \u00e9","n":1.50e2,"big":123456789012345678901234567890}}"#
    );
    assert!(!request.outdated(409));
}

#[test]
fn a_create_without_id_lets_the_api_server_name_the_entity() {
    let request = create(&todo(), &anonymous(), &body(r#"{"meta":{"expiresAt":null,"labels":null}}"#)).unwrap();
    assert_eq!(
        text(&request),
        r#"{"apiVersion":"k8sasbackend.com/v1","kind":"Todo","metadata":{"generateName":"todo-","labels":null},"spec":{}}"#
    );
    let request = create(&todo(), &anonymous(), &body(r#"{"id":"b"}"#)).unwrap();
    assert!(text(&request).contains(r#""metadata":{"name":"b"}"#));
}

#[test]
fn a_kind_without_spec_has_its_fields_beside_the_metadata() {
    let request = create(&config_map(), &key(), &body(r#"{"data":{"k":"v"}}"#)).unwrap();
    assert_eq!(text(&request), r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}}"#);
    for field in ["apiVersion", "kind", "metadata"] {
        let text = format!(r#"{{"{field}":{{}}}}"#);
        assert_eq!(refused(create(&config_map(), &key(), &body(&text))), (400, format!("/{field}")));
        assert_eq!(refused(merge_patch(&config_map(), &key(), None, &body(&text))), (400, format!("/{field}")));
    }
    // Under spec they are fields like others.
    assert!(create(&todo(), &key(), &body(r#"{"kind":"x"}"#)).is_ok());
    let patch = merge_patch(&config_map(), &key(), None, &body(r#"{"data":{"k":null}}"#)).unwrap();
    assert_eq!(text(&patch), r#"{"data":{"k":null}}"#);
}

#[test]
fn what_contradicts_the_url_or_is_no_business_shape_is_refused() {
    for (text, pointer) in [
        (r#"{"id":"b"}"#, "/id"),
        (r#"{"id":null}"#, "/id"),
        (r#"{"id":5}"#, "/id"),
        (r#"{"meta":{"namespace":"other"}}"#, "/meta/namespace"),
        (r#"{"meta":{"namespace":1}}"#, "/meta/namespace"),
        (r#"{"meta":null}"#, "/meta"),
        (r#"{"meta":[]}"#, "/meta"),
        (r#"{"meta":{"label":{}}}"#, "/meta/label"),
        (r#"{"meta":{"a/b":1}}"#, "/meta/a~1b"),
        (r#"{"meta":{"labels":{"a/b":1}}}"#, "/meta/labels/a~1b"),
        (r#"{"meta":{"labels":["a"]}}"#, "/meta/labels"),
        (r#"{"meta":{"expiresAt":"tomorrow"}}"#, "/meta/expiresAt"),
        (r#"{"meta":{"expiresAt":5}}"#, "/meta/expiresAt"),
    ] {
        let body = body(text);
        let there = existing(&todo(), "", "");
        for result in [
            create(&todo(), &key(), &body),
            replace(&todo(), &key(), None, None, &body),
            replace(&todo(), &key(), Some(&there), None, &body),
            merge_patch(&todo(), &key(), None, &body),
        ] {
            assert_eq!(refused(result), (400, pointer.to_owned()), "{text}");
        }
    }
    let cluster_wide = Key { namespace: None, id: "a".into() };
    assert_eq!(refused(create(&todo(), &cluster_wide, &body(r#"{"meta":{"namespace":"x"}}"#))).1, "/meta/namespace");
    assert_eq!(refused(create(&todo(), &anonymous(), &body(r#"{"id":"No Good"}"#))), (400, "/id".to_owned()));
    assert_eq!(refused(create(&todo(), &anonymous(), &body(r#"{"id":""}"#))), (400, "/id".to_owned()));
    assert_eq!(refused(create(&todo(), &key(), &body(r#"{"meta":{"labels":{"a":null}}}"#))).1, "/meta/labels/a");
}

#[test]
fn a_whole_entity_that_was_read_can_be_sent_back() {
    let there =
        existing(&todo(), r#","labels":{"a":"b"},"uid":"u""#, r#","spec":{"message":"m"},"status":{"phase":"x"}"#);
    let text_of = std::str::from_utf8(&there.json).unwrap();
    let request = replace(&todo(), &key(), Some(&there), None, &body(text_of)).unwrap();
    assert_eq!(
        text(&request),
        r#"[{"op":"add","path":"/spec","value":{"message":"m"}},{"op":"add","path":"/metadata/labels","value":{"a":"b"}}]"#
    );
}

#[test]
fn a_replace_creates_what_the_cache_does_not_have() {
    let request = replace(&todo(), &key(), None, None, &body(r#"{"message":"m"}"#)).unwrap();
    assert_eq!(request.method, Method::Post);
    assert!(request.outdated(409), "somebody else made it");
    assert!(!request.outdated(422));
}

#[test]
fn a_replace_sets_the_whole_spec_in_one_request() {
    let there = existing(&todo(), "", r#","spec":{"message":"old","gone":1}"#);
    let request = replace(&todo(), &key(), Some(&there), None, &body(r#"{"message":"m"}"#)).unwrap();
    assert_eq!((request.method, request.content_type), (Method::Patch, "application/json-patch+json"));
    assert_eq!(text(&request), r#"[{"op":"add","path":"/spec","value":{"message":"m"}}]"#);
    assert!(request.outdated(404), "somebody else deleted it");
    assert!(!request.outdated(409) && !request.outdated(422));
}

#[test]
fn a_precondition_is_part_of_the_request() {
    let there = existing(&todo(), "", "");
    let request = replace(&todo(), &key(), Some(&there), Some(Version(7)), &body("{}")).unwrap();
    assert_eq!(
        text(&request),
        r#"[{"op":"add","path":"/spec","value":{}},{"op":"add","path":"/metadata/resourceVersion","value":"7"}]"#
    );
    assert!(!request.outdated(404) && !request.outdated(409), "the caller is to know");
    // A version that the cache has not seen yet is for the API server to judge, one that it has seen pass is not.
    let ahead = replace(&todo(), &key(), Some(&there), Some(Version(8)), &body("{}")).unwrap();
    assert!(text(&ahead).contains(r#""value":"8""#));
    assert_eq!(refused(replace(&todo(), &key(), Some(&there), Some(Version(6)), &body("{}"))).0, 412);
    assert_eq!(refused(replace(&todo(), &key(), None, Some(Version(6)), &body("{}"))).0, 412);
    let patch = merge_patch(&todo(), &key(), Some(Version(7)), &body(r#"{"message":null}"#)).unwrap();
    assert_eq!(text(&patch), r#"{"metadata":{"resourceVersion":"7"},"spec":{"message":null}}"#);
    assert_eq!(
        text(&delete(Some(Version(7)), false)),
        r#"{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"resourceVersion":"7"}}"#
    );
    assert_eq!(text(&delete(None, false)), r#"{"apiVersion":"v1","kind":"DeleteOptions"}"#);
    assert_eq!(text(&delete(None, true)), r#"{"apiVersion":"v1","dryRun":["All"],"kind":"DeleteOptions"}"#);
}

#[test]
fn labels_that_are_given_replace_all_labels_and_others_stay() {
    let there = existing(&todo(), r#","labels":{"a":"b"}"#, "");
    let of = |text: &str| replace(&todo(), &key(), Some(&there), None, &body(text)).unwrap();
    assert!(!text(&of("{}")).contains("labels"));
    let none = r#"{"op":"add","path":"/metadata/labels","value":{}}"#;
    assert!(text(&of(r#"{"meta":{"labels":{}}}"#)).contains(none));
    assert!(text(&of(r#"{"meta":{"labels":null}}"#)).contains(none));
}

#[test]
fn the_expiry_is_patched_for_the_version_that_was_looked_at() {
    let date = "2027-01-01T00:00:00Z";
    let bare = existing(&todo(), "", "");
    let annotated = existing(&todo(), r#","annotations":{"x":"y"}"#, "");
    let expiring = existing(&todo(), r#","annotations":{"k8sasbackend.com/expires-at":"2027-01-01T00:00:00Z"}"#, "");
    let set = format!(r#"{{"meta":{{"expiresAt":"{date}"}}}}"#);
    let guard = r#"{"op":"add","path":"/metadata/resourceVersion","value":"7"}"#;
    for (there, wanted, operation) in [
        (
            &bare,
            set.as_str(),
            r#"{"op":"add","path":"/metadata/annotations","value":{"k8sasbackend.com/expires-at":"2027-01-01T00:00:00Z"}}"#,
        ),
        (
            &annotated,
            &set,
            r#"{"op":"add","path":"/metadata/annotations/k8sasbackend.com~1expires-at","value":"2027-01-01T00:00:00Z"}"#,
        ),
        (
            &expiring,
            r#"{"meta":{"expiresAt":null}}"#,
            r#"{"op":"remove","path":"/metadata/annotations/k8sasbackend.com~1expires-at"}"#,
        ),
    ] {
        for base in [None, Some(Version(7))] {
            let request = replace(&todo(), &key(), Some(there), base, &body(wanted)).unwrap();
            assert_eq!(text(&request), format!(r#"[{{"op":"add","path":"/spec","value":{{}}}},{operation},{guard}]"#));
            for status in [404, 409, 422] {
                assert!(request.outdated(status));
            }
        }
    }
    for (there, wanted) in [(&bare, r#"{"meta":{"expiresAt":null}}"#), (&expiring, &set), (&expiring, "{}")] {
        let request = replace(&todo(), &key(), Some(there), None, &body(wanted)).unwrap();
        assert_eq!(text(&request), r#"[{"op":"add","path":"/spec","value":{}}]"#, "nothing to change");
    }
    let patch =
        merge_patch(&todo(), &key(), None, &body(r#"{"meta":{"expiresAt":null,"labels":{"a":null}}}"#)).unwrap();
    assert_eq!(
        text(&patch),
        r#"{"metadata":{"annotations":{"k8sasbackend.com/expires-at":null},"labels":{"a":null}}}"#
    );
}

#[test]
fn the_fields_of_a_kind_without_spec_are_replaced_one_by_one() {
    let there = existing(&config_map(), "", r#","data":{"k":"v"},"a/b":1"#);
    let request = replace(&config_map(), &key(), Some(&there), None, &body(r#"{"data":{},"immutable":true}"#)).unwrap();
    assert_eq!(
        text(&request),
        r#"[{"op":"remove","path":"/a~1b"},{"op":"add","path":"/data","value":{}},{"op":"add","path":"/immutable","value":true},{"op":"add","path":"/metadata/resourceVersion","value":"7"}]"#
    );
    assert!(request.outdated(409));
}

#[test]
fn a_merge_patch_goes_under_spec_and_status_is_left_out() {
    let patch = merge_patch(
        &todo(),
        &key(),
        None,
        &body(r#"{"message":"m","when":null,"status":{"phase":"x"},"meta":{"version":"9"}}"#),
    );
    assert_eq!(text(&patch.unwrap()), r#"{"spec":{"message":"m","when":null}}"#);
    assert_eq!(text(&merge_patch(&todo(), &key(), None, &body("{}")).unwrap()), "{}");
}

#[test]
fn what_the_api_server_would_not_notice_is_refused_with_its_place() {
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(70), "]".repeat(70));
    let deeper = "[".repeat(100_000);
    for (text, says, pointer) in [
        ("", "the body is empty", None),
        (" \n", "the body is empty", None),
        ("{", "the body is not JSON: EOF while parsing an object (line 1, column 1)", None),
        ("{\"a\":1}x", "the body is not JSON: trailing characters (line 1, column 8)", None),
        ("{\"a\":1e999}", "the body is not JSON: number out of range", None),
        ("{\"a\":\"\\ud800\"}", "the body is not JSON", None),
        ("[]", "the body is not an object", Some("")),
        ("null", "the body is not an object", Some("")),
        ("\"x\"", "the body is not an object", Some("")),
        (r#"{"a":1,"a":2}"#, "the field \"a\" is given twice", Some("/a")),
        (r#"{"a":1,"\u0061":2}"#, "the field \"a\" is given twice", Some("/a")),
        (r#"{"l":[{},{"x/y":{"b":1,"b":1}}]}"#, "the field \"b\" is given twice", Some("/l/1/x~1y/b")),
        (r#"{"status":{"a":1,"a":1}}"#, "the field \"a\" is given twice", Some("/status/a")),
        (&deep, "the body is nested deeper than 64 levels", None),
        (&deeper, "the body is not an object", Some("")),
    ] {
        let problem = Body::parse(text.as_bytes()).expect_err(says);
        assert_eq!(problem.status, 400);
        assert!(problem.detail.starts_with(says), "{says}: {}", problem.detail);
        if let Some(pointer) = pointer {
            assert_eq!(problem.errors.first().map(|error| error.pointer.as_str()), Some(pointer), "{says}");
        }
    }
    assert!(Body::parse(b"{\"a\":\"\xff\"}").is_err());
}

/// What a merge patch or the value of a JSON patch does, for the property below.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,6}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-z~/\"é]{1,4}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(fields in proptest::collection::btree_map("[a-z~/\"é]{1,6}", json(), 0..5), pretty: bool) {
        let mut fields: Map<String, Value> = fields.into_iter().collect();
        for reserved in ["id", "status", "meta"] {
            fields.remove(reserved);
        }
        let mut sent = fields.clone();
        sent.insert("id".to_owned(), json!("a"));
        let sent = if pretty { serde_json::to_string_pretty(&sent).unwrap() } else { Value::from(sent).to_string() };
        let body = Body::parse(sent.as_bytes()).unwrap();
        let request = create(&todo(), &key(), &body).unwrap();
        let mut object: Value = serde_json::from_slice(&request.body).unwrap();
        prop_assert_eq!(&object["spec"], &Value::from(fields.clone()));
        object["metadata"]["resourceVersion"] = json!("1");
        let entity = crate::mapping::entity(&todo(), serde_json::to_string_pretty(&object).unwrap().as_bytes()).unwrap();
        let mut read: Map<String, Value> = serde_json::from_slice(&entity.json).unwrap();
        prop_assert!(!entity.json.contains(&b'\n'));
        prop_assert_eq!(read.remove("id"), Some(json!("a")));
        read.remove("meta");
        prop_assert_eq!(&read, &fields);
        let request = replace(&todo(), &key(), Some(&entity), None, &body).unwrap();
        let patch: Value = serde_json::from_slice(&request.body).unwrap();
        prop_assert_eq!(&patch[0]["value"], &Value::from(fields));
    }

    #[test]
    fn no_json_patch_writes_outside_fields_labels_and_expiry(
        op in "add|replace|remove|move|copy",
        path in "(/(id|status|meta|labels|expiresAt|version|spec|metadata|annotations|a|0|-|~1|~0)){0,4}/?",
        from in "/(a|id|meta/version|meta/labels/x)",
    ) {
        let text = json!([{"op": op, "path": path, "from": from, "value": "2027-01-01T00:00:00Z"}]).to_string();
        let patch = patch::Patch::parse(text.as_bytes()).unwrap();
        let there = existing(&todo(), r#","labels":{"a":"b"}"#, r#","spec":{"message":"m"}"#);
        if let Ok(request) = patch::json_patch(&todo(), &key(), Some(&there), None, &patch) {
            let made: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
            for operation in made {
                let path = operation["path"].as_str().unwrap();
                let own = path.starts_with("/spec/") || path.starts_with("/metadata/labels");
                let annotation = path.starts_with("/metadata/annotations") && operation.to_string().contains("expires-at");
                prop_assert!(own || annotation || path == "/metadata/resourceVersion", "{}", operation);
            }
        }
    }

    #[test]
    fn no_body_is_too_odd_to_answer(text in "[\\[\\]{}\",:0-9a-z\\\\ ]*") {
        let _ = Body::parse(text.as_bytes());
        let _ = patch::Patch::parse(text.as_bytes());
        let _ = batch::Batch::parse(text.as_bytes());
    }
}
