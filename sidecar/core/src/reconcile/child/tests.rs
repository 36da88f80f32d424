//! Children by example: what an answer may name, and what follows from what is there.

use super::*;
use crate::kind::tests::{config_map, todo};
use crate::mapping;

fn parent() -> Entity {
    let object = r#"{"metadata":{"name":"buy","namespace":"shop","uid":"u-1","resourceVersion":"7"}}"#;
    mapping::entity(&todo(), object.as_bytes()).unwrap()
}

fn kinds() -> Vec<Arc<Kind>> {
    let node = Kind { namespaced: false, kind: "Node".to_owned(), plural: "nodes".to_owned(), ..config_map() };
    vec![Arc::new(config_map()), Arc::new(todo()), Arc::new(node)]
}

fn read(children: Value) -> Result<Vec<Wanted>, Unusable> {
    let (kind, entity) = (todo(), parent());
    let Value::Array(children) = children else { panic!("not an array") };
    let children: Vec<_> = children.into_iter().map(|child| child.as_object().unwrap().clone()).collect();
    wanted(Parent { kind: &kind, entity: &entity }, &kinds(), &children)
}

fn child(id: &str, metadata: &str) -> (usize, Arc<Entity>) {
    let object = format!(
        r#"{{"metadata":{{"name":"{id}","namespace":"shop","uid":"c-{id}","resourceVersion":"9","labels":{{"{PARENT}":"u-1"}}{metadata}}}}}"#
    );
    (0, Arc::new(mapping::entity(&config_map(), object.as_bytes()).unwrap()))
}

const OURS: &str = r#","ownerReferences":[{"uid":"u-1","controller":true}]"#;
const ANOTHERS: &str = r#","ownerReferences":[{"uid":"u-2","controller":true}]"#;

fn map(id: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "id": id, "data": {"a": "1"}})
}

#[test]
fn a_child_is_applied_with_its_owner_and_its_labels() {
    let child = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "id": "a", "data": {"x": "1"}, "status": {"seen": true},
        "meta": {"version": "3", "namespace": "shop", "labels": {"tier": "db"}},
    });
    let all = read(json!([child])).unwrap();
    let body: Value = serde_json::from_slice(&all[0].body(Some("c-1"))).unwrap();
    assert_eq!(
        body,
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": "a", "namespace": "shop", "uid": "c-1",
                "labels": {"tier": "db", "k8sasbackend.com/parent": "u-1", "k8sasbackend.com/parent-kind": "todos.k8sasbackend.com"},
                "ownerReferences": [{"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "name": "buy", "uid": "u-1", "controller": true, "blockOwnerDeletion": true}],
            },
            "data": {"x": "1"},
        })
    );
    let all = read(json!([{"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "id": "b", "message": "m"}])).unwrap();
    let body: Value = serde_json::from_slice(&all[0].body(None)).unwrap();
    assert_eq!((&body["spec"], body["metadata"].get("uid")), (&json!({"message": "m"}), None));
}

#[test]
fn what_cannot_be_a_child_is_refused_with_its_place() {
    let meta = |meta: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "id": "a", "meta": meta});
    for (children, pointer) in [
        (json!([{"kind": "ConfigMap", "id": "a"}]), "/children/0/apiVersion"),
        (json!([map("b"), {"apiVersion": "v1", "id": "a"}]), "/children/1/kind"),
        (json!([{"apiVersion": "v1", "kind": "Secret", "id": "a"}]), "/children/0/kind"),
        (json!([{"apiVersion": "v1", "kind": "Node", "id": "a"}]), "/children/0/kind"),
        (json!([{"apiVersion": "v1", "kind": "ConfigMap"}]), "/children/0/id"),
        (json!([{"apiVersion": "v1", "kind": "ConfigMap", "id": "No Name"}]), "/children/0/id"),
        (json!([map("a"), map("a")]), "/children/1/id"),
        (json!([meta(json!({"namespace": "other"}))]), "/children/0/meta/namespace"),
        (json!([meta(json!({"labels": {"a": 1}}))]), "/children/0/meta/labels"),
        (
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "id": "a", "metadata": {"finalizers": ["x/y"]}}]),
            "/children/0/metadata",
        ),
    ] {
        assert_eq!(read(children.clone()).unwrap_err().pointer, pointer, "{children}");
    }
}

#[test]
fn a_parent_outside_of_namespaces_names_its_childrens() {
    let kind = Kind { namespaced: false, ..todo() };
    let object = r#"{"metadata":{"name":"buy","uid":"u-1","resourceVersion":"7"}}"#;
    let entity = mapping::entity(&kind, object.as_bytes()).unwrap();
    let read = |child: Value| {
        wanted(Parent { kind: &kind, entity: &entity }, &kinds(), std::slice::from_ref(child.as_object().unwrap()))
    };
    assert_eq!(read(map("a")).unwrap_err().pointer, "/children/0/meta/namespace");
    let mut there = map("a");
    there["meta"] = json!({"namespace": "shop"});
    assert_eq!(read(there).unwrap()[0].place.key.namespace.as_deref(), Some("shop"));
    let node = json!({"apiVersion": "v1", "kind": "Node", "id": "a"});
    assert_eq!(read(node).unwrap()[0].place.key.namespace, None);
}

#[test]
fn what_is_there_decides_what_is_done() {
    let all = || read(json!([map("a")])).unwrap();
    let none = HashMap::new();
    let steps = |observed: &[(usize, Arc<Entity>)]| plan(all(), observed, &none);
    let a = all().remove(0);

    assert_eq!(steps(&[]).steps, [Step::Look(a.clone())]);
    let apply = Step::Apply { wanted: a.clone(), uid: "c-a".into() };
    assert_eq!(steps(&[child("a", OURS)]).steps, std::slice::from_ref(&apply));
    assert_eq!(steps(&[child("a", "")]).steps, std::slice::from_ref(&apply), "adopted");
    let taken = Taken { place: a.place.clone(), controlled: true };
    assert_eq!(steps(&[child("a", ANOTHERS)]), Plan { steps: vec![], taken: vec![taken] });
    let deleting = format!(r#"{OURS},"deletionTimestamp":"2026-01-01T00:00:00Z""#);
    assert_eq!(steps(&[child("a", &deleting)]), Plan::default());

    let left_out = |metadata: &str| plan(vec![], &[child("b", metadata)], &none).steps;
    let place = Place { kind: 0, key: child("b", "").1.key.clone() };
    assert_eq!(left_out(OURS), [Step::Delete { place, uid: "c-b".into(), version: Version(9) }]);
    for metadata in ["", ANOTHERS, &deleting] {
        assert_eq!(left_out(metadata), [], "{metadata}");
    }
}

#[test]
fn what_was_applied_and_has_not_changed_since_is_not_applied_again() {
    let a = read(json!([map("a")])).unwrap().remove(0);
    let plan = |digest: u64, version: u64, metadata: &str| {
        let applied = HashMap::from([(a.place.clone(), Applied { digest, version: Version(version) })]);
        plan(vec![a.clone()], &[child("a", metadata)], &applied).steps.len()
    };
    assert_eq!(plan(a.digest, 9, OURS), 0);
    assert_eq!(plan(a.digest, 8, OURS), 1, "somebody changed it");
    assert_eq!(plan(a.digest ^ 1, 9, OURS), 1, "the app wants another");
    assert_eq!(plan(a.digest, 9, ""), 1, "it lost its owner");
}

#[test]
fn what_has_no_label_is_taken_only_from_nobody_who_needs_it() {
    let a = read(json!([map("a")])).unwrap().remove(0);
    let there = |metadata: &str| Found::read(format!(r#"{{"metadata":{{"uid":"c"{metadata}}}}}"#).as_bytes()).unwrap();
    let label = r#","labels":{"k8sasbackend.com/parent":"u-1"}"#;
    assert_eq!(found(&a, None, "u-1"), Ok(None));
    assert_eq!(found(&a, Some(&there(OURS)), "u-1"), Ok(Some("c".into())));
    assert_eq!(found(&a, Some(&there(label)), "u-1"), Ok(Some("c".into())));
    for (metadata, controlled) in
        [("", false), (ANOTHERS, true), (r#","labels":{"k8sasbackend.com/parent":"u-9"}"#, false)]
    {
        let taken = found(&a, Some(&there(metadata)), "u-1").unwrap_err();
        assert_eq!(taken.controlled, controlled, "{metadata}");
        assert!(taken.told(&kinds(), "u-1").contains("ConfigMap \"a\""));
    }
}

#[test]
fn the_label_of_a_long_name_fits_and_is_its_own() {
    let kind = |group: &str| Kind { group: group.to_owned(), ..todo() };
    assert_eq!(parent_kind(&todo()), "todos.k8sasbackend.com");
    let (one, other) = ("a".repeat(70) + ".example", "a".repeat(70) + ".example.com");
    let (one, other) = (parent_kind(&kind(&one)), parent_kind(&kind(&other)));
    assert!(one.len() <= 63 && one != other, "{one} {other}");
}
