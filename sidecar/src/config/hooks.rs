//! The app and its hooks, checked: where it is, what it is asked of each kind, and how long it has.
//!
//! [`super::check`] makes these of what is written. `app` hands them to the gateway `hooks` and to the drivers that call through it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The application beside the sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppConfig {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// Where it listens.
    pub url: AppUrl,
    /// Calls of hooks at the same time, those of admission apart.
    pub concurrency: usize,
    /// How it is noticed that it is away.
    pub health: HealthConfig,
}

/// Where the app listens: plain HTTP on loopback.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppUrl {
    /// The `Host` that it is called by.
    pub authority: String,
    /// Tried one after another.
    pub addresses: Vec<SocketAddr>,
}

/// How it is noticed that the app is away, and back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthConfig {
    /// Asked with GET; absent: a connection is enough.
    pub path: Option<String>,
    /// Between two looks.
    pub interval: Duration,
    /// For one look.
    pub timeout: Duration,
    /// Failures in a row until it counts as away.
    pub threshold: u32,
}

/// The admission webhook's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionConfig {
    /// Where it listens.
    pub address: SocketAddr,
    /// PEM: the certificate and those that lead to its authority.
    pub cert_file: PathBuf,
    /// PEM: its key.
    pub key_file: PathBuf,
    /// Reviews at the same time.
    pub concurrency: usize,
}

/// What the app is asked of a kind; absent: it is not asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HooksConfig {
    /// Whether a write may be stored.
    pub validate: Option<GuardConfig>,
    /// To fill in values.
    pub default: Option<GuardConfig>,
    /// To bring the world in step with an entity.
    pub reconcile: Option<ReconcileConfig>,
    /// To clean up before an entity goes.
    pub finalize: Option<FinalizeConfig>,
    /// To hear of changes.
    pub notify: Option<NotifyConfig>,
}

impl HooksConfig {
    /// Whether the API server has to ask the sidecar about writes of this kind.
    pub fn guards(&self) -> bool {
        self.validate.is_some() || self.default.is_some()
    }

    /// Whether the app works on entities of this kind.
    pub fn works(&self) -> bool {
        self.reconcile.is_some() || self.finalize.is_some()
    }
}

/// A hook at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardConfig {
    /// At the app.
    pub path: String,
    /// From connect to the answer's last byte.
    pub deadline: Duration,
    /// What becomes of a write when the app cannot be asked.
    pub on_failure: OnFailure,
    /// Whose writes are put to it.
    pub writers: Writers,
}

/// What becomes of a write when the app cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It is refused.
    Refuse,
    /// It is let through, with a warning.
    LetThrough,
}

/// Whose writes are put to a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Everybody's.
    All,
    /// Not the ones that this app makes through its sidecar.
    Others,
}

/// The hook that works on entities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReconcileConfig {
    /// At the app.
    pub path: String,
    /// From connect to the answer's last byte.
    pub deadline: Duration,
    /// Entities of this kind at the same time.
    pub concurrency: usize,
    /// How often every entity is looked at although nothing has changed.
    pub resync: Option<Duration>,
    /// Kinds that are shown with the entity.
    pub related: Vec<Reference>,
}

/// The hook that cleans up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalizeConfig {
    /// At the app.
    pub path: String,
    /// From connect to the answer's last byte.
    pub deadline: Duration,
}

/// The hook that hears of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotifyConfig {
    /// At the app.
    pub path: String,
    /// From connect to the answer's last byte.
    pub deadline: Duration,
    /// Refused attempts at one change until it is given up; absent: no limit.
    pub attempts: Option<u32>,
    /// Where changes go that are given up.
    pub dead_letter_topic: Option<String>,
}

/// A kind by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
}
