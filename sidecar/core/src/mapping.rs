//! From a Kubernetes object to an entity, by slices: the API server's JSON is cut and joined, no tree is built.
//!
//! Owns the business shape's bytes: `{"id":…,<own fields verbatim>,"status":…,"meta":{…}}`. The informer and the store call it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use contract::entity::RESERVED_FIELDS;
use contract::names::EXPIRES_AT;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::entity::{Entity, Key};
use crate::kind::Kind;
use crate::marks::{Marks, OwnerReference};
use crate::members::Members;
use crate::version::Version;

/// Why an object cannot become an entity.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// Not JSON, or not the JSON of an object.
    #[error("failed to read an object from the API server")]
    Syntax(#[from] serde_json::Error),
    /// The version is not a number.
    #[error("failed to read the version {version:?} of an object: not a number")]
    Version {
        /// What stood there.
        version: String,
    },
    /// A watch told an event that does not exist.
    #[error("failed to read a watch event of type {event:?}: unknown")]
    Event {
        /// What stood there.
        event: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    /// Absent at admission of what has its name still to be made.
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    uid: Option<String>,
    /// Absent in the answer to a dry run of a create, which stores no version: then 0.
    #[serde(borrow, default = "never_stored")]
    resource_version: Cow<'a, str>,
    #[serde(default)]
    generation: Option<i64>,
    #[serde(default)]
    creation_timestamp: Option<String>,
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(borrow, default)]
    annotations: Option<Members<'a>>,
    #[serde(borrow, default)]
    finalizers: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default)]
    owner_references: Option<Vec<OwnerReference<'a>>>,
}

/// Where the parts of an object stand.
#[derive(Default)]
struct Parts<'a> {
    metadata: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

/// The entity in an object as the API server sent it.
///
/// # Errors
/// When the text is not an object's JSON or its version is not a number.
pub fn entity(kind: &Kind, object: &[u8]) -> Result<Entity, MappingError> {
    let entity = proposed(kind, object)?;
    if entity.key.id.is_empty() {
        return Err(MappingError::Syntax(serde::de::Error::custom("missing field `name`")));
    }
    Ok(entity)
}

/// The entity in an object that is still to be stored: its name may still be to be made.
///
/// # Errors
/// As [`entity`].
pub fn proposed(kind: &Kind, object: &[u8]) -> Result<Entity, MappingError> {
    let parts = parts(kind, object)?;
    let metadata: Metadata<'_> = serde_json::from_str(parts.metadata.map_or("{}", RawValue::get))?;
    let version = version(&metadata.resource_version)?;
    let annotated = metadata.annotations.as_ref().is_some_and(|Members(annotations)| !annotations.is_empty());
    let marks = Marks::read(
        metadata.finalizers.as_deref().unwrap_or_default(),
        metadata.owner_references.as_deref().unwrap_or_default(),
        |label| metadata.labels.as_ref()?.get(label).cloned(),
        metadata.annotations.as_ref().map_or(&[], |Members(annotations)| annotations),
    );
    let json = shape(&parts, &metadata)?;
    Ok(Entity {
        key: Key { namespace: metadata.namespace.map(shared), id: Arc::from(metadata.name) },
        version,
        uid: metadata.uid.unwrap_or_default().into(),
        labels: metadata
            .labels
            .unwrap_or_default()
            .into_iter()
            .map(|(name, value)| (name.into_boxed_str(), value.into_boxed_str()))
            .collect(),
        deleting: metadata.deletion_timestamp.is_some(),
        annotated,
        marks,
        json,
    })
}

/// A namespace's name, the same one for entities of the same namespace that come one after another, as nearly all do.
fn shared(name: String) -> Arc<str> {
    thread_local! {
        static LAST: RefCell<Option<Arc<str>>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some(last) if **last == *name => Arc::clone(last),
        _ => Arc::clone(last.insert(Arc::from(name))),
    })
}

/// The names of the entity's own fields, from its business shape.
pub(crate) fn field_names(entity: &Entity) -> Vec<String> {
    shape_members(entity)
        .into_iter()
        .map(|(name, _)| name.into_owned())
        .filter(|name| !RESERVED_FIELDS.contains(&name.as_str()))
        .collect()
}

/// Whether the entity has a status.
pub(crate) fn has_status(entity: &Entity) -> bool {
    shape_members(entity).iter().any(|(name, _)| name == "status")
}

/// The entity's `meta.expiresAt`, from its business shape.
pub(crate) fn expiry(entity: &Entity) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Meta {
        expires_at: Option<String>,
    }
    let members = shape_members(entity);
    let (_, meta) = members.iter().find(|(name, _)| name == "meta")?;
    serde_json::from_str::<Meta>(meta.get()).ok()?.expires_at
}

/// The members of the business shape. The bytes were made here, so that they can be read.
pub(crate) fn shape_members(entity: &Entity) -> Vec<(Cow<'_, str>, &RawValue)> {
    serde_json::from_slice(&entity.json).map(|Members(members)| members).unwrap_or_default()
}

fn never_stored() -> Cow<'static, str> {
    Cow::Borrowed("0")
}

/// A resourceVersion as the API server writes it.
pub(crate) fn version(text: &str) -> Result<Version, MappingError> {
    text.parse().map_err(|_| MappingError::Version { version: text.to_owned() })
}

fn parts<'a>(kind: &Kind, object: &'a [u8]) -> Result<Parts<'a>, MappingError> {
    let Members(members) = serde_json::from_slice(object)?;
    let mut parts = Parts::default();
    for (name, value) in members {
        match name.as_ref() {
            "metadata" => parts.metadata = Some(value),
            "status" => parts.status = Some(value).filter(|status| status.get() != "null"),
            "spec" if kind.has_spec => {
                let spec: Option<Members<'a>> = serde_json::from_str(value.get())?;
                parts.fields = spec.map(|Members(fields)| fields).unwrap_or_default();
            }
            "apiVersion" | "kind" => {}
            _ if kind.has_spec => {}
            _ => parts.fields.push((name, value)),
        }
    }
    // A schema that declares them is refused; one that allows any field may still let them through.
    parts.fields.retain(|(name, _)| !RESERVED_FIELDS.contains(&name.as_ref()));
    Ok(parts)
}

fn shape(parts: &Parts<'_>, metadata: &Metadata<'_>) -> Result<Bytes, serde_json::Error> {
    let fields: usize = parts.fields.iter().map(|(name, value)| name.len() + value.get().len() + 4).sum();
    let status = parts.status.map_or(0, |status| status.get().len());
    let labels: usize = metadata.labels.iter().flatten().map(|(name, value)| name.len() + value.len() + 6).sum();
    let mut out = Vec::with_capacity(fields + status + labels + 2 * metadata.name.len() + 384);
    out.extend_from_slice(b"{\"id\":");
    serde_json::to_writer(&mut out, &metadata.name)?;
    for (name, value) in &parts.fields {
        out.push(b',');
        serde_json::to_writer(&mut out, name)?;
        out.push(b':');
        push(&mut out, value);
    }
    if let Some(status) = parts.status {
        out.extend_from_slice(b",\"status\":");
        push(&mut out, status);
    }
    out.extend_from_slice(b",\"meta\":{\"version\":");
    serde_json::to_writer(&mut out, &metadata.resource_version)?;
    out.extend_from_slice(b",\"generation\":");
    serde_json::to_writer(&mut out, &metadata.generation.unwrap_or_default())?;
    out.extend_from_slice(b",\"uid\":");
    serde_json::to_writer(&mut out, metadata.uid.as_deref().unwrap_or_default())?;
    if let Some(namespace) = &metadata.namespace {
        out.extend_from_slice(b",\"namespace\":");
        serde_json::to_writer(&mut out, namespace)?;
    }
    out.extend_from_slice(b",\"createdAt\":");
    serde_json::to_writer(&mut out, metadata.creation_timestamp.as_deref().unwrap_or_default())?;
    out.extend_from_slice(b",\"expiresAt\":");
    match expires_at(metadata) {
        Some(expires_at) => push(&mut out, expires_at),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"labels\":");
    match &metadata.labels {
        Some(labels) => serde_json::to_writer(&mut out, labels)?,
        None => out.extend_from_slice(b"{}"),
    }
    out.extend_from_slice(if metadata.deletion_timestamp.is_some() {
        b",\"deleting\":true}}"
    } else {
        b",\"deleting\":false}}"
    });
    // Exactly as long as needed: this is what the cache keeps.
    Ok(Bytes::from(out.into_boxed_slice()))
}

/// The annotation's value, still quoted. An empty one counts as none.
fn expires_at<'a>(metadata: &Metadata<'a>) -> Option<&'a RawValue> {
    let Members(annotations) = metadata.annotations.as_ref()?;
    let (_, value) = annotations.iter().find(|(name, _)| name == EXPIRES_AT)?;
    Some(*value).filter(|value| value.get() != "\"\"")
}

/// Copies a value, without the white space of one that was printed for people: it would break lines of an event stream, and
/// costs memory. Strings cannot hold a line break or a tab, so one of these shows such a value; single spaces stay.
fn push(out: &mut Vec<u8>, value: &RawValue) {
    let text = value.get().as_bytes();
    if !text.iter().any(|byte| matches!(byte, b'\n' | b'\r' | b'\t')) {
        return out.extend_from_slice(text);
    }
    let (mut in_string, mut escaped) = (false, false);
    for &byte in text {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
}

#[cfg(test)]
mod tests;
