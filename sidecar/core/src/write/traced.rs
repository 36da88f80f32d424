//! The trace of a write, as an annotation that the same request sets.
//!
//! A create and a merge patch say it like any other annotation. A JSON patch can add one only to a map that exists: where the cache has none, the
//! patch adds the map and tests first that there is none, so that nothing of others' is ever replaced; where the cache was behind, the API server refuses the
//! patch, and it is made again from what is read. A delete has nothing to keep it in, and a write of status keeps what is there.

use std::borrow::Cow;

use contract::names::TRACEPARENT;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Guess, JSON_PATCH, Method, Request, escape, object};
use crate::entity::Entity;
use crate::members::Members;
use crate::trace::TraceContext;

/// Where annotations are in a JSON patch.
const MAP: &str = "/metadata/annotations";

impl Request {
    /// The same request, which keeps the trace too. `existing` is what the request was made from.
    #[must_use]
    pub fn traced(self, trace: TraceContext, existing: Option<&Entity>) -> Self {
        match self.method {
            Method::Delete | Method::PatchStatus => self,
            Method::Patch if self.content_type == JSON_PATCH => self.patched(trace, existing),
            Method::Post | Method::Patch => match annotated(&self.body, trace) {
                Some(body) => Self { body, ..self },
                None => self,
            },
        }
    }

    fn patched(self, trace: TraceContext, existing: Option<&Entity>) -> Self {
        // The body was made here: an array of operations.
        let Some(before) = self.body.strip_prefix(b"[").and_then(|body| body.strip_suffix(b"]")) else { return self };
        let value = json!(trace.to_string());
        // Operations on annotations are those of `meta.expiresAt`, and all leave a map behind.
        let path = format!("{MAP}/{}", escape(TRACEPARENT));
        let there = existing.is_none_or(|existing| existing.annotated) || touches_map(&self.body);
        let more = if there {
            format!("{{\"op\":\"add\",\"path\":{},\"value\":{value}}}", json!(path))
        } else {
            format!(
                "{{\"op\":\"test\",\"path\":\"{MAP}\",\"value\":null}},{{\"op\":\"add\",\"path\":\"{MAP}\",\"value\":{}}}",
                json!({ (TRACEPARENT): value })
            )
        };
        let comma: &[u8] = if before.is_empty() { b"" } else { b"," };
        let body = [b"[", before, comma, more.as_bytes(), b"]"].concat();
        let guess = match self.guess {
            Guess::Nothing | Guess::Shaped => Guess::Shaped,
            Guess::Exists | Guess::ExistsShaped => Guess::ExistsShaped,
            Guess::Absent | Guess::Unchanged => self.guess,
        };
        Self { body, guess, ..self }
    }
}

/// An object with one more annotation; the rest of it stays as it is written.
fn annotated(body: &[u8], trace: TraceContext) -> Option<Vec<u8>> {
    let Members(mut members) = serde_json::from_slice::<Members<'_>>(body).ok()?;
    let place = members.iter().position(|(name, _)| name == "metadata");
    let mut metadata: Map<String, Value> = match place {
        Some(place) => serde_json::from_str(members.remove(place).1.get()).ok()?,
        None => Map::new(),
    };
    let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
    annotations.as_object_mut()?.insert(TRACEPARENT.to_owned(), json!(trace.to_string()));
    let metadata = RawValue::from_string(Value::from(metadata).to_string()).ok()?;
    // Behind apiVersion and kind, where people look for it.
    members.insert(place.unwrap_or_default(), (Cow::Borrowed("metadata"), &*metadata));
    Some(object::join(members.iter()).into_bytes())
}

/// Whether an operation of the patch is about the map or something in it.
fn touches_map(patch: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Operation<'a> {
        #[serde(borrow)]
        path: Cow<'a, str>,
    }
    let operations: Vec<Operation<'_>> = serde_json::from_slice(patch).unwrap_or_default();
    operations.iter().any(|operation| operation.path.starts_with(MAP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Key;
    use crate::kind::tests::todo;
    use crate::mapping;
    use crate::write::body::Body;
    use crate::write::patch::{Patch, json_patch};
    use crate::write::{create, delete, merge_patch, replace};

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn trace() -> TraceContext {
        TRACE.parse().unwrap()
    }

    fn key() -> Key {
        Key { namespace: Some("shop".into()), id: "milk".into() }
    }

    fn existing(annotations: &str) -> Entity {
        let object = format!(
            r#"{{"metadata":{{"name":"milk","namespace":"shop","uid":"u","resourceVersion":"7","annotations":{annotations}}},"spec":{{"message":"x"}}}}"#
        );
        mapping::entity(&todo(), object.as_bytes()).unwrap()
    }

    fn body(request: &Request) -> Value {
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn a_create_and_a_merge_patch_have_one_annotation_more() {
        let fields = br#"{"message":"1.50","meta":{"expiresAt":"2030-01-01T00:00:00Z"}}"#;
        let parsed = Body::parse(fields).unwrap();
        for request in [create(&todo(), &key(), &parsed).unwrap(), merge_patch(&todo(), &key(), None, &parsed).unwrap()]
        {
            let (mut before, after) = (body(&request), request.clone().traced(trace(), None));
            before["metadata"]["annotations"][TRACEPARENT] = json!(TRACE);
            assert_eq!(body(&after), before);
            assert_eq!((after.guess, after.twice), (request.guess, request.twice));
        }
        let bare = merge_patch(&todo(), &key(), None, &Body::parse(br#"{"message":1.50}"#).unwrap()).unwrap();
        let text = String::from_utf8(bare.traced(trace(), None).body).unwrap();
        assert_eq!(
            text,
            format!(r#"{{"metadata":{{"annotations":{{"{TRACEPARENT}":"{TRACE}"}}}},"spec":{{"message":1.50}}}}"#)
        );
    }

    #[test]
    fn a_replace_adds_to_the_map_that_is_there_or_makes_it_where_there_is_none() {
        let parsed = Body::parse(br#"{"message":"y"}"#).unwrap();
        let made = |existing: &Entity| {
            replace(&todo(), &key(), Some(existing), None, &parsed).unwrap().traced(trace(), Some(existing))
        };
        let pointer = "/metadata/annotations/k8sasbackend.com~1traceparent";
        let there = made(&existing(r#"{"a":"1"}"#));
        assert_eq!(body(&there)[1], json!({"op": "add", "path": pointer, "value": TRACE}));
        let none = made(&existing("{}"));
        assert_eq!(body(&none)[1], json!({"op": "test", "path": MAP, "value": null}));
        assert_eq!(body(&none)[2], json!({"op": "add", "path": MAP, "value": {(TRACEPARENT): TRACE}}));
        assert!(none.outdated(422) && none.outdated(404) && !none.outdated(409));
    }

    #[test]
    fn an_expiry_that_makes_the_map_makes_it_for_the_trace_too() {
        let patch = Patch::parse(br#"[{"op":"add","path":"/meta/expiresAt","value":"2030-01-01T00:00:00Z"}]"#).unwrap();
        let existing = existing("null");
        let request =
            json_patch(&todo(), &key(), Some(&existing), None, &patch).unwrap().traced(trace(), Some(&existing));
        let made = body(&request);
        let last = made.as_array().unwrap().last().unwrap();
        assert_eq!(last["path"], "/metadata/annotations/k8sasbackend.com~1traceparent");
        assert!(request.outdated(409), "it still relies on the version");
    }

    #[test]
    fn a_delete_is_left_alone() {
        assert_eq!(delete(None, false).traced(trace(), None), delete(None, false));
    }
}
