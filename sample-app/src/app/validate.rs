//! Whether a todo may be stored, whoever wants it: the sidecar asks before each write, also before one by `kubectl`.
//!
//! Only what needs a clock stands here; the rest is in the schema, where it holds while nobody answers. What goes through this app's own API was put to
//! all rules there already, the limit of a day among them.

use axum::routing::post;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::App;
use super::problem::FieldError;
use super::rules;
use crate::todo::TodoSpec;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    entity: Option<TodoSpec>,
    old_entity: Option<TodoSpec>,
}

#[derive(Debug, PartialEq, Serialize)]
struct Answer {
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// Called by the sidecar alone.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/hooks/todos/validate", post(validate))
}

async fn validate(Json(question): Json<Question>) -> Json<Answer> {
    Json(answer(&question, Timestamp::now()))
}

fn answer(question: &Question, now: Timestamp) -> Answer {
    // Whoever wants to get rid of a todo may.
    let errors = match &question.entity {
        Some(new) => rules::violations(question.old_entity.as_ref(), new, 0, usize::MAX, now),
        None => Vec::new(),
    };
    let message = (!errors.is_empty()).then(|| "this cannot be planned".to_owned());
    Answer { allowed: errors.is_empty(), message, errors }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nobody_plans_for_the_past_and_everybody_may_change_or_delete_what_is_past() {
        let now: Timestamp = "2026-12-24T10:00:00Z".parse().unwrap();
        let todo =
            |when: &str, message: &str| json!({"id": "a", "when": when, "message": message, "meta": {"version": "0"}});
        let (past, future) = ("2026-12-20T10:00:00Z", "2026-12-25T10:00:00Z");
        for (entity, old, allowed) in [
            (todo(future, "a"), json!(null), true),
            (todo(past, "a"), json!(null), false),
            (todo(past, "a"), todo(future, "a"), false),
            (todo(past, "b"), todo(past, "a"), true),
            (json!(null), todo(past, "a"), true),
        ] {
            let asked = json!({"operation": "update", "entity": entity, "oldEntity": old, "user": {}, "dryRun": false});
            let told = answer(&serde_json::from_value(asked.clone()).unwrap(), now);
            assert_eq!(told.allowed, allowed, "{asked}");
            let pointers: Vec<&str> = told.errors.iter().map(|error| error.pointer.as_str()).collect();
            assert_eq!(pointers, if allowed { vec![] } else { vec!["/when"] });
            assert_eq!(told.message.is_some(), !allowed);
        }
    }
}
