//! The paths of one kind: every route that is served for it, with its parameters and answers.
//!
//! Owns what each operation takes and answers; the HTTP server serves the same. Called by `openapi` alone.

use contract::problem::Code;
use serde_json::{Map, Value, json};

use super::names::Names;
use super::shared::{namespace, problems, reference};
use super::{Namespaces, Served};
use crate::write::{JSON_PATCH, MERGE_PATCH};

/// The kind's paths and their operations.
pub(super) fn paths(served: &Served<'_>, names: &Names) -> Vec<(String, Value)> {
    let kind = Operations { served, names };
    let mut collection = json!({ "get": kind.list() });
    let mut item = json!({ "get": kind.read() });
    if served.kind.owned {
        put(&mut collection, "post", kind.create());
        put(&mut item, "put", kind.replace());
        put(&mut item, "patch", kind.patch());
        put(&mut item, "delete", kind.delete());
    }
    let mut paths = vec![(format!("/v1/{}", served.path), collection), (format!("/v1/{}/{{id}}", served.path), item)];
    if served.kind.owned && served.kind.has_status {
        let status = json!({ "put": kind.replace_status(), "patch": kind.patch_status() });
        paths.push((format!("/v1/{}/{{id}}/status", served.path), status));
    }
    paths
}

struct Operations<'a> {
    served: &'a Served<'a>,
    names: &'a Names,
}

impl Operations<'_> {
    fn list(&self) -> Value {
        let mut parameters = self.namespace(Need::Narrows);
        parameters.extend(shared(&[
            "Filter",
            "LabelSelector",
            "OrderBy",
            "Fields",
            "Limit",
            "PageToken",
            "IfNoneMatch",
            "CacheControl",
            "AtLeastVersion",
            "PreferWait",
            "LastEventId",
        ]));
        let many = &self.names.many;
        let mut list = answer("The list.", &["ETag", "Age"], Some(&format!("{}List", self.names.one)));
        if let Some(Value::Object(content)) = list.get_mut("content") {
            content.insert(
                "text/event-stream".to_owned(),
                json!({ "schema": { "type": "string", "description": EVENTS } }),
            );
        }
        self.operation(
            &format!("list{many}"),
            &format!("List {many}"),
            parameters,
            None,
            &[(200, list), (304, unchanged())],
            &READ,
        )
    }

    fn read(&self) -> Value {
        let mut parameters = self.item();
        parameters.extend(shared(&["IfNoneMatch", "CacheControl", "AtLeastVersion", "PreferWait"]));
        self.operation(
            &format!("read{}", self.names.one),
            &format!("Read one {}", self.names.one),
            parameters,
            None,
            &[(200, self.entity("The entity.", &["ETag", "Age"])), (304, unchanged())],
            &[&READ[..], &[Code::NotFound]].concat(),
        )
    }

    fn create(&self) -> Value {
        let mut parameters = self.namespace(Need::Places);
        parameters.extend(shared(&["IdempotencyKey", "DryRun", "PreferReturn"]));
        self.operation(
            &format!("create{}", self.names.one),
            &format!("Create a new {}", self.names.one),
            parameters,
            Some(self.body("application/json", "Write", "The new entity; without `id` one is made up.")),
            &[
                (201, self.entity("It was created.", &["ETag", "Location", "Preference-Applied"])),
                (202, self.unsettled(&["ETag", "Location", "Preference-Applied"])),
            ],
            &[&WRITE[..], &[Code::Conflict]].concat(),
        )
    }

    fn replace(&self) -> Value {
        let mut parameters = self.item();
        parameters.extend(shared(&["IfMatch", "OnlyNew", "DryRun", "PreferReturn"]));
        self.operation(
            &format!("replace{}", self.names.one),
            &format!("Create or replace one {}", self.names.one),
            parameters,
            Some(self.body("application/json", "Write", "The whole entity: what is left out is removed.")),
            &[
                (200, self.entity("It was replaced.", &["ETag", "Preference-Applied"])),
                (204, minimal("It was replaced.")),
                (201, self.entity("It was created.", &["ETag", "Location", "Preference-Applied"])),
                (202, self.unsettled(&["ETag", "Location", "Preference-Applied"])),
            ],
            &[&WRITE[..], &[Code::Conflict, Code::PreconditionFailed]].concat(),
        )
    }

    fn patch(&self) -> Value {
        let mut parameters = self.item();
        parameters.extend(shared(&["IfMatch", "DryRun", "PreferReturn"]));
        self.operation(
            &format!("patch{}", self.names.one),
            &format!("Change some fields of one {}", self.names.one),
            parameters,
            Some(self.patch_body("Patch", "the entity")),
            &[
                (200, self.entity("It was changed.", &["ETag", "Preference-Applied"])),
                (202, self.unsettled(&["ETag", "Preference-Applied"])),
                (204, minimal("It was changed.")),
            ],
            &[&WRITE[..], &[Code::NotFound, Code::Conflict, Code::PreconditionFailed]].concat(),
        )
    }

    /// In place of what is answered to a write that has been dealt with.
    fn unsettled(&self, headers: &[&str]) -> Value {
        self.entity(
            "It is stored; with `Prefer: respond-async` or `wait=N`, and the app has not dealt with it yet.",
            headers,
        )
    }

    fn replace_status(&self) -> Value {
        let mut parameters = self.item();
        parameters.extend(shared(&["IfMatch", "DryRun", "PreferReturn"]));
        self.operation(
            &format!("replace{}Status", self.names.one),
            &format!("Replace the status of one {}", self.names.one),
            parameters,
            Some(self.body("application/json", "StatusWrite", "The whole status: what is left out is removed.")),
            &[
                (200, self.entity("It was replaced. The answer is the whole entity.", &["ETag"])),
                (204, minimal("It was replaced.")),
            ],
            &[&WRITE[..], &[Code::NotFound, Code::Conflict, Code::PreconditionFailed]].concat(),
        )
    }

    fn patch_status(&self) -> Value {
        let mut parameters = self.item();
        parameters.extend(shared(&["IfMatch", "DryRun", "PreferReturn"]));
        self.operation(
            &format!("patch{}Status", self.names.one),
            &format!("Change the status of one {}", self.names.one),
            parameters,
            Some(self.patch_body("StatusPatch", "the status")),
            &[
                (200, self.entity("It was changed. The answer is the whole entity.", &["ETag"])),
                (204, minimal("It was changed.")),
            ],
            &[&WRITE[..], &[Code::NotFound, Code::Conflict, Code::PreconditionFailed]].concat(),
        )
    }

    fn delete(&self) -> Value {
        let mut parameters = self.item();
        parameters.extend(shared(&["IfMatch", "DryRun", "PreferReturn"]));
        self.operation(
            &format!("delete{}", self.names.one),
            &format!("Delete one {}", self.names.one),
            parameters,
            None,
            &[
                (
                    202,
                    self.entity(
                        "It is being deleted, and held until its finalizers have run.",
                        &["ETag", "Preference-Applied"],
                    ),
                ),
                (204, answer("It is gone.", &[], None)),
            ],
            &[
                Code::BadRequest,
                Code::Forbidden,
                Code::NotFound,
                Code::PreconditionFailed,
                Code::TooManyRequests,
                Code::Unavailable,
            ],
        )
    }

    fn operation(
        &self,
        id: &str,
        summary: &str,
        parameters: Vec<Value>,
        body: Option<Value>,
        answers: &[(u16, Value)],
        refusals: &[Code],
    ) -> Value {
        let mut responses = problems(refusals);
        responses.extend(answers.iter().map(|(status, answer)| (status.to_string(), answer.clone())));
        let mut operation = json!({
            "operationId": id,
            "summary": summary,
            "tags": [self.names.one],
            "parameters": parameters,
            "responses": responses
        });
        if let Some(body) = body {
            put(&mut operation, "requestBody", body);
        }
        operation
    }

    /// What names one entity.
    fn item(&self) -> Vec<Value> {
        let mut parameters = shared(&["Id"]);
        parameters.extend(self.namespace(Need::Places));
        parameters
    }

    /// `namespace`, where there is a choice.
    fn namespace(&self, need: Need) -> Vec<Value> {
        let (schema, several) = match self.served.namespaces {
            Namespaces::None => return Vec::new(),
            Namespaces::All => (namespace(), true),
            Namespaces::These(names) => {
                let names: Vec<&str> = names.iter().map(|name| &**name).collect();
                (json!({ "type": "string", "enum": names }), names.len() > 1)
            }
        };
        let description = match need {
            Need::Narrows => "Only entities of this namespace.",
            Need::Places if several => "The entity's namespace.",
            Need::Places => "The entity's namespace; there is one only, which need not be named.",
        };
        let required = need == Need::Places && several;
        vec![json!({
            "name": "namespace", "in": "query", "required": required, "schema": schema, "description": description
        })]
    }

    fn entity(&self, description: &str, headers: &[&str]) -> Value {
        answer(description, headers, Some(&self.names.one))
    }

    /// A merge patch or a JSON patch of `whole`.
    fn patch_body(&self, suffix: &str, whole: &str) -> Value {
        let description = format!(
            "A merge patch (RFC 7396): what is named changes, null removes, an array is replaced as a whole. \
             Or a JSON patch (RFC 6902), whose pointers begin in {whole}; where it does not fit, a `test` that does not hold included, nothing changes and the answer is 409."
        );
        let mut body = self.body(MERGE_PATCH, suffix, &description);
        if let Some(Value::Object(content)) = body.get_mut("content") {
            content.insert(JSON_PATCH.to_owned(), json!({ "schema": reference("schemas", "JsonPatch") }));
        }
        body
    }

    fn body(&self, media_type: &str, suffix: &str, description: &str) -> Value {
        let mut content = Map::new();
        content.insert(
            media_type.to_owned(),
            json!({ "schema": reference("schemas", &format!("{}{suffix}", self.names.one)) }),
        );
        json!({ "required": true, "description": description, "content": content })
    }
}

const EVENTS: &str = "\
Server-sent events, for whom asks for them with `Accept`: `added` for each entity that there is, `synced`, and then `added`, `modified` \
and `deleted` as it happens, each with an entity as its data and the version as its id. `reset`: what the reader has is worth nothing any more, \
and everything is told again.";

/// What can befall any read.
const READ: [Code; 4] = [Code::BadRequest, Code::Forbidden, Code::Unavailable, Code::Timeout];

/// What can befall any write.
const WRITE: [Code; 8] = [
    Code::BadRequest,
    Code::Forbidden,
    Code::TooLarge,
    Code::UnsupportedMediaType,
    Code::Invalid,
    Code::TooManyRequests,
    Code::Unavailable,
    Code::OverBudget,
];

/// What `namespace` is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// To see less.
    Narrows,
    /// To say where the entity is.
    Places,
}

fn shared(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| reference("parameters", name)).collect()
}

fn unchanged() -> Value {
    answer("Unchanged since the version in `If-None-Match`.", &["ETag", "Age"], None)
}

/// In place of 200.
fn minimal(what: &str) -> Value {
    answer(
        &format!("{what} With `Prefer: return=minimal` the entity is left out."),
        &["ETag", "Preference-Applied"],
        None,
    )
}

fn answer(description: &str, headers: &[&str], schema: Option<&str>) -> Value {
    let headers: Map<String, Value> =
        headers.iter().map(|name| ((*name).to_owned(), reference("headers", &name.replace('-', "")))).collect();
    let mut answer = json!({ "description": description });
    if !headers.is_empty() {
        put(&mut answer, "headers", Value::Object(headers));
    }
    if let Some(schema) = schema {
        put(&mut answer, "content", json!({ "application/json": { "schema": reference("schemas", schema) } }));
    }
    answer
}

fn put(object: &mut Value, member: &str, value: Value) {
    if let Value::Object(object) = object {
        object.insert(member.to_owned(), value);
    }
}
