//! As much of an entity API as the app uses: stores todos, keeps versions and conditions, and remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

#[derive(Clone, Default)]
pub(crate) struct EntityApi(Arc<Mutex<Inner>>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) todos: BTreeMap<String, Value>,
    pub(crate) version: u64,
    /// Method, path with query, and headers of each request, in order.
    pub(crate) asked: Vec<(Method, String, HeaderMap)>,
    /// Answers to the next writes, in place of the ordinary ones.
    pub(crate) refusals: VecDeque<(StatusCode, &'static str, Value)>,
    /// Runs before the next conditional write: somebody else writes first.
    pub(crate) rival: Option<fn(&mut Inner)>,
}

impl EntityApi {
    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }
}

impl Inner {
    pub(crate) fn store(&mut self, id: &str, fields: &Map<String, Value>) -> Value {
        self.version += 1;
        let labels = fields.get("meta").and_then(|meta| meta.get("labels")).cloned().unwrap_or(json!({}));
        let mut todo = Value::Object(fields.clone());
        todo["id"] = json!(id);
        todo["meta"] = json!({
            "version": self.version.to_string(), "generation": 1, "uid": "u", "namespace": "shop",
            "createdAt": "2026-11-22T12:00:00Z", "expiresAt": null, "labels": labels, "deleting": false
        });
        self.todos.insert(id.to_owned(), todo.clone());
        todo
    }
}

fn etag(todo: &Value) -> String {
    format!("\"{}\"", todo["meta"]["version"].as_str().unwrap())
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let body =
        json!({ "type": "urn:k8sasbackend:problem:x", "title": "x", "status": status.as_u16(), "detail": detail });
    (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
}

fn found(status: StatusCode, todo: &Value) -> Response {
    let location = format!("/v1/todos/{}", todo["id"].as_str().unwrap());
    let headers = [("etag", etag(todo)), ("location", location), ("content-type", "application/json".to_owned())];
    (status, headers, todo.to_string()).into_response()
}

async fn answer(State(api): State<EntityApi>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut inner = api.inner();
    inner.asked.push((parts.method.clone(), parts.uri.to_string(), parts.headers.clone()));
    if parts.method != Method::GET {
        if let Some((status, retry_after, body)) = inner.refusals.pop_front() {
            return (status, [("retry-after", retry_after)], body.to_string()).into_response();
        }
        if let Some(rival) = inner.rival.take() {
            rival(&mut inner);
        }
    }
    let Some(id) = parts.uri.path().strip_prefix("/v1/todos") else { return problem(StatusCode::NOT_FOUND, "no kind") };
    let id = id.trim_start_matches('/').to_owned();
    let current = inner.todos.get(&id).cloned();
    let condition = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    if parts.method != Method::GET {
        let matches = condition("if-match")
            .is_none_or(|wanted| current.as_ref().is_some_and(|todo| wanted == "*" || etag(todo) == wanted));
        if !matches || (condition("if-none-match").is_some() && current.is_some()) {
            return problem(StatusCode::PRECONDITION_FAILED, "has version 9, not 8");
        }
    }
    let fields = || serde_json::from_slice::<Map<String, Value>>(&body).unwrap();
    match (parts.method, current) {
        (Method::GET, _) if id.is_empty() => {
            // One todo a page, so that paging is always at work.
            let after = parts.uri.query().and_then(|query| query.split("pageToken=").nth(1)).unwrap_or_default();
            let page = inner.todos.iter().find(|(id, _)| id.as_str() > after);
            let last = page.is_none_or(|(id, _)| inner.todos.keys().next_back() == Some(id));
            let token = page.filter(|_| !last).map(|(id, _)| id);
            let items: Vec<&Value> = page.iter().map(|(_, todo)| *todo).collect();
            let list =
                json!({ "items": items, "nextPageToken": token, "meta": { "version": inner.version.to_string() } });
            (
                [("etag", format!("\"{}\"", inner.version)), ("content-type", "application/json".to_owned())],
                list.to_string(),
            )
                .into_response()
        }
        (Method::POST, _) => {
            let fields = fields();
            let id = fields.get("id").and_then(Value::as_str).unwrap_or("made-up").to_owned();
            if inner.todos.contains_key(&id) {
                return problem(StatusCode::CONFLICT, "there is a todo buy-milk already");
            }
            found(StatusCode::CREATED, &inner.store(&id, &fields))
        }
        (Method::PUT, current) => {
            let status = if current.is_some() { StatusCode::OK } else { StatusCode::CREATED };
            found(status, &inner.store(&id, &fields()))
        }
        (_, None) => problem(StatusCode::NOT_FOUND, "no todos/buy-milk in shop"),
        (Method::GET, Some(todo)) if condition("if-none-match") == Some(etag(&todo)) => {
            StatusCode::NOT_MODIFIED.into_response()
        }
        (Method::GET, Some(todo)) => found(StatusCode::OK, &todo),
        (Method::PATCH, Some(mut todo)) => {
            json_patch::merge(&mut todo, &Value::Object(fields()));
            found(StatusCode::OK, &inner.store(&id, todo.as_object().unwrap()))
        }
        (Method::DELETE, Some(_)) => {
            inner.todos.remove(&id);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => problem(StatusCode::METHOD_NOT_ALLOWED, "no"),
    }
}
