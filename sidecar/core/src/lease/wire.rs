//! A Lease's name and its JSON (coordination.k8s.io/v1).
//!
//! Owns which members carry what. Never sends: `sidecar/src/leases.rs` does.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::fnv;
use crate::kind::Kind;
use crate::lease::{Claim, Lease};

/// Kubernetes takes no longer name.
const NAME_LIMIT: usize = 253;
/// What the API server assumes where nothing is written.
const USUAL_SECONDS: u64 = 15;

/// The Lease of one shard of a kind in one namespace, or with `everywhere` of all namespaces:
/// `kab.PLURAL.GROUP.SHARD`, `kab-all.PLURAL.GROUP.SHARD`.
pub fn name(kind: &Kind, everywhere: bool, shard: u32) -> String {
    name_of(kind, everywhere, &shard.to_string())
}

/// `kab.PLURAL.GROUP.WHAT`, `kab-all.PLURAL.GROUP.WHAT`.
pub(crate) fn name_of(kind: &Kind, everywhere: bool, what: &str) -> String {
    let prefix = if everywhere { "kab-all" } else { "kab" };
    let full = kind.full_name();
    let name = format!("{prefix}.{full}.{what}");
    if name.len() <= NAME_LIMIT {
        return name;
    }
    format!("{prefix}.{:016x}.{what}", fnv::mix(fnv::fold(fnv::BASIS, full.as_bytes())))
}

/// Why a Lease cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read a Lease")]
pub struct LeaseError(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    // contract::names::APP; an attribute takes no constant.
    #[serde(default, rename = "k8sasbackend.com/app")]
    app: Option<String>,
    // contract::names::NOTIFIED.
    #[serde(default, rename = "k8sasbackend.com/notified")]
    notified: Option<String>,
    // contract::names::SHARDS.
    #[serde(default, rename = "k8sasbackend.com/shards")]
    shards: Option<String>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    lease_transitions: Option<u64>,
}

/// The Lease by which the replicas of an application agree which of them notifies it of a kind that it does not own; `namespace` is the kind's, absent:
/// all of them. It lies in the sidecar's own namespace: `kab-notify.APP.NAMESPACE.PLURAL.GROUP`.
pub fn notify_name(kind: &Kind, app: &str, namespace: Option<&str>) -> String {
    let full = kind.full_name();
    let parts = [app, namespace.unwrap_or("all-namespaces"), &full];
    let name = format!("kab-notify.{}", parts.join(".")).to_lowercase();
    let spelled = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte));
    let ends = name.ends_with(|end: char| end.is_ascii_alphanumeric()) && !name.contains("..");
    if spelled
        && ends
        && name.len() <= NAME_LIMIT
        && parts.iter().all(|part| !part.contains(".."))
        && app == app.to_lowercase()
    {
        return name;
    }
    let hash = parts.iter().fold(fnv::BASIS, |hash, part| fnv::fold(fnv::fold(hash, part.as_bytes()), b"/"));
    format!("kab-notify.{:016x}", fnv::mix(hash))
}

/// Reads the API server's answer.
///
/// # Errors
/// When it is not a Lease.
pub fn read(json: &[u8]) -> Result<Lease, LeaseError> {
    let Object { metadata, spec } = serde_json::from_slice(json)?;
    let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
    let (app, shards) = metadata.annotations.map_or((None, None), |annotations| (annotations.app, annotations.shards));
    Ok(Lease {
        version: metadata.resource_version,
        holder: filled(spec.holder_identity),
        app: filled(app),
        duration: Duration::from_secs(spec.lease_duration_seconds.unwrap_or(USUAL_SECONDS)),
        transitions: spec.lease_transitions.unwrap_or(0),
        shards: shards.and_then(|shards| shards.parse().ok()),
    })
}

/// How far the app had acknowledged changes when the Lease was written, for whoever may notify it while holding the Lease.
///
/// # Errors
/// When it is not a Lease.
pub fn notified(json: &[u8]) -> Result<Option<String>, LeaseError> {
    let Object { metadata, .. } = serde_json::from_slice(json)?;
    Ok(metadata.annotations.and_then(|annotations| annotations.notified))
}

/// The body of the request that makes the claim: of a create where the claim has no base, else of a merge patch, which leaves what
/// others keep in the Lease alone. `notified` is kept in it, if there is news of that. `now` is for people who look at it.
pub fn body(claim: &Claim, name: &str, notified: Option<&str>, now: Timestamp) -> Vec<u8> {
    let time = format!("{now:.6}");
    let mut spec = json!({
        "holderIdentity": claim.holder,
        "leaseDurationSeconds": claim.duration.as_secs().max(1),
        "leaseTransitions": claim.transitions,
        "renewTime": time,
    });
    let mut metadata = json!({});
    if let (true, Some(spec)) = (claim.acquired, spec.as_object_mut()) {
        spec.insert("acquireTime".to_owned(), time.into());
    }
    if let Some(metadata) = metadata.as_object_mut() {
        let app = claim.app.as_ref().map(|app| (contract::names::APP.to_owned(), json!(app)));
        let shards = claim.shards.map(|shards| (contract::names::SHARDS.to_owned(), json!(shards.to_string())));
        let notified = notified.map(|notified| (contract::names::NOTIFIED.to_owned(), json!(notified)));
        let annotations: Map<String, Value> = app.into_iter().chain(shards).chain(notified).collect();
        if !annotations.is_empty() {
            metadata.insert("annotations".to_owned(), annotations.into());
        }
        match &claim.base {
            Some(version) => metadata.insert("resourceVersion".to_owned(), version.as_str().into()),
            None => metadata.insert("name".to_owned(), name.into()),
        };
    }
    let mut object = json!({"metadata": metadata, "spec": spec});
    if let (None, Some(object)) = (&claim.base, object.as_object_mut()) {
        object.insert("apiVersion".to_owned(), "coordination.k8s.io/v1".into());
        object.insert("kind".to_owned(), "Lease".into());
    }
    object.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::{config_map, todo};

    #[test]
    fn each_kind_scope_and_shard_has_a_lease_of_its_own() {
        assert_eq!(name(&todo(), false, 0), "kab.todos.k8sasbackend.com.0");
        assert_eq!(name(&todo(), true, 12), "kab-all.todos.k8sasbackend.com.12");
        assert_eq!(name(&config_map(), false, 0), "kab.configmaps.0");
        let long = Kind { group: format!("{}.example", "g".repeat(240)), ..todo() };
        let other = Kind { plural: "others".to_owned(), ..long.clone() };
        assert!(name(&long, true, 0).len() <= NAME_LIMIT);
        assert_ne!(name(&long, true, 0), name(&other, true, 0));
    }

    #[test]
    fn the_lease_for_notifying_an_application_of_a_kind_that_it_does_not_own_is_its_own() {
        assert_eq!(notify_name(&todo(), "shop", Some("a")), "kab-notify.shop.a.todos.k8sasbackend.com");
        assert_eq!(notify_name(&todo(), "shop", None), "kab-notify.shop.all-namespaces.todos.k8sasbackend.com");
        let odd = ["Shop", "shop_1", "", "a..b", "x".repeat(300).leak()];
        let names: Vec<String> = odd.iter().map(|app| notify_name(&todo(), app, None)).collect();
        assert!(names.iter().all(|name| name.len() == 27), "{names:?}");
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), odd.len());
    }

    #[test]
    fn what_was_notified_is_kept_in_it_and_read_back() {
        let lease = br#"{"metadata":{"resourceVersion":"7","annotations":{"k8sasbackend.com/notified":"12 but 9"}}}"#;
        assert_eq!(notified(lease).unwrap().as_deref(), Some("12 but 9"));
        assert_eq!(notified(br#"{"metadata":{"resourceVersion":"7"}}"#).unwrap(), None);
        let claim = Claim {
            base: Some("7".to_owned()),
            holder: None,
            app: None,
            duration: Duration::from_secs(10),
            transitions: 4,
            acquired: false,
            shards: None,
        };
        let written = body(&claim, "x", Some("12"), Timestamp::UNIX_EPOCH);
        let written: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(written["metadata"]["annotations"], json!({"k8sasbackend.com/notified": "12"}));
    }

    #[test]
    fn a_lease_is_read_whoever_wrote_it() {
        let told = br#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease",
            "metadata":{"name":"x","resourceVersion":"7","annotations":{"k8sasbackend.com/app":"shop","k8sasbackend.com/shards":"2","other":"1"}},
            "spec":{"holderIdentity":"a","leaseDurationSeconds":9,"leaseTransitions":3,"renewTime":"2026-01-01T00:00:00.000000Z"}}"#;
        let expected = Lease {
            version: "7".to_owned(),
            holder: Some("a".to_owned()),
            app: Some("shop".to_owned()),
            duration: Duration::from_secs(9),
            transitions: 3,
            shards: Some(2),
        };
        assert_eq!(read(told).unwrap(), expected);
        let bare = read(br#"{"metadata":{"resourceVersion":"8"},"spec":{"holderIdentity":""}}"#).unwrap();
        assert_eq!((bare.holder, bare.app, bare.duration), (None, None, Duration::from_secs(15)));
        assert!(read(b"{}").is_err());
    }

    #[test]
    fn a_claim_says_what_it_is_based_on() {
        let now: Timestamp = "2026-01-02T03:04:05.6Z".parse().unwrap();
        let claim = Claim {
            base: Some("7".to_owned()),
            holder: Some("a".to_owned()),
            app: Some("shop".to_owned()),
            duration: Duration::from_secs(10),
            transitions: 4,
            acquired: true,
            shards: None,
        };
        let written =
            |claim: &Claim| serde_json::from_slice::<serde_json::Value>(&body(claim, "x", None, now)).unwrap();
        let time = "2026-01-02T03:04:05.600000Z";
        assert_eq!(
            written(&claim),
            json!({
                "metadata": {"resourceVersion": "7", "annotations": {"k8sasbackend.com/app": "shop"}},
                "spec": {"holderIdentity": "a", "leaseDurationSeconds": 10, "leaseTransitions": 4, "renewTime": time,
                         "acquireTime": time},
            })
        );
        let first = written(&Claim { base: None, app: None, ..claim.clone() });
        assert_eq!(first["metadata"], json!({"name": "x"}));
        assert_eq!(first["kind"], "Lease");
        let declared = written(&Claim { shards: Some(3), ..claim.clone() });
        assert_eq!(declared["metadata"]["annotations"]["k8sasbackend.com/shards"], "3");
        let over = written(&Claim { holder: None, acquired: false, ..claim });
        assert_eq!((&over["spec"]["holderIdentity"], over["spec"].get("acquireTime")), (&json!(null), None));
    }
}
