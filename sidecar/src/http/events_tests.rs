//! Server-sent events over real connections, on views filled by hand.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sidecar_core::feed::{Change, Delta};
use sidecar_core::mapping;
use sidecar_core::version::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::tests::{Fixture, kind, serve, shop, unasked, view};
use crate::fake::{todo, todo_in};
use crate::view::View;

/// A reader: what it was sent, as text without the chunks' frames.
struct Reader {
    stream: TcpStream,
    raw: Vec<u8>,
}

impl Reader {
    async fn open(fixture: &Fixture, path: &str, headers: &[&str]) -> Self {
        let mut stream = TcpStream::connect(fixture.address).await.unwrap();
        let mut text = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n");
        for header in headers {
            text.push_str(&format!("{header}\r\n"));
        }
        stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
        Self { stream, raw: Vec::new() }
    }

    /// Everything so far.
    fn text(&self) -> String {
        let raw = String::from_utf8_lossy(&self.raw).into_owned();
        let Some((head, mut rest)) = raw.split_once("\r\n\r\n") else { return raw };
        let mut text = format!("{head}\n\n");
        while let Some((size, behind)) = rest.split_once("\r\n") {
            let Ok(size) = usize::from_str_radix(size, 16) else { break };
            let Some(chunk) = behind.get(..size) else { break };
            text.push_str(chunk);
            rest = behind.get(size + 2..).unwrap_or_default();
        }
        text
    }

    /// The events so far, each `NAME ID` (the id under which it came, if any) and what follows `"message":`.
    fn events(&self) -> Vec<String> {
        let text = self.text();
        let (_, body) = text.split_once("\n\n").unwrap_or_default();
        let blocks = body.split("\n\n").filter(|block| block.contains("event: "));
        blocks
            .map(|block| {
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
                let message = field("data: ").split("\"message\":\"").nth(1).and_then(|rest| rest.split('"').next());
                let words = [field("event: "), field("id: "), message.unwrap_or_default()];
                words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    /// Reads until so many events are there.
    async fn until(&mut self, count: usize) -> Vec<String> {
        let waiting = async {
            while self.events().len() < count {
                let mut buffer = [0; 4096];
                let size = self.stream.read(&mut buffer).await.unwrap();
                assert!(size > 0, "it ended: {}", self.text());
                self.raw.extend_from_slice(&buffer[..size]);
            }
        };
        let late = tokio::time::timeout(Duration::from_secs(10), waiting).await.is_err();
        assert!(!late, "waited for {count} events in {}", self.text());
        self.events()
    }
}

fn observe(view: &View, change: Change, object: &str) {
    let entity = Arc::new(mapping::entity(&kind("a.b", true), object.as_bytes()).unwrap());
    view.observe(&Delta { change, entity }, Instant::now());
}

#[tokio::test]
async fn a_reader_gets_the_state_then_synced_then_each_change() {
    let shop = shop(unasked).await;
    let mut reader = Reader::open(&shop, "/v1/todos", &[]).await;
    assert_eq!(reader.until(2).await, ["added buy milk", "synced 9"]);
    let text = reader.text();
    assert!(text.contains("content-type: text/event-stream") && text.contains("\n\nretry: 1000\n\n"), "{text}");
    observe(&shop.views[0], Change::Added, &todo("tea", 10, "buy tea"));
    observe(&shop.views[0], Change::Modified, &todo("milk", 11, "more milk"));
    observe(&shop.views[0], Change::Deleted, &todo("tea", 12, "buy tea"));
    let all = reader.until(5).await;
    assert_eq!(all[2..], ["added 10 buy tea", "modified 11 more milk", "deleted 12 buy tea"]);
}

#[tokio::test]
async fn a_reader_that_comes_back_goes_on_where_it_was_or_is_told_that_it_cannot() {
    let shop = shop(unasked).await;
    let mut first = Reader::open(&shop, "/v1/todos", &[]).await;
    first.until(2).await;
    for version in 10..14 {
        observe(&shop.views[0], Change::Modified, &todo("milk", version, &version.to_string()));
    }
    let mut back = Reader::open(&shop, "/v1/todos", &["last-event-id: 11"]).await;
    assert_eq!(back.until(2).await, ["modified 12 12", "modified 13 13"]);
    for lost in ["8", "14", "shop=11", "x", "\u{e9}"] {
        let mut reader = Reader::open(&shop, "/v1/todos", &[&format!("last-event-id: {lost}")]).await;
        assert_eq!(reader.until(3).await, ["reset", "added 13", "synced 13"], "{lost}");
        assert!(reader.text().contains("id\nevent: reset"), "the reader's id is forgotten");
    }
}

#[tokio::test]
async fn what_leaves_a_filter_is_told_as_deleted_and_what_comes_into_it_as_added() {
    let shop = shop(unasked).await;
    let mut reader = Reader::open(&shop, "/v1/todos?filter=message.contains(%22milk%22)", &[]).await;
    assert_eq!(reader.until(2).await, ["added buy milk", "synced 9"]);
    observe(&shop.views[0], Change::Added, &todo("tea", 10, "tea"));
    observe(&shop.views[0], Change::Modified, &todo("milk", 11, "bread"));
    observe(&shop.views[0], Change::Modified, &todo("tea", 12, "tea with milk"));
    assert_eq!(reader.until(4).await[2..], ["deleted 11 bread", "added 12 tea with milk"]);
    let mut slim = Reader::open(&shop, "/v1/todos?fields=id", &[]).await;
    slim.until(3).await;
    assert!(slim.text().contains("data: {\"id\":\"tea\"}\n"), "{}", slim.text());
}

#[tokio::test]
async fn a_reader_of_several_namespaces_has_an_id_that_names_each() {
    let kind = kind("a.b", true);
    let views = vec![
        view(&kind, Some("shop"), 9, &[todo("milk", 5, "here")]),
        view(&kind, Some("bar"), 7, &[todo_in("bar", "milk", 6, "there")]),
    ];
    let fixture = serve(vec![(kind, views)], unasked).await;
    let mut reader = Reader::open(&fixture, "/v1/todos", &[]).await;
    assert_eq!(reader.until(3).await, ["added there", "added here", "synced bar=7,shop=9"]);
    observe(&fixture.views[0], Change::Modified, &todo("milk", 20, "one"));
    assert_eq!(reader.until(4).await[3], "modified bar=7,shop=20 one");
    observe(&fixture.views[1], Change::Modified, &todo_in("bar", "milk", 15, "two"));
    assert_eq!(reader.until(5).await[4], "modified bar=15,shop=20 two");
    let mut back = Reader::open(&fixture, "/v1/todos", &["last-event-id: bar=7,shop=20"]).await;
    assert_eq!(back.until(1).await, ["modified bar=15,shop=20 two"]);
    let mut one = Reader::open(&fixture, "/v1/todos?namespace=bar", &[]).await;
    assert_eq!(one.until(2).await, ["added two", "synced 15"]);
}

#[tokio::test]
async fn a_restore_to_the_past_resets_who_is_connected() {
    let shop = shop(unasked).await;
    let mut reader = Reader::open(&shop, "/v1/todos", &[]).await;
    reader.until(2).await;
    let old = mapping::entity(&kind("a.b", true), todo("milk", 3, "old").as_bytes()).unwrap();
    shop.views[0].fill(Version(4), vec![Arc::new(old)], Instant::now());
    assert_eq!(reader.until(5).await[2..], ["reset", "added old", "synced 4"]);
}

#[tokio::test]
async fn what_has_no_meaning_for_events_is_refused() {
    let shop = shop(unasked).await;
    let accept = "accept: text/event-stream";
    for (query, told) in [
        ("limit=1", "limit"),
        ("orderBy=message", "orderBy"),
        ("filter=nothing%20%3D%3D%201", "nothing"),
        ("namespace=other", "only in shop"),
    ] {
        let answer = shop.ask(&format!("GET /v1/todos?{query}"), &[accept], "").await;
        assert_eq!(answer.status, 400, "{query}");
        assert!(answer.detail().contains(told), "{query}: {answer:?}");
    }
    let evil = shop.ask("GET /v1/todos", &[accept, "origin: http://evil.example"], "").await;
    assert_eq!(evil.status, 403);
    let head = shop.ask("HEAD /v1/todos", &[accept], "").await;
    assert_eq!((head.status, head.header("content-type"), head.body.as_str()), (200, Some("text/event-stream"), ""));
    assert_eq!(shop.ask("GET /v1/orders", &[accept], "").await.status, 404);
    assert_eq!(shop.ask("GET /v1/todos/milk", &[accept], "").await.status, 406, "one entity has no events");
}
