//! A JSON patch (RFC 6902) over the business shape: read once and checked, its values kept as they were written.
//!
//! The API server applies the operations, `test` included, in one request. What it could not apply to the object as it stands there is
//! put right first: an operation within a map that the object leaves out while the business shape shows an empty one, and `meta.expiresAt`,
//! which is an annotation. Then the patch names the version that it was made for.

use std::borrow::Cow;

use contract::problem::{Code, Problem};
use serde_json::json;
use serde_json::value::RawValue;

use super::body::{expires_at, labels};
use super::object::JsonPatch;
use super::place::{self, Place};
use super::{Guess, JSON_PATCH, Method, Nulls, Request, escape, missing, outrun, scan, set_expiry, twice};
use crate::entity::{Entity, Key};
use crate::kind::Kind;
use crate::mapping;
use crate::members::Members;
use crate::version::Version;

/// What the API server takes at most.
const OPERATIONS: usize = 10_000;

/// The operations of a JSON patch, in their order.
#[derive(Debug)]
pub struct Patch<'a> {
    pub(super) operations: Vec<Operation<'a>>,
}

#[derive(Debug)]
pub(super) struct Operation<'a> {
    pub(super) op: Op,
    pub(super) path: String,
    pub(super) from: String,
    pub(super) value: Option<&'a RawValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Replace,
    Remove,
    Test,
    Move,
    Copy,
}

impl<'a> Patch<'a> {
    /// Reads a request's body: an array of operations.
    ///
    /// # Errors
    /// 400 with the place in the body, or with line and column where it is not JSON; 413 with too many operations.
    pub fn parse(body: &'a [u8]) -> Result<Self, Problem> {
        scan::check(body, scan::Root::Array)?;
        let items: Vec<&'a RawValue> = serde_json::from_slice(body).map_err(|error| scan::syntax(&error))?;
        if items.len() > OPERATIONS {
            let detail = format!("the patch has {} operations, the limit is {OPERATIONS}", items.len());
            return Err(Problem::new(Code::TooLarge, detail));
        }
        let operations = items.into_iter().enumerate().map(|(index, item)| operation(index, item));
        Ok(Self { operations: operations.collect::<Result<_, _>>()? })
    }

    /// Whether it can be made into a request only with the present entity at hand.
    pub fn needs_state(&self) -> bool {
        self.operations.iter().any(|operation| operation.path == "/meta/expiresAt")
    }
}

fn operation(index: usize, item: &RawValue) -> Result<Operation<'_>, Problem> {
    let bad = |member: &str, detail: String| {
        Problem::new(Code::BadRequest, format!("operation {index} of the patch: {detail}"))
            .at(format!("/{index}{member}"), detail)
    };
    let Ok(Members(members)) = serde_json::from_str::<Members<'_>>(item.get()) else {
        return Err(bad("", "an operation is an object with op and path".to_owned()));
    };
    let find = |wanted: &str| members.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
    let text = |name: &str| {
        let value = find(name).ok_or_else(|| bad("", format!("{name} is missing")))?;
        serde_json::from_str::<Cow<'_, str>>(value.get())
            .map(Cow::into_owned)
            .map_err(|_| bad(&format!("/{name}"), format!("{name} is a string")))
    };
    let op = match text("op")?.as_str() {
        "add" => Op::Add,
        "replace" => Op::Replace,
        "remove" => Op::Remove,
        "test" => Op::Test,
        "move" => Op::Move,
        "copy" => Op::Copy,
        _ => return Err(bad("/op", "op is add, replace, remove, test, move or copy".to_owned())),
    };
    let from = if matches!(op, Op::Move | Op::Copy) { text("from")? } else { String::new() };
    let value = find("value");
    if value.is_none() && matches!(op, Op::Add | Op::Replace | Op::Test) {
        return Err(bad("", "value is missing".to_owned()));
    }
    Ok(Operation { op, path: text("path")?, from, value })
}

/// The request that applies the patch to the entity; `existing` is what the cache has, `base` makes it conditional.
///
/// # Errors
/// 400 for a value that cannot stand where it is to stand, 404 when [`Patch::needs_state`] and there is nothing, 412 when `base` is outrun, 422 with the
/// pointer for a place that cannot be written.
pub fn json_patch(
    kind: &Kind,
    key: &Key,
    existing: Option<&Entity>,
    base: Option<Version>,
    patch: &Patch<'_>,
) -> Result<Request, Problem> {
    let mut made = Made::default();
    let before = existing.and_then(mapping::expiry);
    let mut expiry = before.clone();
    for operation in &patch.operations {
        made.add(operation, &mut expiry, |pointer| place::of_entity(kind, pointer))?;
    }
    let mut relies_on_version = false;
    if made.expires {
        let existing = existing.ok_or_else(|| missing(kind, key))?;
        relies_on_version = true;
        if expiry != before {
            set_expiry(&mut made.patch, existing, expiry.as_deref());
        }
    }
    if let Some(existing) = existing {
        if made.labels && existing.labels.is_empty() {
            relies_on_version = true;
            made.patch.add_first("/metadata/labels", "{}");
        }
        if made.fields && kind.has_spec && mapping::field_names(existing).is_empty() {
            relies_on_version = true;
            made.patch.add_first("/spec", "{}");
        }
    }
    finish(kind, key, existing, base, relies_on_version, made.patch, Method::Patch)
}

/// The request that applies the patch, whose pointers begin in the status, to the entity's status.
///
/// # Errors
/// 412 when `base` is outrun, 422 with the pointer for a place that cannot be written.
pub(super) fn json_patch_status(
    kind: &Kind,
    key: &Key,
    existing: Option<&Entity>,
    base: Option<Version>,
    patch: &Patch<'_>,
) -> Result<Request, Problem> {
    let mut made = Made::default();
    for operation in &patch.operations {
        made.add(operation, &mut None, place::of_status)?;
    }
    let bare = existing.is_some_and(|existing| !mapping::has_status(existing));
    let whole = patch.operations.first().is_some_and(|first| first.path.is_empty() && first.op == Op::Add);
    if bare && !whole {
        made.patch.add_first("/status", "{}");
    }
    finish(kind, key, existing, base, bare && !whole, made.patch, Method::PatchStatus)
}

fn finish(
    kind: &Kind,
    key: &Key,
    existing: Option<&Entity>,
    base: Option<Version>,
    relies_on_version: bool,
    mut patch: JsonPatch,
    method: Method,
) -> Result<Request, Problem> {
    let mut version = base;
    if let Some(existing) = existing.filter(|_| relies_on_version) {
        if let Some(base) = base
            && existing.version > base
        {
            return Err(outrun(kind, key, base));
        }
        version = Some(existing.version);
    }
    if let Some(version) = version {
        patch.add("/metadata/resourceVersion", &json!(version.to_string()).to_string());
    }
    let guess = if relies_on_version { Guess::Unchanged } else { Guess::Shaped };
    Ok(Request { method, content_type: JSON_PATCH, body: patch.into_body(), guess, twice: twice(version) })
}

/// The request in the making, and what its operations touched.
#[derive(Default)]
struct Made {
    patch: JsonPatch,
    fields: bool,
    labels: bool,
    expires: bool,
}

impl Made {
    fn add(
        &mut self,
        operation: &Operation<'_>,
        expiry: &mut Option<String>,
        place: impl Fn(&str) -> Result<Place, String>,
    ) -> Result<(), Problem> {
        let Operation { op, path, from, value } = operation;
        let target = place(path).map_err(|why| refuse(path, &why))?;
        let value = value.map_or("null", RawValue::get);
        self.touch(&target);
        match (op, target) {
            (Op::Move | Op::Copy, Place::Field(path) | Place::Label(path)) => {
                let source = place(from).map_err(|why| refuse(operation.from.as_str(), &why))?;
                self.touch(&source);
                match (op, source) {
                    (_, Place::Field(from) | Place::Label(from)) => self.patch.carry(op.name(), &from, &path),
                    (Op::Copy, Place::ReadOnly(from) | Place::Labels(from)) => {
                        self.patch.carry(op.name(), &from, &path);
                    }
                    (Op::Copy, _) => return Err(refuse(from, "it cannot be copied")),
                    _ => return Err(refuse(from, "it cannot be moved away")),
                }
            }
            (Op::Test, Place::Field(path) | Place::Labels(path) | Place::Label(path) | Place::ReadOnly(path)) => {
                self.patch.value(op.name(), &path, value);
            }
            (_, Place::ReadOnly(_)) => return Err(refuse(path, "it cannot be written")),
            (Op::Remove, Place::Field(path) | Place::Label(path)) => self.patch.remove(&path),
            (Op::Remove, Place::Labels(path)) => self.patch.add(&path, "{}"),
            (Op::Add | Op::Replace, Place::Field(path)) => self.patch.value(op.name(), &path, value),
            (Op::Add | Op::Replace, Place::Label(inner)) => {
                if serde_json::from_str::<Cow<'_, str>>(value).is_err() {
                    return Err(Problem::new(Code::BadRequest, "the value of a label is a string")
                        .at(path, "the value of a label is a string"));
                }
                self.patch.value(op.name(), &inner, value);
            }
            (Op::Add | Op::Replace, Place::Labels(path)) => {
                if let Some(raw) = operation.value {
                    labels(raw, Nulls::Refused)?;
                }
                self.patch.add(&path, if value == "null" { "{}" } else { value });
            }
            (Op::Remove, Place::ExpiresAt) => *expiry = None,
            (Op::Add | Op::Replace, Place::ExpiresAt) => *expiry = point(operation)?,
            (Op::Test, Place::ExpiresAt) => {
                if *expiry != point(operation)? {
                    return Err(inapplicable());
                }
            }
            (Op::Move | Op::Copy, _) => return Err(refuse(path, "nothing can be moved or copied there")),
        }
        Ok(())
    }

    fn touch(&mut self, place: &Place) {
        match place {
            Place::Field(_) => self.fields = true,
            Place::Labels(_) | Place::Label(_) => self.labels = true,
            Place::ExpiresAt => self.expires = true,
            Place::ReadOnly(_) => {}
        }
    }
}

impl Op {
    fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Replace => "replace",
            Self::Remove => "remove",
            Self::Test => "test",
            Self::Move => "move",
            Self::Copy => "copy",
        }
    }
}

/// A patch that does not fit the present state. Which of its operations does not, the API server does not say.
pub fn inapplicable() -> Problem {
    let detail =
        "the patch does not fit the entity as it is: a test does not hold, or a place that it names is not there";
    Problem::new(Code::Conflict, detail)
}

fn point(operation: &Operation<'_>) -> Result<Option<String>, Problem> {
    operation.value.map_or(Ok(None), expires_at)
}

/// 422: the patch is understood, but what it wants cannot be done.
fn refuse(pointer: &str, why: &str) -> Problem {
    let pointer = if pointer.starts_with('/') || pointer.is_empty() {
        pointer.to_owned()
    } else {
        format!("/{}", escape(pointer))
    };
    Problem::new(Code::Invalid, format!("{pointer:?}: {why}")).at(pointer, why)
}

#[cfg(test)]
mod tests;
