//! From a write on the entity API to one request to the API server.
//!
//! Owns which request it is and its body; never sends it. `http` reads the body with [`Body::parse`], the store asks for the request,
//! sends it, and asks [`Request::outdated`] of a refusal. An entity's fields are passed on as they were written, so that no number loses a digit.
//!
//! **Create** is a POST.
//!
//! **Replace** must leave alone what belongs to others: annotations, finalizers, owner references, and the status. A PUT of
//! the object would drop them, since the business shape does not carry them. A merge patch merges maps, so it could drop a field only if
//! every field that is there were known. Server-side apply leaves what another manager owns, so a field that somebody set
//! with kubectl would survive the replace. A JSON patch does it: `add /spec` replaces the whole of it, wherever it stands, in one request,
//! without knowing what is there, and the API server itself tries again when another write comes between. It needs the object to
//! exist, and a PUT on the entity API creates what does not; so the cache is believed: absent there → POST, else the patch. When the cache was
//! behind, the API server says so (409 or 404), and the request is made again from the entity read through.
//!
//! Two things can only be patched when more of the present state is known: an annotation can be added only to a map that exists, and removed only
//! when it is there (`meta.expiresAt`); and the fields of a kind without `spec` stand one by one. In these cases the patch names the version that it was
//! made for.
//!
//! What `meta` leaves out (`labels`, `expiresAt`) stays as it is; `labels` given replaces all labels, `expiresAt: null` removes it.
//!
//! **A precondition** is part of the same request: the body sets `metadata.resourceVersion`, which the API server compares (409).

pub mod batch;
pub mod body;
pub mod growth;
pub mod idempotency;
pub mod name;
mod object;
pub mod patch;
mod place;
mod scan;
pub mod status;
mod time;
mod traced;

use contract::names::{EXPIRES_AT, IDEMPOTENCY};
use contract::problem::{Code, Problem};
use serde_json::{Map, Value, json};

use crate::entity::{Entity, Key};
use crate::kind::Kind;
use crate::mapping;
use crate::retry::Twice;
use crate::version::Version;
use body::{Body, Meta, Nulls};
use idempotency::Mark;
use object::JsonPatch;

/// Media type of a merge patch (RFC 7396).
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Media type of a JSON patch (RFC 6902).
pub const JSON_PATCH: &str = "application/json-patch+json";

/// The HTTP method of a request to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// To the collection.
    Post,
    /// To the object.
    Patch,
    /// PATCH to the object's status.
    PatchStatus,
    /// To the object.
    Delete,
}

/// One request to the API server; the URL follows from kind and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// POST goes to the collection, the others to the object.
    pub method: Method,
    /// Of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// What of the cache's state the request relies on.
    guess: Guess,
    /// What it would do if it arrived twice.
    pub twice: Twice,
}

/// What a request relies on that the caller did not ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guess {
    Nothing,
    Absent,
    Exists,
    Unchanged,
    /// Has the maps that a patch reaches into.
    Shaped,
    /// Exists, and has them.
    ExistsShaped,
}

impl Request {
    /// Whether a refusal with this HTTP status only says that the cache was behind: then read the entity at the API server, make the request again with
    /// what was read, and send that. The caller bounds how often.
    pub fn outdated(&self, status: u16) -> bool {
        match self.guess {
            Guess::Nothing => false,
            Guess::Absent => status == 409,
            Guess::Exists => status == 404,
            // 422: a JSON patch whose place is gone; the version is compared after it is applied.
            Guess::Unchanged => matches!(status, 404 | 409 | 422),
            Guess::Shaped => status == 422,
            Guess::ExistsShaped => matches!(status, 404 | 422),
        }
    }
}

/// The request that creates an entity. `key.id` is empty when the id stands in the body or is to be generated
/// (`metadata.generateName`). `id` and `meta` in the body must not contradict `key`.
///
/// # Errors
/// 400 when the body contradicts the URL, or is not the business shape; `errors` names the places.
pub fn create(kind: &Kind, key: &Key, body: &Body<'_>) -> Result<Request, Problem> {
    post(kind, key, body, None, Guess::Nothing)
}

/// [`create`] with an idempotency key: `key.id` is there, and the mark stays at the object.
///
/// # Errors
/// As [`create`].
pub fn create_once(kind: &Kind, key: &Key, body: &Body<'_>, mark: &Mark) -> Result<Request, Problem> {
    post(kind, key, body, Some(mark), Guess::Nothing)
}

/// The request that creates or replaces the entity `key`. `existing` is what the cache has. `base` is the version that must be the present one
/// (`If-Match`): when it is given and the cache has nothing, read the entity through before. A caller that wants to create only (`If-None-Match: *`)
/// calls [`create`].
///
/// # Errors
/// As [`create`]; 412 when there is a `base` and nothing exists.
pub fn replace(
    kind: &Kind,
    key: &Key,
    existing: Option<&Entity>,
    base: Option<Version>,
    body: &Body<'_>,
) -> Result<Request, Problem> {
    let Some(existing) = existing else {
        return match base {
            None => post(kind, key, body, None, Guess::Absent),
            Some(base) => Err(outrun(kind, key, base)),
        };
    };
    if let Some(base) = base
        && existing.version > base
    {
        return Err(outrun(kind, key, base));
    }
    body.check(kind, key)?;
    let meta = body.meta(Nulls::Refused)?;
    let mut patch = JsonPatch::default();
    let mut relies_on_version = !kind.has_spec;
    if kind.has_spec {
        patch.add("/spec", &object::join(body.fields()));
    } else {
        for name in mapping::field_names(existing) {
            if body.fields().all(|(given, _)| *given != name) {
                patch.remove(&format!("/{}", escape(&name)));
            }
        }
        for (name, value) in body.fields() {
            patch.add(&format!("/{}", escape(name)), value.get());
        }
    }
    if let Some(labels) = &meta.labels {
        let labels = labels.clone().unwrap_or_default();
        patch.add("/metadata/labels", &Value::from(labels).to_string());
    }
    if let Some(wanted) = &meta.expires_at
        && *wanted != mapping::expiry(existing)
    {
        relies_on_version = true;
        set_expiry(&mut patch, existing, wanted.as_deref());
    }
    let version = if relies_on_version { Some(existing.version) } else { base };
    if let Some(version) = version {
        patch.add("/metadata/resourceVersion", &json!(version.to_string()).to_string());
    }
    let guess = match base {
        _ if relies_on_version => Guess::Unchanged,
        Some(_) => Guess::Nothing,
        None => Guess::Exists,
    };
    Ok(Request {
        method: Method::Patch,
        content_type: JSON_PATCH,
        body: patch.into_body(),
        guess,
        twice: twice(version),
    })
}

/// The request that applies a merge patch (RFC 7396) over the business shape; `base` makes it conditional.
///
/// # Errors
/// As [`create`].
pub fn merge_patch(kind: &Kind, key: &Key, base: Option<Version>, body: &Body<'_>) -> Result<Request, Problem> {
    body.check(kind, key)?;
    let mut metadata = metadata(body.meta(Nulls::Taken)?, Nulls::Taken);
    if let Some(base) = base {
        metadata.insert("resourceVersion".to_owned(), json!(base.to_string()));
    }
    let mut parts = Vec::new();
    if !metadata.is_empty() {
        parts.push(format!("\"metadata\":{}", Value::from(metadata)));
    }
    if body.fields().next().is_some() {
        parts.push(if kind.has_spec {
            format!("\"spec\":{}", object::join(body.fields()))
        } else {
            object::members(body.fields())
        });
    }
    let text = format!("{{{}}}", parts.join(","));
    Ok(Request {
        method: Method::Patch,
        content_type: MERGE_PATCH,
        body: text.into_bytes(),
        guess: Guess::Nothing,
        twice: twice(base),
    })
}

/// The request that deletes the entity; `base` makes it conditional. `dry_run` stands in the body: the API server looks at no parameter of a delete
/// that has one.
pub fn delete(base: Option<Version>, dry_run: bool) -> Request {
    let mut options = Map::new();
    options.insert("apiVersion".to_owned(), json!("v1"));
    options.insert("kind".to_owned(), json!("DeleteOptions"));
    if let Some(base) = base {
        options.insert("preconditions".to_owned(), json!({ "resourceVersion": base.to_string() }));
    }
    if dry_run {
        options.insert("dryRun".to_owned(), json!(["All"]));
    }
    let body = Value::from(options).to_string().into_bytes();
    Request {
        method: Method::Delete,
        content_type: "application/json",
        body,
        guess: Guess::Nothing,
        twice: twice(base),
    }
}

fn post(kind: &Kind, key: &Key, body: &Body<'_>, mark: Option<&Mark>, guess: Guess) -> Result<Request, Problem> {
    body.check(kind, key)?;
    let name = if key.id.is_empty() { body.id()? } else { Some(key.id.to_string()) };
    let mut metadata = metadata(body.meta(Nulls::Refused)?, Nulls::Refused);
    if let Some(mark) = mark
        && let Value::Object(annotations) = metadata.entry("annotations").or_insert_with(|| json!({}))
    {
        annotations.insert(IDEMPOTENCY.to_owned(), json!(mark.annotation()));
    }
    let twice = if name.is_some() { Twice::Refused } else { Twice::Effective };
    match name {
        Some(name) => {
            name::check(&name).map_err(|why| {
                Problem::new(Code::BadRequest, format!("the id {name:?} cannot be used: {why}")).at("/id", why)
            })?;
            metadata.insert("name".to_owned(), json!(name));
        }
        None => {
            metadata.insert("generateName".to_owned(), json!(format!("{}-", kind.noun())));
        }
    }
    let mut text = format!(
        "{{\"apiVersion\":{},\"kind\":{},\"metadata\":{}",
        json!(kind.api_version()),
        json!(kind.kind),
        Value::from(metadata)
    );
    if kind.has_spec {
        text.push_str(",\"spec\":");
        text.push_str(&object::join(body.fields()));
    } else if body.fields().next().is_some() {
        text.push(',');
        text.push_str(&object::members(body.fields()));
    }
    text.push('}');
    Ok(Request { method: Method::Post, content_type: "application/json", body: text.into_bytes(), guess, twice })
}

/// The writable part of `meta` as Kubernetes' metadata.
fn metadata(meta: Meta, nulls: Nulls) -> Map<String, Value> {
    let mut metadata = Map::new();
    if let Some(labels) = meta.labels {
        metadata.insert("labels".to_owned(), labels.map_or(Value::Null, Value::from));
    }
    match meta.expires_at {
        Some(None) if nulls == Nulls::Refused => {}
        Some(expires_at) => {
            metadata.insert("annotations".to_owned(), json!({ EXPIRES_AT: expires_at }));
        }
        None => {}
    }
    metadata
}

/// What a request that changes something would do if it arrived twice; `version` must be the present one for it to do anything.
fn twice(version: Option<Version>) -> Twice {
    if version.is_some() { Twice::Refused } else { Twice::Effective }
}

/// Adds or removes the annotation; only when it has to change.
fn set_expiry(patch: &mut JsonPatch, existing: &Entity, wanted: Option<&str>) {
    let annotation = format!("/metadata/annotations/{}", escape(EXPIRES_AT));
    match wanted {
        Some(wanted) if existing.annotated => patch.add(&annotation, &json!(wanted).to_string()),
        Some(wanted) => patch.add("/metadata/annotations", &json!({ EXPIRES_AT: wanted }).to_string()),
        None => patch.remove(&annotation),
    }
}

fn missing(kind: &Kind, key: &Key) -> Problem {
    Problem::new(Code::NotFound, format!("there is no {} {:?}", kind.noun(), &*key.id))
}

fn outrun(kind: &Kind, key: &Key, base: Version) -> Problem {
    let detail = format!("the {} {:?} does not have the version {base} any more: read it again", kind.noun(), &*key.id);
    Problem::new(Code::PreconditionFailed, detail)
}

/// Escapes a member's name for a JSON pointer.
fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod mirror_tests;
#[cfg(test)]
mod tests;
