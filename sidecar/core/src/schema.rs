//! What the API server's OpenAPI v3 document says of a kind: its fields, and whether it can be served at all.

use contract::entity::RESERVED_FIELDS;
use serde_json::{Map, Value, json};

/// Why a kind cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The document does not describe the kind.
    #[error("the API server's OpenAPI document has no schema for {kind}")]
    Missing {
        /// `GROUP/VERSION KIND`.
        kind: String,
    },
    /// A field of the kind has a name that the business shape needs for itself.
    #[error("{kind} declares the field {field:?}, which the entity shape reserves: rename it in the CRD")]
    Reserved {
        /// `GROUP/VERSION KIND`.
        kind: String,
        /// The field.
        field: String,
    },
}

/// A kind's fields as the API server validates them.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// JSON schema of the kind's own fields (the properties of `spec`, or of the object where there is no spec), references resolved.
    pub fields: Value,
    /// JSON schema of `status`, if it has one.
    pub status: Option<Value>,
    /// Whether the fields stand under `spec`.
    pub has_spec: bool,
    /// Whether every object has what `fields` requires; false where `spec` as a whole may be left out.
    pub fields_required: bool,
    /// The CRD's selectable fields as it names them: `spec.priority`. The API server tells them in `x-kubernetes-selectable-fields`.
    pub selectable: Vec<String>,
}

/// The members of an object that are not its fields where there is no `spec`.
const OBJECT_MEMBERS: [&str; 4] = ["apiVersion", "kind", "metadata", "status"];

impl Schema {
    /// Finds the kind in an OpenAPI v3 document of its group and version (`/openapi/v3/apis/GROUP/VERSION`) by
    /// `x-kubernetes-group-version-kind`.
    ///
    /// # Errors
    /// When the kind is not in the document, or one of its fields clashes with the business shape.
    pub fn from_openapi(document: &Value, group: &str, version: &str, kind: &str) -> Result<Self, SchemaError> {
        let name = if group.is_empty() { format!("{version} {kind}") } else { format!("{group}/{version} {kind}") };
        let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
        let object = schemas
            .and_then(|schemas| schemas.values().find(|schema| is_of(schema, group, version, kind)))
            .ok_or_else(|| SchemaError::Missing { kind: name.clone() })?;
        let object = resolve(object, document, &mut Vec::new());
        let status = object.pointer("/properties/status").cloned();
        let has_spec = object.pointer("/properties/spec").is_some();
        let required = names(object.get("required"));
        let fields = if has_spec { spec(&object) } else { beside_metadata(&object) };
        if let Some(field) = RESERVED_FIELDS.into_iter().find(|field| declares(&fields, field)) {
            return Err(SchemaError::Reserved { kind: name, field: field.to_owned() });
        }
        let fields_required = !has_spec || required.contains(&"spec");
        Ok(Self { fields, status, has_spec, fields_required, selectable: selectable(&object) })
    }
}

fn is_of(schema: &Value, group: &str, version: &str, kind: &str) -> bool {
    let wanted = json!({ "group": group, "version": version, "kind": kind });
    schema.get("x-kubernetes-group-version-kind").and_then(Value::as_array).is_some_and(|kinds| kinds.contains(&wanted))
}

fn selectable(object: &Value) -> Vec<String> {
    let declared = object.get("x-kubernetes-selectable-fields").and_then(Value::as_array);
    let paths = declared.into_iter().flatten().filter_map(|field| field.get("fieldPath")?.as_str());
    paths.map(str::to_owned).collect()
}

/// The schema of `spec`, which takes the object's description where it has none of its own.
fn spec(object: &Value) -> Value {
    let mut spec = object.pointer("/properties/spec").cloned().unwrap_or_default();
    if let (Value::Object(spec), Some(description)) = (&mut spec, object.get("description")) {
        spec.entry("description").or_insert_with(|| description.clone());
    }
    spec
}

/// The schema of the members that stand where `spec` would.
fn beside_metadata(object: &Value) -> Value {
    let mut fields = object.clone();
    if let Some(properties) = fields.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !OBJECT_MEMBERS.contains(&name.as_str()));
    }
    if let Some(required) = fields.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name.as_str().is_none_or(|name| !OBJECT_MEMBERS.contains(&name)));
    }
    fields
}

fn declares(fields: &Value, field: &str) -> bool {
    fields.get("properties").and_then(Value::as_object).is_some_and(|properties| properties.contains_key(field))
}

fn names(array: Option<&Value>) -> Vec<&str> {
    array.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The schema with each reference replaced by what it refers to. `within` holds the references that are being replaced: one that meets
/// itself (a kind whose fields nest without end) becomes any JSON.
fn resolve<'a>(schema: &'a Value, document: &'a Value, within: &mut Vec<&'a str>) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(|item| resolve(item, document, within)).collect(),
        Value::Object(members) => Value::Object(resolve_members(members, document, within)),
        other => other.clone(),
    }
}

fn resolve_members<'a>(
    members: &'a Map<String, Value>,
    document: &'a Value,
    within: &mut Vec<&'a str>,
) -> Map<String, Value> {
    // `default`, `enum` and `example` hold values, not schemas, but no value has a `$ref` that leads into the document.
    let mut resolved: Map<String, Value> = members
        .iter()
        .filter(|(keyword, _)| keyword.as_str() != "$ref" && !wraps_reference(keyword, members))
        .map(|(keyword, value)| (keyword.clone(), resolve(value, document, within)))
        .collect();
    let Some(reference) = reference(members) else { return resolved };
    let target = reference.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
    match target {
        Some(Value::Object(target)) if !within.contains(&reference) => {
            within.push(reference);
            for (keyword, value) in resolve_members(target, document, within) {
                resolved.entry(keyword).or_insert(value);
            }
            within.pop();
        }
        _ => {
            resolved.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
        }
    }
    resolved
}

/// What a schema refers to: by `$ref`, or as a built-in kind does it, by `allOf` with a single `$ref` and a description beside it.
fn reference(members: &Map<String, Value>) -> Option<&str> {
    let direct = members.get("$ref");
    direct.or_else(|| single(members.get("allOf"))?.get("$ref")).and_then(Value::as_str)
}

fn wraps_reference(keyword: &str, members: &Map<String, Value>) -> bool {
    keyword == "allOf" && single(members.get("allOf")).is_some_and(|only| only.get("$ref").is_some())
}

fn single(array: Option<&Value>) -> Option<&Value> {
    match array.and_then(Value::as_array).map(Vec::as_slice) {
        Some([only]) => Some(only),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selectable_fields_are_those_that_the_api_server_tells() {
        let mut document = document(json!({ "type": "object", "properties": { "spec": { "type": "object" } } }));
        let read = |document: &Value| Schema::from_openapi(document, "a.b", "v1", "K").unwrap().selectable;
        assert_eq!(read(&document), Vec::<String>::new());
        let fields = json!([{ "fieldPath": "spec.color" }, { "fieldPath": "status.phase" }]);
        let schemas = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut).unwrap();
        schemas.values_mut().for_each(|schema| schema["x-kubernetes-selectable-fields"] = fields.clone());
        assert_eq!(read(&document), ["spec.color", "status.phase"]);
    }

    fn document(schema: Value) -> Value {
        let mut schema = schema;
        schema["x-kubernetes-group-version-kind"] = json!([{ "group": "a.b", "version": "v1", "kind": "K" }]);
        json!({ "components": { "schemas": {
            "a.b.v1.K": schema,
            "Meta": { "type": "object", "description": "General.", "properties": { "name": { "type": "string" } } },
            "Tree": { "type": "object", "properties": { "left": { "$ref": "#/components/schemas/Tree" } } }
        } } })
    }

    fn schema(of: Value) -> Result<Schema, SchemaError> {
        Schema::from_openapi(&document(of), "a.b", "v1", "K")
    }

    #[test]
    fn the_fields_are_those_of_spec() {
        let spec = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
        let found = schema(json!({ "description": "About.", "required": ["spec"],
            "properties": { "apiVersion": {}, "spec": spec, "status": { "type": "object" } } }))
        .unwrap();
        assert_eq!(found.fields["properties"], spec["properties"]);
        assert_eq!(found.fields["description"], "About.");
        assert_eq!(found.status, Some(json!({ "type": "object" })));
        assert!(found.has_spec && found.fields_required);
        let optional = schema(json!({ "properties": { "spec": spec } })).unwrap();
        assert!(!optional.fields_required && optional.status.is_none());
    }

    #[test]
    fn without_a_spec_the_fields_stand_beside_metadata() {
        let found =
            schema(json!({ "required": ["kind", "data"], "properties": { "apiVersion": {}, "kind": {}, "metadata": {},
            "data": { "type": "object" } } }))
            .unwrap();
        assert_eq!(found.fields["properties"], json!({ "data": { "type": "object" } }));
        assert_eq!(found.fields["required"], json!(["data"]));
        assert!(!found.has_spec && found.fields_required);
    }

    #[test]
    fn references_are_replaced_and_endless_ones_become_any_json() {
        let meta =
            json!({ "description": "Special.", "default": {}, "allOf": [{ "$ref": "#/components/schemas/Meta" }] });
        let found = schema(json!({ "properties": { "spec": { "properties": {
            "about": meta, "tree": { "$ref": "#/components/schemas/Tree" }, "lost": { "$ref": "#/components/schemas/Nowhere" },
            "both": { "allOf": [{ "required": ["x"] }] }
        } } } }))
        .unwrap();
        let any = json!({ "x-kubernetes-preserve-unknown-fields": true });
        assert_eq!(
            found.fields["properties"],
            json!({
                "about": { "type": "object", "description": "Special.", "default": {}, "properties": { "name": { "type": "string" } } },
                "tree": { "type": "object", "properties": { "left": any } },
                "lost": any,
                "both": { "allOf": [{ "required": ["x"] }] }
            })
        );
    }

    #[test]
    fn a_kind_that_is_not_there_or_uses_a_reserved_name_is_refused_with_the_reason() {
        for field in RESERVED_FIELDS {
            let error = schema(json!({ "properties": { "spec": { "properties": { field: {} } } } })).unwrap_err();
            assert_eq!(error, SchemaError::Reserved { kind: "a.b/v1 K".to_owned(), field: field.to_owned() });
        }
        let error = Schema::from_openapi(&document(json!({})), "a.b", "v2", "K").unwrap_err();
        assert_eq!(error, SchemaError::Missing { kind: "a.b/v2 K".to_owned() });
    }
}
