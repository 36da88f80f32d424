//! Budgets of the entity API over real connections, on a view filled by hand and a fake API server.

use std::sync::Arc;

use sidecar_core::budget::{Limits, Rate};
use sidecar_core::entity::Key;

use super::tests::{Answer, Fixture, kind, serve_within, unasked, view};
use crate::fake::{Asked, Reply, status, todo};
use crate::view::View;

const JSON: &str = "content-type: application/json";
const MERGE: &str = "content-type: application/merge-patch+json";

/// Todos of one namespace with one of version 5, within bounds.
async fn shop(limits: Limits, api_server: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Fixture {
    let kind = kind("a.b", true);
    let view = view(&kind, Some("shop"), 9, &[todo("milk", 5, "buy milk")]);
    serve_within(vec![(kind, vec![view])], limits, api_server).await
}

fn objects(most: u64) -> Limits {
    Limits { objects: Some(most), ..Limits::default() }
}

fn stored(asked: &Asked) -> Reply {
    match asked.line.split(' ').next() {
        Some("POST") => Reply::Json(201, todo("bread", 12, "buy bread")),
        Some("DELETE") => Reply::Json(200, r#"{"kind":"Status","details":{"uid":"u-milk"}}"#.to_owned()),
        _ => Reply::Json(200, todo("milk", 11, "buy more milk")),
    }
}

async fn create(shop: &Fixture, id: &str) -> Answer {
    shop.ask("POST /v1/todos", &[JSON], &format!(r#"{{"id":"{id}","message":"x"}}"#)).await
}

fn told(answer: &Answer) -> (u16, String, Option<&str>) {
    let kind = answer.json()["type"].as_str().unwrap().to_owned();
    (answer.status, kind.trim_start_matches("urn:k8sasbackend:problem:").to_owned(), answer.header("retry-after"))
}

#[tokio::test]
async fn with_as_many_entities_as_may_be_one_more_is_refused_and_the_rest_passes() {
    let shop = shop(objects(2), stored).await;
    assert_eq!(create(&shop, "bread").await.status, 201);
    for dry_run in ["", "?dryRun=true"] {
        let body = r#"{"id":"eggs","message":"x"}"#;
        let refused = shop.ask(&format!("POST /v1/todos{dry_run}"), &[JSON], body).await;
        assert_eq!(told(&refused), (507, "over-budget".to_owned(), None));
        assert!(refused.detail().contains("there are 2 todos and the budget is 2"), "{}", refused.body);
    }
    let refused = shop.ask("PUT /v1/todos/eggs", &[JSON], r#"{"message":"x"}"#).await;
    assert_eq!(refused.status, 507, "a PUT that would create");
    assert_eq!(shop.log.asked().len(), 1, "the API server is not even asked");
    assert_eq!(shop.ask("PUT /v1/todos/milk", &[JSON], r#"{"message":"more"}"#).await.status, 200);
    assert_eq!(shop.ask("DELETE /v1/todos/milk", &[], "").await.status, 204);
    assert_eq!(create(&shop, "eggs").await.status, 201, "there is room again");
}

#[tokio::test]
async fn what_is_refused_by_the_api_server_takes_no_room() {
    let shop = shop(objects(2), |_| status(422, "Invalid", "no")).await;
    for _ in 0..3 {
        assert_eq!(create(&shop, "bread").await.status, 422);
    }
    // Something that exists cannot be created, and that is what is told.
    let shop = self::shop(objects(1), |_| status(409, "AlreadyExists", "exists")).await;
    assert_eq!(create(&shop, "milk").await.status, 409);
}

#[tokio::test]
async fn bytes_are_counted_by_their_difference() {
    let kind = kind("a.b", true);
    let here = view(&kind, Some("shop"), 9, &[todo("milk", 5, "buy milk")]);
    let size = here.find(&Key { namespace: Some("shop".into()), id: "milk".into() }).unwrap().json.len() as u64;
    let limits = Limits { bytes: Some(size + 10), ..Limits::default() };
    let shop = serve_within(vec![(kind, vec![here])], limits, stored).await;
    let refused = create(&shop, "bread").await;
    assert_eq!(told(&refused), (507, "over-budget".to_owned(), None));
    assert!(refused.detail().contains(&format!("have {size} bytes")), "{}", refused.body);
    let much = r#"{"message":"something much longer than it was"}"#;
    for (line, media_type) in
        [("PUT /v1/todos/milk", JSON), ("PATCH /v1/todos/milk", MERGE), ("PUT /v1/todos/milk/status", JSON)]
    {
        assert_eq!(shop.ask(line, &[media_type], much).await.status, 507, "{line}");
    }
    assert!(shop.log.asked().is_empty());
    assert_eq!(shop.ask("PATCH /v1/todos/milk", &[MERGE], r#"{"message":"buy more milk"}"#).await.status, 200);
    assert_eq!(shop.ask("PUT /v1/todos/milk", &[JSON], r#"{"message":""}"#).await.status, 200);
}

#[tokio::test]
async fn too_many_writes_are_told_when_to_come_back_also_within_a_batch() {
    let limits = Limits { writes_per_second: Rate::new(10), ..Limits::default() };
    let shop = shop(limits, stored).await;
    let batch = r#"{"operations":[{"op":"create","kind":"todos","body":{"message":"x"}},
        {"op":"patch","kind":"todos","id":"milk","body":{"message":"y"}},{"op":"delete","kind":"todos","id":"milk"}],"ordered":false}"#;
    let results = shop.ask("POST /v1/batch", &[JSON], batch).await.json()["results"].clone();
    let statuses: Vec<_> = results.as_array().unwrap().iter().map(|result| result["status"].clone()).collect();
    assert_eq!(statuses, [201, 429, 204], "one at once, and deletes always");
    // Less by what it took to get here; a write each hundred seconds.
    let wait = results[1]["retryAfter"].as_u64().unwrap();
    assert!((50..=100).contains(&wait), "{wait}");
    let refused = create(&shop, "eggs").await;
    assert_eq!(refused.status, 429);
    assert!(
        refused.header("retry-after").is_some() && refused.detail().contains("0.01 times a second"),
        "{}",
        refused.body
    );
    assert_eq!(shop.ask("DELETE /v1/todos/milk", &[], "").await.status, 204);
    let wrong = shop.ask("POST /v1/todos", &[JSON], "[]").await;
    assert_eq!(wrong.status, 400, "what is wrong in itself is told so");
}

#[tokio::test]
async fn while_it_is_not_known_how_much_there_is_nothing_more_is_taken() {
    let kind = kind("a.b", true);
    let unfilled = Arc::new(View::new(Some("shop".into())));
    let shop = serve_within(vec![(kind, vec![unfilled])], objects(10), |asked| match stored(asked) {
        reply if asked.line.starts_with("DELETE") => reply,
        _ => unasked(asked),
    })
    .await;
    let refused = create(&shop, "bread").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(shop.ask("DELETE /v1/todos/milk", &[], "").await.status, 204);
}
