//! Expiry against an API server faked beneath the client; the watch's tidings are put into the view by hand.

use std::time::Instant;

use sidecar_core::entity::Entity;
use sidecar_core::feed::{Change, Delta};
use sidecar_core::mapping;
use sidecar_core::version::Version;

use super::*;
use crate::fake::{self, Log, Reply, todos};
use crate::leases::{Standing, Term, leadership_that_is};

/// A Todo that expires so many seconds from now.
fn todo(id: &str, version: u64, seconds: i64) -> Arc<Entity> {
    let at = Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    let object = format!(
        r#"{{"metadata":{{"name":"{id}","namespace":"shop","uid":"u-{id}","resourceVersion":"{version}",
        "annotations":{{"k8sasbackend.com/expires-at":"{at}"}}}},"spec":{{"message":"m"}}}}"#
    );
    Arc::new(mapping::entity(&todos(), object.as_bytes()).unwrap())
}

fn run(entities: Vec<Arc<Entity>>, standing: Standing) -> (Arc<View>, Log) {
    let (client, log) = fake::client(|_| Reply::Json(200, r#"{"kind":"Status","details":{"uid":"u"}}"#.to_owned()));
    let mut registry = prometheus_client::registry::Registry::default();
    let store = Store::new(client, crate::store::Metrics::register(&mut registry));
    let view = Arc::new(View::new(Some("shop".into())));
    view.fill(Version(10), entities, Instant::now());
    let leadership = leadership_that_is(standing);
    let (kind, metrics) = (Arc::new(todos()), Metrics::default());
    let expirer = Expirer { kind, view: Arc::clone(&view), store, leadership, metrics };
    tokio::spawn(expirer.run(CancellationToken::new()));
    (view, log)
}

fn leading() -> Standing {
    Standing::Leading(Term { number: 1, epoch: 0, until: Duration::MAX })
}

async fn until_asked(log: &Log, count: usize) {
    let wait = async {
        while log.lines().len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{:?}", log.lines()));
}

#[tokio::test]
async fn what_has_expired_is_deleted_in_the_version_that_said_so_and_the_rest_stays() {
    let (view, log) = run(vec![todo("milk", 5, -1), todo("tea", 6, 3600)], leading());
    until_asked(&log, 1).await;
    view.observe(&Delta { change: Change::Deleted, entity: todo("milk", 11, -1) }, Instant::now());
    view.observe(&Delta { change: Change::Modified, entity: todo("tea", 12, 0) }, Instant::now());
    until_asked(&log, 2).await;
    let asked = log.asked();
    assert!(asked[0].line.starts_with("DELETE ") && asked[0].line.contains("/todos/milk"), "{asked:?}");
    assert!(asked[0].body.contains(r#""resourceVersion":"5""#), "{asked:?}");
    assert!(asked[1].line.contains("/todos/tea") && asked[1].body.contains(r#""resourceVersion":"12""#), "{asked:?}");
}

#[tokio::test]
async fn who_does_not_lead_deletes_nothing() {
    let (_, log) = run(vec![todo("milk", 5, -1)], Standing::Standby { holder: None });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(log.lines().is_empty(), "{:?}", log.lines());
}
