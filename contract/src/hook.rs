//! Hooks: what the sidecar asks the app over loopback, and what the app answers.
//!
//! Owns the bodies of every hook. An entity is carried as the JSON that the entity API would answer, so that nothing is lost on the way. Whoever
//! reads an answer takes wrong types for a fault of the app and ignores members that it does not know; [`Reply::MEMBERS`] names the known ones.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::problem::FieldError;

/// Which attempt at this call it is, from 1: header of every call.
pub const ATTEMPT_HEADER: &str = "kab-attempt";

/// The hooks there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HookName {
    /// Whether a write may be stored.
    Validate,
    /// Fills in values before a write is stored.
    Default,
    /// Brings the world in step with an entity.
    Reconcile,
    /// Cleans up before an entity goes.
    Finalize,
    /// Hears of changes.
    Notify,
}

impl HookName {
    /// As the configuration and metrics call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validate => "validate",
            Self::Default => "default",
            Self::Reconcile => "reconcile",
            Self::Finalize => "finalize",
            Self::Notify => "notify",
        }
    }
}

/// What somebody wants to do to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// It is new.
    Create,
    /// It exists.
    Update,
    /// It is to go.
    Delete,
}

/// Who writes, as Kubernetes knows them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct User {
    /// Such as `jane` or `system:serviceaccount:shop:todo-app`.
    pub name: String,
    /// Such as `system:authenticated`.
    pub groups: Vec<String>,
}

/// What `validate` and `default` are asked.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValidateRequest<'a> {
    /// What is to be done.
    pub operation: Operation,
    /// The entity as it would be stored; null when it is to go.
    pub entity: Option<&'a RawValue>,
    /// The entity as it is; null when it is new.
    pub old_entity: Option<&'a RawValue>,
    /// Who wants it.
    pub user: User,
    /// Whether nothing will be stored in any case.
    pub dry_run: bool,
}

/// What `validate` answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ValidateAnswer {
    /// Whether it may be stored.
    pub allowed: bool,
    /// Shown to whoever writes, also when it is stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why not, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The places that are wrong, as JSON pointers into the entity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// What `default` answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DefaultAnswer {
    /// The entity as it shall be: all of its own fields, also those that stay. `id`, `status` and `meta` may be left out and cannot be changed, `meta.labels` apart.
    pub entity: Map<String, Value>,
}

/// What `reconcile` and `finalize` are asked.
#[derive(Debug, Clone, Serialize)]
pub struct ReconcileRequest<'a> {
    /// The entity as it is now.
    pub entity: &'a RawValue,
    /// Its children as they are now.
    pub children: Vec<&'a RawValue>,
    /// Which attempt at this state it is, from 1.
    pub attempt: u32,
    /// Objects that the configuration names as related.
    pub related: Vec<&'a RawValue>,
}

/// What `reconcile` and `finalize` answer. An object without members changes nothing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReconcileAnswer {
    /// The whole status, conditions apart; absent: it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Map<String, Value>>,
    /// Conditions to set; others stay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Every child that there shall be, in the business shape beside `apiVersion` and `kind`; one that is left out is deleted. Absent: children stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub children: Option<Vec<Map<String, Value>>>,
    /// Seconds after which to ask again, whatever happens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requeue_after: Option<f64>,
    /// To be recorded as Kubernetes Events on the entity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventAnswer>,
    /// Of `finalize` only: all is cleaned up, the entity may go.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub finalized: bool,
}

/// A condition as the app states it; the sidecar adds when it changed and for which generation it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Such as `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One word in CamelCase, for programs.
    #[serde(default)]
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

/// An event as the app tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventAnswer {
    /// Whether somebody should look.
    #[serde(rename = "type", default)]
    pub kind: EventKind,
    /// One word in CamelCase, for programs.
    pub reason: String,
    /// For people.
    #[serde(default)]
    pub message: String,
}

/// Whether somebody should look at an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum EventKind {
    /// All is well.
    #[default]
    Normal,
    /// Something is not.
    Warning,
}

/// An answer of the app that is read.
pub trait Reply: DeserializeOwned {
    /// Names that may stand at its top level.
    const MEMBERS: &'static [&'static str];
}

impl Reply for ValidateAnswer {
    const MEMBERS: &'static [&'static str] = &["allowed", "warnings", "message", "errors"];
}

impl Reply for DefaultAnswer {
    const MEMBERS: &'static [&'static str] = &["entity"];
}

impl Reply for ReconcileAnswer {
    const MEMBERS: &'static [&'static str] =
        &["status", "conditions", "children", "requeueAfter", "events", "finalized"];
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn members<T: Reply + Serialize>(full: &T) {
        let Ok(Value::Object(written)) = serde_json::to_value(full) else { panic!("not an object") };
        let mut known = T::MEMBERS.to_vec();
        let mut names: Vec<&str> = written.keys().map(String::as_str).collect();
        known.sort_unstable();
        names.sort_unstable();
        assert_eq!(names, known);
    }

    #[test]
    fn the_known_members_are_those_that_are_written() {
        let place = FieldError { pointer: "/when".to_owned(), detail: "is past".to_owned() };
        members(&ValidateAnswer {
            allowed: true,
            warnings: vec!["x".into()],
            message: Some("x".into()),
            errors: vec![place],
        });
        members(&DefaultAnswer::default());
        members(&ReconcileAnswer {
            status: Some(Map::new()),
            conditions: vec![Condition {
                kind: "Ready".into(),
                status: ConditionStatus::True,
                reason: String::new(),
                message: String::new(),
            }],
            children: Some(Vec::new()),
            requeue_after: Some(1.5),
            events: vec![EventAnswer { kind: EventKind::Normal, reason: "Done".into(), message: String::new() }],
            finalized: true,
        });
    }

    #[test]
    fn a_request_is_what_the_specification_shows() {
        let entity = RawValue::from_string(r#"{"id":"a"}"#.to_owned()).unwrap();
        let user = User { name: "jane".into(), groups: vec!["dev".into()] };
        let request = ValidateRequest {
            operation: Operation::Create,
            entity: Some(&entity),
            old_entity: None,
            user,
            dry_run: false,
        };
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            json!({"operation": "create", "entity": {"id": "a"}, "oldEntity": null, "user": {"name": "jane", "groups": ["dev"]}, "dryRun": false})
        );
    }

    #[test]
    fn an_answer_may_leave_out_all_that_has_a_usual_value() {
        let read: ReconcileAnswer = serde_json::from_str("{}").unwrap();
        assert_eq!(read, ReconcileAnswer::default());
        let read: ValidateAnswer = serde_json::from_value(json!({"allowed": true})).unwrap();
        assert!(read.allowed && read.warnings.is_empty());
        let read: EventAnswer = serde_json::from_value(json!({"reason": "Shipped"})).unwrap();
        assert_eq!(read.kind, EventKind::Normal);
    }
}
