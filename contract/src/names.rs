//! Fixed names: API group, annotations, field manager, environment, paths, exit codes.

/// API group of the sample kind and of the operator's resource; prefix of annotations and labels.
pub const GROUP: &str = "k8sasbackend.com";
/// Kubernetes field manager of every write that a sidecar makes.
pub const FIELD_MANAGER: &str = "kab-sidecar";
/// Annotation that keeps `meta.expiresAt` of an entity (RFC 3339).
pub const EXPIRES_AT: &str = "k8sasbackend.com/expires-at";
/// Annotation that keeps which `Idempotency-Key`, and which body, an entity was created with, both as hashes.
pub const IDEMPOTENCY: &str = "k8sasbackend.com/idempotency";
/// Annotation that keeps the trace (W3C `traceparent`) of the last write through a sidecar that traces.
pub const TRACEPARENT: &str = "k8sasbackend.com/traceparent";
/// Annotation that has an entity left alone by reconcile and finalize while it is `true`.
pub const PAUSED: &str = "k8sasbackend.com/paused";
/// Annotation that lets a deleted entity go without its finalize hook when it is `true`.
pub const FORCE_FINALIZE: &str = "k8sasbackend.com/force-finalize";
/// Finalizer of entities that have a finalize hook.
pub const FINALIZER: &str = "k8sasbackend.com/finalize";
/// Label of a child: its parent's uid.
pub const PARENT: &str = "k8sasbackend.com/parent";
/// Label of a child: its parent's kind.
pub const PARENT_KIND: &str = "k8sasbackend.com/parent-kind";
/// Environment variable that tells the app where its entity API is.
pub const APP_URL_VARIABLE: &str = "KAB_URL";
/// Prefix of the environment variables that override the sidecar's configuration; `__` stands between levels.
pub const ENVIRONMENT_PREFIX: &str = "KAB";
/// Where the sidecar looks for its configuration when no `--config` is given.
pub const DEFAULT_CONFIG: &str = "/etc/kab/sidecar.yaml";
/// Annotation of a Lease: the application whose it is.
pub const APP: &str = "k8sasbackend.com/app";
/// Annotation of a shard's Lease: for which number of shards it stands.
pub const SHARDS: &str = "k8sasbackend.com/shards";
/// Annotation of a Lease: how far the app has acknowledged changes that it was notified of.
pub const NOTIFIED: &str = "k8sasbackend.com/notified";
/// Compacted topic in which each bridge keeps how far it has come.
pub const POSITIONS_TOPIC: &str = "kab.positions";
/// Exit code for a configuration that cannot be used (`EX_USAGE` of sysexits.h).
pub const EXIT_CONFIGURATION: u8 = 64;

/// The topic of a kind: `GROUP.PLURAL`.
pub fn topic(group: &str, plural: &str) -> String {
    if group.is_empty() { plural.to_owned() } else { format!("{group}.{plural}") }
}
