//! What the app hears of its todos, whoever changed them: here it only says so in its log. A shop would send a mail.
//!
//! The same change may be told twice, with the same `ce-id`; an app for which that matters keeps what it had last.

use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;

use super::App;
use crate::todo::Todo;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Change {
    Added,
    Modified,
    Deleted,
    /// It is there in this state; how it came to that is not known.
    Snapshot,
}

#[derive(Debug, Deserialize)]
struct Delta {
    change: Change,
    entity: Todo,
    before: Option<Todo>,
}

/// Called by the sidecar alone.
pub(super) fn routes() -> Router<App> {
    Router::new().route("/hooks/todos/notify", post(notify))
}

async fn notify(headers: HeaderMap, Json(delta): Json<Delta>) -> StatusCode {
    if let Some(news) = news(&delta) {
        let event = headers.get("ce-id").and_then(|id| id.to_str().ok());
        tracing::info!(id = delta.entity.id, message = delta.entity.spec.message, event, "a todo {news}");
    }
    StatusCode::NO_CONTENT
}

/// In a word, what people would like to hear of.
fn news(Delta { change, entity, before }: &Delta) -> Option<&'static str> {
    match change {
        Change::Added => Some("is new"),
        Change::Deleted => Some("is gone"),
        Change::Modified => {
            let was_done = before.as_ref().is_some_and(|before| before.spec.done);
            (entity.spec.done && !was_done).then_some("is done")
        }
        Change::Snapshot => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn heard(change: &str, done: bool, before: Option<bool>) -> Option<&'static str> {
        let todo = |done: bool| {
            json!({"id": "milk", "when": "2026-12-24T10:00:00Z", "message": "buy milk", "done": done,
                "meta": {"version": "1", "generation": 1, "uid": "u", "createdAt": "2026-12-24T10:00:00Z", "labels": {}, "deleting": false}})
        };
        let mut delta = json!({"change": change, "entity": todo(done)});
        if let Some(before) = before {
            delta["before"] = todo(before);
        }
        news(&serde_json::from_value(delta).unwrap())
    }

    #[test]
    fn people_hear_of_new_todos_of_those_that_are_done_and_of_those_that_are_gone() {
        for (change, done, before, expected) in [
            ("added", false, None, Some("is new")),
            ("modified", true, Some(false), Some("is done")),
            ("modified", true, Some(true), None),
            ("modified", true, None, Some("is done")),
            ("modified", false, Some(false), None),
            ("deleted", false, None, Some("is gone")),
            ("snapshot", true, None, None),
        ] {
            assert_eq!(heard(change, done, before), expected, "{change} {done} {before:?}");
        }
    }
}
