//! The settings as written: names, types, defaults and the one description that `--help` and `docs/configuration.md` show.

pub(super) mod hooks;
pub(super) mod tracing;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use hooks::{RawHooks, RawReference};
use tracing::{RawPod, RawTracing};

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) app: RawApp,
    pub(super) api: RawApi,
    pub(super) admin: RawAdmin,
    pub(super) admission: RawAdmission,
    /// Name of this Kubernetes cluster, in `ce_source` and in the names of positions and transactions.
    pub(super) cluster: String,
    pub(super) log: RawLog,
    /// Kubeconfig file; absent: `KUBECONFIG`, else the pod's service account, else `~/.kube/config`.
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) kafka: Option<RawKafka>,
    pub(super) lease: RawLease,
    pub(super) pod: RawPod,
    pub(super) tracing: RawTracing,
    /// Kinds to serve, at least one.
    pub(super) kinds: Vec<RawKind>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawApp {
    /// Name of the application, the same for all its replicas. Of two applications that own a kind in one namespace, the first keeps it. Absent: cannot be told from any other.
    pub(super) name: Option<String>,
    /// Where the application listens for hooks: plain HTTP on loopback.
    pub(super) url: String,
    /// Calls of hooks at the same time, all kinds together; those of admission are counted apart. 1 to 1024.
    pub(super) concurrency: u64,
    pub(super) health: RawHealth,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawHealth {
    /// Path at the app that answers 2xx while it is well. Absent: it is enough that it takes a connection.
    pub(super) path: Option<String>,
    /// Seconds between two looks at the app. 1 to 3600.
    pub(super) interval_seconds: u64,
    /// Milliseconds that one look may take. 10 to 60000.
    pub(super) timeout_millis: u64,
    /// Failures in a row after which the app counts as away and is not fed until it is back. 1 to 100.
    pub(super) threshold: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawLease {
    /// Seconds that the Lease of an owned kind must stand without a renewal until another replica takes it over.
    pub(super) duration_seconds: u32,
    /// Seconds after its last renewal when the leader stops working; at most two thirds of `durationSeconds`.
    pub(super) renew_seconds: u32,
    /// Seconds between two renewals, and between two looks of those that stand by; at most half of `renewSeconds`.
    pub(super) retry_seconds: u32,
    /// Name of this process in the Lease, never another living one's: such as the pod's uid, so that a container that was restarted goes on at once. Absent: a new one at each start.
    pub(super) identity: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawApi {
    /// Address of the entity API; loopback only. Port 0 takes a free one.
    pub(super) address: String,
    /// Unix socket on which the entity API listens too, for the same user and group (mode 0660). One that a killed sidecar left is replaced.
    pub(super) socket: Option<PathBuf>,
    /// File with a bearer token that every request must show; read again when it changes. Absent: no token is needed.
    pub(super) token_file: Option<PathBuf>,
    /// Origins whose pages may use the entity API in a browser, such as `https://shop.example`; the API's own page always may.
    pub(super) allowed_origins: Vec<String>,
    pub(super) limits: RawLimits,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawLimits {
    /// Connections that are served at once, readers of events among them; fewer where the platform lets the sidecar have fewer files open. 16 to 65536.
    pub(super) connections: u64,
    /// Fields that a request's head may have. 16 to 1024.
    pub(super) header_fields: u64,
    /// Size that a request's head may have, in bytes or with Ki, Mi. 8Ki to 1Mi.
    #[serde(deserialize_with = "scalar")]
    pub(super) header_bytes: String,
    /// Seconds that a request's head may take from its first byte on. 1 to 600.
    pub(super) header_seconds: u64,
    /// Seconds that a request's body may take. 1 to 600.
    pub(super) body_seconds: u64,
    /// Seconds for which a caller may take nothing of an answer. 1 to 600.
    pub(super) stall_seconds: u64,
    /// Seconds for which a connection may be idle; callers' pools should be the ones to close. 1 to 86400.
    pub(super) idle_seconds: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawAdmin {
    /// Address of `/livez`, `/readyz` and `/metrics`. Port 0 takes a free one.
    pub(super) address: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawAdmission {
    /// Address of the admission webhook, TLS only; served where a kind has the hook `validate` or `default`. Port 0 takes a free one.
    pub(super) address: String,
    /// Certificate that the API server is shown, and what leads to its authority, as PEM; read again when it changes. Needed for the hooks `validate` and `default`.
    pub(super) cert_file: Option<PathBuf>,
    /// The certificate's key, as PEM; read again when it changes.
    pub(super) key_file: Option<PathBuf>,
    /// Reviews at the same time; more are turned away with 429. 1 to 1024.
    pub(super) concurrency: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawLog {
    /// error, warn, info, debug, trace, or directives such as `info,sidecar=debug`. `RUST_LOG` wins over it.
    pub(super) level: String,
    /// Look of the log lines on standard error.
    pub(super) format: RawFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(super) enum RawFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawKafka {
    /// Any property of librdkafka: `bootstrap.servers` (needed), TLS, SASL, compression. Without `kafka` nothing is broadcast.
    #[serde(deserialize_with = "scalars")]
    pub(super) properties: BTreeMap<String, String>,
    /// Properties of librdkafka whose value stands in a file, such as `sasl.password`: name and path. Read again whenever a connection is made anew, so that a secret can be replaced while the sidecar runs.
    #[serde(deserialize_with = "scalars")]
    pub(super) property_files: BTreeMap<String, String>,
    /// File with the token for SASL's mechanism OAUTHBEARER, such as a projected service account token; read again before it expires.
    pub(super) token_file: Option<PathBuf>,
    /// `exactlyOnce`: records and position are one transaction. `atLeastOnce`: a crash may repeat records, with the same `ce_id`.
    pub(super) delivery: RawDelivery,
    /// Memory for waiting changes of one kind, in bytes or with Ki, Mi, Gi; beyond it they collapse to the newest per entity.
    #[serde(deserialize_with = "scalar")]
    pub(super) queue_bytes: String,
    /// Partitions of a topic that the sidecar creates; absent: the broker's default.
    pub(super) partitions: Option<i32>,
    /// Replicas of a topic that the sidecar creates; absent: the broker's default.
    pub(super) replication_factor: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(super) enum RawDelivery {
    #[default]
    ExactlyOnce,
    AtLeastOnce,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawKind {
    /// `GROUP/VERSION`, or `VERSION` for the core group.
    pub(super) api_version: String,
    /// The kind, e.g. `Todo`.
    pub(super) kind: String,
    /// Whether this app is the kind's authority: it may be written here and is broadcast. Else it is read-only.
    #[serde(default)]
    pub(super) owned: bool,
    /// `own`, `all`, or a list of namespaces, `own` among them or not.
    #[serde(default = "own", deserialize_with = "one_or_many")]
    pub(super) namespaces: Vec<String>,
    /// Where the cache comes from. `watch`: the API server. `kafka`: the topic that the kind is broadcast to, so that the API server has one watch however many sidecars there are; needs `kafka`.
    #[serde(default)]
    pub(super) source: RawSource,
    /// Topic of a kind that is owned or whose source is kafka; absent: `GROUP.PLURAL`.
    #[serde(default)]
    pub(super) topic: Option<String>,
    /// Memory for the entities of each watch of this kind, in bytes or with Ki, Mi, Gi; with more than fits the kind is neither read nor broadcast.
    #[serde(default = "cache_bytes", deserialize_with = "scalar")]
    pub(super) cache_bytes: String,
    #[serde(default)]
    pub(super) budget: RawBudget,
    #[serde(default)]
    pub(super) hooks: RawHooks,
    /// Kinds of objects that the hooks `reconcile` and `finalize` may ask for.
    #[serde(default)]
    pub(super) children: Vec<RawReference>,
    /// Slices of the kind's keys that may each have another active sidecar. 1 to 64.
    #[serde(default = "one")]
    pub(super) shards: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(super) enum RawSource {
    #[default]
    Watch,
    Kafka,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(super) struct RawBudget {
    /// Entities of an owned kind that there may be for one more to be created through this sidecar, such as `10000` or `10k`. Absent: no bound.
    #[serde(deserialize_with = "optional_scalar")]
    pub(super) objects: Option<String>,
    /// Bytes of their business JSON that there may be for a write to add some, such as `50Mi`. Absent: no bound.
    #[serde(deserialize_with = "optional_scalar")]
    pub(super) bytes: Option<String>,
    /// Writes through this sidecar, deletes apart, such as `50` or `0.5`; a second's worth may come at once. Absent: no bound.
    #[serde(deserialize_with = "optional_scalar")]
    pub(super) writes_per_second: Option<String>,
}

/// Some hundred thousand entities of the usual size: a bound against surprises, not a budget.
fn cache_bytes() -> String {
    "512Mi".to_owned()
}

fn one() -> u32 {
    1
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            app: RawApp::default(),
            api: RawApi::default(),
            admin: RawAdmin::default(),
            admission: RawAdmission::default(),
            cluster: "kubernetes".to_owned(),
            log: RawLog::default(),
            kubeconfig: None,
            kafka: None,
            lease: RawLease::default(),
            pod: RawPod::default(),
            tracing: RawTracing::default(),
            kinds: Vec::new(),
        }
    }
}

impl Default for RawApp {
    fn default() -> Self {
        Self {
            name: None,
            url: format!("http://127.0.0.1:{}", contract::ports::APP),
            concurrency: 16,
            health: RawHealth::default(),
        }
    }
}

impl Default for RawHealth {
    fn default() -> Self {
        Self { path: None, interval_seconds: 5, timeout_millis: 500, threshold: 3 }
    }
}

impl Default for RawApi {
    fn default() -> Self {
        Self {
            address: format!("127.0.0.1:{}", contract::ports::ENTITY_API),
            socket: None,
            token_file: None,
            allowed_origins: Vec::new(),
            limits: RawLimits::default(),
        }
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        Self {
            connections: 4096,
            header_fields: 64,
            header_bytes: "32Ki".to_owned(),
            header_seconds: 10,
            body_seconds: 30,
            stall_seconds: 15,
            idle_seconds: 75,
        }
    }
}

impl Default for RawLease {
    fn default() -> Self {
        Self { duration_seconds: 10, renew_seconds: 6, retry_seconds: 2, identity: None }
    }
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { address: format!("0.0.0.0:{}", contract::ports::ADMIN) }
    }
}

impl Default for RawAdmission {
    fn default() -> Self {
        let address = format!("0.0.0.0:{}", contract::ports::ADMISSION);
        Self { address, cert_file: None, key_file: None, concurrency: 32 }
    }
}

impl Default for RawLog {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: RawFormat::Text }
    }
}

impl Default for RawKafka {
    fn default() -> Self {
        Self {
            properties: BTreeMap::new(),
            property_files: BTreeMap::new(),
            token_file: None,
            delivery: RawDelivery::ExactlyOnce,
            queue_bytes: "16Mi".to_owned(),
            partitions: None,
            replication_factor: None,
        }
    }
}

fn own() -> Vec<String> {
    vec!["own".to_owned()]
}

/// A text, a number or a truth value, as text: YAML reads `16` and `true` as what they look like.
struct Scalar(String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl Visitor<'_> for AsText {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, true or false")
            }
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
                Ok(Scalar(value.to_owned()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(value.to_string()))
            }
        }
        deserializer.deserialize_any(AsText)
    }
}

fn scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Scalar::deserialize(deserializer).map(|scalar| scalar.0)
}

fn optional_scalar<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Scalar>::deserialize(deserializer)?.map(|scalar| scalar.0))
}

fn scalars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct AsTexts;
    impl<'de> Visitor<'de> for AsTexts {
        type Value = BTreeMap<String, String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of properties")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut all = BTreeMap::new();
            while let Some((name, value)) = map.next_entry::<String, Scalar>()? {
                all.insert(name, value.0);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_map(AsTexts)
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct OneOrMany;
    impl<'de> Visitor<'de> for OneOrMany {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("`own`, `all` or a list of namespaces")
        }
        fn visit_str<E: de::Error>(self, value: &str) -> Result<Vec<String>, E> {
            Ok(vec![value.to_owned()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
            let mut all = Vec::new();
            while let Some(one) = seq.next_element()? {
                all.push(one);
            }
            Ok(all)
        }
    }
    deserializer.deserialize_any(OneOrMany)
}
