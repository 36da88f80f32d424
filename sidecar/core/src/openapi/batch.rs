//! `POST /v1/batch`: its operation and the schemas of operations and results, the same for all kinds. Called by `openapi` alone.

use contract::problem::Code;
use serde_json::{Value, json};

use super::shared::{id, namespace, problems, reference};
use crate::write::batch::OPERATIONS;

/// The path's operations.
pub(super) fn path() -> Value {
    let mut responses = problems(&[Code::BadRequest, Code::Forbidden, Code::TooLarge, Code::UnsupportedMediaType]);
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "A result for each operation, in their order, whether or not all succeeded.",
            "headers": { "Preference-Applied": reference("headers", "PreferenceApplied") },
            "content": { "application/json": { "schema": reference("schemas", "BatchResults") } }
        }),
    );
    json!({ "post": {
        "operationId": "batch",
        "summary": "Carry out several writes",
        "description": "Not atomic: each operation succeeds or fails alone. A batch may have 8 MiB, the body of an operation 1 MiB.",
        "tags": ["Kinds"],
        "parameters": [reference("parameters", "PreferReturn")],
        "requestBody": {
            "required": true,
            "content": { "application/json": { "schema": reference("schemas", "Batch") } }
        },
        "responses": responses
    } })
}

/// The schemas, by name.
pub(super) fn schemas() -> [(&'static str, Value); 4] {
    let about = |mut schema: Value, description: &str| {
        if let Value::Object(schema) = &mut schema {
            schema.insert("description".to_owned(), json!(description));
        }
        schema
    };
    let text = |description: &str| json!({ "type": "string", "description": description });
    [
        (
            "Batch",
            json!({
                "type": "object",
                "description": "Writes to be carried out.",
                "required": ["operations"],
                "properties": {
                    "ordered": {
                        "type": "boolean", "default": false,
                        "description": "`true`: one after the other, up to the first that fails. Else several at the same time, in no order."
                    },
                    "operations": { "type": "array", "maxItems": OPERATIONS, "items": reference("schemas", "BatchOperation") }
                },
                "additionalProperties": false
            }),
        ),
        (
            "BatchOperation",
            json!({
                "type": "object",
                "description": "One write, as the routes of its kind know it.",
                "required": ["op", "kind"],
                "properties": {
                    "op": { "type": "string", "enum": ["create", "replace", "patch", "delete", "replaceStatus", "patchStatus"] },
                    "kind": { "type": "string", "description": "What stands behind `/v1/`: the plural, or `PLURAL.GROUP`.", "examples": ["todos"] },
                    "id": about(id(), "The entity's id; a create may leave it out, or have it in its body."),
                    "namespace": about(namespace(), "The entity's namespace, where there is a choice."),
                    "ifMatch": text("As the header `If-Match`; a bare version is taken too."),
                    "ifNoneMatch": text("As the header `If-None-Match`."),
                    "idempotencyKey": text("As the header `Idempotency-Key`."),
                    "dryRun": { "type": "boolean", "default": false, "description": "As the parameter `dryRun`." },
                    "body": { "type": ["object", "array"], "description": "As the body of the kind's route. A patch is a merge patch when it is an object, a JSON patch when it is an array. A delete has none." }
                },
                "additionalProperties": false
            }),
        ),
        (
            "BatchResult",
            json!({
                "type": "object",
                "description": "What an operation came to: as its own route would have answered.",
                "required": ["status"],
                "properties": {
                    "status": { "type": "integer", "minimum": 200, "maximum": 599, "description": "The HTTP status; 424 when an operation before it failed and the batch is ordered." },
                    "etag": text("As the header `ETag`."),
                    "location": text("As the header `Location`."),
                    "entity": { "type": "object", "description": "The entity as it is now." },
                    "problem": reference("schemas", "Problem"),
                    "retryAfter": { "type": "integer", "minimum": 0, "description": "As the header `Retry-After`." }
                }
            }),
        ),
        (
            "BatchResults",
            json!({
                "type": "object",
                "description": "The results, in the order of the operations.",
                "required": ["results"],
                "properties": { "results": { "type": "array", "items": reference("schemas", "BatchResult") } }
            }),
        ),
    ]
}
