//! From the entity that the hook `default` answers to the JSON patch (RFC 6902) that the API server applies: only what differs, and only where an app may.

use contract::entity::RESERVED_FIELDS;
use serde_json::{Map, Value, json};

use crate::entity::Entity;
use crate::hook::answer::Unusable;
use crate::kind::Kind;

/// Members of an object that are no fields of a kind without `spec`.
const FRAME: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

/// The patch that makes `object` what the app wants; empty where that is what it is. `asked` is the entity that the app was shown.
///
/// # Errors
/// When the app changes what is not its to change: `id`, `status`, and of `meta` all but the labels.
pub fn patch(kind: &Kind, object: &Value, asked: &Entity, wanted: &Map<String, Value>) -> Result<Vec<Value>, Unusable> {
    let shown: Value = serde_json::from_slice(&asked.json).unwrap_or_default();
    for name in ["id", "status"] {
        unchanged(&format!("/{name}"), shown.get(name), wanted.get(name))?;
    }
    let mut labels = None;
    for (name, value) in wanted.get("meta").and_then(Value::as_object).into_iter().flatten() {
        if name == "labels" {
            labels = Some(value);
        } else {
            unchanged(
                &format!("/meta/{}", escaped(name)),
                shown.pointer(&format!("/meta/{}", escaped(name))),
                Some(value),
            )?;
        }
    }
    let mut operations = Vec::new();
    if let Some(labels) = labels {
        relabel(object, labels, &mut operations)?;
    }
    let own = |fields: &Map<String, Value>| -> Map<String, Value> {
        let reserved = |name: &str| RESERVED_FIELDS.contains(&name) || (!kind.has_spec && FRAME.contains(&name));
        fields.iter().filter(|(name, _)| !reserved(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let wanted = own(wanted);
    let place = if kind.has_spec { object.get("spec") } else { Some(object) };
    match place.and_then(Value::as_object) {
        Some(present) => members(if kind.has_spec { "/spec" } else { "" }, &own(present), &wanted, &mut operations),
        None if wanted.is_empty() => {}
        None => operations.push(add("/spec", &Value::Object(wanted))),
    }
    Ok(operations)
}

/// What may be left out but not changed.
fn unchanged(pointer: &str, shown: Option<&Value>, wanted: Option<&Value>) -> Result<(), Unusable> {
    match wanted {
        Some(wanted) if !same(shown.unwrap_or(&Value::Null), wanted) => {
            let fault = "a hook cannot change this".to_owned();
            Err(Unusable { pointer: Some(format!("/entity{pointer}")), fault })
        }
        _ => Ok(()),
    }
}

fn relabel(object: &Value, wanted: &Value, operations: &mut Vec<Value>) -> Result<(), Unusable> {
    let expected = |pointer: String, fault: &str| Unusable { pointer: Some(pointer), fault: fault.to_owned() };
    let wanted = wanted.as_object().ok_or_else(|| expected("/entity/meta/labels".to_owned(), "expected a map"))?;
    if let Some((name, _)) = wanted.iter().find(|(_, value)| !value.is_string()) {
        return Err(expected(format!("/entity/meta/labels/{}", escaped(name)), "expected a string"));
    }
    match object.pointer("/metadata/labels").and_then(Value::as_object) {
        Some(present) => members("/metadata/labels", present, wanted, operations),
        None if wanted.is_empty() => {}
        None => operations.push(add("/metadata/labels", &Value::Object(wanted.clone()))),
    }
    Ok(())
}

fn members(at: &str, present: &Map<String, Value>, wanted: &Map<String, Value>, operations: &mut Vec<Value>) {
    for (name, value) in wanted {
        let place = format!("{at}/{}", escaped(name));
        match present.get(name) {
            Some(present) => differ(&place, present, value, operations),
            None => operations.push(add(&place, value)),
        }
    }
    for name in present.keys().filter(|name| !wanted.contains_key(*name)) {
        operations.push(json!({"op": "remove", "path": format!("{at}/{}", escaped(name))}));
    }
}

fn differ(at: &str, present: &Value, wanted: &Value, operations: &mut Vec<Value>) {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => members(at, present, wanted, operations),
        (Value::Array(present), Value::Array(wanted)) => {
            for (index, (present, wanted)) in present.iter().zip(wanted).enumerate() {
                differ(&format!("{at}/{index}"), present, wanted, operations);
            }
            for value in wanted.iter().skip(present.len()) {
                operations.push(add(&format!("{at}/-"), value));
            }
            // From the end, so that the places before stay what they are.
            for index in (wanted.len()..present.len()).rev() {
                operations.push(json!({"op": "remove", "path": format!("{at}/{index}")}));
            }
        }
        (present, wanted) if same(present, wanted) => {}
        (_, wanted) => operations.push(json!({"op": "replace", "path": at, "value": wanted})),
    }
}

fn add(at: &str, value: &Value) -> Value {
    json!({"op": "add", "path": at, "value": value})
}

/// A number is the same however the app's language writes it: 1.0 comes back from some as 1.
fn same(present: &Value, wanted: &Value) -> bool {
    match (present, wanted) {
        (Value::Number(one), Value::Number(other)) if one.is_f64() || other.is_f64() => one.as_f64() == other.as_f64(),
        _ => present == wanted,
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kind::tests::{config_map, todo};
    use crate::mapping;

    fn made(kind: &Kind, object: &Value, wanted: Value) -> Result<Vec<Value>, String> {
        let asked = mapping::entity(kind, object.to_string().as_bytes()).unwrap();
        let Value::Object(wanted) = wanted else { panic!("an entity is an object") };
        patch(kind, object, &asked, &wanted).map_err(|unusable| unusable.to_string())
    }

    fn object(spec: Value) -> Value {
        json!({"metadata": {"name": "a", "resourceVersion": "7", "labels": {"x": "1"}}, "spec": spec, "status": {"phase": "New"}})
    }

    #[test]
    fn only_what_differs_is_patched() {
        let present = object(json!({"message": "milk", "list": [1, 2, 3], "price": 1.0, "deep": {"a~/b": 1, "c": 2}}));
        let wanted = json!({"message": "milk", "list": [1, 5], "price": 1, "deep": {"a~/b": 2, "c": 2}, "priority": 3});
        let expected = json!([
            {"op": "replace", "path": "/spec/deep/a~0~1b", "value": 2},
            {"op": "replace", "path": "/spec/list/1", "value": 5},
            {"op": "remove", "path": "/spec/list/2"},
            {"op": "add", "path": "/spec/priority", "value": 3},
        ]);
        assert_eq!(Value::Array(made(&todo(), &present, wanted).unwrap()), expected);
    }

    #[test]
    fn an_object_without_fields_or_labels_gets_them() {
        let bare = json!({"metadata": {"name": "a"}});
        let wanted = json!({"priority": 3, "meta": {"labels": {"team": "red"}}});
        let expected = json!([
            {"op": "add", "path": "/metadata/labels", "value": {"team": "red"}},
            {"op": "add", "path": "/spec", "value": {"priority": 3}},
        ]);
        assert_eq!(Value::Array(made(&todo(), &bare, wanted).unwrap()), expected);
        assert_eq!(made(&todo(), &bare, json!({})).unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn a_kind_without_spec_is_patched_beside_its_metadata() {
        let present = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}});
        let operations = made(&config_map(), &present, json!({"data": {"k": "w"}, "immutable": true})).unwrap();
        let expected = json!([
            {"op": "replace", "path": "/data/k", "value": "w"},
            {"op": "add", "path": "/immutable", "value": true},
        ]);
        assert_eq!(Value::Array(operations), expected);
    }

    #[test]
    fn what_is_not_the_app_s_to_change_is_refused_with_its_place() {
        let present = object(json!({"message": "milk"}));
        for (wanted, expected) in [
            (json!({"id": "b"}), "/entity/id: a hook cannot change this"),
            (json!({"status": {"phase": "Done"}}), "/entity/status: a hook cannot change this"),
            (json!({"meta": {"version": "8"}}), "/entity/meta/version: a hook cannot change this"),
            (json!({"meta": {"owner": "me"}}), "/entity/meta/owner: a hook cannot change this"),
            (json!({"meta": {"labels": {"x": 1}}}), "/entity/meta/labels/x: expected a string"),
            (json!({"meta": {"labels": []}}), "/entity/meta/labels: expected a map"),
        ] {
            let told = made(&todo(), &present, wanted.clone()).unwrap_err();
            assert!(told.ends_with(expected), "{wanted}: {told}");
        }
        let echoed = json!({"id": "a", "message": "milk", "status": {"phase": "New"}, "meta": {"version": "7", "deleting": false, "labels": {"x": "1"}}});
        assert_eq!(made(&todo(), &present, echoed).unwrap(), Vec::<Value>::new());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..5_i64).prop_map(Value::from),
            (0..4_u8).prop_map(|n| Value::from(f64::from(n) / 2.0)),
            "[a-b~/]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c~/]{1,2}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn fields() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[a-c~/]{1,2}", value(), 0..4)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    /// Numbers that are the same count as equal.
    fn plain(value: &Value) -> Value {
        match value {
            Value::Number(number) => json!(number.as_f64()),
            Value::Array(items) => items.iter().map(plain).collect(),
            Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
            other => other.clone(),
        }
    }

    proptest! {
        #[test]
        fn the_patched_object_is_the_wanted_entity(present in fields(), wanted in fields()) {
            let mut patched = object(present);
            let operations = made(&todo(), &patched, wanted.clone()).unwrap();
            let operations: json_patch::Patch = serde_json::from_value(Value::Array(operations)).unwrap();
            json_patch::patch(&mut patched, &operations).unwrap();
            prop_assert_eq!(plain(&patched["spec"]), plain(&wanted));
            prop_assert_eq!(made(&todo(), &patched, wanted).unwrap(), Vec::<Value>::new(), "a second time changes nothing");
        }
    }
}
