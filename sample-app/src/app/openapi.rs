//! The OpenAPI 3.1 document of `/api/todos`. The schemas come from the types; the operations are written down here, and a
//! test calls each of them.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::api::{COLLECTION, MERGE_PATCH};
use super::problem::Problem;
use super::sidecar::Page;
use crate::todo::{Todo, TodoSpec};

/// A todo as it is sent.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used: a body is passed on as it came")]
struct TodoToWrite {
    /// The todo's name: lower-case letters, digits, `-` and `.`. One is made up if absent.
    id: Option<String>,
    #[serde(flatten)]
    spec: TodoSpec,
    meta: Option<MetaToWrite>,
}

/// What of `meta` can be written.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct MetaToWrite {
    /// Labels to find the todo by.
    labels: BTreeMap<String, String>,
}

/// The document.
pub fn document() -> Value {
    let mut generator = schemas();
    for register in [
        SchemaGenerator::subschema_for::<Todo>,
        SchemaGenerator::subschema_for::<TodoToWrite>,
        SchemaGenerator::subschema_for::<Page>,
        SchemaGenerator::subschema_for::<Problem>,
    ] {
        register(&mut generator);
    }
    let mut schemas = generator.take_definitions(true);
    if let Some(mut change) = schemas.get("TodoToWrite").cloned() {
        // A merge patch: what is absent stays as it is, so nothing is required.
        if let Some(fields) = change.as_object_mut() {
            fields.remove("required");
            fields.insert("description".to_owned(), json!("What is to be different; `null` removes a field."));
        }
        schemas.insert("TodoChange".to_owned(), change);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Todos",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Things to be done, and when."
        },
        "paths": { COLLECTION: collection(), format!("{COLLECTION}/{{id}}"): item() },
        "components": { "schemas": schemas }
    })
}

/// JSON Schema 2020-12, as OpenAPI 3.1 has it, without what only Kubernetes reads.
fn schemas() -> SchemaGenerator {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let without_extensions = RecursiveTransform(|schema: &mut Schema| {
        schema.remove("x-kubernetes-validations");
    });
    settings.with_transform(without_extensions).into_generator()
}

fn collection() -> Value {
    json!({
        "get": {
            "operationId": "listTodos",
            "summary": "List todos",
            "parameters": [
                query("labelSelector", "Only todos whose labels fit, e.g. `list=shopping,!archived`.", "string"),
                query("limit", "At most so many.", "integer"),
                query("pageToken", "Go on where the page that answered this `nextPageToken` ended.", "string"),
                header("If-None-Match", "Answer 304 if nothing has changed since this `ETag`.")
            ],
            "responses": responses(&[("200", "The todos, by id", Some("Page")), ("304", "Nothing has changed", None)], &["400"])
        },
        "post": {
            "operationId": "createTodo",
            "summary": "Create a todo",
            "requestBody": body("application/json", "TodoToWrite"),
            "responses": responses(&[("201", "Created; `Location` says where", Some("Todo"))], &["400", "409", "422"])
        }
    })
}

fn item() -> Value {
    let if_match = || header("If-Match", "Only if the todo still is what this `ETag` says.");
    json!({
        "parameters": [
            { "name": "id", "in": "path", "required": true, "description": "The todo's name.", "schema": { "type": "string" } }
        ],
        "get": {
            "operationId": "readTodo",
            "summary": "Read a todo",
            "parameters": [header("If-None-Match", "Answer 304 if the todo still is what this `ETag` says.")],
            "responses": responses(&[("200", "The todo", Some("Todo")), ("304", "It has not changed", None)], &["404"])
        },
        "put": {
            "operationId": "replaceTodo",
            "summary": "Replace a todo, or create it under this id",
            "parameters": [if_match(), header("If-None-Match", "With `*`: only if there is none yet.")],
            "requestBody": body("application/json", "TodoToWrite"),
            "responses": responses(
                &[("200", "Replaced", Some("Todo")), ("201", "Created", Some("Todo"))],
                &["400", "409", "412", "422"],
            )
        },
        "patch": {
            "operationId": "changeTodo",
            "summary": "Change fields of a todo",
            "parameters": [if_match()],
            "requestBody": body(MERGE_PATCH, "TodoChange"),
            "responses": responses(&[("200", "Changed", Some("Todo"))], &["400", "404", "409", "412", "415", "422"])
        },
        "delete": {
            "operationId": "deleteTodo",
            "summary": "Delete a todo",
            "parameters": [if_match()],
            "responses": responses(
                &[("204", "Deleted", None), ("202", "Will be deleted once all who have to finish have finished", None)],
                &["404", "412"],
            )
        }
    })
}

fn query(name: &str, description: &str, kind: &str) -> Value {
    json!({ "name": name, "in": "query", "description": description, "schema": { "type": kind } })
}

fn header(name: &str, description: &str) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": { "type": "string" } })
}

fn body(media_type: &str, schema: &str) -> Value {
    json!({ "required": true, "content": { media_type: { "schema": reference(schema) } } })
}

fn reference(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// The good answers with their schemas, the problems that are special to the operation, and what can always happen.
fn responses(good: &[(&str, &str, Option<&str>)], problems: &[&str]) -> Value {
    let good = good.iter().map(|(status, description, schema)| match schema {
        Some(schema) => {
            let content = json!({ "application/json": { "schema": reference(schema) } });
            ((*status).to_owned(), json!({ "description": description, "content": content }))
        }
        None => ((*status).to_owned(), json!({ "description": description })),
    });
    let problems = problems.iter().chain(&["503", "default"]).map(|status| {
        let description = match *status {
            "400" => "The request cannot be understood",
            "404" => "There is no such todo",
            "409" => "The todo exists already, or was changed at the same time",
            "412" => "The todo is not as expected",
            "415" => "The media type is not taken here",
            "422" => "The todo is not valid, or against the rules",
            "503" => "Not available for now",
            _ => "Any other problem",
        };
        let content = json!({ "application/problem+json": { "schema": reference("Problem") } });
        ((*status).to_owned(), json!({ "description": description, "content": content }))
    });
    good.chain(problems).collect()
}
