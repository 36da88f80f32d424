//! The schemas of one kind: the entity as it is read, written, patched and listed.
//!
//! Owns how a kind's own fields and the shape's `id`, `status` and `meta` make one object. Called by `openapi` alone.

use serde_json::{Map, Value, json};

use super::dialect::{Shape, convert, strings};
use super::names::Names;
use super::shared::{id, part_of, reference};
use crate::kind::Kind;
use crate::schema::Schema;

/// The components of a kind.
pub(super) fn schemas(names: &Names, schema: &Schema, kind: &Kind) -> Vec<(String, Value)> {
    let name = &names.one;
    let mut components = vec![
        (name.clone(), entity(names, schema)),
        (format!("{name}Part"), part(names, schema)),
        (format!("{name}List"), list(names)),
    ];
    if let Some(status) = &schema.status {
        components.push((format!("{name}Status"), convert(status, Shape::Read)));
    }
    if kind.owned {
        components.push((format!("{name}Write"), write(schema)));
        components.push((format!("{name}Patch"), patch(schema)));
    }
    if kind.owned && kind.has_status {
        let status = schema.status.clone().unwrap_or_else(|| json!({ "type": "object" }));
        components.push((format!("{name}StatusWrite"), convert(&status, Shape::Write)));
        components.push((format!("{name}StatusPatch"), convert(&status, Shape::Patch)));
    }
    components
}

fn entity(names: &Names, schema: &Schema) -> Value {
    let mut own = vec![
        ("id", json!({ "type": "string", "description": "Unique within the namespace, and never changed." })),
        ("meta", reference("schemas", "Meta")),
    ];
    if schema.status.is_some() {
        own.push(("status", reference("schemas", &format!("{}Status", names.one))));
    }
    // An object without a spec has none of its fields.
    shaped(&schema.fields, Shape::Read, own, &["id", "meta"], schema.fields_required)
}

/// An entity as `fields` leaves it.
fn part(names: &Names, schema: &Schema) -> Value {
    let mut part = part_of(entity(names, schema));
    if let Value::Object(part) = &mut part {
        part.insert(
            "description".to_owned(),
            json!(format!("Of a {} the members that `fields` names, and `id`.", names.one)),
        );
        part.insert("required".to_owned(), json!(["id"]));
    }
    if let Some(Value::Object(properties)) = part.get_mut("properties") {
        properties.insert("meta".to_owned(), reference("schemas", "MetaPart"));
        if let Some(status) = &schema.status {
            properties.insert("status".to_owned(), part_of(convert(status, Shape::Read)));
        }
    }
    part
}

fn write(schema: &Schema) -> Value {
    let own = vec![
        ("id", described(id(), "Must be the URL's where the URL has one; one is made up where neither has.")),
        ("meta", reference("schemas", "MetaWrite")),
        ("status", json!({ "description": "Ignored, so that an entity can be sent back as it was read." })),
    ];
    shaped(&schema.fields, Shape::Write, own, &[], true)
}

fn patch(schema: &Schema) -> Value {
    let own = vec![
        ("id", described(id(), "Must be the URL's.")),
        ("meta", reference("schemas", "MetaPatch")),
        ("status", json!({ "description": "Ignored." })),
    ];
    shaped(&schema.fields, Shape::Patch, own, &[], false)
}

fn described(mut schema: Value, description: &str) -> Value {
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), json!(description));
    }
    schema
}

/// The kind's own fields with the shape's members beside them. `demanded` says whether the fields that the kind requires must be there.
fn shaped(fields: &Value, shape: Shape, own: Vec<(&str, Value)>, required: &[&str], demanded: bool) -> Value {
    let mut target = match convert(fields, shape) {
        Value::Object(target) => target,
        _ => Map::new(),
    };
    // These speak of the fields alone and would count or compare the shape's members too.
    for keyword in ["default", "enum", "examples", "maxProperties", "minProperties", "readOnly", "title"] {
        target.remove(keyword);
    }
    target.insert("type".to_owned(), json!("object"));
    let open = fields.get("x-kubernetes-preserve-unknown-fields").is_some_and(|open| open == &json!(true));
    if open {
        target.entry("additionalProperties").or_insert(json!(true));
    }
    let mut all: Vec<String> = required.iter().map(|name| (*name).to_owned()).collect();
    if demanded {
        all.extend(strings(target.get("required")).into_iter().map(str::to_owned));
    }
    all.sort_unstable();
    match all.as_slice() {
        [] => target.remove("required"),
        all => target.insert("required".to_owned(), json!(all)),
    };
    let properties = target.entry("properties").or_insert_with(|| json!({}));
    if let Value::Object(properties) = properties {
        properties.extend(own.into_iter().map(|(name, schema)| (name.to_owned(), schema)));
    }
    Value::Object(target)
}

fn list(names: &Names) -> Value {
    json!({
        "type": "object",
        "description": format!("{} and how far the list goes.", names.many),
        "required": ["items", "meta", "nextPageToken"],
        "properties": {
            "items": {
                "type": "array",
                "description": "Whole, or with `fields` in parts.",
                "items": { "anyOf": [reference("schemas", &names.one), reference("schemas", &format!("{}Part", names.one))] }
            },
            "meta": reference("schemas", "ListMeta"),
            "nextPageToken": {
                "type": ["string", "null"], "description": "`pageToken` of the next page; null on the last one."
            }
        }
    })
}
