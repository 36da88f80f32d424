//! The way to the sidecar: the only file that knows where todos are kept.
//!
//! Owns the HTTP client and its time limits. Never retries: whether a write may be repeated is the caller's decision.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CACHE_CONTROL, ETAG};
use axum::http::{HeaderValue, Method, StatusCode};
use jiff::civil::Date;
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::rules;
use crate::todo::Todo;

/// The sidecar is on this machine's loopback, so it either accepts at once or is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than the sidecar itself waits for the API server in the worst ordinary case.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Todos a page when all of them are looked through.
const PAGE: usize = 500;

#[derive(Debug, Clone)]
pub(super) struct Sidecar {
    http: Client,
    todos: String,
    token_file: Option<Arc<Path>>,
}

/// A page of todos.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    /// The todos, by id.
    pub(super) items: Vec<Todo>,
    /// Asks for the next page as `pageToken`; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) next_page_token: Option<String>,
}

impl Sidecar {
    pub(super) fn new(url: &Url, token_file: Option<&Path>) -> reqwest::Result<Self> {
        // No proxy: the environment's HTTP_PROXY is for the world outside, not for loopback.
        let http = Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT).build()?;
        let todos = format!("{}/v1/todos", url.as_str().trim_end_matches('/'));
        Ok(Self { http, todos, token_file: token_file.map(Arc::from) })
    }

    /// With the token, where there is one. Without one that can be read the sidecar's own refusal says what is wrong.
    fn request(&self, method: Method, url: &str) -> RequestBuilder {
        let request = self.http.request(method, url);
        match self.token_file.as_deref().map(std::fs::read_to_string) {
            Some(Ok(token)) => request.bearer_auth(token.trim()),
            Some(Err(error)) => {
                tracing::warn!(%error, "failed to read the token for the sidecar");
                request
            }
            None => request,
        }
    }

    /// A request about all todos.
    pub(super) fn todos(&self, method: Method) -> RequestBuilder {
        self.request(method, &self.todos)
    }

    /// A request about one todo; 404 for an id that no todo can have, so that the id needs no escaping.
    pub(super) fn todo(&self, method: Method, id: &str) -> Result<RequestBuilder, Problem> {
        let may_be_a_name = !id.is_empty()
            && !id.starts_with('.')
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
        if !may_be_a_name {
            return Err(Problem::not_found("There is no todo with this id: it is no name that a todo can have."));
        }
        Ok(self.request(method, &format!("{}/{id}", self.todos)))
    }

    /// The sidecar's answer, if it is a success or "not modified".
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Problem> {
        let answer = request.send().await.map_err(|error| Problem::sidecar_away(&error))?;
        match answer.status() {
            status if status.is_success() || status == StatusCode::NOT_MODIFIED => Ok(answer),
            _ => Err(Problem::from_sidecar(answer).await),
        }
    }

    /// The todo and its ETag, if it exists; `fresh` asks past the sidecar's cache.
    pub(super) async fn find(&self, id: &str, fresh: bool) -> Result<Option<(Todo, HeaderValue)>, Problem> {
        let mut request = self.todo(Method::GET, id)?;
        if fresh {
            request = request.header(CACHE_CONTROL, "no-cache");
        }
        let answer = request.send().await.map_err(|error| Problem::sidecar_away(&error))?;
        match answer.status() {
            StatusCode::OK => {
                let etag = answer.headers().get(ETAG).cloned().unwrap_or_else(|| HeaderValue::from_static("*"));
                Ok(Some((body(answer).await?, etag)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(Problem::from_sidecar(answer).await),
        }
    }

    /// How many todos other than `id` are open on `day`.
    pub(super) async fn open_on(&self, day: Date, id: Option<&str>) -> Result<usize, Problem> {
        let mut count = 0;
        let mut token: Option<String> = None;
        loop {
            let request = self.todos(Method::GET).query(&[("limit", PAGE)]).query(&[("pageToken", token)]);
            let page: Page = body(self.send(request).await?).await?;
            let others = page.items.iter().filter(|todo| Some(todo.id.as_str()) != id);
            count += others.filter(|todo| !todo.spec.done && rules::day(&todo.spec) == day).count();
            token = page.next_page_token;
            if token.is_none() {
                return Ok(count);
            }
        }
    }
}

/// The JSON in the sidecar's answer.
pub(super) async fn body<T: serde::de::DeserializeOwned>(answer: Response) -> Result<T, Problem> {
    answer.json().await.map_err(|error| Problem::sidecar_unintelligible(&error))
}
