//! `Prefer: wait` and `respond-async`, over real connections; the watch's tidings are put into the view by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sidecar_core::entity::{Entity, Key};
use sidecar_core::feed::{Change, Delta};
use sidecar_core::version::Version;

use super::tests::{Answer, Fixture, shop};
use crate::fake::{Asked, Reply};
use crate::view::View;

const MERGE: &str = "content-type: application/merge-patch+json";

/// What the API server stores: generation 2 at version 11.
fn stored(asked: &Asked) -> Reply {
    let deleting = if asked.line.starts_with("DELETE") { r#","deletionTimestamp":"2026-01-01T00:00:00Z""# } else { "" };
    Reply::Json(
        200,
        format!(
            r#"{{"metadata":{{"name":"milk","namespace":"shop","uid":"u-milk","resourceVersion":"11","generation":2{deleting}}},"spec":{{"message":"m"}}}}"#
        ),
    )
}

/// The watch tells that the hook has dealt with a generation.
fn told(view: &View, version: u64, observed: u64) {
    let milk = view.find(&Key { namespace: Some("shop".into()), id: "milk".into() }).unwrap();
    let json = format!(
        r#"{{"id":"milk","message":"m","status":{{"observedGeneration":{observed}}},"meta":{{"version":"{version}","generation":2}}}}"#
    );
    let entity = Arc::new(Entity { version: Version(version), json: Bytes::from(json), ..(*milk).clone() });
    view.observe(&Delta { change: Change::Modified, entity }, Instant::now());
}

async fn patch(shop: &Fixture, prefer: &str) -> Answer {
    shop.ask("PATCH /v1/todos/milk", &[MERGE, &format!("prefer: {prefer}")], r#"{"message":"m"}"#).await
}

#[tokio::test]
async fn a_write_waits_until_the_hook_has_dealt_with_it() {
    let shop = shop(stored).await;
    let view = Arc::clone(&shop.views[0]);
    let tidings = async {
        while shop.log.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        told(&view, 12, 1);
        tokio::time::sleep(Duration::from_millis(20)).await;
        told(&view, 13, 2);
    };
    let (answer, ()) = tokio::join!(patch(&shop, "wait=30"), tidings);
    assert_eq!((answer.status, answer.header("etag")), (200, Some("\"13\"")), "{}", answer.body);
    assert_eq!(answer.header("preference-applied"), Some("wait=30"));
    assert_eq!(answer.json()["status"]["observedGeneration"], 2);
}

#[tokio::test]
async fn who_does_not_wait_or_not_long_enough_gets_202() {
    let shop = shop(stored).await;
    let late = patch(&shop, "wait=1").await;
    assert_eq!((late.status, late.header("etag"), late.header("preference-applied")), (202, Some("\"11\""), None));
    let async_ = patch(&shop, "respond-async, return=minimal").await;
    assert_eq!((async_.status, async_.body.as_str()), (202, ""));
    assert!(async_.head.contains("respond-async") && async_.head.contains("return=minimal"), "{}", async_.head);
    assert_eq!(patch(&shop, "wait=0").await.status, 202);
    assert_eq!(patch(&shop, "handling=lenient").await.status, 200);
    let dry = shop.ask("PATCH /v1/todos/milk?dryRun=true", &[MERGE, "prefer: wait=9"], r#"{"message":"m"}"#).await;
    assert_eq!(dry.status, 200, "nobody deals with a dry run");
    let status = shop.ask("PATCH /v1/todos/milk/status", &[MERGE, "prefer: wait=9"], r#"{"phase":"Due"}"#).await;
    assert_eq!(status.status, 200, "a status asks nothing of the app");
}

#[tokio::test]
async fn a_delete_waits_until_the_entity_is_gone() {
    let shop = shop(stored).await;
    let view = Arc::clone(&shop.views[0]);
    let tidings = async {
        while shop.log.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let milk = view.find(&Key { namespace: Some("shop".into()), id: "milk".into() }).unwrap();
        let entity = Arc::new(Entity { version: Version(12), ..(*milk).clone() });
        view.observe(&Delta { change: Change::Deleted, entity }, Instant::now());
    };
    let (answer, ()) = tokio::join!(shop.ask("DELETE /v1/todos/milk", &["prefer: wait=30"], ""), tidings);
    assert_eq!((answer.status, answer.header("preference-applied")), (204, Some("wait=30")));
}

#[tokio::test]
async fn who_waits_for_an_entity_that_is_gone_is_told_so_at_once() {
    let shop = shop(stored).await;
    let view = Arc::clone(&shop.views[0]);
    let tidings = async {
        while shop.log.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let milk = view.find(&Key { namespace: Some("shop".into()), id: "milk".into() }).unwrap();
        let entity = Arc::new(Entity { version: Version(12), ..(*milk).clone() });
        view.observe(&Delta { change: Change::Deleted, entity }, Instant::now());
    };
    let started = Instant::now();
    let (answer, ()) = tokio::join!(patch(&shop, "wait=60"), tidings);
    assert_eq!(answer.status, 202);
    assert!(started.elapsed() < Duration::from_secs(50));
}
