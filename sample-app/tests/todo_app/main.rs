//! The app over real HTTP, with a small entity API in the sidecar's place.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod entity_api;
mod errors;
mod openapi;
mod writes;

use std::net::SocketAddr;

use axum::Router;
use entity_api::EntityApi;
use reqwest::{Client, Method, Response};
use sample_app::app;
use serde_json::{Value, json};

/// Serves `router` on a free port for as long as the test's runtime lives.
async fn spawn(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The app beside an entity API that the test can look into.
struct Beside {
    sidecar: EntityApi,
    url: String,
    http: Client,
}

impl Beside {
    async fn new() -> Self {
        let sidecar = EntityApi::default();
        let address = spawn(sidecar.router()).await;
        Self::at(sidecar, address).await
    }

    async fn at(sidecar: EntityApi, address: SocketAddr) -> Self {
        let kab_url = format!("http://{address}/").parse().unwrap();
        let settings = app::Settings { kab_url, kab_token_file: None, open_per_day: 2 };
        let url = format!("http://{}", spawn(app::router(&settings).unwrap()).await);
        Self { sidecar, url, http: Client::builder().no_proxy().build().unwrap() }
    }

    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Value) -> Response {
        let media_type = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_null() {
            request = request.header("content-type", media_type).body(body.to_string());
        }
        request.send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], Value::Null).await
    }
}

fn milk() -> Value {
    json!({ "id": "buy-milk", "when": "2130-12-24T10:00:00Z", "message": "buy milk", "done": false })
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
