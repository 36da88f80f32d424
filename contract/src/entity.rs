//! The business shape of an entity, as the entity API answers it and as a record carries it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The top-level members that belong to the shape itself: a kind whose fields use one of these names cannot be served.
pub const RESERVED_FIELDS: [&str; 3] = ["id", "status", "meta"];

/// An entity: its own fields at the top level, beside `id`, `status` and `meta`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// Name, unique within its namespace.
    pub id: String,
    /// The entity's own fields.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
    /// What the reconciling side reports; absent until it has reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
    /// What the platform knows of the entity.
    pub meta: Meta,
}

/// What the platform knows of an entity. Only `labels` and `expiresAt` can be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Changes with each write; opaque to an app, larger means later within one kind.
    pub version: String,
    /// Counts the changes of the entity's own fields.
    pub generation: i64,
    /// Unlike the id never used again, not even after deletion.
    pub uid: String,
    /// Absent for a cluster-scoped kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// RFC 3339; when the entity is to be deleted, if ever.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: Option<String>,
    /// Kubernetes labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// True while finalizers hold a deleted entity.
    pub deleting: bool,
}
