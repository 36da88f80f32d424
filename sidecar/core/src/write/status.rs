//! Writes of the status alone: to the object's `status` subresource, so that neither fields nor generation change.
//!
//! The body is the status itself, not the entity. A precondition is part of the request, as for every write.

use contract::problem::{Code, Problem};
use serde_json::json;

use super::body::Body;
use super::object::{self, JsonPatch};
use super::patch::{Patch, json_patch_status};
use super::{Guess, JSON_PATCH, MERGE_PATCH, Method, Request, twice};
use crate::entity::{Entity, Key};
use crate::kind::Kind;
use crate::version::Version;

/// What is to become of a status.
#[derive(Debug, Clone, Copy)]
pub enum StatusChange<'a> {
    /// The body is the whole status.
    Replace(&'a Body<'a>),
    /// The body is a merge patch of the status.
    Merge(&'a Body<'a>),
    /// A JSON patch whose pointers begin in the status.
    Patch(&'a Patch<'a>),
}

/// Whether the kind's status can be written.
///
/// # Errors
/// 404 with the reason.
pub fn check(kind: &Kind) -> Result<(), Problem> {
    if kind.has_status {
        return Ok(());
    }
    let detail =
        format!("the kind {} has no status of its own to write: its CRD declares no status subresource", kind.kind);
    Err(Problem::new(Code::NotFound, detail))
}

/// The request that changes the status; `existing` is what the cache has, `base` makes it conditional.
///
/// # Errors
/// 404 when the kind has no status; what [`Patch`] refuses.
pub fn status(
    kind: &Kind,
    key: &Key,
    existing: Option<&Entity>,
    base: Option<Version>,
    change: StatusChange<'_>,
) -> Result<Request, Problem> {
    check(kind)?;
    match change {
        StatusChange::Replace(body) => {
            let mut patch = JsonPatch::default();
            patch.add("/status", &object::join(body.members()));
            if let Some(base) = base {
                patch.add("/metadata/resourceVersion", &json!(base.to_string()).to_string());
            }
            Ok(request(JSON_PATCH, patch.into_body(), base))
        }
        StatusChange::Merge(body) => {
            let metadata = base.map_or_else(String::new, |base| {
                format!("\"metadata\":{},", json!({ "resourceVersion": base.to_string() }))
            });
            let text = format!("{{{metadata}\"status\":{}}}", object::join(body.members()));
            Ok(request(MERGE_PATCH, text.into_bytes(), base))
        }
        StatusChange::Patch(patch) => json_patch_status(kind, key, existing, base, patch),
    }
}

fn request(content_type: &'static str, body: Vec<u8>, base: Option<Version>) -> Request {
    Request { method: Method::PatchStatus, content_type, body, guess: Guess::Nothing, twice: twice(base) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::{config_map, todo};

    fn key() -> Key {
        Key { namespace: Some("shop".into()), id: "a".into() }
    }

    fn entity(rest: &str) -> Entity {
        let object = format!(r#"{{"metadata":{{"name":"a","namespace":"shop","resourceVersion":"7"}}{rest}}}"#);
        crate::mapping::entity(&todo(), object.as_bytes()).unwrap()
    }

    #[test]
    fn a_status_is_written_to_its_subresource_in_one_request() {
        let body = Body::parse(br#"{"phase":"Done","n":1.50}"#).unwrap();
        let made = |change, base| status(&todo(), &key(), None, base, change).unwrap();
        let text = |request: &Request| String::from_utf8(request.body.clone()).unwrap();
        let replaced = made(StatusChange::Replace(&body), Some(Version(7)));
        assert_eq!((replaced.method, replaced.content_type), (Method::PatchStatus, JSON_PATCH));
        assert_eq!(
            text(&replaced),
            r#"[{"op":"add","path":"/status","value":{"phase":"Done","n":1.50}},{"op":"add","path":"/metadata/resourceVersion","value":"7"}]"#
        );
        let merged = made(StatusChange::Merge(&body), Some(Version(7)));
        assert_eq!(
            (merged.content_type, text(&merged).as_str()),
            (MERGE_PATCH, r#"{"metadata":{"resourceVersion":"7"},"status":{"phase":"Done","n":1.50}}"#)
        );
        assert_eq!(text(&made(StatusChange::Merge(&body), None)), r#"{"status":{"phase":"Done","n":1.50}}"#);
    }

    #[test]
    fn a_json_patch_of_a_status_that_is_not_there_yet_makes_it_first() {
        let patch = Patch::parse(br#"[{"op":"add","path":"/phase","value":"Done"}]"#).unwrap();
        let made = |existing: Option<&Entity>| {
            let request = status(&todo(), &key(), existing, None, StatusChange::Patch(&patch)).unwrap();
            (String::from_utf8(request.body.clone()).unwrap(), request.outdated(409))
        };
        let plain = r#"[{"op":"add","path":"/status/phase","value":"Done"}]"#;
        assert_eq!(made(None).0, plain);
        assert_eq!(made(Some(&entity(r#","status":{"phase":"New"}"#))).0, plain);
        assert_eq!(
            made(Some(&entity(""))),
            (
                r#"[{"op":"add","path":"/status","value":{}},{"op":"add","path":"/status/phase","value":"Done"},{"op":"add","path":"/metadata/resourceVersion","value":"7"}]"#
                    .to_owned(),
                true
            )
        );
    }

    #[test]
    fn a_kind_without_status_says_so() {
        let body = Body::parse(b"{}").unwrap();
        let refused = status(&config_map(), &key(), None, None, StatusChange::Replace(&body)).unwrap_err();
        assert_eq!(refused.status, 404);
        assert!(refused.detail.contains("no status subresource"), "{refused:?}");
    }
}
