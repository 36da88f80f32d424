//! `/api/todos`: what third parties can do with todos.
//!
//! A body is passed to the sidecar as it came, after the rules have agreed to it: which fields a todo has, and of what
//! form they are, is checked there and for every writer. `ETag`, `If-Match` and `If-None-Match` are passed through.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::problem::Problem;
use super::sidecar::{Page, body};
use super::{App, rules};
use crate::todo::{Todo, TodoSpec};

pub(super) const COLLECTION: &str = "/api/todos";
pub(super) const MERGE_PATCH: &str = "application/merge-patch+json";
/// How often a write is decided anew when somebody else changes the todo in between.
const ATTEMPTS: usize = 3;

/// Which todos, and how many of them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ListQuery {
    label_selector: Option<String>,
    limit: Option<usize>,
    page_token: Option<String>,
}

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(COLLECTION, get(list).post(create))
        .route("/api/todos/{id}", get(read).put(replace).patch(change).delete(remove))
}

async fn list(
    State(app): State<App>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(query) = query?;
    let request = app.sidecar.todos(Method::GET).query(&query).headers(only(&headers, &[IF_NONE_MATCH]));
    pass_on::<Page>(app.sidecar.send(request).await?).await
}

async fn read(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let request = app.sidecar.todo(Method::GET, &id)?.headers(only(&headers, &[IF_NONE_MATCH]));
    pass_on::<Todo>(app.sidecar.send(request).await?).await
}

async fn create(State(app): State<App>, todo: Result<Json<Value>, JsonRejection>) -> Result<Response, Problem> {
    let Json(todo) = todo?;
    obey_the_rules(&app, None, None, &spec(&todo)?).await?;
    pass_on::<Todo>(app.sidecar.send(app.sidecar.todos(Method::POST).json(&todo)).await?).await
}

async fn replace(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    todo: Result<Json<Value>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(todo) = todo?;
    write(&app, Method::PUT, &id, &headers, &todo, |_| spec(&todo)).await
}

async fn change(
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    patch: Result<Json<Value>, JsonRejection>,
) -> Result<Response, Problem> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media_type.split(';').next().map(str::trim) != Some(MERGE_PATCH) {
        return Err(Problem::not_a_merge_patch());
    }
    let Json(patch) = patch?;
    write(&app, Method::PATCH, &id, &headers, &patch, |current| {
        let current = current.ok_or_else(|| Problem::not_found("There is no todo with this id."))?;
        let mut changed = serde_json::to_value(&current.spec).map_err(|error| Problem::not_a_todo(&error))?;
        json_patch::merge(&mut changed, &patch);
        spec(&changed)
    })
    .await
}

async fn remove(State(app): State<App>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, Problem> {
    let request = app.sidecar.todo(Method::DELETE, &id)?.headers(only(&headers, &[IF_MATCH]));
    Ok(app.sidecar.send(request).await?.status().into_response())
}

/// Writes a todo that may exist: reads it, lets the rules decide, and writes on the condition that it still is what the
/// rules have seen. When it is not, decides anew, unless the caller has set a condition of their own.
async fn write(
    app: &App,
    method: Method,
    id: &str,
    headers: &HeaderMap,
    body: &Value,
    outcome: impl Fn(Option<&Todo>) -> Result<TodoSpec, Problem>,
) -> Result<Response, Problem> {
    let wanted = only(headers, &[IF_MATCH, IF_NONE_MATCH]);
    let mut attempt = 1;
    loop {
        // The cache may be behind what the caller's condition, or a failed attempt, knows of.
        let current = app.sidecar.find(id, attempt > 1 || !wanted.is_empty()).await?;
        let (current, etag) = current.unzip();
        let new = outcome(current.as_ref())?;
        obey_the_rules(app, Some(id), current.as_ref().map(|todo| &todo.spec), &new).await?;
        let conditions = if wanted.is_empty() { unchanged(etag) } else { wanted.clone() };
        let media_type = if method == Method::PATCH { MERGE_PATCH } else { "application/json" };
        let request = app.sidecar.todo(method.clone(), id)?.headers(conditions).header(CONTENT_TYPE, media_type);
        match app.sidecar.send(request.body(body.to_string())).await {
            Err(problem) if problem.is_changed_meanwhile() && wanted.is_empty() && attempt < ATTEMPTS => attempt += 1,
            answer => return pass_on::<Todo>(answer?).await,
        }
    }
}

/// The condition under which the write meets the todo that the rules have seen, or still none.
fn unchanged(etag: Option<HeaderValue>) -> HeaderMap {
    HeaderMap::from_iter([match etag {
        Some(etag) => (IF_MATCH, etag),
        None => (IF_NONE_MATCH, HeaderValue::from_static("*")),
    }])
}

async fn obey_the_rules(app: &App, id: Option<&str>, old: Option<&TodoSpec>, new: &TodoSpec) -> Result<(), Problem> {
    let open_on_day = match rules::day_joined(old, new) {
        Some(day) => app.sidecar.open_on(day, id).await?,
        None => 0,
    };
    let violations = rules::violations(old, new, open_on_day, app.open_per_day, Timestamp::now());
    if violations.is_empty() { Ok(()) } else { Err(Problem::against_the_rules(violations)) }
}

/// The part of a body that the rules are about.
fn spec(todo: &Value) -> Result<TodoSpec, Problem> {
    TodoSpec::deserialize(todo).map_err(|error| Problem::not_a_todo(&error))
}

fn only(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    names.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone()))).collect()
}

/// The sidecar's answer as the app's: the fields that third parties are shown, the headers that they can use.
async fn pass_on<T: Serialize + serde::de::DeserializeOwned>(answer: reqwest::Response) -> Result<Response, Problem> {
    let status = answer.status();
    let mut headers = only(answer.headers(), &[ETAG]);
    let location = answer.headers().get(LOCATION).and_then(|path| path.to_str().ok());
    if let Some(id) = location.and_then(|path| path.rsplit('/').next())
        && let Ok(location) = HeaderValue::try_from(format!("{COLLECTION}/{id}"))
    {
        headers.insert(LOCATION, location);
    }
    if status == StatusCode::NOT_MODIFIED {
        return Ok((status, headers).into_response());
    }
    let todo: T = body(answer).await?;
    Ok((status, headers, Json(todo)).into_response())
}
