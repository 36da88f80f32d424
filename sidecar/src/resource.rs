//! Where a kind's objects are at the API server. The two gateways that ask it, `store` and `informer`, share these paths.

use sidecar_core::entity::Key;
use sidecar_core::kind::Kind;

/// `/apis/GROUP/VERSION`, or `/api/VERSION` for the core group.
pub(crate) fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") }
}

/// The objects of a namespace, or all of them.
pub(crate) fn collection(kind: &Kind, namespace: Option<&str>) -> String {
    let base = group_version(&kind.group, &kind.version);
    match namespace {
        Some(namespace) => format!("{base}/namespaces/{namespace}/{}", kind.plural),
        None => format!("{base}/{}", kind.plural),
    }
}

/// One object.
pub(crate) fn object(kind: &Kind, key: &Key) -> String {
    format!("{}/{}", collection(kind, key.namespace.as_deref()), key.id)
}
