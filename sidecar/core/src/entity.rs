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
    /// Whether it has any annotation: a JSON patch can add one only to a map that exists.
    pub annotated: bool,
    /// The business shape as JSON, ready to send.
    pub json: Bytes,
}

impl Entity {
    /// What keeping it costs: JSON, key, labels and the structs around them, in bytes.
    pub fn footprint(&self) -> usize {
        let key = self.key.id.len() + self.key.namespace.as_ref().map_or(0, |namespace| namespace.len());
        let labels: usize =
            self.labels.iter().map(|(name, value)| name.len() + value.len() + size_of::<(Box<str>, Box<str>)>()).sum();
        // The map's own copy of the key shares the strings, but not the pointers to them.
        size_of::<Self>() + size_of::<Key>() + size_of::<Arc<Self>>() + self.json.len() + self.uid.len() + key + labels
    }
}
