//! The body of a batch: operations in their order, each read as far as needed to know what it is about. What an operation's own body holds is read
//! when its turn comes, so that it fails alone.

use std::borrow::Cow;

use contract::problem::{Code, Problem};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::scan;
use crate::members::Members;

/// The most operations of a batch.
pub const OPERATIONS: usize = 500;

/// What stands in a batch's body.
#[derive(Debug)]
pub struct Batch<'a> {
    /// Whether the operations are done one after the other, up to the first that fails.
    pub ordered: bool,
    /// What is to be done.
    pub operations: Vec<Operation<'a>>,
}

/// One operation of a batch: a write as the routes of a kind know it.
#[derive(Debug)]
pub struct Operation<'a> {
    /// What is to be done.
    pub op: Op,
    /// Plural, or `PLURAL.GROUP`.
    pub kind: String,
    /// Of the entity; a create may leave it out or have it in its body.
    pub id: String,
    /// Of the entity, where there is a choice.
    pub namespace: Option<String>,
    /// As the header; a bare version is taken too.
    pub if_match: Option<String>,
    /// As the header.
    pub if_none_match: Option<String>,
    /// As the header.
    pub idempotency_key: Option<String>,
    /// As the parameter.
    pub dry_run: bool,
    /// Empty for a delete alone.
    pub body: &'a [u8],
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// POST.
    Create,
    /// PUT.
    Replace,
    /// PATCH with a merge patch.
    Merge,
    /// PATCH with a JSON patch.
    Patch,
    /// DELETE.
    Delete,
    /// PUT of the status.
    ReplaceStatus,
    /// PATCH of the status with a merge patch.
    MergeStatus,
    /// PATCH of the status with a JSON patch.
    PatchStatus,
}

const MEMBERS: [&str; 9] =
    ["op", "kind", "id", "namespace", "ifMatch", "ifNoneMatch", "idempotencyKey", "dryRun", "body"];
const OPS: &str = "create, replace, patch, delete, replaceStatus or patchStatus";

impl<'a> Batch<'a> {
    /// Reads a batch: all of it or nothing.
    ///
    /// # Errors
    /// 400 with the place in the body, or with line and column where it is not JSON; 413 with too many operations.
    pub fn parse(body: &'a [u8]) -> Result<Self, Problem> {
        scan::check(body, scan::Root::Object)?;
        let Members(members) = serde_json::from_slice(body).map_err(|error| scan::syntax(&error))?;
        let mut batch = Self { ordered: false, operations: Vec::new() };
        let mut given = false;
        for (name, value) in members {
            match name.as_ref() {
                "ordered" => batch.ordered = read(value, "/ordered", "ordered is true or false")?,
                "operations" => {
                    given = true;
                    let items: Vec<&'a RawValue> =
                        serde_json::from_str(value.get()).map_err(|_| bad("/operations", "operations is an array"))?;
                    if items.len() > OPERATIONS {
                        let detail = format!("the batch has {} operations, the limit is {OPERATIONS}", items.len());
                        return Err(Problem::new(Code::TooLarge, detail));
                    }
                    let operations = items.into_iter().enumerate().map(|(index, item)| operation(index, item));
                    batch.operations = operations.collect::<Result<_, _>>()?;
                }
                other => {
                    let pointer = format!("/{}", super::escape(other));
                    return Err(bad(&pointer, "there is no such member; a batch has operations and ordered"));
                }
            }
        }
        if given { Ok(batch) } else { Err(bad("/operations", "operations is missing")) }
    }
}

fn operation(index: usize, item: &RawValue) -> Result<Operation<'_>, Problem> {
    let at = |member: &str| format!("/operations/{index}{}{member}", if member.is_empty() { "" } else { "/" });
    let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(item.get()) else {
        return Err(bad(&at(""), "an operation is an object"));
    };
    if let Some((name, _)) = members.iter().find(|(name, _)| !MEMBERS.contains(&name.as_ref())) {
        let why = format!("there is no such member; an operation has {}", MEMBERS.join(", "));
        return Err(bad(&at(&super::escape(name)), &why));
    }
    let text = |name: &str| {
        let value = find(&members, name);
        value.map(|value| read::<String>(value, &at(name), &format!("{name} is a string"))).transpose()
    };
    let body = find(&members, "body").map(|body| body.get().as_bytes());
    let array = body.is_some_and(|body| body.starts_with(b"["));
    let op = match (text("op")?.as_deref(), array) {
        (Some("create"), _) => Op::Create,
        (Some("replace"), _) => Op::Replace,
        (Some("patch"), false) => Op::Merge,
        (Some("patch"), true) => Op::Patch,
        (Some("delete"), _) => Op::Delete,
        (Some("replaceStatus"), _) => Op::ReplaceStatus,
        (Some("patchStatus"), false) => Op::MergeStatus,
        (Some("patchStatus"), true) => Op::PatchStatus,
        _ => return Err(bad(&at("op"), &format!("op is {OPS}"))),
    };
    let id = text("id")?.unwrap_or_default();
    match (op, body, id.is_empty()) {
        (Op::Delete, Some(_), _) => return Err(bad(&at("body"), "a delete has no body")),
        (Op::Delete, None, false) | (Op::Create, Some(_), _) | (_, Some(_), false) => {}
        (Op::Delete, None, true) | (_, Some(_), true) => return Err(bad(&at("id"), "id is missing")),
        (_, None, _) => return Err(bad(&at("body"), "body is missing")),
    }
    let dry_run = find(&members, "dryRun").map(|value| read(value, &at("dryRun"), "dryRun is true or false"));
    Ok(Operation {
        op,
        kind: text("kind")?.ok_or_else(|| bad(&at("kind"), "kind is missing"))?,
        id,
        namespace: text("namespace")?,
        if_match: text("ifMatch")?,
        if_none_match: text("ifNoneMatch")?,
        idempotency_key: text("idempotencyKey")?,
        dry_run: dry_run.transpose()?.unwrap_or_default(),
        body: body.unwrap_or_default(),
    })
}

fn find<'a>(members: &[(Cow<'a, str>, &'a RawValue)], wanted: &str) -> Option<&'a RawValue> {
    members.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value)
}

fn read<T: DeserializeOwned>(value: &RawValue, pointer: &str, why: &str) -> Result<T, Problem> {
    serde_json::from_str(value.get()).map_err(|_| bad(pointer, why))
}

fn bad(pointer: &str, why: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("{pointer}: {why}")).at(pointer, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_read_in_their_order_with_their_bodies_as_written() {
        let text = r#"{"ordered":true,"operations":[
            {"op":"create","kind":"todos","body":{"n":1.50},"idempotencyKey":"k"},
            {"op":"patch","kind":"todos.a.b","id":"a","namespace":"shop","body": [ ],"ifMatch":"\"7\""},
            {"op":"patch","kind":"todos","id":"a","body":{}},
            {"op":"delete","kind":"todos","id":"a","dryRun":true},
            {"op":"patchStatus","kind":"todos","id":"a","body":[]},
            {"op":"replaceStatus","kind":"todos","id":"a","body":{}}]}"#;
        let batch = Batch::parse(text.as_bytes()).unwrap();
        assert!(batch.ordered);
        let ops: Vec<Op> = batch.operations.iter().map(|operation| operation.op).collect();
        assert_eq!(ops, [Op::Create, Op::Patch, Op::Merge, Op::Delete, Op::PatchStatus, Op::ReplaceStatus]);
        let [create, patch, ..] = batch.operations.as_slice() else { panic!("{batch:?}") };
        assert_eq!((create.body, create.idempotency_key.as_deref()), (&b"{\"n\":1.50}"[..], Some("k")));
        assert_eq!((patch.if_match.as_deref(), patch.namespace.as_deref()), (Some("\"7\""), Some("shop")));
        assert!(batch.operations[3].dry_run);
        assert!(Batch::parse(br#"{"operations":[]}"#).unwrap().operations.is_empty());
    }

    #[test]
    fn what_is_no_batch_is_refused_as_a_whole_with_its_place() {
        for (operation, place) in [
            ("1", ""),
            (r#"{"op":"create","kind":"todos","body":{},"boby":{}}"#, "/boby"),
            (r#"{"op":"put","kind":"todos","id":"a","body":{}}"#, "/op"),
            (r#"{"kind":"todos","id":"a","body":{}}"#, "/op"),
            (r#"{"op":"create","body":{}}"#, "/kind"),
            (r#"{"op":"create","kind":"todos"}"#, "/body"),
            (r#"{"op":"delete","kind":"todos"}"#, "/id"),
            (r#"{"op":"delete","kind":"todos","id":"a","body":{}}"#, "/body"),
            (r#"{"op":"replace","kind":"todos","body":{}}"#, "/id"),
            (r#"{"op":"delete","kind":"todos","id":5}"#, "/id"),
            (r#"{"op":"delete","kind":"todos","id":"a","dryRun":"yes"}"#, "/dryRun"),
            (r#"{"op":"create","kind":"todos","body":{"a":1,"a":2}}"#, "/body/a"),
        ] {
            let text = format!(r#"{{"operations":[{{"op":"delete","kind":"todos","id":"a"}},{operation}]}}"#);
            let problem = Batch::parse(text.as_bytes()).expect_err(operation);
            assert_eq!(
                (problem.status, &*problem.errors[0].pointer),
                (400, &*format!("/operations/1{place}")),
                "{operation}"
            );
        }
        for (text, pointer) in
            [("{}", "/operations"), (r#"{"operations":{}}"#, "/operations"), (r#"{"atomic":true}"#, "/atomic")]
        {
            assert_eq!(Batch::parse(text.as_bytes()).unwrap_err().errors[0].pointer, pointer);
        }
        let many = vec![r#"{"op":"delete","kind":"todos","id":"a"}"#; OPERATIONS + 1].join(",");
        let problem = Batch::parse(format!(r#"{{"operations":[{many}]}}"#).as_bytes()).unwrap_err();
        assert_eq!(problem.status, 413);
        assert!(problem.detail.contains("501"), "{problem:?}");
    }
}
