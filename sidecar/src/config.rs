//! The sidecar's settings: read once from defaults, file, environment and flags, checked, and from then on never looked at raw.
//!
//! What is wrong is told in one message with the key and where it came from; `main` ends with exit code 64 then. `main` calls
//! [`Config::load`]; only `app` reads the result.

mod check;
mod hooks;
mod quantity;
mod raw;
mod reference;
mod sources;
mod tracing;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use runtime::telemetry::Format;
use sidecar_core::budget::Limits;
use sidecar_core::lease::Durations;

pub use hooks::{
    AdmissionConfig, AppConfig, AppUrl, FinalizeConfig, GuardConfig, HealthConfig, HooksConfig, NotifyConfig,
    OnFailure, ReconcileConfig, Reference, Writers,
};
pub use reference::reference;
pub use tracing::{Collector, PodConfig, TracingConfig};

/// The settings, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The application beside the sidecar.
    pub app: AppConfig,
    /// The entity API.
    pub api: ApiConfig,
    /// Where the admin server listens.
    pub admin: SocketAddr,
    /// The admission webhook; there where a kind has a hook at the door.
    pub admission: Option<AdmissionConfig>,
    /// The cluster's name in `ce_source`, `transactional.id` and positions.
    pub cluster: String,
    /// Level or directives.
    pub log_level: String,
    /// Text or JSON.
    pub log_format: Format,
    /// The kubeconfig to use, where one is given.
    pub kubeconfig: Option<PathBuf>,
    /// Absent: nothing is broadcast.
    pub kafka: Option<KafkaConfig>,
    /// How leaders are elected.
    pub lease: LeaseConfig,
    /// The sidecar's pod, where that is told.
    pub pod: Option<PodConfig>,
    /// Absent: nothing is traced.
    pub tracing: Option<TracingConfig>,
    /// At least one.
    pub kinds: Vec<KindConfig>,
}

/// Where the entity API listens, and whom it lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiConfig {
    /// Loopback.
    pub address: SocketAddr,
    /// A unix socket beside it.
    pub socket: Option<PathBuf>,
    /// The file with the token that callers must show.
    pub token_file: Option<PathBuf>,
    /// Origins whose pages may use it beside its own, as browsers write them.
    pub allowed_origins: Vec<String>,
    /// What its callers may use.
    pub limits: ApiLimits,
}

/// What the entity API's callers may use, so that none keeps it from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// Connections at the same time, where the platform lets the process have so many.
    pub connections: u64,
    /// Fields of a request's head.
    pub header_fields: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// From a head's first byte to its last.
    pub header_time: Duration,
    /// From a head's end to its body's.
    pub body_time: Duration,
    /// While a caller takes nothing of an answer.
    pub stall_time: Duration,
    /// While nothing is asked on a connection.
    pub idle_time: Duration,
}

/// How leaders are elected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// How long things take.
    pub durations: Durations,
    /// This process's name; absent: a new one at each start.
    pub identity: Option<String>,
}

/// How to broadcast.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    /// librdkafka's properties, `bootstrap.servers` among them; none that the bridge sets itself.
    pub properties: BTreeMap<String, String>,
    /// Those whose value stands in a file.
    pub property_files: BTreeMap<String, PathBuf>,
    /// Where the token for OAUTHBEARER stands.
    pub token_file: Option<PathBuf>,
    /// What a crash may cost.
    pub delivery: Delivery,
    /// Bytes of waiting changes, per kind and namespace scope, before they collapse to the newest per entity.
    pub queue_bytes: usize,
    /// Partitions of a topic that is created; absent: the broker's default.
    pub partitions: Option<i32>,
    /// Replicas of a topic that is created; absent: the broker's default.
    pub replication_factor: Option<i32>,
}

/// Properties by name alone: a value may be a secret.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaConfig")
            .field("properties", &self.properties.keys())
            .field("property_files", &self.property_files)
            .field("token_file", &self.token_file)
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

/// What a crash may cost a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing: records and position are one transaction.
    ExactlyOnce,
    /// Repetitions with the same `ce_id`.
    AtLeastOnce,
}

/// A kind to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindConfig {
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Whether it may be written here and is broadcast.
    pub owned: bool,
    /// Which namespaces.
    pub namespaces: Namespaces,
    /// Where its cache comes from.
    pub source: Source,
    /// Topic; absent: `GROUP.PLURAL`.
    pub topic: Option<String>,
    /// Bound of the cache of each of its watches.
    pub cache_bytes: usize,
    /// Bounds of what is written here; none for a kind that is not owned.
    pub budget: Limits,
    /// What the app is asked of it.
    pub hooks: HooksConfig,
    /// What the app's hooks may ask for.
    pub children: Vec<Reference>,
    /// Slices of its keys.
    pub shards: u32,
}

/// Where a cache comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A watch on the API server.
    Watch,
    /// The topic that the kind is broadcast to; there is `kafka` then.
    Kafka,
}

/// The namespaces of a kind that are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// Every one, by one watch over the whole cluster.
    All,
    /// These, by a watch each; at least one, none twice.
    These(Vec<Namespace>),
}

/// One namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Namespace {
    /// The sidecar's own: of its service account or its kubeconfig's context.
    Own,
    /// By name.
    Named(String),
}

/// Why the settings cannot be used. The message names the key and the file, variable or flag.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--help` or `--version` was asked for, or a flag is unknown.
    #[error(transparent)]
    Flags(#[from] clap::Error),
    /// The file cannot be read or is not YAML.
    #[error("failed to read the configuration {file}: {fault}")]
    File {
        /// The file.
        file: String,
        /// Why.
        fault: String,
    },
    /// A key is unknown or has a wrong value.
    #[error("wrong configuration: {key}: {fault}{origin}")]
    Key {
        /// Levels separated by dots.
        key: String,
        /// What is wrong.
        fault: String,
        /// ` (in FILE)`, ` (in environment variable X)`, ` (in flag X)`, or nothing for what is missing everywhere.
        origin: String,
    },
}

impl ConfigError {
    /// Tells people on standard error (help on standard output), since no log is set up yet; answers the exit code.
    pub fn report(&self) -> u8 {
        use std::io::Write;
        match self {
            Self::Flags(error) => drop(error.print()),
            other => drop(writeln!(std::io::stderr(), "kab-sidecar: {other}")),
        }
        self.exit_code()
    }

    /// The exit code: 0 where only help or the version was asked for.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Flags(error) if !error.use_stderr() => 0,
            _ => contract::names::EXIT_CONFIGURATION,
        }
    }
}

impl Config {
    /// Reads the settings. `arguments` start with the program's name; both are the process's own, or a test's.
    ///
    /// # Errors
    /// When anything is unknown, wrong or missing.
    pub fn load(
        arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
        environment: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let flags = sources::Flags::parse(arguments)?;
        let merged = sources::merge(&flags, environment)?;
        check::check(merged)
    }
}

#[cfg(test)]
mod tests;
