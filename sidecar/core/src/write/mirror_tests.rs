//! A write of the business shape and the request that is made of it are mirror images: done to the entity and looked at, or made into a request, done
//! to the object and mapped, they come to the same. For any object, any write, with and without `spec`; what one side cannot do, the other cannot.
//!
//! The public implementations of RFC 6902 and RFC 7396 stand on both sides: for the app's view of its entity, and for the API server.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::patch::{Patch, json_patch};
use super::status::{StatusChange, status};
use super::*;
use crate::kind::tests::{config_map, todo};

/// Names of fields: usual ones, and those that a pointer must escape.
const NAMES: [&str; 6] = ["a", "b", "items", "x/y", "~", ""];
const LABELS: [&str; 3] = ["tier", "example.com/shop", "z"];
const TIMES: [&str; 2] = ["2030-01-01T00:00:00Z", "2031-06-01T12:00:00Z"];

/// What can be copied, and not moved.
const READ_ONLY: [&str; 6] = ["/id", "/meta/version", "/meta/uid", "/meta/labels", "/status", "/status/a"];

fn key() -> Key {
    Key { namespace: Some("shop".into()), id: "milk".into() }
}

fn kinds() -> impl Strategy<Value = Kind> {
    let bare = Kind { has_status: true, ..config_map() };
    prop_oneof![Just(todo()), Just(bare)]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c ]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            members(inner).prop_map(Value::from)
        ]
    })
}

fn members(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
    prop::collection::vec((prop::sample::select(&NAMES[..]), value), 0..4)
        .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn labels(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let member = (prop::sample::select(&LABELS[..]), value);
    prop::collection::vec(member, 0..3).prop_map(|members| {
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
    })
}

fn text() -> impl Strategy<Value = Value> {
    "[a-c]{1,3}".prop_map(Value::from)
}

fn time() -> impl Strategy<Value = Value> {
    prop::sample::select(&TIMES[..]).prop_map(Value::from)
}

/// What an object has; what is empty, the API server leaves out or does not.
#[derive(Debug, Clone)]
struct Parts {
    fields: Option<Map<String, Value>>,
    status: Option<Map<String, Value>>,
    labels: Option<Value>,
    /// Annotations, and the one that is the expiry.
    annotations: Option<Option<Value>>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let parts = (
        prop::option::of(members(value())),
        prop::option::of(members(value())),
        prop::option::of(labels(text())),
        prop::option::of(prop::option::of(time())),
    );
    parts.prop_map(|(fields, status, labels, annotations)| Parts { fields, status, labels, annotations })
}

fn object(kind: &Kind, parts: Parts) -> Value {
    let mut metadata = json!({
        "name": "milk", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 3,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    });
    if let Some(labels) = parts.labels {
        metadata["labels"] = labels;
    }
    if let Some(expires_at) = parts.annotations {
        metadata["annotations"] = json!({ "other/one": "kept" });
        if let Some(expires_at) = expires_at {
            metadata["annotations"][EXPIRES_AT] = expires_at;
        }
    }
    let mut object = json!({ "apiVersion": "v1", "kind": "K", "metadata": metadata });
    match parts.fields {
        Some(fields) if kind.has_spec => object["spec"] = fields.into(),
        Some(fields) => object.as_object_mut().unwrap().extend(fields),
        None => {}
    }
    if let Some(status) = parts.status {
        object["status"] = status.into();
    }
    object
}

/// The business shape, if the object is one that the API server can have.
fn shape(kind: &Kind, object: &Value) -> Option<(Entity, Value)> {
    let entity = mapping::entity(kind, object.to_string().as_bytes()).ok()?;
    let shape = serde_json::from_slice(&entity.json).unwrap();
    Some((entity, shape))
}

/// What the API server does with a request.
fn carry_out(request: &Request, object: &Value) -> Option<Value> {
    let mut object = object.clone();
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    if request.content_type == MERGE_PATCH {
        ::json_patch::merge(&mut object, &body);
    } else {
        object = patched(object, body)?;
    }
    Some(object)
}

fn patched(mut document: Value, operations: Value) -> Option<Value> {
    let patch: ::json_patch::Patch = serde_json::from_value(operations).unwrap();
    // The one that rolls back panics where a move leads into itself.
    ::json_patch::patch_unsafe(&mut document, &patch).is_ok().then_some(document)
}

/// What is shown when it is not there: no labels, no expiry.
fn settled(mut shape: Value) -> Value {
    let meta = &mut shape["meta"];
    if meta["labels"].is_null() {
        meta["labels"] = json!({});
    }
    if meta.get("expiresAt").is_none() {
        meta["expiresAt"] = Value::Null;
    }
    shape
}

fn merge_patches() -> impl Strategy<Value = Value> {
    let label = prop_oneof![text(), Just(Value::Null)];
    let meta = (
        prop::option::of(prop_oneof![4 => labels(label), 1 => Just(Value::Null)]),
        prop::option::of(prop_oneof![time(), Just(Value::Null)]),
    );
    (members(value()), prop::option::of(meta), any::<bool>()).prop_map(|(fields, meta, sent_back)| {
        let mut patch = Value::from(fields);
        if let Some((labels, expires_at)) = meta {
            patch["meta"] = json!({});
            if let Some(labels) = labels {
                patch["meta"]["labels"] = labels;
            }
            if let Some(expires_at) = expires_at {
                patch["meta"]["expiresAt"] = expires_at;
            }
        }
        if sent_back {
            patch["id"] = json!("milk");
            patch["status"] = json!({ "ignored": true });
        }
        patch
    })
}

/// Places of the business shape that a JSON patch may name, whether or not something is there.
fn pointers() -> impl Strategy<Value = String> {
    let segment = prop_oneof![
        4 => prop::sample::select(&NAMES[..]).prop_map(escape),
        1 => (0_usize..3).prop_map(|index| index.to_string()),
        1 => Just("-".to_owned()),
    ];
    let field = (prop::sample::select(&NAMES[..]), prop::collection::vec(segment, 0..3)).prop_map(|(first, rest)| {
        rest.iter().fold(format!("/{}", escape(first)), |pointer, segment| format!("{pointer}/{segment}"))
    });
    let label = prop::sample::select(&LABELS[..]).prop_map(|name| format!("/meta/labels/{}", escape(name)));
    prop_oneof![5 => field, 1 => label]
}

/// An operation, and which of the places that are there it is aimed at, if at any: most others find nothing.
type Shot = (Value, Option<prop::sample::Index>);

fn shots() -> impl Strategy<Value = Vec<Shot>> {
    let read_only = prop::sample::select(&READ_ONLY[..]).prop_map(str::to_owned);
    let of_a_field = (pointers(), value(), text()).prop_flat_map(|(path, value, text)| {
        let value = if path.starts_with("/meta/") { text } else { value };
        prop::sample::select(vec!["add", "add", "replace", "remove", "test"])
            .prop_map(move |op| json!({ "op": op, "path": path, "value": value }))
    });
    let carried = |op: &'static str, from: BoxedStrategy<String>| {
        (from, pointers()).prop_map(move |(from, path)| json!({ "op": op, "from": from, "path": path }))
    };
    let of_all_labels = labels(text()).prop_map(|all| json!({ "op": "replace", "path": "/meta/labels", "value": all }));
    let of_expiry = (prop::sample::select(vec!["add", "replace", "test"]), prop_oneof![time(), Just(Value::Null)])
        .prop_map(|(op, time)| json!({ "op": op, "path": "/meta/expiresAt", "value": time }));
    let at_something = prop_oneof![
        6 => of_a_field,
        1 => carried("move", pointers().boxed()),
        1 => carried("copy", pointers().boxed()),
    ];
    let at_nothing = prop_oneof![carried("copy", read_only.boxed()), of_all_labels, of_expiry];
    let shot = prop_oneof![
        4 => (at_something, prop::option::weighted(0.8, any::<prop::sample::Index>())),
        1 => at_nothing.prop_map(|operation| (operation, None)),
    ];
    prop::collection::vec(shot, 0..5)
}

/// The operations, aimed. A test of what is there holds.
fn aimed(shots: Vec<Shot>, shape: &Value) -> Value {
    let mut there = Vec::new();
    collect(shape, "", &mut there);
    let aim = |(mut operation, index): Shot| {
        let Some(index) = index.filter(|_| !there.is_empty()) else { return operation };
        let pointer = index.get(&there);
        let aimed = if operation.get("from").is_some() { "from" } else { "path" };
        operation[aimed] = json!(pointer);
        if operation["op"] == "test" {
            operation["value"] = shape.pointer(pointer).unwrap().clone();
        }
        operation
    };
    shots.into_iter().map(aim).collect()
}

/// The pointers of all fields and of what is within them.
fn collect(value: &Value, pointer: &str, into: &mut Vec<String>) {
    let members: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (escape(name), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect(),
        _ => return,
    };
    for (name, value) in members {
        if !(pointer.is_empty() && ["id", "status", "meta"].contains(&name.as_str())) {
            let pointer = format!("{pointer}/{name}");
            collect(value, &pointer, into);
            into.push(pointer);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_patch_of_the_shape_is_one_of_the_object(kind in kinds(), parts in parts(), patch in merge_patches()) {
        let object = object(&kind, parts);
        let (_, mut expected) = shape(&kind, &object).unwrap();
        let text = patch.to_string();
        let request = merge_patch(&kind, &key(), None, &Body::parse(text.as_bytes()).unwrap()).unwrap();
        let after = carry_out(&request, &object).unwrap();
        let mut effective = patch.clone();
        effective.as_object_mut().unwrap().remove("status");
        ::json_patch::merge(&mut expected, &effective);
        prop_assert_eq!(shape(&kind, &after).unwrap().1, settled(expected), "{}", String::from_utf8_lossy(&request.body));
        prop_assert_eq!(after["metadata"]["annotations"].get("other/one"), object["metadata"]["annotations"].get("other/one"));
    }

    #[test]
    fn a_json_patch_of_the_shape_is_one_of_the_object(kind in kinds(), parts in parts(), shots in shots()) {
        let object = object(&kind, parts);
        let (entity, before) = shape(&kind, &object).unwrap();
        let operations = aimed(shots, &before);
        let text = operations.to_string();
        let expected = patched(before, operations);
        let request = json_patch(&kind, &key(), Some(&entity), None, &Patch::parse(text.as_bytes()).unwrap());
        let after = match &request {
            Ok(request) => carry_out(request, &object),
            // An expiry is tested before anything is sent.
            Err(problem) if problem.status == 409 => None,
            Err(problem) => return Err(TestCaseError::fail(format!("{problem:?}"))),
        };
        let (Some(after), Some(expected)) = (&after, &expected) else {
            prop_assert_eq!(after, expected, "only one of them fits, {:?}", request);
            return Ok(());
        };
        match shape(&kind, after) {
            Some((_, shown)) => prop_assert_eq!(shown, settled(expected.clone()), "{:?}", request),
            // What was moved or copied to a label's place is no text; the API server refuses that.
            None => prop_assert!(expected["meta"]["labels"].as_object().unwrap().values().any(|label| !label.is_string())),
        }
    }

    #[test]
    fn a_replace_of_the_shape_is_one_of_the_object(
        kind in kinds(), parts in parts(), fields in members(value()), all in prop::option::of(labels(text())),
        expires_at in prop::option::of(prop_oneof![time(), Just(Value::Null)]),
    ) {
        let object = object(&kind, parts);
        let (entity, before) = shape(&kind, &object).unwrap();
        let mut expected = Value::from(fields.clone());
        for member in ["id", "status", "meta"] {
            if let Some(value) = before.get(member) {
                expected[member] = value.clone();
            }
        }
        let mut body = Value::from(fields);
        if let Some(all) = all {
            body["meta"]["labels"] = all.clone();
            expected["meta"]["labels"] = all;
        }
        if let Some(expires_at) = expires_at {
            body["meta"]["expiresAt"] = expires_at.clone();
            expected["meta"]["expiresAt"] = expires_at;
        }
        let text = body.to_string();
        let request = replace(&kind, &key(), Some(&entity), None, &Body::parse(text.as_bytes()).unwrap()).unwrap();
        let after = carry_out(&request, &object).unwrap();
        prop_assert_eq!(shape(&kind, &after).unwrap().1, expected, "{}", String::from_utf8_lossy(&request.body));
        prop_assert_eq!(after["metadata"]["annotations"].get("other/one"), object["metadata"]["annotations"].get("other/one"));
    }

    #[test]
    fn a_write_of_the_status_is_one_of_the_objects_status_alone(
        kind in kinds(), parts in parts(), written in members(value()), shots in shots(),
    ) {
        let object = object(&kind, parts);
        let (entity, before) = shape(&kind, &object).unwrap();
        let text = Value::from(written.clone()).to_string();
        let body = Body::parse(text.as_bytes()).unwrap();
        let there = before.get("status").cloned().unwrap_or_else(|| json!({}));
        let mut merged = there.clone();
        ::json_patch::merge(&mut merged, &Value::from(written.clone()));
        // Pointers begin in the status, which has no parts of its own.
        let plain = |(operation, _): &Shot| ["path", "from"].iter().all(|member| {
            operation.get(*member).and_then(Value::as_str).is_none_or(|pointer| !["/meta", "/id", "/status"].iter().any(|own| pointer.starts_with(own)))
        });
        let operations = aimed(shots.into_iter().filter(plain).collect(), &there);
        let text = operations.to_string();
        let patched = patched(there, operations);
        let operations = Patch::parse(text.as_bytes()).unwrap();
        for (change, expected) in [
            (StatusChange::Replace(&body), Some(Value::from(written))),
            (StatusChange::Merge(&body), Some(merged)),
            (StatusChange::Patch(&operations), patched),
        ] {
            let request = status(&kind, &key(), Some(&entity), None, change).unwrap();
            let Some(after) = carry_out(&request, &object) else {
                prop_assert!(expected.is_none(), "{:?}", request);
                continue;
            };
            let mut shown = before.clone();
            shown["status"] = expected.unwrap();
            prop_assert_eq!(shape(&kind, &after).unwrap().1, shown, "{:?}", change);
        }
    }
}
