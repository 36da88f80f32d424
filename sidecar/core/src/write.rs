//! From a write on the entity API to the body of one request to the API server.

use contract::problem::Problem;
use serde_json::Value;

use crate::entity::Key;
use crate::kind::Kind;
use crate::version::Version;

/// Reads a request's body: JSON object, no duplicate keys at any depth.
///
/// # Errors
/// 400 with the pointer of the duplicate or the place of the syntax error.
pub fn parse(body: &[u8]) -> Result<Value, Problem> {
    let _ = body;
    todo!()
}

/// The object to POST for a create. `key.id` is empty when the id stands in the body or is to be generated
/// (`metadata.generateName`). `id` and `meta` in the body must not contradict `key`.
///
/// # Errors
/// 400 when the body contradicts the URL, or is not the business shape; `errors` names the places.
pub fn create(kind: &Kind, key: &Key, body: Value) -> Result<Vec<u8>, Problem> {
    let _ = (kind, key, body);
    todo!()
}

/// The object to PUT for a replace of the version `base`: everything that is not a field of the entity or a writable part of `meta`
/// (annotations of others, finalizers, owner references) must survive, see the module docs for how.
///
/// # Errors
/// As [`create`].
pub fn replace(kind: &Kind, key: &Key, base: Option<Version>, body: Value) -> Result<Vec<u8>, Problem> {
    let _ = (kind, key, base, body);
    todo!()
}

/// The merge patch (RFC 7396) over the object for a merge patch over the business shape; `base` makes it conditional.
///
/// # Errors
/// As [`create`].
pub fn merge_patch(kind: &Kind, key: &Key, base: Option<Version>, body: Value) -> Result<Vec<u8>, Problem> {
    let _ = (kind, key, base, body);
    todo!()
}
