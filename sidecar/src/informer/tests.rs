//! The informer's IO against a fake API server; what a line means is tested beside the machine.

use prometheus_client::registry::Registry;
use runtime::readiness::{Need, Readiness};
use sidecar_core::entity::Key;
use sidecar_core::feed::Change;

use super::*;
use crate::fake::{self, Log, Reply, status, todo};

/// Far more than anything here takes; only a fault makes a test wait for it.
const LIMIT: Duration = Duration::from_secs(20);

type Sender = mpsc::UnboundedSender<Result<Bytes, std::io::Error>>;

struct Fixture {
    view: Arc<View>,
    handle: AttachHandle,
    readiness: Readiness,
    log: Log,
    /// The other ends of the streams, in the order in which they were opened.
    streams: mpsc::UnboundedReceiver<Sender>,
    stop: CancellationToken,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// An informer whose watches are streams in the test's hand; probes say version 10.
fn follow() -> Fixture {
    let (opened, streams) = mpsc::unbounded_channel();
    let (client, log) = fake::client(move |asked| {
        if asked.line.contains("watch=true") {
            let (sender, receiver) = mpsc::unbounded_channel();
            opened.send(sender).unwrap();
            return Reply::Stream(receiver);
        }
        Reply::Json(200, r#"{"kind":"TodoList","metadata":{"resourceVersion":"10"},"items":[]}"#.to_owned())
    });
    run(client, log, streams)
}

fn run(client: Client, log: Log, streams: mpsc::UnboundedReceiver<Sender>) -> Fixture {
    let kind = Kind {
        group: "a.b".to_owned(),
        version: "v1".to_owned(),
        kind: "Todo".to_owned(),
        plural: "todos".to_owned(),
        namespaced: true,
        has_spec: true,
        has_status: true,
        owned: true,
    };
    let view = Arc::new(View::new(Some("shop".into())));
    let readiness = Readiness::new();
    let (handle, attachments) = attachments();
    let informer = Informer {
        client,
        kind: Arc::new(kind),
        view: Arc::clone(&view),
        attachments,
        cache_bytes: usize::MAX,
        part: readiness.part("cache", Need::Required),
        metrics: Metrics::register(&mut Registry::default()),
    };
    let stop = CancellationToken::new();
    tokio::spawn(informer.run(stop.clone()));
    Fixture { view, handle, readiness, log, streams, stop }
}

fn event(kind: &str, object: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"object\":{object}}}\n")
}

fn bookmark(version: u64, initial: bool) -> String {
    let annotations = if initial { r#","annotations":{"k8s.io/initial-events-end":"true"}"# } else { "" };
    event("BOOKMARK", &format!(r#"{{"metadata":{{"resourceVersion":"{version}"{annotations}}}}}"#))
}

impl Fixture {
    async fn stream(&mut self) -> Sender {
        tokio::time::timeout(LIMIT, self.streams.recv()).await.expect("a watch should have been opened").unwrap()
    }

    async fn filled(&self, version: u64) {
        let waiting = tokio::time::timeout(LIMIT, self.view.reached(Version(version), None)).await;
        waiting.unwrap_or_else(|_| panic!("not at {version}: {:?}", self.log.lines()));
    }

    fn message(&self, id: &str) -> Option<String> {
        let key = Key { namespace: Some("shop".into()), id: id.into() };
        let json: serde_json::Value = serde_json::from_slice(&self.view.find(&key)?.json).unwrap();
        Some(json["message"].as_str().unwrap().to_owned())
    }
}

fn send(stream: &Sender, text: &str) {
    stream.send(Ok(Bytes::from(text.to_owned()))).unwrap();
}

/// Fills with one entity of version 5 at version 10.
async fn fill(fixture: &mut Fixture) -> Sender {
    let stream = fixture.stream().await;
    send(&stream, &(event("ADDED", &todo("milk", 5, "one")) + &bookmark(10, true)));
    fixture.filled(10).await;
    stream
}

#[tokio::test]
async fn a_line_may_come_in_pieces_and_several_at_once() {
    let mut fixture = follow();
    let stream = fill(&mut fixture).await;
    assert!(fixture.readiness.is_ready());
    let text = event("MODIFIED", &todo("milk", 11, "zwei — 二"))
        + &event("ADDED", &todo("tea", 12, "t"))
        + &bookmark(20, false);
    for piece in text.as_bytes().chunks(7) {
        stream.send(Ok(Bytes::copy_from_slice(piece))).unwrap();
    }
    fixture.filled(20).await;
    assert_eq!((fixture.message("milk").as_deref(), fixture.message("tea").as_deref()), (Some("zwei — 二"), Some("t")));
    let lines = fixture.log.lines();
    assert!(
        lines[0].starts_with("GET /apis/a.b/v1/namespaces/shop/todos?watch=true&sendInitialEvents=true"),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_line_is_followed_by_the_same_watch() {
    let mut fixture = follow();
    let stream = fill(&mut fixture).await;
    send(&stream, &event("MODIFIED", &todo("milk", 11, "lost"))[..40]);
    drop(stream);
    let stream = fixture.stream().await;
    assert!(fixture.log.lines().last().unwrap().contains("watch=true&resourceVersion=10"), "{:?}", fixture.log.lines());
    assert!(fixture.readiness.is_ready(), "reads go on");
    send(&stream, &event("MODIFIED", &todo("milk", 11, "told again")));
    fixture.filled(11).await;
    assert_eq!(fixture.message("milk").as_deref(), Some("told again"));
}

#[tokio::test]
async fn a_watch_that_expired_is_filled_again() {
    let mut fixture = follow();
    let stream = fill(&mut fixture).await;
    send(&stream, &event("ERROR", r#"{"kind":"Status","code":410,"reason":"Expired","message":"too old"}"#));
    let stream = fixture.stream().await;
    send(&stream, &(event("ADDED", &todo("tea", 30, "t")) + &bookmark(31, true)));
    fixture.filled(31).await;
    assert_eq!((fixture.message("milk"), fixture.message("tea").as_deref()), (None, Some("t")));
}

#[tokio::test]
async fn a_bridge_gets_what_lies_behind_its_position_once_and_then_what_follows() {
    let mut fixture = follow();
    let _stream = fill(&mut fixture).await;
    let mut feed = fixture.handle.attach(Some(Version(8))).await.unwrap();
    let stream = fixture.stream().await;
    assert!(fixture.log.lines().last().unwrap().contains("resourceVersion=8&"), "{:?}", fixture.log.lines());
    send(&stream, &(event("MODIFIED", &todo("milk", 9, "missed")) + &event("DELETED", &todo("milk", 12, "gone"))));
    fixture.filled(12).await;
    let mut told = Vec::new();
    while told.len() < 2 {
        match tokio::time::timeout(LIMIT, feed.recv()).await.unwrap().unwrap() {
            Feed::Delta(delta) => told.push((delta.change, delta.entity.version)),
            Feed::Bookmark(_) => {}
            relisted @ Feed::Relisted { .. } => panic!("{relisted:?}"),
        }
    }
    assert_eq!(told, [(Change::Modified, Version(9)), (Change::Deleted, Version(12))]);
    assert_eq!(fixture.message("milk"), None, "the replay does not go back in the cache");
}

#[tokio::test(start_paused = true)]
async fn of_two_that_are_attached_the_slow_one_is_let_go_and_the_other_gets_everything() {
    let mut fixture = follow();
    let _stream = fill(&mut fixture).await;
    let mut slow = fixture.handle.attach(Some(Version(10))).await.unwrap();
    let _stream = fixture.stream().await;
    let mut quick = fixture.handle.of(Seat::Notifier).attach(Some(Version(10))).await.unwrap();
    let stream = fixture.stream().await;
    let last = 11 + FEED as u64 * 2;
    let drained = tokio::spawn(async move {
        let mut versions = Vec::new();
        while let Some(message) = quick.recv().await {
            let Feed::Delta(delta) = message else { continue };
            versions.push(delta.entity.version.0);
            if delta.entity.version.0 == last {
                break;
            }
        }
        versions
    });
    for version in 11..=last {
        send(&stream, &event("MODIFIED", &todo("milk", version, "again")));
    }
    fixture.filled(last).await;
    assert_eq!(tokio::time::timeout(LIMIT, drained).await.unwrap().unwrap(), (11..=last).collect::<Vec<_>>());
    let mut taken = 0;
    while slow.recv().await.is_some() {
        taken += 1;
    }
    assert_eq!(taken, FEED);
}

#[tokio::test]
async fn a_bridge_without_a_position_gets_the_whole_state() {
    let mut fixture = follow();
    let _stream = fill(&mut fixture).await;
    let mut feed = fixture.handle.attach(None).await.unwrap();
    let stream = fixture.stream().await;
    send(&stream, &(event("ADDED", &todo("milk", 5, "one")) + &bookmark(13, true)));
    let first = tokio::time::timeout(LIMIT, feed.recv()).await.unwrap().unwrap();
    let Feed::Relisted { version, entities } = first else { panic!("{first:?}") };
    assert_eq!((version, entities.len()), (Version(13), 1));
}

#[tokio::test(start_paused = true)]
async fn a_bridge_that_takes_nothing_is_let_go_and_the_cache_goes_on() {
    let mut fixture = follow();
    let _stream = fill(&mut fixture).await;
    let mut feed = fixture.handle.attach(Some(Version(10))).await.unwrap();
    let stream = fixture.stream().await;
    let last = 20 + FEED as u64 * 2;
    for version in 20..=last {
        send(&stream, &event("MODIFIED", &todo("milk", version, "again")));
    }
    fixture.filled(last).await;
    let mut taken = 0;
    while feed.recv().await.is_some() {
        taken += 1;
    }
    assert_eq!(taken, FEED, "what was under way stays in order, and then the feed ends");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_refuses_is_asked_again_and_says_why_in_readiness() {
    let (opened, streams) = mpsc::unbounded_channel::<Sender>();
    let (allowed, may) = tokio::sync::watch::channel(false);
    let first = std::sync::atomic::AtomicBool::new(true);
    let (client, log) = fake::client(move |asked| {
        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            Reply::Later(1)
        } else if !*may.borrow() || asked.line.contains("sendInitialEvents") {
            status(403, "Forbidden", "todos is forbidden")
        } else if asked.line.contains("watch=true") {
            let (sender, receiver) = mpsc::unbounded_channel();
            opened.send(sender).unwrap();
            Reply::Stream(receiver)
        } else {
            Reply::Json(200, r#"{"kind":"TodoList","metadata":{"resourceVersion":"10"},"items":[]}"#.to_owned())
        }
    });
    let mut fixture = run(client, log, streams);
    let told = || fixture.readiness.report().missing().concat();
    tokio::time::timeout(Duration::from_secs(300), async {
        while !told().contains("forbidden") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{}", told()));
    allowed.send_replace(true);
    let _watch = tokio::time::timeout(Duration::from_secs(300), fixture.streams.recv()).await.unwrap().unwrap();
    fixture.filled(10).await;
    assert!(fixture.readiness.is_ready());
}
