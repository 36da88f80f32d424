//! What all kinds share in a document: parameters, headers, problems, `Meta`, and the list of kinds.
//!
//! Owns the components whose names do not depend on a kind. Called by `openapi` and `operations`.

use contract::entity::Meta;
use contract::problem::{Code, MEDIA_TYPE, Problem};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// Every problem that some operation names. What is not here can befall any request, and is told by the `default` answer.
const PROBLEMS: [Code; 12] = [
    Code::BadRequest,
    Code::Forbidden,
    Code::NotFound,
    Code::Conflict,
    Code::PreconditionFailed,
    Code::TooLarge,
    Code::UnsupportedMediaType,
    Code::Invalid,
    Code::TooManyRequests,
    Code::Unavailable,
    Code::Timeout,
    Code::OverBudget,
];

/// The names of all shared schemas: no kind's components may be called so.
pub(super) const SCHEMAS: [&str; 14] = [
    "Batch",
    "BatchOperation",
    "BatchResult",
    "BatchResults",
    "FieldError",
    "JsonPatch",
    "KindList",
    "ListMeta",
    "Meta",
    "MetaPart",
    "MetaPatch",
    "MetaWrite",
    "Problem",
    "ServedKind",
];

/// The answer that any request may get beside those that its operation names.
const ANY_PROBLEM: &str = "AnyProblem";

/// An entity's id: a DNS subdomain, as for every Kubernetes object.
const ID: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// A namespace: one part of a DNS name.
const NAMESPACE: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// A label's name, with or without a prefix, and its value.
const LABEL: &str = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
const LABEL_VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$";
/// A JSON pointer.
const POINTER: &str = "^(/([^/~]|~[01])*)*$";
/// Entity tags.
const TAGS: &str = r#"^(W/)?"[!#-~]+"(, ?(W/)?"[!#-~]+")*$"#;

/// The schema of an id.
pub(super) fn id() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 253, "pattern": ID })
}

/// The schema of a namespace, where any will do.
pub(super) fn namespace() -> Value {
    json!({ "type": "string", "minLength": 1, "maxLength": 63, "pattern": NAMESPACE })
}

/// The schema of `If-Match` and `If-None-Match`.
fn tags() -> Value {
    json!({ "anyOf": [{ "const": "*" }, { "type": "string", "pattern": TAGS }], "examples": ["\"1234\""] })
}

/// A reference to a component.
pub(super) fn reference(section: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{section}/{name}") })
}

/// `responses` of an operation for these problems, and for any other.
pub(super) fn problems(codes: &[Code]) -> Map<String, Value> {
    let mut responses: Map<String, Value> =
        codes.iter().map(|code| (code.status().to_string(), reference("responses", &component(*code)))).collect();
    responses.insert("default".to_owned(), reference("responses", ANY_PROBLEM));
    responses
}

/// The shared schemas.
pub(super) fn schemas() -> Map<String, Value> {
    let mut schemas = contract_schemas();
    let part = schemas.get("Meta").cloned().unwrap_or_default();
    let own = [
        ("MetaPart", part_of(part)),
        ("MetaWrite", writable_meta(&schemas, false)),
        ("MetaPatch", writable_meta(&schemas, true)),
        ("JsonPatch", json_patch()),
        (
            "ListMeta",
            json!({
                "type": "object",
                "description": "What is known of a list as a whole.",
                "required": ["version"],
                "properties": {
                    "version": { "type": "string", "description": "Every change up to this version is in the list." }
                }
            }),
        ),
        (
            "KindList",
            json!({
                "type": "object",
                "description": "The kinds served here.",
                "required": ["items"],
                "properties": { "items": { "type": "array", "items": reference("schemas", "ServedKind") } }
            }),
        ),
        (
            "ServedKind",
            json!({
                "type": "object",
                "description": "A kind served here.",
                "required": ["apiVersion", "kind", "plural", "path", "namespaced", "namespaces", "owned"],
                "properties": {
                    "apiVersion": { "type": "string", "description": "`GROUP/VERSION`.", "examples": ["k8sasbackend.com/v1"] },
                    "kind": { "type": "string", "examples": ["Todo"] },
                    "plural": { "type": "string", "examples": ["todos"] },
                    "path": { "type": "string", "description": "Where its entities are.", "examples": ["/v1/todos"] },
                    "namespaced": { "type": "boolean", "description": "Whether its entities live in namespaces." },
                    "namespaces": {
                        "description": "The namespaces served; `all` for every one.",
                        "anyOf": [{ "const": "all" }, { "type": "array", "items": { "type": "string" } }]
                    },
                    "owned": { "type": "boolean", "description": "Whether it can be written here." }
                }
            }),
        ),
    ];
    schemas.extend(own.map(|(name, schema)| (name.to_owned(), schema)));
    schemas
}

/// `Meta`, `Problem` and `FieldError`, from the very types that are sent.
fn contract_schemas() -> Map<String, Value> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    generator.subschema_for::<Meta>();
    generator.subschema_for::<Problem>();
    let mut schemas = generator.take_definitions(true);
    // What the types cannot say: which members are sent even when there is nothing to say (null and {}), and which are then left out.
    amend(&mut schemas, "/Meta/required", |required| {
        if let Value::Array(names) = required {
            names.extend([json!("expiresAt"), json!("labels")]);
        }
    });
    amend(&mut schemas, "/Meta/properties/labels", |labels| {
        if let Value::Object(labels) = labels {
            labels.remove("default");
        }
    });
    for optional in ["/Meta/properties/namespace/type", "/Problem/properties/instance/type"] {
        amend(&mut schemas, optional, |of| *of = json!("string"));
    }
    amend(&mut schemas, "/Problem/properties/status", |status| {
        *status = json!({ "type": "integer", "minimum": 400, "maximum": 599, "description": "The HTTP status." });
    });
    schemas
}

/// `Meta` as a write may hold it: all members are known, so that an entity can be sent back as it was read, and two have an effect.
fn writable_meta(schemas: &Map<String, Value>, patch: bool) -> Value {
    let mut properties = schemas.get("Meta").and_then(|meta| meta.get("properties")).cloned().unwrap_or_default();
    for (name, property) in properties.as_object_mut().into_iter().flatten() {
        let (about, label) = match name.as_str() {
            "labels" if patch => (
                "Labels to set; null removes one, or all.",
                json!({ "type": ["string", "null"], "pattern": LABEL_VALUE }),
            ),
            "labels" => (
                "All labels: those that are left out are removed.",
                json!({ "type": "string", "pattern": LABEL_VALUE }),
            ),
            "expiresAt" => ("When the entity is to be deleted; null: never.", Value::Null),
            "namespace" => ("Must be the entity's.", Value::Null),
            _ => ("Ignored.", Value::Null),
        };
        match name.as_str() {
            "namespace" => *property = namespace(),
            "labels" | "expiresAt" => {}
            // Whatever it is.
            _ => *property = json!({}),
        }
        if let Value::Object(property) = property {
            property.insert("description".to_owned(), json!(about));
            if !label.is_null() {
                property.insert("type".to_owned(), json!(["object", "null"]));
                property.insert("additionalProperties".to_owned(), label);
                property.insert("propertyNames".to_owned(), json!({ "pattern": LABEL }));
            }
        }
    }
    json!({
        "type": "object",
        "description": "What can be written of `meta`: `labels` and `expiresAt`. Each stays as it is where it is left out.",
        "properties": properties,
        "additionalProperties": false
    })
}

/// A JSON patch (RFC 6902).
fn json_patch() -> Value {
    let pointer = |about: &str| json!({ "type": "string", "pattern": POINTER, "description": about });
    let operation = |ops: &[&str], required: &[&str], more: Value| {
        let mut properties = json!({ "op": { "type": "string", "enum": ops }, "path": pointer("A JSON pointer (RFC 6901): `/when`, `/meta/labels/a~1b`.") });
        if let (Value::Object(properties), Value::Object(more)) = (&mut properties, more) {
            properties.extend(more);
        }
        json!({ "type": "object", "required": required, "properties": properties })
    };
    json!({
        "type": "array",
        "description": "Operations that are done in their order, all or none.",
        "maxItems": 10_000,
        "items": { "anyOf": [
            operation(&["add", "replace", "test"], &["op", "path", "value"], json!({ "value": { "description": "Any JSON." } })),
            operation(&["remove"], &["op", "path"], json!({})),
            operation(&["move", "copy"], &["op", "path", "from"], json!({ "from": pointer("Where the value is taken from.") })),
        ] }
    })
}

/// The same with nothing required, at any depth: what `fields` may leave of it.
pub(super) fn part_of(mut schema: Value) -> Value {
    if let Value::Object(keywords) = &mut schema {
        for keyword in ["required", "minProperties", "dependentRequired"] {
            keywords.remove(keyword);
        }
        for (keyword, inner) in keywords.iter_mut() {
            match (keyword.as_str(), inner) {
                ("properties", Value::Object(named)) => {
                    named.values_mut().for_each(|one| *one = part_of(one.take()));
                }
                ("allOf" | "anyOf" | "oneOf", Value::Array(several)) => {
                    several.iter_mut().for_each(|one| *one = part_of(one.take()));
                }
                ("items" | "additionalProperties", one) => *one = part_of(one.take()),
                _ => {}
            }
        }
    }
    schema
}

/// Changes what stands at a pointer; the shape of the contract's types is pinned by the golden document.
fn amend(schemas: &mut Map<String, Value>, pointer: &str, change: impl FnOnce(&mut Value)) {
    let (name, within) = pointer.trim_start_matches('/').split_once('/').unwrap_or((pointer, ""));
    if let Some(place) = schemas.get_mut(name).and_then(|schema| schema.pointer_mut(&format!("/{within}"))) {
        change(place);
    }
}

/// The shared parameters.
pub(super) fn parameters() -> Value {
    let header = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "header", "schema": schema, "description": description });
    let query = |name: &str, schema: Value, description: &str| json!({ "name": name, "in": "query", "schema": schema, "description": description });
    json!({
        "Id": {
            "name": "id", "in": "path", "required": true,
            "schema": id(),
            "description": "The entity's id."
        },
        "LabelSelector": query("labelSelector", json!({ "type": "string", "examples": ["shop=corner,tier in (a,b),!hidden"] }),
            "Only entities whose labels fit: `a=b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, joined by commas."),
        "Filter": query("filter", json!({ "type": "string", "maxLength": 2048, "examples": ["!done && when < timestamp(\"2030-01-01T00:00:00Z\")"] }),
            "Only entities for which this holds: an expression in CEL over `id`, the kind's own fields, `status` and `meta`."),
        "OrderBy": query("orderBy", json!({ "type": "string", "examples": ["when desc,id"] }),
            "Fields to order by, each with `asc` or `desc` behind it; what has no such value stands last. By namespace and id when absent."),
        "Fields": query("fields", json!({ "type": "string", "examples": ["id,when,meta.version"] }),
            "Only these fields of each item, and `id`."),
        "Limit": query("limit", json!({ "type": "integer", "minimum": 1, "maximum": 10000 }),
            "At most so many items; all when absent."),
        "PageToken": query("pageToken", json!({ "type": "string" }),
            "`nextPageToken` of the page before, with the same query otherwise. Pages stay stable while entities come and go."),
        "DryRun": query("dryRun", json!({ "type": "boolean" }),
            "`true` checks everything and stores nothing."),
        "IfMatch": header("If-Match", tags(),
            "Only if the entity still has this `ETag`; `*`: only if it exists. Else 412."),
        "IfNoneMatch": header("If-None-Match", tags(),
            "304 without a body if the answer would still have this `ETag`."),
        "OnlyNew": header("If-None-Match", json!({ "type": "string", "const": "*" }),
            "`*`: only if no entity of this id exists. Else 412."),
        "IdempotencyKey": header("Idempotency-Key", json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$", "examples": ["8e03978e-40d5-43dd-bc93-6894a57f9324"] }),
            "A create that is tried again with the same key and the same bytes returns the entity of the first try; with other bytes it is refused with 422."),
        "CacheControl": header("Cache-Control", json!({ "type": "string", "examples": ["no-cache"] }),
            "`no-cache` reads through to the API server instead of the cache."),
        "AtLeastVersion": header("At-Least-Version", json!({ "type": "string", "pattern": "^[0-9]{1,19}$", "examples": ["1234"] }),
            "Waits until the cache has come to this version (`meta.version` of another answer), else 504. `Prefer: wait=N` bounds the wait."),
        "LastEventId": header("Last-Event-ID", json!({ "type": "string", "examples": ["1234"] }),
            "With `Accept: text/event-stream`: the id of the last event that arrived; the stream goes on behind it, or begins with `reset`."),
        "PreferWait": header("Prefer", json!({ "type": "string", "examples": ["wait=2"] }),
            "`wait=N`: how many seconds to wait for `At-Least-Version`, 5 when absent."),
        "PreferReturn": header("Prefer", json!({ "type": "string", "examples": ["return=minimal"] }),
            "`return=minimal` leaves the body out of the answer: 204 in place of 200, and 201 and 202 without content. Where the app reconciles the kind, `wait=N` waits up to so many seconds until it has, else 202; `respond-async` answers 202 at once. A delete waits until the entity is gone."),
    })
}

/// The shared headers of answers.
pub(super) fn headers() -> Value {
    let header = |schema: Value, description: &str| json!({ "schema": schema, "description": description });
    json!({
        "ETag": header(json!({ "type": "string", "examples": ["\"1234\""] }), "The version, in quotes: for `If-Match` and `If-None-Match`."),
        "Age": header(json!({ "type": "integer", "minimum": 0 }), "How many seconds ago the cache was last known to be current."),
        "Location": header(json!({ "type": "string", "format": "uri-reference" }), "Where the new entity is."),
        "PreferenceApplied": header(json!({ "type": "string" }), "The preferences of `Prefer` that were heeded; with `return=minimal` there is no body."),
        "RetryAfter": header(json!({ "type": "integer", "minimum": 0 }), "How many seconds to wait before the next try."),
        "Accept": header(json!({ "type": "string" }), "The media types that the body may have."),
        "AcceptEncoding": header(json!({ "type": "string" }), "The encodings that a body may have."),
        "AcceptPatch": header(json!({ "type": "string" }), "The media types that a patch may have."),
    })
}

/// The shared answers: one for each problem, and one for any.
pub(super) fn responses() -> Map<String, Value> {
    let answer = |description: &str| {
        let mut content = Map::new();
        content.insert(MEDIA_TYPE.to_owned(), json!({ "schema": reference("schemas", "Problem") }));
        json!({ "description": description, "content": content })
    };
    let mut responses = Map::new();
    for code in PROBLEMS {
        let mut response = answer(&format!("{} (`{}`).", code.title(), Problem::new(code, "").kind));
        let headers = match code {
            Code::TooManyRequests | Code::Unavailable => json!({ "Retry-After": reference("headers", "RetryAfter") }),
            Code::UnsupportedMediaType => json!({
                "Accept": reference("headers", "Accept"),
                "Accept-Encoding": reference("headers", "AcceptEncoding"),
                "Accept-Patch": reference("headers", "AcceptPatch")
            }),
            _ => Value::Null,
        };
        if let (Value::Object(response), Value::Object(_)) = (&mut response, &headers) {
            response.insert("headers".to_owned(), headers);
        }
        responses.insert(component(code), response);
    }
    responses.insert(ANY_PROBLEM.to_owned(), answer("Any other problem."));
    responses
}

/// `not-found` → `NotFound`.
fn component(code: Code) -> String {
    code.name()
        .split('-')
        .map(|word| {
            word.chars().take(1).map(|first| first.to_ascii_uppercase()).chain(word.chars().skip(1)).collect::<String>()
        })
        .collect()
}
