//! The status that follows from what a call of the app came to; absent where nothing changes, so that reconciling what is as it should be writes nothing.
//!
//! Owns our conditions and how the app's are merged into what is there: by type, in the standard shape, with a time that moves only when the condition changes
//! sides. What the kind's schema does not declare is left out, because the API server would drop it and each look would find it missing again.
//!
//! - `Reconciled`: whether the app has dealt with `observedGeneration` (`False` while it refuses, fails, or cannot be obeyed).
//! - `Stalled`: `True` while nothing will change by itself; absent otherwise.

use contract::hook::{Condition, ConditionStatus};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde_json::{Map, Value, json};

use crate::entity::Entity;
use crate::mapping;
use crate::schema::Schema;

/// Whether the entity is as the app wants it.
pub const RECONCILED: &str = "Reconciled";
/// Whether somebody has to do something for it to go on.
pub const STALLED: &str = "Stalled";
/// Of a condition's message; Kubernetes' own take 32 KiB, which nobody reads.
const MESSAGE: usize = 1024;

/// What of a status the kind's schema takes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Takes {
    /// `observedGeneration`.
    generation: bool,
    /// The members of `conditions`' items; absent: no conditions.
    conditions: Option<Members>,
}

/// Names of members.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Members {
    Any,
    These(Vec<String>),
}

/// What a call of the app came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The app dealt with it, and was obeyed.
    Reconciled {
        /// The status; absent: it stays.
        status: Option<Map<String, Value>>,
        /// To be set.
        conditions: Vec<Condition>,
    },
    /// The app dealt with it, and could not be obeyed in all; that is tried again.
    Hindered {
        /// The status; absent: it stays.
        status: Option<Map<String, Value>>,
        /// To be set.
        conditions: Vec<Condition>,
        /// CamelCase.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// The app refuses the entity, or what it answers can never be: nothing happens until the entity changes.
    Stalled {
        /// CamelCase.
        reason: &'static str,
        /// For people.
        message: String,
    },
    /// The app fails; that is tried again.
    Failing {
        /// CamelCase.
        reason: &'static str,
        /// For people; the same from attempt to attempt.
        message: String,
    },
}

impl Takes {
    /// What a kind's schema takes.
    pub fn of(schema: &Schema) -> Self {
        let Some(status) = &schema.status else { return Self::default() };
        let generation =
            matches!(members(status), Members::Any) || status.pointer("/properties/observedGeneration").is_some();
        let conditions = match status.pointer("/properties/conditions") {
            Some(conditions) => Some(conditions.get("items").map_or(Members::Any, members)),
            None => Some(Members::Any).filter(|_| members(status) == Members::Any),
        };
        Self { generation, conditions }
    }

    /// Whether `observedGeneration` is kept.
    pub fn observes(&self) -> bool {
        self.generation
    }
}

fn members(schema: &Value) -> Members {
    let open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
        || schema.get("additionalProperties").is_some();
    match schema.get("properties").and_then(Value::as_object) {
        Some(properties) if !open => Members::These(properties.keys().cloned().collect()),
        None if !open => Members::These(Vec::new()),
        _ => Members::Any,
    }
}

/// The `observedGeneration` of an entity's status.
pub fn observed(entity: &Entity) -> Option<i64> {
    present(entity)?.get("observedGeneration")?.as_i64()
}

/// Whether our condition says that it cannot go on.
pub fn is_stalled(entity: &Entity) -> bool {
    says(entity, STALLED) == Some(ConditionStatus::True)
}

/// What a condition of the entity says.
pub fn says(entity: &Entity, condition: &str) -> Option<ConditionStatus> {
    let status = present(entity)?;
    let found = status.get("conditions")?.as_array()?.iter().find(|found| found["type"] == condition)?;
    serde_json::from_value(found["status"].clone()).ok()
}

fn present(entity: &Entity) -> Option<Map<String, Value>> {
    let members = mapping::shape_members(entity);
    let (_, status) = members.iter().find(|(name, _)| name == "status")?;
    serde_json::from_str(status.get()).ok()
}

/// What a report does to a status.
struct Change {
    /// The app's; absent: it stays.
    status: Option<Map<String, Value>>,
    /// To be set.
    conditions: Vec<Condition>,
    /// Whether the app has seen the generation.
    observed: bool,
}

impl Change {
    fn of(report: Report) -> Self {
        match report {
            Report::Reconciled { status, mut conditions } => {
                conditions.push(condition(RECONCILED, ConditionStatus::True, "Reconciled", String::new()));
                Self { status, conditions, observed: true }
            }
            Report::Hindered { status, mut conditions, reason, message } => {
                conditions.push(condition(RECONCILED, ConditionStatus::False, reason, message));
                Self { status, conditions, observed: true }
            }
            Report::Stalled { reason, message } => {
                let reconciled = condition(RECONCILED, ConditionStatus::False, reason, message.clone());
                let stalled = condition(STALLED, ConditionStatus::True, reason, message);
                Self { status: None, conditions: vec![reconciled, stalled], observed: true }
            }
            Report::Failing { reason, message } => {
                let conditions = vec![condition(RECONCILED, ConditionStatus::False, reason, message)];
                Self { status: None, conditions, observed: false }
            }
        }
    }
}

/// The status that the entity shall have after a call for `generation`; absent where it has it.
pub fn after(
    entity: &Entity,
    generation: i64,
    report: Report,
    takes: &Takes,
    now: Timestamp,
) -> Option<Map<String, Value>> {
    let before = present(entity).unwrap_or_default();
    let after = merged(before.clone(), Change::of(report), takes, generation, now);
    (!same_members(&before, &after)).then_some(after)
}

fn condition(kind: &str, status: ConditionStatus, reason: &str, message: String) -> Condition {
    Condition { kind: kind.to_owned(), status, reason: reason.to_owned(), message }
}

fn merged(
    there: Map<String, Value>,
    change: Change,
    takes: &Takes,
    generation: i64,
    now: Timestamp,
) -> Map<String, Value> {
    let mut kept = there.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
    let observed_before = there.get("observedGeneration").cloned();
    let mut status = change.status.unwrap_or(there);
    // Ours, whatever the app says of them.
    let ours = |name: &str| name == "observedGeneration" || (name == "conditions" && takes.conditions.is_some());
    status.retain(|name, value| !value.is_null() && !ours(name));
    let observed = if change.observed { Some(Value::from(generation)) } else { observed_before };
    if let Some(observed) = observed.filter(|_| takes.generation) {
        status.insert("observedGeneration".to_owned(), observed);
    }
    if let Some(members) = &takes.conditions {
        kept.retain(|kept| kept["type"] != STALLED || change.conditions.iter().any(|new| new.kind == STALLED));
        for condition in change.conditions {
            set(&mut kept, condition, members, generation, now);
        }
        if !kept.is_empty() {
            status.insert("conditions".to_owned(), Value::Array(kept));
        }
    }
    status
}

/// Puts a condition in the place of what has its type.
fn set(all: &mut Vec<Value>, condition: Condition, members: &Members, generation: i64, now: Timestamp) {
    let Condition { kind, status, reason, message } = condition;
    let place = all.iter().position(|there| there["type"] == kind.as_str());
    let before = place.and_then(|place| all.get(place));
    let since =
        match before.filter(|before| before["status"] == json!(status)).map(|before| &before["lastTransitionTime"]) {
            Some(Value::String(since)) => since.clone(),
            _ => second(now),
        };
    // The standard shape wants a reason.
    let reason = if reason.is_empty() { kind.clone() } else { reason };
    let mut made = json!({
        "type": kind,
        "status": status,
        "reason": reason,
        "message": cut(message),
        "lastTransitionTime": since,
        "observedGeneration": generation,
    });
    if let (Members::These(names), Value::Object(made)) = (members, &mut made) {
        made.retain(|name, _| names.contains(name));
    }
    match place.and_then(|place| all.get_mut(place)) {
        Some(there) => *there = made,
        None => all.push(made),
    }
}

/// As Kubernetes writes times.
fn second(now: Timestamp) -> String {
    now.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc)).unwrap_or(now).to_string()
}

fn cut(message: String) -> String {
    match message.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message,
    }
}

/// Whether two values say the same: `1` and `1.0`, and what is null and what is not there.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => same_members(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn same_members(a: &Map<String, Value>, b: &Map<String, Value>) -> bool {
    let within = |a: &Map<String, Value>, b: &Map<String, Value>| {
        a.iter().all(|(name, value)| b.get(name).map_or(value.is_null(), |other| same(value, other)))
    };
    within(a, b) && within(b, a)
}

#[cfg(test)]
mod tests;
