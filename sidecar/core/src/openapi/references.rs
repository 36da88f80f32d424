//! Which components a document uses: what nothing refers to is left out.
//!
//! Owns the walk along `$ref`. Called by `openapi` alone.

use std::collections::BTreeSet;

use serde_json::Value;

/// Removes the components to which no path leads.
pub(super) fn prune(document: &mut Value) {
    let mut used = BTreeSet::new();
    let mut waiting: Vec<String> =
        document.get("paths").map(all).unwrap_or_default().into_iter().map(str::to_owned).collect();
    while let Some(reference) = waiting.pop() {
        if let Some(component) = document.pointer(reference.trim_start_matches('#'))
            && used.insert(reference)
        {
            waiting.extend(all(component).into_iter().map(str::to_owned));
        }
    }
    let sections = document.get_mut("components").and_then(Value::as_object_mut).into_iter().flatten();
    for (section, components) in sections {
        if let Value::Object(components) = components {
            components.retain(|name, _| used.contains(&format!("#/components/{section}/{name}")));
        }
    }
}

/// Every `$ref` in a value.
pub(super) fn all(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(members) => {
            let here = members.get("$ref").and_then(Value::as_str);
            here.into_iter().chain(members.values().flat_map(all)).collect()
        }
        Value::Array(items) => items.iter().flat_map(all).collect(),
        _ => Vec::new(),
    }
}
