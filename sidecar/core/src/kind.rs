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

    /// The kind in lower case, as texts for people name an entity.
    pub fn noun(&self) -> String {
        self.kind.to_lowercase()
    }

    /// `PLURAL.GROUP`, unique in a cluster.
    pub fn full_name(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn todo() -> Kind {
        Kind {
            group: "k8sasbackend.com".to_owned(),
            version: "v1".to_owned(),
            kind: "Todo".to_owned(),
            plural: "todos".to_owned(),
            namespaced: true,
            has_spec: true,
            has_status: true,
            owned: true,
        }
    }

    pub(crate) fn config_map() -> Kind {
        Kind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            plural: "configmaps".to_owned(),
            namespaced: true,
            has_spec: false,
            has_status: false,
            owned: true,
        }
    }

    #[test]
    fn names_leave_the_core_group_out() {
        assert_eq!(
            (todo().api_version(), todo().full_name()),
            ("k8sasbackend.com/v1".into(), "todos.k8sasbackend.com".into())
        );
        assert_eq!((config_map().api_version(), config_map().full_name()), ("v1".into(), "configmaps".into()));
    }
}
