//! Objects and the entities that are cut out of them, as tables and as properties.

use super::*;
use crate::kind::tests::{config_map, todo};
use crate::marks::Mark;

fn check(kind: &Kind, object: &str, expected: &str) {
    let entity = entity(kind, object.as_bytes()).unwrap();
    assert_eq!(std::str::from_utf8(&entity.json).unwrap(), expected);
}

#[test]
fn a_todo_becomes_its_business_shape() {
    check(
        &todo(),
        r#"{"apiVersion":"k8sasbackend.com/v1","kind":"Todo","metadata":{"annotations":{"k8sasbackend.com/expires-at":"2027-01-01T00:00:00Z","x":"y"},"creationTimestamp":"2026-11-22T10:00:00Z","generation":3,"labels":{"b":"2","a":"1"},"managedFields":[{"manager":"kubectl"}],"name":"buy-milk","namespace":"shop","resourceVersion":"1234","uid":"u-1"},"spec":{"when":"2026-12-24T10:00:00Z","message":"buy \"milk\", 1.0","n":1.50},"status":{"phase":"Scheduled"}}"#,
        r#"{"id":"buy-milk","when":"2026-12-24T10:00:00Z","message":"buy \"milk\", 1.0","n":1.50,"status":{"phase":"Scheduled"},"meta":{"version":"1234","generation":3,"uid":"u-1","namespace":"shop","createdAt":"2026-11-22T10:00:00Z","expiresAt":"2027-01-01T00:00:00Z","labels":{"a":"1","b":"2"},"deleting":false}}"#,
    );
}

#[test]
fn what_is_absent_or_null_is_left_out() {
    for spec in [r#""spec":null,"#, "", r#""spec":{},"status":null,"#] {
        check(
            &todo(),
            &format!(
                r#"{{{spec}"metadata":{{"name":"a","resourceVersion":"1","labels":null,"annotations":null,"deletionTimestamp":"2026-11-22T10:00:00Z"}}}}"#
            ),
            r#"{"id":"a","meta":{"version":"1","generation":0,"uid":"","createdAt":"","expiresAt":null,"labels":{},"deleting":true}}"#,
        );
    }
}

#[test]
fn a_kind_without_spec_has_its_fields_beside_the_metadata() {
    check(
        &config_map(),
        r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"c","namespace":"n","resourceVersion":"5","uid":"u"},"data":{"k":"v"},"immutable":true}"#,
        r#"{"id":"c","data":{"k":"v"},"immutable":true,"meta":{"version":"5","generation":0,"uid":"u","namespace":"n","createdAt":"","expiresAt":null,"labels":{},"deleting":false}}"#,
    );
}

#[test]
fn reserved_names_among_the_fields_do_not_break_the_shape() {
    check(
        &todo(),
        r#"{"metadata":{"name":"a","resourceVersion":"1"},"spec":{"id":"evil","meta":{"version":"9"},"\u0069d":1,"status":3,"m\u0065ssage":"x"}}"#,
        r#"{"id":"a","message":"x","meta":{"version":"1","generation":0,"uid":"","createdAt":"","expiresAt":null,"labels":{},"deleting":false}}"#,
    );
}

#[test]
fn white_space_for_people_is_dropped_but_never_inside_a_string() {
    check(
        &todo(),
        "{\n  \"metadata\": {\n \"name\": \"a\",\n \"resourceVersion\": \"1\" },\n  \"spec\": {\n    \"message\": \"a  b \\\" { \\\\\",\n    \"list\": [ 1,\n\t2 ],\n \"map\": {\n \"k y\": \" v \\\\\" }\r\n  }\n}\n",
        r#"{"id":"a","message":"a  b \" { \\","list":[1,2],"map":{"k y":" v \\"},"meta":{"version":"1","generation":0,"uid":"","createdAt":"","expiresAt":null,"labels":{},"deleting":false}}"#,
    );
}

#[test]
fn what_decisions_need_stands_beside_the_bytes() {
    let object = br#"{"metadata":{"name":"a","namespace":"n","resourceVersion":"18446744073709551615","uid":"u","labels":{"z":"1","b":""},"annotations":{"other":"x"},"deletionTimestamp":"t"}}"#;
    let entity = entity(&todo(), object).unwrap();
    assert_eq!(entity.key, Key { namespace: Some("n".into()), id: "a".into() });
    assert_eq!((entity.version, &*entity.uid, entity.deleting, entity.annotated), (Version(u64::MAX), "u", true, true));
    let labels: Vec<_> = entity.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(labels, [("b", ""), ("z", "1")]);
}

#[test]
fn what_is_no_object_of_kubernetes_is_an_error() {
    for object in ["", "[]", "{}", "null", r#"{"metadata":{"resourceVersion":"1"}}"#] {
        assert!(matches!(entity(&todo(), object.as_bytes()), Err(MappingError::Syntax(_))), "{object}");
    }
    let odd = br#"{"metadata":{"name":"a","resourceVersion":"0xff"}}"#;
    assert!(matches!(entity(&todo(), odd), Err(MappingError::Version { version }) if version == "0xff"));
}

#[test]
fn an_answer_to_a_dry_run_has_no_version_yet() {
    let entity = entity(&todo(), br#"{"metadata":{"name":"a"},"spec":{"message":"m"}}"#).unwrap();
    assert_eq!(entity.version, Version(0));
    assert!(String::from_utf8_lossy(&entity.json).contains(r#""version":"0""#));
}

#[test]
fn the_annotation_of_the_expiry_has_the_name_that_the_contract_gives() {
    let object = format!(
        r#"{{"metadata":{{"name":"a","resourceVersion":"1","annotations":{{"{}":"2027-01-01T00:00:00Z"}}}}}}"#,
        contract::names::EXPIRES_AT
    );
    let entity = entity(&todo(), object.as_bytes()).unwrap();
    assert!(String::from_utf8_lossy(&entity.json).contains(r#""expiresAt":"2027-01-01T00:00:00Z""#));
}

#[test]
fn the_shape_reads_back_as_the_contract_s_entity() {
    let object = br#"{"metadata":{"name":"a","namespace":"n","resourceVersion":"1","uid":"u","creationTimestamp":"t","generation":1},"spec":{"message":"m"}}"#;
    let entity = entity(&todo(), object).unwrap();
    let read: contract::entity::Entity = serde_json::from_slice(&entity.json).unwrap();
    assert_eq!((read.id.as_str(), read.fields["message"].as_str()), ("a", Some("m")));
    assert_eq!((read.meta.namespace.as_deref(), read.meta.deleting), (Some("n"), false));
}

#[test]
fn what_decides_about_reconciling_is_read_beside_the_shape() {
    let marks = |metadata: &str| {
        let object = format!(r#"{{"metadata":{{"name":"a","resourceVersion":"1",{metadata}}}}}"#);
        entity(&config_map(), object.as_bytes()).unwrap().marks
    };
    let of = |all: &[Mark]| all.iter().fold(Marks::default(), |marks, mark| marks.with(*mark, true));
    let cases: [(&str, &[Mark]); 9] = [
        (r#""finalizers":[]"#, &[]),
        (r#""finalizers":["a/b"]"#, &[Mark::Finalizers]),
        (r#""finalizers":["a/b","k8sasbackend.com/finalize"]"#, &[Mark::Finalizers, Mark::Finalizer]),
        (
            r#""annotations":{"k8sasbackend.com/paused":"true","k8sasbackend.com/force-finalize":"yes"}"#,
            &[Mark::Paused],
        ),
        (r#""annotations":{"k8sasbackend.com/force-finalize":"true"}"#, &[Mark::Forced]),
        (r#""ownerReferences":[{"uid":"u","kind":"Todo"}],"labels":{"k8sasbackend.com/parent":"u"}"#, &[]),
        (r#""ownerReferences":[{"uid":"u","controller":true}]"#, &[Mark::Controlled]),
        (
            r#""ownerReferences":[{"uid":"u","controller":true}],"labels":{"k8sasbackend.com/parent":"v"}"#,
            &[Mark::Controlled],
        ),
        (
            r#""ownerReferences":[{"uid":"t"},{"uid":"u","controller":true}],"labels":{"k8sasbackend.com/parent":"u"}"#,
            &[Mark::Controlled, Mark::Child],
        ),
    ];
    for (metadata, expected) in cases {
        assert_eq!(marks(metadata), of(expected), "{metadata}");
    }
}
