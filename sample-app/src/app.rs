//! `todo-app`: the REST API for third parties, its rules, its pages.
//!
//! Owns no data: every todo is read from and written to the sidecar's entity API. Called by `bin/todo-app.rs`, and by
//! tests, which put a small HTTP server in the sidecar's place.

mod api;
mod notify;
pub mod openapi;
mod pages;
mod problem;
mod reconcile;
mod rules;
mod sidecar;
mod validate;

use std::path::PathBuf;

use axum::Router;
use reqwest::Url;

use problem::Problem;
use sidecar::Sidecar;

/// What the app can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Where the sidecar serves the entities.
    #[arg(long, env = "KAB_URL", default_value = "http://127.0.0.1:3600", value_name = "URL")]
    pub kab_url: Url,
    /// File with the token that the sidecar asks for, where it asks for one; read again for each request, since it may change.
    #[arg(long, env = "KAB_TOKEN_FILE", value_name = "FILE")]
    pub kab_token_file: Option<PathBuf>,
    /// How many todos may be open on one day (UTC).
    #[arg(long, env = "TODO_APP_OPEN_PER_DAY", default_value_t = 20, value_name = "N")]
    pub open_per_day: usize,
}

#[derive(Debug, Clone)]
struct App {
    sidecar: Sidecar,
    open_per_day: usize,
}

/// The app's routes.
///
/// # Errors
/// When the HTTP client cannot be made.
pub fn router(settings: &Settings) -> reqwest::Result<Router> {
    let sidecar = Sidecar::new(&settings.kab_url, settings.kab_token_file.as_deref())?;
    let app = App { sidecar, open_per_day: settings.open_per_day };
    Ok(Router::new()
        .merge(api::routes())
        .merge(validate::routes())
        .merge(pages::routes())
        .merge(notify::routes())
        .merge(reconcile::routes())
        .fallback(async || Problem::not_found("There is nothing at this path."))
        .method_not_allowed_fallback(async || Problem::method_not_allowed())
        .with_state(app))
}
