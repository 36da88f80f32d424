//! What third parties are told when something goes wrong.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::entity_api::EntityApi;
use crate::{Beside, header, milk};

#[tokio::test]
async fn a_sidecar_that_is_away_is_said_with_503() {
    let port = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    let app = Beside::at(EntityApi::default(), port).await;
    for method in [Method::GET, Method::POST] {
        let body = if method == Method::POST { milk() } else { Value::Null };
        let answer = app.send(method, "/api/todos", &[], body).await;
        assert_eq!((answer.status(), header(&answer, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        assert_eq!(header(&answer, "content-type"), "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains("sidecar"), "{problem}");
        assert!(!problem.to_string().contains("127.0.0.1"), "{problem}");
    }
    assert_eq!(app.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_sidecars_problems_are_told_in_the_apps_words() {
    let app = Beside::new().await;
    let errors = json!([{ "pointer": "/message", "detail": "may have 256 characters" }]);
    #[rustfmt::skip]
    let table = [
        (400, 400, "bad-request", true), (403, 502, "failed", false), (405, 502, "failed", false), (409, 409, "conflict", true),
        (413, 413, "bad-request", true), (422, 422, "invalid", true), (429, 429, "too-many-requests", true),
        (500, 502, "failed", false), (503, 503, "unavailable", false), (504, 503, "unavailable", false),
    ];
    for (theirs, ours, name, detail_is_passed_on) in table {
        let body = json!({ "type": "urn:k8sasbackend:problem:x", "detail": "as the sidecar says", "errors": errors });
        app.sidecar.inner().refusals.push_back((StatusCode::from_u16(theirs).unwrap(), "7", body));
        let answer = app.send(Method::POST, "/api/todos", &[], milk()).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (ours, "7"), "for {theirs}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["type"], format!("urn:todo-app:problem:{name}"), "for {theirs}");
        assert_eq!(problem["detail"] == "as the sidecar says", detail_is_passed_on, "for {theirs}: {problem}");
        assert_eq!(problem["errors"], errors, "for {theirs}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_todo_is_a_failure_behind_the_app() {
    let app = Beside::new().await;
    app.sidecar.inner().refusals.push_back((StatusCode::OK, "0", json!({ "hello": "world" })));
    let answer = app.send(Method::POST, "/api/todos", &[], milk()).await;
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn bad_requests_are_problems_too() {
    let app = Beside::new().await;
    let post = |body: &'static str| {
        app.http.post(format!("{}/api/todos", app.url)).header("content-type", "application/json").body(body)
    };
    #[rustfmt::skip]
    let table = [
        (post("{").send().await.unwrap(), 400), (post("{}").send().await.unwrap(), 422), (post("[1]").send().await.unwrap(), 422),
        (post(r#"{"when": "tomorrow", "message": "x"}"#).send().await.unwrap(), 422),
        (app.http.post(format!("{}/api/todos", app.url)).body("{}").send().await.unwrap(), 415),
        (app.http.patch(format!("{}/api/todos/a", app.url)).json(&json!({})).send().await.unwrap(), 415),
        (app.get("/api/todos?order=up").await, 400), (app.get("/api/todos?limit=many").await, 400),
        (app.get("/api/todos/%2e%2e").await, 404), (app.get("/api/todos/a%2Fb").await, 404), (app.get("/api/todos/No").await, 404),
        (app.get("/nothing").await, 404), (app.send(Method::DELETE, "/api/todos", &[], Value::Null).await, 405),
        (app.send(Method::PATCH, "/api/todos/none", &[], json!({ "done": true })).await, 404),
    ];
    for (answer, expected) in table {
        assert_eq!(answer.status(), expected, "{}", answer.url());
        assert_eq!(header(&answer, "content-type"), "application/problem+json", "{}", answer.url());
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["status"], expected);
    }
    assert!(
        app.sidecar.inner().asked.iter().all(|(_, path, _)| path == "/v1/todos/none"),
        "{:?}",
        app.sidecar.inner().asked
    );
}
