//! An entity as the cache keeps it: ready-to-send bytes, and beside them only what decisions need.

use std::sync::Arc;

use bytes::Bytes;

use crate::version::Version;

/// Identifies an entity within its kind. Orders by namespace, then id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Absent for a cluster-scoped kind.
    pub namespace: Option<Arc<str>>,
    /// metadata.name.
    pub id: Arc<str>,
}

/// One version of an entity, never changed once made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// Where it stands.
    pub key: Key,
    /// metadata.resourceVersion.
    pub version: Version,
    /// metadata.uid: tells an entity from a later one of the same name.
    pub uid: Box<str>,
    /// Labels, sorted by name: what a label selector looks at.
    pub labels: Box<[(Box<str>, Box<str>)]>,
    /// Whether metadata.deletionTimestamp is set.
    pub deleting: bool,
    /// The business shape as JSON, ready to send.
    pub json: Bytes,
}
