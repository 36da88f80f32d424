//! What third parties can do, and the rules that hold when they do it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::{Beside, header, milk};

#[tokio::test]
async fn a_todo_is_created_read_changed_and_deleted_in_business_shape() {
    let app = Beside::new().await;
    let created = app.send(Method::POST, "/api/todos", &[], milk()).await;
    assert_eq!((created.status(), header(&created, "location")), (StatusCode::CREATED, "/api/todos/buy-milk"));
    assert_eq!(header(&created, "etag"), "\"1\"");
    let todo: Value = created.json().await.unwrap();
    let meta = json!({ "version": "1", "createdAt": "2026-11-22T12:00:00Z" });
    assert_eq!(
        todo,
        json!({ "id": "buy-milk", "when": "2130-12-24T10:00:00Z", "message": "buy milk", "done": false, "meta": meta })
    );

    let changed =
        app.send(Method::PATCH, "/api/todos/buy-milk", &[("if-match", "\"1\"")], json!({ "done": true })).await;
    assert_eq!((changed.status(), header(&changed, "etag")), (StatusCode::OK, "\"2\""));
    let unchanged = app.send(Method::GET, "/api/todos/buy-milk", &[("if-none-match", "\"2\"")], Value::Null).await;
    assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
    let list: Value = app.get("/api/todos").await.json().await.unwrap();
    assert_eq!(list["items"][0]["done"], true);

    assert_eq!(
        app.send(Method::DELETE, "/api/todos/buy-milk", &[], Value::Null).await.status(),
        StatusCode::NO_CONTENT
    );
    assert_eq!(app.get("/api/todos/buy-milk").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn filters_and_pages_are_passed_on() {
    let app = Beside::new().await;
    app.get("/api/todos?labelSelector=list%3Dshopping%2C%21old&limit=5&pageToken=abc").await;
    let asked = app.sidecar.inner().asked.clone();
    assert_eq!(asked[0].1, "/v1/todos?labelSelector=list%3Dshopping%2C%21old&limit=5&pageToken=abc");
}

#[tokio::test]
async fn the_past_is_refused_before_anything_is_written() {
    let app = Beside::new().await;
    let past = json!({ "when": "2020-01-01T00:00:00Z", "message": "too late" });
    for (method, path) in [(Method::POST, "/api/todos"), (Method::PUT, "/api/todos/late")] {
        let refused = app.send(method, path, &[], past.clone()).await;
        assert_eq!(refused.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["type"], "urn:todo-app:problem:against-the-rules");
        assert_eq!(
            problem["errors"],
            json!([{ "pointer": "/when", "detail": "a todo cannot be planned in the past" }])
        );
    }
    assert!(app.sidecar.inner().asked.iter().all(|(method, ..)| method == Method::GET));
}

#[tokio::test]
async fn a_full_day_takes_no_third_todo_but_lets_its_own_be_changed() {
    let app = Beside::new().await;
    for id in ["a", "b"] {
        let mut todo = milk();
        todo["id"] = json!(id);
        assert_eq!(app.send(Method::POST, "/api/todos", &[], todo).await.status(), StatusCode::CREATED);
    }
    let third = app.send(Method::POST, "/api/todos", &[], milk()).await;
    assert_eq!(third.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let sooner = json!({ "when": "2130-12-24T08:00:00Z" });
    assert_eq!(app.send(Method::PATCH, "/api/todos/a", &[], sooner).await.status(), StatusCode::OK);
    assert_eq!(app.send(Method::PATCH, "/api/todos/b", &[], json!({ "done": true })).await.status(), StatusCode::OK);
    assert_eq!(app.send(Method::POST, "/api/todos", &[], milk()).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_todo_that_changes_under_the_rules_is_decided_anew() {
    let app = Beside::new().await;
    app.send(Method::POST, "/api/todos", &[], milk()).await;
    app.sidecar.inner().rival = Some(|inner| {
        let todo = inner.todos["buy-milk"].clone();
        inner.store("buy-milk", todo.as_object().unwrap());
    });
    let changed = app.send(Method::PATCH, "/api/todos/buy-milk", &[], json!({ "message": "buy oat milk" })).await;
    assert_eq!(changed.status(), StatusCode::OK);
    let asked = app.sidecar.inner().asked.clone();
    let conditions: Vec<&str> = asked
        .iter()
        .filter(|(method, ..)| method == Method::PATCH)
        .map(|(_, _, headers)| headers["if-match"].to_str().unwrap())
        .collect();
    assert_eq!(conditions, ["\"1\"", "\"2\""]);
    let second_read = &asked[asked.len() - 2];
    assert_eq!(second_read.2["cache-control"], "no-cache");
}

#[tokio::test]
async fn a_condition_of_the_caller_is_not_decided_anew() {
    let app = Beside::new().await;
    app.send(Method::POST, "/api/todos", &[], milk()).await;
    let stale = [("if-match", "\"0\"")];
    for (method, body) in
        [(Method::PATCH, json!({ "done": true })), (Method::PUT, milk()), (Method::DELETE, Value::Null)]
    {
        let refused = app.send(method, "/api/todos/buy-milk", &stale, body).await;
        assert_eq!(refused.status(), StatusCode::PRECONDITION_FAILED);
        assert_eq!(refused.json::<Value>().await.unwrap()["type"], "urn:todo-app:problem:changed-meanwhile");
    }
}
