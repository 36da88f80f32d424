//! An entity as the cache keeps it: ready-to-send bytes, and beside them only what decisions need.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

use crate::marks::Marks;
use crate::version::Version;

/// Identifies an entity within its kind. Orders by namespace, then id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Absent for a cluster-scoped kind.
    pub namespace: Option<Arc<str>>,
    /// metadata.name.
    pub id: Arc<str>,
}

/// A key by its parts, as a reader has it: to look an entity up needs no [`Key`] of one's own.
pub trait Named {
    /// Namespace and id.
    fn parts(&self) -> (Option<&str>, &str);
}

impl Named for Key {
    fn parts(&self) -> (Option<&str>, &str) {
        (self.namespace.as_deref(), &self.id)
    }
}

impl Named for (Option<&str>, &str) {
    fn parts(&self) -> (Option<&str>, &str) {
        *self
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Named + '_ {}

impl PartialOrd for dyn Named + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As keys are ordered.
impl Ord for dyn Named + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

/// One version of an entity, never changed once made.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// What else of its metadata decides.
    pub marks: Marks,
    /// The business shape as JSON, ready to send.
    pub json: Bytes,
}

/// An entity in a set that is ordered by key, so that no map has to hold the key beside it.
#[derive(Debug, Clone)]
pub struct ByKey(pub Arc<Entity>);

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

impl Borrow<Key> for ByKey {
    fn borrow(&self) -> &Key {
        &self.0.key
    }
}

impl<'k> Borrow<dyn Named + 'k> for ByKey {
    fn borrow(&self) -> &(dyn Named + 'k) {
        &self.0.key
    }
}

impl Entity {
    /// What keeping it costs: JSON, key, labels and the structs around them, in bytes.
    pub fn footprint(&self) -> usize {
        let key = self.key.id.len() + self.key.namespace.as_ref().map_or(0, |namespace| namespace.len());
        let labels: usize =
            self.labels.iter().map(|(name, value)| name.len() + value.len() + size_of::<(Box<str>, Box<str>)>()).sum();
        size_of::<Self>() + size_of::<ByKey>() + self.json.len() + self.uid.len() + key + labels
    }
}
