//! Settings of hooks as written: each is a path, or an object with the path and more. [`super`] has the kinds that they belong to.

use std::fmt;
use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::config) struct RawHooks {
    #[serde(deserialize_with = "path_or")]
    pub(in crate::config) validate: Option<RawGuard>,
    #[serde(deserialize_with = "path_or")]
    pub(in crate::config) default: Option<RawGuard>,
    #[serde(deserialize_with = "path_or")]
    pub(in crate::config) reconcile: Option<RawReconcile>,
    #[serde(deserialize_with = "path_or")]
    pub(in crate::config) finalize: Option<RawFinalize>,
    #[serde(deserialize_with = "path_or")]
    pub(in crate::config) notify: Option<RawNotify>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawGuard {
    /// Path of the hook at the app, such as `/hooks/todos/validate`. A path alone may stand in place of the object: so for every hook.
    pub(in crate::config) path: String,
    /// Seconds that the app has for its answer. 1 to 29; the webhook's own `timeoutSeconds` is one more.
    #[serde(default = "guard_deadline")]
    pub(in crate::config) deadline_seconds: u64,
    /// What becomes of a write when the app cannot be asked. `Fail`: it is refused. `Ignore`: it is let through, with a warning.
    #[serde(default)]
    pub(in crate::config) failure_policy: RawFailurePolicy,
    /// Whose writes are put to the hook. `others`: not the ones that this app makes through its sidecar, which an app that does one thing at a time could not answer.
    #[serde(default)]
    pub(in crate::config) writers: RawWriters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(in crate::config) enum RawFailurePolicy {
    #[default]
    Fail,
    Ignore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(in crate::config) enum RawWriters {
    #[default]
    All,
    Others,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawReconcile {
    /// Path of the hook at the app.
    pub(in crate::config) path: String,
    /// Seconds that the app has for its answer. 1 to 3600.
    #[serde(default = "work_deadline")]
    pub(in crate::config) deadline_seconds: u64,
    /// Entities of this kind that are worked on at once. 1 to 256; absent: `app.concurrency`.
    #[serde(default)]
    pub(in crate::config) concurrency: Option<u64>,
    /// Seconds after which every entity is looked at again although nothing has changed. 1 to 604800; absent: never.
    #[serde(default)]
    pub(in crate::config) resync_seconds: Option<u64>,
    /// Kinds whose objects in the entity's namespace the app is shown with it: each `{apiVersion, kind}`, of `kinds`.
    #[serde(default)]
    pub(in crate::config) related: Vec<RawReference>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawFinalize {
    /// Path of the hook at the app.
    pub(in crate::config) path: String,
    /// Seconds that the app has for its answer. 1 to 3600.
    #[serde(default = "work_deadline")]
    pub(in crate::config) deadline_seconds: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawNotify {
    /// Path of the hook at the app.
    pub(in crate::config) path: String,
    /// Seconds that the app has for its answer. 1 to 3600.
    #[serde(default = "work_deadline")]
    pub(in crate::config) deadline_seconds: u64,
    /// Failed attempts at one change until it is given up; one that the app answers with 4xx is so at once. At least 1; absent: no limit.
    #[serde(default)]
    pub(in crate::config) attempts: Option<u32>,
    /// Topic for changes that are given up, which has to exist; needs `attempts` and `kafka`.
    #[serde(default)]
    pub(in crate::config) dead_letter_topic: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::config) struct RawReference {
    /// `GROUP/VERSION`, or `VERSION` for the core group.
    pub(in crate::config) api_version: String,
    /// The kind, e.g. `ConfigMap`.
    pub(in crate::config) kind: String,
}

fn guard_deadline() -> u64 {
    2
}

fn work_deadline() -> u64 {
    10
}

impl From<String> for RawGuard {
    fn from(path: String) -> Self {
        Self {
            path,
            deadline_seconds: guard_deadline(),
            failure_policy: RawFailurePolicy::default(),
            writers: RawWriters::default(),
        }
    }
}

impl From<String> for RawReconcile {
    fn from(path: String) -> Self {
        Self { path, deadline_seconds: work_deadline(), concurrency: None, resync_seconds: None, related: Vec::new() }
    }
}

impl From<String> for RawFinalize {
    fn from(path: String) -> Self {
        Self { path, deadline_seconds: work_deadline() }
    }
}

impl From<String> for RawNotify {
    fn from(path: String) -> Self {
        Self { path, deadline_seconds: work_deadline(), attempts: None, dead_letter_topic: None }
    }
}

/// A path alone, or the object.
fn path_or<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + From<String>,
{
    struct PathOr<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de> + From<String>> Visitor<'de> for PathOr<T> {
        type Value = Option<T>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a path, or an object with `path`")
        }
        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
        fn visit_str<E: de::Error>(self, path: &str) -> Result<Self::Value, E> {
            Ok(Some(T::from(path.to_owned())))
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_any(PathOr(PhantomData))
}
