//! Merge patches over the business shape, as tables and as properties.

use super::*;
use crate::kind::tests::{config_map, todo};

fn key() -> Key {
    Key { namespace: Some("shop".into()), id: "a".into() }
}

fn entity(kind: &Kind, metadata: &str, rest: &str) -> Entity {
    let object = format!(r#"{{"metadata":{{"name":"a","namespace":"shop","resourceVersion":"7"{metadata}}}{rest}}}"#);
    mapping::entity(kind, object.as_bytes()).unwrap()
}

fn usual() -> Entity {
    entity(&todo(), r#","labels":{"a":"b"}"#, r#","spec":{"message":"m"}"#)
}

fn made(kind: &Kind, existing: Option<&Entity>, base: Option<Version>, text: &str) -> Result<Request, Problem> {
    json_patch(kind, &key(), existing, base, &Patch::parse(text.as_bytes())?)
}

fn body(request: &Request) -> &str {
    std::str::from_utf8(&request.body).unwrap()
}

#[test]
fn operations_are_translated_and_their_values_kept_as_written() {
    for (given, expected) in [
        ("[]", "[]"),
        (r#"[{"op":"add","path":"/n","value": 1.50}]"#, r#"[{"op":"add","path":"/spec/n","value":1.50}]"#),
        (
            r#"[{"op":"test","path":"/meta/version","value":"7"},{"op":"remove","path":"/done","comment":"ignored"}]"#,
            r#"[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"remove","path":"/spec/done"}]"#,
        ),
        (
            r#"[{"op":"replace","path":"/meta/labels/a~1b","value":"x"},{"op":"test","path":"/status/phase","value":null}]"#,
            r#"[{"op":"replace","path":"/metadata/labels/a~1b","value":"x"},{"op":"test","path":"/status/phase","value":null}]"#,
        ),
        (
            r#"[{"op":"move","from":"/a","path":"/b"},{"op":"copy","from":"/id","path":"/c"}]"#,
            r#"[{"op":"move","from":"/spec/a","path":"/spec/b"},{"op":"copy","from":"/metadata/name","path":"/spec/c"}]"#,
        ),
        (r#"[{"op":"remove","path":"/meta/labels"}]"#, r#"[{"op":"add","path":"/metadata/labels","value":{}}]"#),
    ] {
        let request = made(&todo(), Some(&usual()), None, given).unwrap();
        assert_eq!((request.content_type, body(&request)), (JSON_PATCH, expected), "{given}");
        assert!(request.outdated(422) && !request.outdated(409) && !request.outdated(404), "{given}");
    }
    let data = r#"[{"op":"add","path":"/data/k","value":"v"}]"#;
    assert_eq!(body(&made(&config_map(), None, None, data).unwrap()), data);
}

#[test]
fn a_precondition_is_part_of_the_request() {
    let given = r#"[{"op":"remove","path":"/a"}]"#;
    let request = made(&todo(), Some(&usual()), Some(Version(6)), given).unwrap();
    assert_eq!(
        body(&request),
        r#"[{"op":"remove","path":"/spec/a"},{"op":"add","path":"/metadata/resourceVersion","value":"6"}]"#
    );
}

#[test]
fn maps_that_the_object_leaves_out_are_made_first_for_this_version_only() {
    let bare = entity(&todo(), "", "");
    let request = made(&todo(), Some(&bare), None, r#"[{"op":"add","path":"/meta/labels/a","value":"b"}]"#).unwrap();
    assert_eq!(
        body(&request),
        r#"[{"op":"add","path":"/metadata/labels","value":{}},{"op":"add","path":"/metadata/labels/a","value":"b"},{"op":"add","path":"/metadata/resourceVersion","value":"7"}]"#
    );
    assert!(request.outdated(409));
    let request = made(&todo(), Some(&bare), None, r#"[{"op":"add","path":"/a","value":1}]"#).unwrap();
    assert!(body(&request).starts_with(r#"[{"op":"add","path":"/spec","value":{}},"#), "{}", body(&request));
}

#[test]
fn the_expiry_is_decided_here_and_set_as_an_annotation() {
    let add = r#"[{"op":"test","path":"/meta/expiresAt","value":null},{"op":"add","path":"/meta/expiresAt","value":"2027-01-01T00:00:00Z"}]"#;
    assert!(Patch::parse(add.as_bytes()).unwrap().needs_state());
    let request = made(&todo(), Some(&usual()), None, add).unwrap();
    assert_eq!(
        body(&request),
        r#"[{"op":"add","path":"/metadata/annotations","value":{"k8sasbackend.com/expires-at":"2027-01-01T00:00:00Z"}},{"op":"add","path":"/metadata/resourceVersion","value":"7"}]"#
    );
    let expiring = entity(
        &todo(),
        r#","annotations":{"k8sasbackend.com/expires-at":"2027-01-01T00:00:00Z"}"#,
        r#","spec":{"message":"m"}"#,
    );
    let remove = r#"[{"op":"remove","path":"/meta/expiresAt"}]"#;
    let request = made(&todo(), Some(&expiring), None, remove).unwrap();
    assert!(
        body(&request).starts_with(r#"[{"op":"remove","path":"/metadata/annotations/k8sasbackend.com~1expires-at"}"#)
    );
    assert_eq!(made(&todo(), Some(&expiring), None, add).unwrap_err().status, 409, "the test does not hold");
    assert_eq!(made(&todo(), None, None, remove).unwrap_err().status, 404);
    assert_eq!(made(&todo(), Some(&usual()), Some(Version(6)), add).unwrap_err().status, 412);
}

#[test]
fn what_is_no_patch_or_cannot_be_written_is_refused_with_its_place() {
    for (given, status, pointer) in [
        ("{}", 400, ""),
        ("[1]", 400, "/0"),
        (r#"[{"op":"add","path":"/a","value":{"x":1,"x":2}}]"#, 400, "/0/value/x"),
        (r#"[{"path":"/a"}]"#, 400, "/0"),
        (r#"[{"op":"put","path":"/a"}]"#, 400, "/0/op"),
        (r#"[{"op":"remove","path":1}]"#, 400, "/0/path"),
        (r#"[{"op":"add","path":"/a"}]"#, 400, "/0"),
        (r#"[{"op":"move","path":"/a"}]"#, 400, "/0"),
        (r#"[{"op":"remove","path":"a"}]"#, 422, "/a"),
        (r#"[{"op":"add","path":"/id","value":"b"}]"#, 422, "/id"),
        (r#"[{"op":"add","path":"/status/phase","value":"b"}]"#, 422, "/status/phase"),
        (r#"[{"op":"remove","path":"/meta/version"}]"#, 422, "/meta/version"),
        (r#"[{"op":"add","path":"/meta","value":{}}]"#, 422, "/meta"),
        (r#"[{"op":"add","path":"","value":{}}]"#, 422, ""),
        (r#"[{"op":"move","from":"/id","path":"/a"}]"#, 422, "/id"),
        (r#"[{"op":"copy","from":"/a","path":"/meta/expiresAt"}]"#, 422, "/meta/expiresAt"),
        (r#"[{"op":"copy","from":"/meta/expiresAt","path":"/a"}]"#, 422, "/meta/expiresAt"),
        (r#"[{"op":"add","path":"/meta/labels/a","value":1}]"#, 400, "/meta/labels/a"),
        (r#"[{"op":"add","path":"/meta/labels","value":[]}]"#, 400, "/meta/labels"),
        (r#"[{"op":"add","path":"/meta/expiresAt","value":"soon"}]"#, 400, "/meta/expiresAt"),
    ] {
        let problem = made(&todo(), Some(&usual()), None, given).expect_err(given);
        let found = problem.errors.first().map(|error| error.pointer.as_str()).unwrap_or_default();
        assert_eq!((problem.status, found), (status, pointer), "{given}: {problem:?}");
    }
    let many = format!("[{}]", vec![r#"{"op":"remove","path":"/a"}"#; OPERATIONS + 1].join(","));
    assert!(Patch::parse(many.as_bytes()).unwrap_err().detail.contains("10001"));
}
