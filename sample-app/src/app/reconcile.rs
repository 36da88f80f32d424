//! What has become of a todo: the sidecar asks whenever one changes, and again when its time has come.
//!
//! Decides by what it is shown and keeps nothing, so that it may be asked as often as anybody likes.

use axum::routing::post;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::App;
use crate::todo::{Phase, Todo, TodoSpec, TodoStatus};

#[derive(Debug, Deserialize)]
struct Question {
    entity: Todo,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: TodoStatus,
    /// Seconds until the time has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    requeue_after: Option<f64>,
}

/// Called by the sidecar alone.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/hooks/todos/reconcile", post(reconcile))
}

async fn reconcile(Json(question): Json<Question>) -> Json<Answer> {
    Json(answer(&question.entity.spec, Timestamp::now()))
}

fn answer(todo: &TodoSpec, now: Timestamp) -> Answer {
    let left = todo.when.duration_since(now).as_secs_f64();
    let (phase, requeue_after) = match todo.done {
        true => (Phase::Done, None),
        false if left <= 0.0 => (Phase::Due, None),
        false => (Phase::Scheduled, Some(left)),
    };
    Answer { status: TodoStatus { phase: Some(phase) }, requeue_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_todo_is_scheduled_until_its_time_and_then_due_unless_it_is_done() {
        let now: Timestamp = "2026-12-24T10:00:00Z".parse().unwrap();
        for (when, done, phase, again) in [
            ("2026-12-24T10:00:01.5Z", false, Phase::Scheduled, Some(1.5)),
            ("2026-12-24T10:00:00Z", false, Phase::Due, None),
            ("2026-12-20T10:00:00Z", false, Phase::Due, None),
            ("2027-12-20T10:00:00Z", true, Phase::Done, None),
        ] {
            let todo = TodoSpec { when: when.parse().unwrap(), message: "m".to_owned(), done };
            let expected = Answer { status: TodoStatus { phase: Some(phase) }, requeue_after: again };
            assert_eq!(answer(&todo, now), expected, "{when}");
        }
    }
}
