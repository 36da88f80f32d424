//! The body of a write: read once, checked for what the API server would not notice, its fields kept as they were written.

use std::borrow::Cow;

use contract::entity::RESERVED_FIELDS;
use contract::problem::{Code, Problem};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{scan, time};
use crate::entity::Key;
use crate::kind::Kind;
use crate::members::Members;

/// What `meta` has, whether or not it can be written.
const META: [&str; 8] = ["version", "generation", "uid", "namespace", "createdAt", "expiresAt", "labels", "deleting"];
/// Of a kind without `spec` the object's own members would be reached.
const OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// A write's body in the business shape.
#[derive(Debug)]
pub struct Body<'a> {
    /// In their order; no name twice.
    members: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// The writable part of `meta`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Meta {
    /// The outer absent: not given; the inner absent: `null`.
    pub(super) labels: Option<Option<Map<String, Value>>>,
    pub(super) expires_at: Option<Option<String>>,
}

/// Whether `null` may stand for a label to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    Taken,
    Refused,
}

impl<'a> Body<'a> {
    /// Reads a request's body: a JSON object, no name twice in an object at any depth, not nested without end.
    ///
    /// # Errors
    /// 400 with the pointer of the place, or with line and column where it is not JSON.
    pub fn parse(body: &'a [u8]) -> Result<Self, Problem> {
        scan::check(body, scan::Root::Object)?;
        let Members(members) = serde_json::from_slice(body).map_err(|error| scan::syntax(&error))?;
        Ok(Self { members })
    }

    /// The `id` in the body.
    ///
    /// # Errors
    /// 400 when it is not a string.
    pub fn id(&self) -> Result<Option<String>, Problem> {
        let Some(id) = self.member("id") else { return Ok(None) };
        serde_json::from_str(id.get())
            .map(Some)
            .map_err(|_| bad("/id", "the id is a string, and cannot be removed or changed"))
    }

    /// Everything.
    pub(super) fn members(&self) -> impl Iterator<Item = &(Cow<'a, str>, &'a RawValue)> {
        self.members.iter()
    }

    /// Everything but `id`, `status` and `meta`.
    pub(super) fn fields(&self) -> impl Iterator<Item = &(Cow<'a, str>, &'a RawValue)> {
        self.members.iter().filter(|(name, _)| !RESERVED_FIELDS.contains(&name.as_ref()))
    }

    /// Refuses what contradicts the URL, and what is no business shape.
    pub(super) fn check(&self, kind: &Kind, key: &Key) -> Result<(), Problem> {
        if let Some(id) = self.id()?
            && !key.id.is_empty()
            && *id != *key.id
        {
            return Err(bad("/id", format!("the id in the body is {id:?}, the one in the path {:?}", &*key.id)));
        }
        if let Some(namespace) = self.namespace()?
            && Some(namespace.as_str()) != key.namespace.as_deref()
        {
            let here = match &key.namespace {
                Some(here) => format!("the request is about {:?}", &**here),
                None => format!("a {} is in no namespace", kind.noun()),
            };
            return Err(bad("/meta/namespace", format!("the namespace in the body is {namespace:?}, but {here}")));
        }
        match self.fields().find(|(name, _)| !kind.has_spec && OBJECT.contains(&name.as_ref())) {
            Some((name, _)) => Err(bad(&format!("/{name}"), "there is no such field")),
            None => Ok(()),
        }
    }

    /// What of `meta` can be written.
    pub(super) fn meta(&self, nulls: Nulls) -> Result<Meta, Problem> {
        let mut meta = Meta::default();
        for (name, value) in self.meta_members()? {
            let pointer = format!("/meta/{}", super::escape(&name));
            match name.as_ref() {
                "labels" => meta.labels = Some(labels(value, nulls)?),
                "expiresAt" => meta.expires_at = Some(expires_at(value)?),
                known if META.contains(&known) => {}
                _ => return Err(bad(&pointer, format!("there is no such field; meta has {}", META.join(", ")))),
            }
        }
        Ok(meta)
    }

    fn namespace(&self) -> Result<Option<String>, Problem> {
        let members = self.meta_members()?;
        let Some((_, namespace)) = members.iter().find(|(name, _)| name == "namespace") else { return Ok(None) };
        serde_json::from_str(namespace.get())
            .map(Some)
            .map_err(|_| bad("/meta/namespace", "the namespace is a string, and cannot be removed or changed"))
    }

    fn meta_members(&self) -> Result<Vec<(Cow<'a, str>, &'a RawValue)>, Problem> {
        let Some(meta) = self.member("meta") else { return Ok(Vec::new()) };
        match serde_json::from_str(meta.get()) {
            Ok(Members(members)) => Ok(members),
            Err(_) => Err(bad("/meta", "meta is an object, and cannot be removed")),
        }
    }

    fn member(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(given, _)| given == name).map(|(_, value)| *value)
    }
}

pub(super) fn labels(value: &RawValue, nulls: Nulls) -> Result<Option<Map<String, Value>>, Problem> {
    let labels: Option<Map<String, Value>> =
        serde_json::from_str(value.get()).map_err(|_| bad("/meta/labels", "labels are an object of strings"))?;
    let wrong = labels.iter().flatten().find(|(_, value)| match value {
        Value::String(_) => false,
        Value::Null => nulls == Nulls::Refused,
        _ => true,
    });
    match wrong {
        Some((name, _)) => {
            Err(bad(&format!("/meta/labels/{}", super::escape(name)), "the value of a label is a string"))
        }
        None => Ok(labels),
    }
}

pub(super) fn expires_at(value: &RawValue) -> Result<Option<String>, Problem> {
    let text: Option<Option<String>> = serde_json::from_str(value.get()).ok();
    match text {
        Some(None) => Ok(None),
        Some(Some(text)) if time::is_rfc3339(&text) => Ok(Some(text)),
        _ => Err(bad(
            "/meta/expiresAt",
            "expiresAt is a point in time like \"2026-12-24T10:00:00Z\" (RFC 3339), or null",
        )),
    }
}

/// 400, saying the same of the place and of the whole.
fn bad(pointer: &str, detail: impl Into<String>) -> Problem {
    let detail = detail.into();
    Problem::new(Code::BadRequest, detail.clone()).at(pointer, detail)
}
