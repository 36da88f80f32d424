//! What a todo is: the types that the app, its OpenAPI document, the topic's consumer and the CRD are all made of.
//!
//! Never does IO. `cargo xtask generate` turns [`TodoSpec`] and [`TodoStatus`] into the CRD's schema. Rules that need
//! nothing but the todo itself stand here, so that they bind every writer; rules that need the clock or other todos are
//! the app's (`app::rules`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something to be done at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "self.message.matches('\\\\S')",
        "message": "a todo needs a message that is not blank",
        "fieldPath": ".message"
    },
    {
        "rule": "!oldSelf.done || !self.done || self == oldSelf",
        "message": "a done todo cannot be changed; reopen it first (done: false)",
        "fieldPath": ".done"
    }
]))]
pub struct TodoSpec {
    /// When it is to be done.
    pub when: Timestamp,
    /// What is to be done, in a few words.
    #[schemars(length(min = 1, max = 256))]
    pub message: String,
    /// Whether it has been done.
    #[serde(default)]
    pub done: bool,
}

/// What has become of a todo; written by the platform, read by everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TodoStatus {
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
}

/// Where a todo stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Its time has not come yet.
    Scheduled,
    /// Its time has come.
    Due,
    /// It has been done.
    Done,
}

/// A todo as it is read: its own fields beside `id`, `status` and `meta`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Todo {
    /// The todo's name, unique and fixed.
    pub id: String,
    /// The todo's own fields.
    #[serde(flatten)]
    pub spec: TodoSpec,
    /// What has become of it, if anything has been reported yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("readOnly" = true))]
    pub status: Option<TodoStatus>,
    /// What is known about it beside its content.
    pub meta: Meta,
}

/// What is known about a todo beside its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Meta {
    /// Changes with each write; the same as in the `ETag` header.
    #[schemars(extend("readOnly" = true))]
    pub version: String,
    /// When the todo was created.
    #[schemars(extend("readOnly" = true))]
    pub created_at: Timestamp,
    /// Labels to find it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
