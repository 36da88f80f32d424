//! A replica's mark, and the object in which all replicas of a kind and scope have theirs: annotations of a Lease that nobody holds.
//!
//! Owns names and JSON. Each replica writes its own annotation and no other, so no write ever meets another's. It never sends.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::fnv;
use crate::kind::Kind;
use crate::lease::wire::LeaseError;

/// Of the annotations that are marks.
const PREFIX: &str = "k8sasbackend.com/replica-";

/// What a replica says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// Its identity in Leases.
    pub replica: String,
    /// The application whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// How many shards it counts.
    pub shards: u32,
    /// Changes each time.
    pub beat: u64,
}

impl Mark {
    /// Whether both share the work on a kind: replicas of one application that count its shards alike.
    pub fn is_peer_of(&self, other: &Self) -> bool {
        let foreign = matches!((&self.app, &other.app), (Some(ours), Some(theirs)) if ours != theirs);
        !foreign && self.shards == other.shards
    }
}

/// The name of the object, beside the Lease of shard 0.
pub fn name(kind: &Kind, everywhere: bool) -> String {
    crate::lease::wire::name_of(kind, everywhere, "replicas")
}

/// The body that writes a mark, or takes it away, and takes those of `forgotten` away: a merge patch, or with `name` the whole new object.
pub fn body(replica: &str, mark: Option<&Mark>, forgotten: &[String], name: Option<&str>) -> Vec<u8> {
    let own = mark.map_or(Value::Null, |mark| serde_json::to_string(mark).unwrap_or_default().into());
    let gone = forgotten.iter().map(|replica| (annotation(replica), Value::Null));
    let annotations: Map<String, Value> = gone.chain([(annotation(replica), own)]).collect();
    let object = match name {
        None => json!({"metadata": {"annotations": annotations}}),
        Some(name) => json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": name, "annotations": annotations}, "spec": {},
        }),
    };
    object.to_string().into_bytes()
}

/// All marks by replica, from the API server's answer. What is no mark is passed over.
///
/// # Errors
/// When it is no object with metadata.
pub fn read(json: &[u8]) -> Result<BTreeMap<String, Mark>, LeaseError> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    let object: Object = serde_json::from_slice(json)?;
    let marks = object.metadata.annotations.iter().filter(|(name, _)| name.starts_with(PREFIX));
    let marks = marks.filter_map(|(_, text)| serde_json::from_str::<Mark>(text).ok());
    Ok(marks.map(|mark| (mark.replica.clone(), mark)).collect())
}

fn annotation(replica: &str) -> String {
    format!("{PREFIX}{:016x}", fnv::mix(fnv::fold(fnv::BASIS, replica.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::todo;

    fn mark(replica: &str, app: Option<&str>, shards: u32) -> Mark {
        Mark { replica: replica.to_owned(), app: app.map(str::to_owned), shards, beat: 1 }
    }

    #[test]
    fn the_object_stands_beside_the_leases() {
        assert_eq!(name(&todo(), false), "kab.todos.k8sasbackend.com.replicas");
        assert_eq!(name(&todo(), true), "kab-all.todos.k8sasbackend.com.replicas");
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_others_are_taken_away() {
        let mine = mark("pod-1_x/y", Some("shop"), 4);
        let made = body("pod-1_x/y", Some(&mine), &[], Some("n"));
        assert_eq!(read(&made).unwrap(), BTreeMap::from([("pod-1_x/y".to_owned(), mine.clone())]));
        let patch: Value = serde_json::from_slice(&body("a", None, &["b".to_owned()], None)).unwrap();
        let annotations = patch["metadata"]["annotations"].as_object().unwrap();
        assert_eq!(annotations.len(), 2);
        assert!(annotations.values().all(Value::is_null), "{patch}");
        let mixed = br#"{"metadata":{"annotations":{"other":"1","k8sasbackend.com/replica-0":"nonsense"}}}"#;
        assert!(read(mixed).unwrap().is_empty());
        assert!(read(br#"{"metadata":{}}"#).unwrap().is_empty());
        assert!(read(b"[]").is_err());
    }

    #[test]
    fn replicas_of_one_application_that_count_alike_share_the_work() {
        assert!(mark("a", Some("shop"), 2).is_peer_of(&mark("b", Some("shop"), 2)));
        assert!(mark("a", None, 2).is_peer_of(&mark("b", Some("shop"), 2)));
        assert!(!mark("a", Some("crm"), 2).is_peer_of(&mark("b", Some("shop"), 2)));
        assert!(!mark("a", Some("shop"), 3).is_peer_of(&mark("b", Some("shop"), 2)));
    }
}
