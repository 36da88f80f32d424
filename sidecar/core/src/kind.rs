//! A kind that is served, as discovery found it.

/// A custom resource's kind and what the mapping must know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// API group, empty for the core group.
    pub group: String,
    /// API version, e.g. `v1`.
    pub version: String,
    /// Kind, e.g. `Todo`.
    pub kind: String,
    /// Plural, lower case: the first part of the entity API's path.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// Whether its fields stand under `spec`; else they stand beside `metadata` (ConfigMap).
    pub has_spec: bool,
    /// Whether `status` is a subresource.
    pub has_status: bool,
    /// Whether this app is the kind's authority: it may be written and is broadcast.
    pub owned: bool,
}

impl Kind {
    /// `GROUP/VERSION`, or `VERSION` in the core group.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `PLURAL.GROUP`, unique in a cluster.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }
}
