//! The table over HTTP, for people and for tests: `/table`, `/records`, `/stats`, and a page at `/`. Read only.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Html;
use axum::routing::get;
use axum::{Json, Router};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Shared;
use super::follow::Progress;

#[derive(Clone)]
struct Table {
    table: Shared,
    progress: Arc<Mutex<Progress>>,
}

/// Which of the kept records.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Behind {
    /// Those behind this number; 0, the default, for all.
    #[serde(default)]
    after: u64,
}

/// The routes.
pub fn router(table: Shared, progress: Arc<Mutex<Progress>>) -> Router {
    Router::new()
        .route("/", get(async || Html(include_str!("pages/table.html"))))
        .route("/table", get(todos))
        .route("/records", get(records))
        .route("/stats", get(stats))
        .route("/healthz", get(async || "ok\n"))
        .with_state(Table { table, progress })
}

async fn todos(State(state): State<Table>) -> Json<Value> {
    let synced = state.progress.lock().synced;
    Json(json!({ "synced": synced, "todos": state.table.lock().todos() }))
}

async fn records(State(state): State<Table>, Query(Behind { after }): Query<Behind>) -> Json<Value> {
    let records = state.table.lock().records_after(after);
    let last = records.last().map_or(after, |record| record.number);
    Json(json!({ "records": records, "last": last }))
}

async fn stats(State(state): State<Table>) -> Json<Value> {
    let progress = state.progress.lock().clone();
    let table = state.table.lock();
    Json(json!({
        "todos": table.todos().len(),
        "counts": table.counts(),
        "complaints": table.complaints(),
        "progress": progress,
    }))
}
