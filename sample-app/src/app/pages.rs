//! What people open in a browser: the todos at `/`, the API at `/docs`; and `/openapi.json`, `/healthz`.
//!
//! Each page is one file in the binary and asks no other host for anything.

use axum::http::HeaderName;
use axum::http::header::{CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use axum::{Json, Router};

use super::{App, openapi};

const POLICY: [(HeaderName, &str); 2] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(async || page(include_str!("pages/todos.html"))))
        .route("/docs", get(async || page(include_str!("pages/docs.html"))))
        .route("/openapi.json", get(async || Json(openapi::document())))
        // Alive says nothing of the sidecar: restarting the app would not help it.
        .route("/healthz", get(async || "ok\n"))
}

fn page(html: &'static str) -> impl IntoResponse {
    (POLICY, Html(html))
}
