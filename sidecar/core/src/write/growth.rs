//! How much larger a write would make an entity, in bytes of its business JSON: what a budget of bytes is asked for.
//!
//! Counted from the body and from the entity as the cache has it, before anybody has applied the write: what the API server adds (defaults) is not
//! known yet, and a JSON patch's operations are each held against the entity as it is now. When the write is done, the cache counts what it really is.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::body::Body;
use super::patch::{Op, Patch};
use super::status::StatusChange;
use crate::entity::{Entity, Key};
use crate::mapping::shape_members;
use crate::members::Members;

/// `id` and `meta` of a new entity, without the names that they hold.
const FRAME: i64 = 190;

/// What a member costs beside its name and value: quotes, colon, comma.
const MEMBER: usize = 4;

type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// A new entity.
pub fn create(key: &Key, body: &Body<'_>) -> i64 {
    let names = key.id.len() + key.namespace.as_ref().map_or(0, |namespace| namespace.len());
    let id = if key.id.is_empty() { find(body.members(), "id") } else { None };
    FRAME + count(names) + id.map_or(0, length) + own(body.fields()) + labels(body).map_or(0, length)
}

/// Other fields in the place of all that are there; `meta` and the status stay.
pub fn replace(existing: &Entity, body: &Body<'_>) -> i64 {
    let present = shape_members(existing);
    let before = own(present.iter().filter(|(name, _)| !matches!(name.as_ref(), "id" | "status" | "meta")));
    let relabelled = labels(body).map_or(0, |given| length(given) - present_labels(&present).map_or(0, length));
    own(body.fields()) - before + relabelled
}

/// A merge patch.
pub fn merge(existing: &Entity, body: &Body<'_>) -> i64 {
    let present = shape_members(existing);
    let fields: i64 = body.fields().map(|member| merged_member(&present, member)).sum();
    fields + labels(body).map_or(0, |given| merged(present_labels(&present), given))
}

/// A JSON patch.
pub fn patch(existing: &Entity, patch: &Patch<'_>) -> i64 {
    std::str::from_utf8(&existing.json).map_or(0, |present| patched(present, patch))
}

/// A change of the status.
pub fn status(existing: &Entity, change: StatusChange<'_>) -> i64 {
    let members = shape_members(existing);
    let present = find(members.iter(), "status");
    match change {
        StatusChange::Replace(body) => {
            own(body.members()) - present.and_then(object).map_or(0, |present| own(present.iter()))
        }
        StatusChange::Merge(body) => {
            let present = present.and_then(object).unwrap_or_default();
            body.members().map(|member| merged_member(&present, member)).sum()
        }
        StatusChange::Patch(patch) => patched(present.map_or("{}", RawValue::get), patch),
    }
}

fn count(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn length(value: &RawValue) -> i64 {
    count(value.get().len())
}

fn own<'a, 'b: 'a>(members: impl Iterator<Item = &'a Member<'b>>) -> i64 {
    members.map(|(name, value)| count(name.len() + MEMBER) + length(value)).sum()
}

fn find<'a, 'b: 'a>(mut members: impl Iterator<Item = &'a Member<'b>>, wanted: &str) -> Option<&'b RawValue> {
    members.find(|(name, _)| name == wanted).map(|(_, value)| *value)
}

fn object(value: &RawValue) -> Option<Vec<Member<'_>>> {
    serde_json::from_str(value.get()).ok().map(|Members(members)| members)
}

/// The labels that a body gives.
fn labels<'a>(body: &Body<'a>) -> Option<&'a RawValue> {
    present_labels(body.members())
}

fn present_labels<'a, 'b: 'a>(members: impl IntoIterator<Item = &'a Member<'b>>) -> Option<&'b RawValue> {
    find(object(find(members.into_iter(), "meta")?)?.iter(), "labels")
}

fn merged_member(present: &[Member<'_>], (name, value): &Member<'_>) -> i64 {
    let whole = count(name.len() + MEMBER);
    match (find(present.iter(), name), value.get() == "null") {
        (Some(before), true) => -(whole + length(before)),
        (None, true) => 0,
        (Some(before), false) => merged(Some(before), value),
        (None, false) => whole + merged(None, value),
    }
}

/// RFC 7396: an object goes into an object, anything else takes the place of what was there.
fn merged(present: Option<&RawValue>, given: &RawValue) -> i64 {
    let before = present.map_or(0, length);
    match (present.and_then(object), object(given)) {
        (Some(present), Some(given)) => given.iter().map(|member| merged_member(&present, member)).sum(),
        (None, Some(given)) => 2 - before + given.iter().map(|member| merged_member(&[], member)).sum::<i64>(),
        (_, None) => length(given) - before,
    }
}

fn patched(present: &str, patch: &Patch<'_>) -> i64 {
    let at = |pointer: &str| find_at(present, pointer).map(|(value, _)| count(value.len()));
    // What stands there gives way, but for the items of an array, which move on.
    let replaced = |pointer: &str| match find_at(present, pointer) {
        Some((value, Parent::Object)) => count(value.len()),
        _ => -count(pointer.rsplit('/').next().unwrap_or_default().len() + MEMBER),
    };
    patch
        .operations
        .iter()
        .map(|operation| match operation.op {
            Op::Add => operation.value.map_or(0, length) - replaced(&operation.path),
            Op::Replace => operation.value.map_or(0, length) - at(&operation.path).unwrap_or_default(),
            Op::Remove => -at(&operation.path).unwrap_or_default(),
            Op::Copy => at(&operation.from).unwrap_or_default() - replaced(&operation.path),
            Op::Move | Op::Test => 0,
        })
        .sum()
}

/// What a value stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parent {
    Object,
    Array,
}

/// The text of the value at a JSON pointer.
fn find_at<'a>(text: &'a str, pointer: &str) -> Option<(&'a str, Parent)> {
    let mut here = (text, Parent::Object);
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        here = match serde_json::from_str::<Members<'a>>(here.0) {
            Ok(Members(members)) => (find(members.iter(), &name)?.get(), Parent::Object),
            Err(_) => {
                let items: Vec<&'a RawValue> = serde_json::from_str(here.0).ok()?;
                (items.get(name.parse::<usize>().ok()?)?.get(), Parent::Array)
            }
        };
    }
    Some(here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::todo;
    use crate::mapping;

    fn stored(spec: &str, rest: &str) -> Entity {
        let metadata = r#""name":"milk","namespace":"shop","uid":"8e03978e-40d5-43dd-bc93-6894a57f9324","resourceVersion":"1234","generation":1,"creationTimestamp":"2026-12-24T10:00:00Z","labels":{"a":"b"}"#;
        let object = format!(r#"{{"metadata":{{{metadata}}},"spec":{spec}{rest}}}"#);
        mapping::entity(&todo(), object.as_bytes()).unwrap()
    }

    fn difference(after: &Entity, before: &Entity) -> i64 {
        count(after.json.len()) - count(before.json.len())
    }

    #[test]
    fn a_new_entity_costs_about_what_the_cache_will_count() {
        let key = Key { namespace: Some("shop".into()), id: "".into() };
        let body = Body::parse(br#"{"id":"milk","message":"buy milk","meta":{"labels":{"a":"b"}}}"#).unwrap();
        let really = count(stored(r#"{"message":"buy milk"}"#, "").json.len());
        assert!((create(&key, &body) - really).abs() < 24, "{} and {really}", create(&key, &body));
    }

    #[test]
    fn a_replace_counts_the_difference_of_what_it_replaces() {
        let before = stored(r#"{"message":"one","n":[1,2,3]}"#, r#","status":{"phase":"Due"}"#);
        let after = stored(r#"{"message":"a longer one"}"#, r#","status":{"phase":"Due"}"#);
        let body = Body::parse(br#"{"message":"a longer one","status":{"a":"ignored"},"meta":{"version":"7"}}"#);
        assert_eq!(replace(&before, &body.unwrap()), difference(&after, &before));
        let body = Body::parse(&before.json).unwrap();
        assert_eq!(replace(&before, &body), 0, "sent back as it was read");
    }

    #[test]
    fn a_merge_patch_counts_what_it_merges() {
        let spec = r#"{"message":"one","list":[1,2,3],"deep":{"a":1,"b":{"c":true}}}"#;
        for (patch, after) in [
            (r#"{"message":"two!"}"#, r#"{"message":"two!","list":[1,2,3],"deep":{"a":1,"b":{"c":true}}}"#),
            (r#"{"message":null,"none":null}"#, r#"{"list":[1,2,3],"deep":{"a":1,"b":{"c":true}}}"#),
            (r#"{"list":{"x":{"y":null}}}"#, r#"{"message":"one","list":{"x":{}},"deep":{"a":1,"b":{"c":true}}}"#),
            (r#"{"deep":{"b":{"c":false},"a":null}}"#, r#"{"message":"one","list":[1,2,3],"deep":{"b":{"c":false}}}"#),
            (r#"{"new":"n"}"#, r#"{"message":"one","list":[1,2,3],"deep":{"a":1,"b":{"c":true}},"new":"n"}"#),
        ] {
            let (before, after) = (stored(spec, ""), stored(after, ""));
            let body = Body::parse(patch.as_bytes()).unwrap();
            // Commas beside what comes first or last of its object make one of difference.
            assert!((merge(&before, &body) - difference(&after, &before)).abs() <= 2, "{patch}");
        }
    }

    #[test]
    fn a_json_patch_counts_what_it_puts_in_and_takes_out() {
        let spec = r#"{"message":"one","list":[1,2,3],"deep":{"a":1}}"#;
        for (patch, after) in [
            (
                r#"[{"op":"replace","path":"/message","value":"two!"}]"#,
                r#"{"message":"two!","list":[1,2,3],"deep":{"a":1}}"#,
            ),
            (r#"[{"op":"add","path":"/message","value":""}]"#, r#"{"message":"","list":[1,2,3],"deep":{"a":1}}"#),
            (
                r#"[{"op":"add","path":"/list/0","value":12345}]"#,
                r#"{"message":"one","list":[12345,1,2,3],"deep":{"a":1}}"#,
            ),
            (r#"[{"op":"remove","path":"/list"}]"#, r#"{"message":"one","deep":{"a":1}}"#),
            (
                r#"[{"op":"copy","from":"/list","path":"/deep/b"}]"#,
                r#"{"message":"one","list":[1,2,3],"deep":{"a":1,"b":[1,2,3]}}"#,
            ),
            (r#"[{"op":"move","from":"/deep/a","path":"/a"}]"#, r#"{"message":"one","list":[1,2,3],"deep":{},"a":1}"#),
            (r#"[{"op":"test","path":"/message","value":"a long one"}]"#, spec),
        ] {
            let (before, after) = (stored(spec, ""), stored(after, ""));
            let grown = super::patch(&before, &Patch::parse(patch.as_bytes()).unwrap());
            assert!((grown - difference(&after, &before)).abs() <= 10, "{patch}: {grown}");
        }
    }

    #[test]
    fn a_status_counts_apart_from_the_fields() {
        let before = stored(r#"{"message":"one"}"#, r#","status":{"phase":"Due"}"#);
        let after = stored(r#"{"message":"one"}"#, r#","status":{"phase":"Done","n":1}"#);
        let whole = Body::parse(br#"{"phase":"Done","n":1}"#).unwrap();
        let patch =
            Patch::parse(br#"[{"op":"replace","path":"/phase","value":"Done"},{"op":"add","path":"/n","value":1}]"#);
        let patch = patch.unwrap();
        for change in [StatusChange::Replace(&whole), StatusChange::Merge(&whole), StatusChange::Patch(&patch)] {
            assert_eq!(status(&before, change), difference(&after, &before), "{change:?}");
        }
        assert!(status(&stored("{}", ""), StatusChange::Replace(&whole)) > 0);
    }
}
