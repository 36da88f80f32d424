//! Events against an API server faked beneath the client.

use prometheus_client::registry::Registry;
use serde_json::Value;
use sidecar_core::recorder::{Action, Reason};
use tokio::sync::watch;

use super::*;
use crate::fake::{self, Asked, Log, Reply};

const PATH: &str = "/apis/events.k8s.io/v1/namespaces/shop/events";

struct Told {
    events: Events,
    log: Log,
    asked: watch::Receiver<usize>,
    registry: Registry,
    stop: CancellationToken,
    ended: tokio::task::JoinHandle<Result<(), Infallible>>,
}

fn events(serve: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Told {
    let (counter, asked) = watch::channel(0);
    let (client, log) = fake::client(move |request| {
        let reply = serve(request);
        counter.send_modify(|count| *count += 1);
        reply
    });
    let mut registry = Registry::default();
    let own = About::pod("shop", "pod-1", None);
    let (events, writer) = super::events(client, "pod-1", Some(own), Metrics::register(&mut registry));
    let stop = CancellationToken::new();
    let ended = tokio::spawn(writer.run(stop.clone()));
    Told { events, log, asked, registry, stop, ended }
}

impl Told {
    async fn asked(&mut self, times: usize) {
        let enough = self.asked.wait_for(|count| *count >= times);
        let waited = tokio::time::timeout(Duration::from_secs(20), enough).await;
        assert!(waited.is_ok(), "asked {:?}", self.log.lines());
    }

    async fn end(self) -> String {
        self.stop.cancel();
        self.ended.await.unwrap().unwrap();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

fn away() -> Note {
    Note::warning(Reason::AppAway, Action::CallApp, "connection refused")
}

#[tokio::test]
async fn what_is_told_is_written_and_what_is_told_again_is_counted_at_the_end_at_the_latest() {
    let mut told = events(|asked| Reply::Json(if asked.line.starts_with("POST") { 201 } else { 200 }, "{}".to_owned()));
    told.events.tell_own(away());
    told.asked(1).await;
    (0..7).for_each(|_| told.events.tell_own(away()));
    let log = told.log.clone();
    let metrics = told.end().await;
    let asked = log.asked();
    assert_eq!(
        (asked[0].line.as_str(), asked[0].content_type.as_str()),
        (format!("POST {PATH}?fieldManager=kab-sidecar").as_str(), "application/json")
    );
    let event: Value = serde_json::from_str(&asked[0].body).unwrap();
    let name = event["metadata"]["name"].as_str().unwrap();
    let last = asked.last().unwrap();
    assert_eq!(last.line, format!("PATCH {PATH}/{name}?fieldManager=kab-sidecar"));
    let patch: Value = serde_json::from_str(&last.body).unwrap();
    assert_eq!((last.content_type.as_str(), &patch["series"]["count"]), ("application/merge-patch+json", &8.into()));
    assert!(metrics.contains(r#"kab_events_total{reason="AppAway",outcome="created"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_missing_right_is_counted_and_stops_nothing() {
    let mut told = events(|_| fake::status(403, "Forbidden", "events.events.k8s.io is forbidden"));
    told.events.tell_own(away());
    told.asked(1).await;
    let metrics = told.end().await;
    assert!(metrics.contains(r#"kab_events_total{reason="AppAway",outcome="denied"} 1"#), "{metrics}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_tried_again() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let mut told = events(move |_| match first.swap(false, std::sync::atomic::Ordering::Relaxed) {
        true => Reply::BreakOff,
        false => Reply::Json(201, "{}".to_owned()),
    });
    told.events.tell_own(away());
    told.asked(2).await;
    let lines = told.log.lines();
    assert_eq!(lines[0], lines[1]);
    let metrics = told.end().await;
    assert!(metrics.contains(r#"outcome="created"} 1"#), "{metrics}");
}
