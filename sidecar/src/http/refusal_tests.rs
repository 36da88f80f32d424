//! What a refusal says beside its problem, and preconditions, over real connections and a fake API server.

use sidecar_core::kind::Kind;

use super::tests::{kind, serve, shop, unasked, view};
use crate::fake::{Reply, status, todo};

const JSON: &str = "content-type: application/json";

#[tokio::test]
async fn a_body_that_is_not_taken_is_told_what_would_be() {
    let shop = shop(unasked).await;
    let patches = "application/merge-patch+json, application/json-patch+json";
    for (line, header, told) in [
        ("POST /v1/todos", "content-type: text/plain", ("accept", "application/json")),
        ("PUT /v1/todos/milk", "x: y", ("accept", "application/json")),
        ("POST /v1/batch", "content-type: application/yaml", ("accept", "application/json")),
        ("PATCH /v1/todos/milk", JSON, ("accept-patch", patches)),
        ("PATCH /v1/todos/milk/status", JSON, ("accept-patch", patches)),
    ] {
        let refused = shop.ask(line, &[header], "{}").await;
        assert_eq!((refused.status, refused.header(told.0)), (415, Some(told.1)), "{line}");
        let others = ["accept", "accept-patch", "accept-encoding"].iter().filter(|name| **name != told.0);
        assert!(others.clone().all(|name| refused.header(name).is_none()), "{line}: {refused:?}");
    }
    let encoded = shop.ask("POST /v1/todos", &[JSON, "content-encoding: br"], "{}").await;
    assert_eq!((encoded.status, encoded.header("accept-encoding")), (415, Some("identity")));
}

#[tokio::test]
async fn whoever_does_not_take_json_gets_none_and_nothing_is_done() {
    let shop = shop(unasked).await;
    let html = "accept: text/html, image/*";
    for line in [
        "GET /v1",
        "GET /openapi.json",
        "GET /v1/todos",
        "GET /v1/todos/milk",
        "POST /v1/todos",
        "PUT /v1/todos/milk",
        "DELETE /v1/todos/milk",
        "POST /v1/batch",
    ] {
        let refused = shop.ask(line, &[html, JSON], "{}").await;
        assert_eq!((refused.status, refused.header("content-type")), (406, Some("application/problem+json")), "{line}");
        assert!(refused.detail().contains("application/json"), "{line}: {refused:?}");
    }
    assert_eq!(
        shop.ask("GET /v1/todos/milk", &["accept: text/event-stream"], "").await.status,
        406,
        "one has no events"
    );
    assert_eq!(shop.ask("GET /docs", &[html], "").await.status, 200);
    assert_eq!(shop.ask("GET /docs", &["accept: application/json"], "").await.status, 406);
    assert_eq!(shop.ask("GET /v1/todos", &["accept: application/*;q=0.5"], "").await.status, 200);
    assert_eq!(shop.ask("DELETE /v1/todos", &[html], "").await.status, 405, "what is not there at all comes first");
}

#[tokio::test]
async fn a_put_whose_entity_is_gone_fails_its_precondition() {
    // The cache still has milk.
    let shop = shop(|_| status(404, "NotFound", r#"todos.a.b \"milk\" not found"#)).await;
    for tag in ["\"5\"", "*", "\"4\", \"5\""] {
        let put = shop.ask("PUT /v1/todos/milk", &[JSON, &format!("if-match: {tag}")], r#"{"message":"m"}"#).await;
        assert_eq!(put.status, 412, "{tag}: {put:?}");
    }
    let patch = ["content-type: application/merge-patch+json", "if-match: \"5\""];
    assert_eq!(
        shop.ask("PATCH /v1/todos/milk", &patch, "{}").await.status,
        404,
        "there is nothing to patch either way"
    );
    assert_eq!(shop.ask("DELETE /v1/todos/milk", &["if-match: \"5\""], "").await.status, 404);
}

#[tokio::test]
async fn what_the_api_server_no_longer_has_is_not_read_from_the_cache_again() {
    let merge = "content-type: application/merge-patch+json";
    for (line, header) in [
        ("GET /v1/todos/milk", "cache-control: no-cache"),
        ("PATCH /v1/todos/milk", merge),
        ("DELETE /v1/todos/milk", "x: y"),
    ] {
        // The watch has not told the deletion yet.
        let shop = shop(|_| status(404, "NotFound", r#"todos.a.b \"milk\" not found"#)).await;
        assert_eq!(shop.get("/v1/todos/milk").await.status, 200);
        assert_eq!(shop.ask(line, &[header], "{}").await.status, 404, "{line}");
        assert_eq!(shop.get("/v1/todos/milk").await.status, 404, "{line}");
    }
    // That the kind is away says nothing of its entities.
    let shop = shop(|_| Reply::Json(404, "404 page not found".to_owned())).await;
    assert_eq!(shop.ask("GET /v1/todos/milk", &["cache-control: no-cache"], "").await.status, 503);
    assert_eq!(shop.get("/v1/todos/milk").await.status, 200);
}

#[tokio::test]
async fn what_etcd_does_not_take_is_told_with_its_size() {
    let shop = shop(|_| status(500, "InternalError", "etcdserver: request is too large")).await;
    let body = format!(r#"{{"id":"tea","message":"{}"}}"#, "x".repeat(1000));
    let refused = shop.ask("POST /v1/todos", &[JSON], &body).await;
    let sent = shop.log.asked()[0].body.len();
    assert_eq!(refused.status, 413);
    assert!(refused.detail().contains(&format!("{sent} bytes were sent, the limit is usually 1572864")), "{refused:?}");
}

#[tokio::test]
async fn a_kind_called_batch_is_found_by_its_full_name() {
    let batch = Kind { kind: "Batch".to_owned(), plural: "batch".to_owned(), ..kind("a.b", true) };
    let views = vec![view(&batch, Some("shop"), 9, &[todo("milk", 5, "buy milk")])];
    let api = serve(vec![(batch, views)], |_| Reply::Json(201, todo("bread", 12, "buy bread"))).await;
    assert_eq!(api.get("/v1").await.json()["items"][0]["path"], "/v1/batch.a.b");
    assert_eq!(api.get("/v1/batch").await.status, 405);
    assert_eq!(api.get("/v1/batch.a.b/milk").await.json()["message"], "buy milk");
    let created = api.ask("POST /v1/batch.a.b", &[JSON], r#"{"id":"bread"}"#).await;
    assert_eq!((created.status, created.header("location")), (201, Some("/v1/batch.a.b/bread")));
    let body = r#"{"operations":[{"op":"create","kind":"batch","body":{"id":"bread"}}]}"#;
    let told = api.ask("POST /v1/batch", &[JSON], body).await.json();
    assert_eq!(told["results"][0]["location"], "/v1/batch.a.b/bread");
    let document = api.get("/openapi.json").await.json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/v1", "/v1/batch", "/v1/batch.a.b", "/v1/batch.a.b/{id}", "/v1/batch.a.b/{id}/status"]);
}
