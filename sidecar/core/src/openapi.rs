//! The entity API as an OpenAPI 3.1 document: every route that is served, with schemas made from the kinds' own.
//!
//! Owns the document as a whole; the parts are below. Pure: the HTTP server answers `GET /openapi.json` with it, and
//! `docs/openapi/entity-api.json` is the sample kind's. A route, parameter or answer of the server that changes is changed
//! here in the same commit.

mod batch;
mod dialect;
mod entity;
mod names;
mod operations;
mod references;
mod security;
mod shared;

use std::sync::Arc;

use contract::problem::Code;
use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::schema::Schema;
pub use security::with_token;

/// A kind, and how it is served.
#[derive(Debug, Clone, Copy)]
pub struct Served<'a> {
    /// The kind; it can be written when it is owned.
    pub kind: &'a Kind,
    /// Its fields.
    pub schema: &'a Schema,
    /// What stands behind `/v1/`: the plural, or `PLURAL.GROUP` where two kinds have the same plural.
    pub path: &'a str,
    /// Where its entities are.
    pub namespaces: Namespaces<'a>,
}

/// The namespaces in which a kind is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespaces<'a> {
    /// None: the kind is cluster-scoped.
    None,
    /// Every one.
    All,
    /// These.
    These(&'a [Arc<str>]),
}

const DESCRIPTION: &str = "\
Business entities over plain HTTP and JSON. Each is kept as a Kubernetes custom resource; nothing of that shows here.

- A read comes from this sidecar's cache, which is ahead by its own writes: what has been written here is read here.
- `ETag` is the entity's version. `If-Match` makes a write conditional, `If-None-Match` spares an unchanged answer's body.
- Each problem is `application/problem+json` (RFC 9457); programs decide by its `type`.
- A body may have 1 MiB. A field that the kind does not declare, and a key that occurs twice, are refused.
- `HEAD` works wherever `GET` does. A kind is also found under `/v1/PLURAL.GROUP`.";

/// The document of an entity API that serves these kinds, in the order of its members' names.
pub fn document(kinds: &[Served<'_>]) -> Value {
    let names = names::names(&kinds.iter().map(|served| served.kind).collect::<Vec<_>>(), &shared::SCHEMAS);
    let mut paths = Map::new();
    paths.insert("/v1".to_owned(), kinds_served());
    if kinds.iter().any(|served| served.kind.owned) {
        paths.insert("/v1/batch".to_owned(), batch::path());
    }
    let mut schemas = shared::schemas();
    schemas.extend(batch::schemas().map(|(name, schema)| (name.to_owned(), schema)));
    let mut tags = vec![json!({ "name": "Kinds", "description": "What is served here." })];
    for (served, names) in kinds.iter().zip(&names) {
        paths.extend(operations::paths(served, names));
        schemas.extend(entity::schemas(names, served.schema, served.kind));
        tags.push(json!({ "name": names.one, "description": description(served) }));
    }
    let mut document = json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Entity API",
            "version": "v1",
            "summary": "Business entities over plain HTTP and JSON.",
            "description": DESCRIPTION,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "servers": [{ "url": "/", "description": "The sidecar that this document comes from." }],
        "security": [],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": shared::parameters(),
            "headers": shared::headers(),
            "responses": shared::responses()
        }
    });
    references::prune(&mut document);
    document.sort_all_objects();
    document
}

fn kinds_served() -> Value {
    let mut responses = shared::problems(&[Code::Forbidden]);
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "The kinds served here.",
            "content": { "application/json": { "schema": shared::reference("schemas", "KindList") } }
        }),
    );
    json!({ "get": {
        "operationId": "listKinds", "summary": "List the kinds served here", "tags": ["Kinds"], "responses": responses
    } })
}

/// A tag's text: where the kind comes from and what it is for.
fn description(served: &Served<'_>) -> String {
    let Served { kind, schema, .. } = served;
    let access = if kind.owned { "" } else { " It can be read here, not written." };
    let about = schema.fields.get("description").and_then(Value::as_str).unwrap_or_default();
    format!("`{}` of `{}`.{access} {about}", kind.kind, kind.api_version()).trim_end().to_owned()
}

#[cfg(test)]
mod tests;
