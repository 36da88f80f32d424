//! What changed between two states of an entity, as places and values. Pure.
//!
//! `meta` changes with every write, so only what people set of it is compared.

use serde_json::{Map, Value};

/// What a record tells of its entity's content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// The state before is not known: all there is.
    State(Vec<(String, Value)>),
    /// Each place that differs: before and after, absent where there was or is nothing.
    Differences(Vec<(String, Option<Value>, Option<Value>)>),
    /// Nothing to say: a tombstone, a deletion, or what is no object.
    Nothing,
}

/// The members of `meta` that are worth a word.
const META: [&str; 3] = ["labels", "expiresAt", "deleting"];

/// The places of an entity with their values: `message`, `status.phase`, `meta.labels.team`.
pub(crate) fn places(entity: &Value) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    let Value::Object(members) = entity else { return places };
    for (name, value) in members.iter().filter(|(name, _)| *name != "id") {
        match value {
            Value::Object(meta) if name == "meta" => {
                let told: Map<String, Value> = meta
                    .iter()
                    .filter(|(name, value)| {
                        META.contains(&name.as_str()) && !matches!(value, Value::Null | Value::Bool(false))
                    })
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect();
                walk("meta", &Value::Object(told), &mut places);
            }
            value => walk(name, value, &mut places),
        }
    }
    places
}

fn walk(place: &str, value: &Value, into: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) if place == "meta" || !members.is_empty() => {
            members.iter().for_each(|(name, value)| walk(&format!("{place}.{name}"), value, into));
        }
        // A list is one value: what moved within it cannot be told from what is new.
        other => into.push((place.to_owned(), other.clone())),
    }
}

/// From one state to the next.
pub(crate) fn differences(before: &[(String, Value)], after: &[(String, Value)]) -> Change {
    let find = |places: &[(String, Value)], place: &str| {
        places.iter().find(|(found, _)| found == place).map(|(_, value)| value.clone())
    };
    let changed = after.iter().filter_map(|(place, value)| {
        let old = find(before, place);
        (old.as_ref() != Some(value)).then(|| (place.clone(), old, Some(value.clone())))
    });
    let gone = before
        .iter()
        .filter(|(place, _)| find(after, place).is_none())
        .map(|(place, value)| (place.clone(), Some(value.clone()), None));
    Change::Differences(changed.chain(gone).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn places_leave_out_what_changes_with_every_write() {
        let entity = json!({
            "id": "milk", "message": "buy", "tags": [1, 2], "empty": {}, "status": {"phase": "Done"},
            "meta": {"version": "7", "labels": {"team": "a"}, "deleting": false, "expiresAt": null, "createdAt": "x"},
        });
        let mut names: Vec<String> = places(&entity).into_iter().map(|(place, _)| place).collect();
        names.sort();
        assert_eq!(names, ["empty", "message", "meta.labels.team", "status.phase", "tags"]);
        assert_eq!(places(&json!("text")), []);
    }

    #[test]
    fn differences_tell_new_changed_and_gone_places() {
        let before = places(&json!({"a": 1, "b": "x", "c": true, "meta": {"version": "1"}}));
        let after = places(&json!({"a": 1, "b": "y", "d": [], "meta": {"version": "2", "deleting": true}}));
        let Change::Differences(found) = differences(&before, &after) else { panic!("both are known") };
        assert_eq!(
            found,
            [
                ("b".to_owned(), Some(json!("x")), Some(json!("y"))),
                ("d".to_owned(), None, Some(json!([]))),
                ("meta.deleting".to_owned(), None, Some(json!(true))),
                ("c".to_owned(), Some(json!(true)), None),
            ]
        );
        assert_eq!(differences(&before, &before), Change::Differences(Vec::new()));
    }
}
