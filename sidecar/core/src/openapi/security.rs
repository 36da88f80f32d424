//! What a document says of the token, where one is asked for. Called by the HTTP server for an API that has one.

use contract::problem::{Code, MEDIA_TYPE, Problem};
use serde_json::{Map, Value, json};

use super::shared::reference;

const SCHEME: &str = "token";
const REFUSAL: &str = "Unauthorized";

/// The document of an API whose every request must show a bearer token.
pub fn with_token(mut document: Value) -> Value {
    put(&mut document, "/security", json!([{ SCHEME: [] }]));
    let scheme = json!({
        "type": "http", "scheme": "bearer",
        "description": "The token that the sidecar is configured with; the app finds it in the file that `KAB_TOKEN_FILE` names."
    });
    put(&mut document, "/components/securitySchemes", json!({ SCHEME: scheme }));
    let mut content = Map::new();
    content.insert(MEDIA_TYPE.to_owned(), json!({ "schema": reference("schemas", "Problem") }));
    let code = Code::Unauthorized;
    let answer = json!({
        "description": format!("{} (`{}`).", code.title(), Problem::new(code, "").kind),
        "headers": { "WWW-Authenticate": { "schema": { "type": "string" }, "description": "How to show the token." } },
        "content": content
    });
    put(&mut document, &format!("/components/responses/{REFUSAL}"), answer);
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for operation in paths.into_iter().flatten().filter_map(|(_, path)| path.as_object_mut()).flatten() {
        put(operation.1, &format!("/responses/{}", code.status()), reference("responses", REFUSAL));
    }
    document.sort_all_objects();
    document
}

/// Puts a member into an object that is there; documents are made in one place, so it is.
fn put(document: &mut Value, pointer: &str, value: Value) {
    let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
    if let Some(Value::Object(parent)) = document.pointer_mut(parent) {
        parent.insert(name.to_owned(), value);
    }
}
