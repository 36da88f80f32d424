//! Who is let in, and what bytes that are no good request come to, over real connections.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::sync::CancellationToken;

use super::tests::{Fixture, LIMITS, shop, unasked};
use super::{Access, Api, Metrics, Server, Token};
use crate::fake;
use crate::kinds::Kinds;
use crate::store::Store;

const ORIGIN: &str = "https://shop.example";

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("kab-security-{}-{name}", std::process::id()))
}

/// A server without kinds, with a token and an allowed origin.
async fn guarded(name: &str) -> (Fixture, CancellationToken, tokio::task::JoinHandle<()>, PathBuf) {
    let (client, log) = fake::client(unasked);
    let mut registry = Registry::default();
    let store = Store::new(client, crate::store::Metrics::register(&mut registry));
    let (secret, socket) = (file(&format!("{name}.token")), file(&format!("{name}.sock")));
    std::fs::write(&secret, "s3cret\n").unwrap();
    let access = Access { token: Some(Token::open(&secret).unwrap()), origins: vec![ORIGIN.to_owned()] };
    std::fs::remove_file(&secret).unwrap();
    let kinds = Arc::new(Kinds::new([]));
    let api = Arc::new(Api::new(kinds, store, Metrics::register(&mut registry), LIMITS).with_access(access));
    let server =
        Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), LIMITS).await.unwrap().with_socket(&socket).unwrap();
    let address = server.address();
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let stop = stop.clone();
        async move {
            let Ok(()) = server.run(api, stop).await;
        }
    });
    (Fixture { address, log, views: Vec::new() }, stop, running, socket)
}

#[tokio::test]
async fn without_the_token_nothing_is_told() {
    let (api, ..) = guarded("token").await;
    for path in ["/v1", "/openapi.json", "/docs", "/v1/todos", "/nothing"] {
        let refused = api.get(path).await;
        assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some("Bearer realm=\"kab-sidecar\"")));
        assert!(!refused.body.contains("s3cret"));
    }
    let wrong = api.ask("GET /v1", &["authorization: Bearer wrong"], "").await;
    assert_eq!(wrong.status, 401);
    assert_eq!(api.ask("GET /v1", &["authorization: Bearer s3cret"], "").await.status, 200);
    let document = api.ask("GET /openapi.json", &["authorization: Bearer s3cret"], "").await.json();
    assert_eq!(document["security"], serde_json::json!([{ "token": [] }]), "whoever reads the document knows of it");
}

#[tokio::test]
async fn an_allowed_origin_may_ask_and_read_and_another_may_not() {
    let (api, ..) = guarded("origin").await;
    let origin = format!("origin: {ORIGIN}");
    let asks = ["access-control-request-method: PUT", "access-control-request-headers: authorization"];
    let preflight = api.ask("OPTIONS /v1/todos/milk", &[&origin, asks[0], asks[1]], "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, Some(ORIGIN)));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("PUT"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("Authorization"));
    let answer = api.ask("GET /v1", &[&origin, "authorization: Bearer s3cret"], "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(ORIGIN)));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let refused = api.ask("GET /v1", &[&origin], "").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, Some(ORIGIN)), "readable too");
    for headers in [vec!["origin: https://evil.example", asks[0]], vec!["origin: null", asks[0]]] {
        let refused = api.ask("OPTIONS /v1/todos", &headers, "").await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
    }
    let plain = api.ask("OPTIONS /v1", &["authorization: Bearer s3cret"], "").await;
    assert_eq!((plain.status, plain.header("access-control-allow-origin")), (405, None), "no preflight");
}

#[tokio::test]
async fn the_unix_socket_serves_the_same_and_is_gone_in_the_end() {
    let (_, stop, running, socket) = guarded("socket").await;
    let mut stream = UnixStream::connect(&socket).await.unwrap();
    let request = "GET /v1 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer s3cret\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("{\"items\":[]}"), "{answer}");
    stop.cancel();
    running.await.unwrap();
    assert!(!socket.exists());
}

/// What a connection answers to some bytes until it closes or a second has passed: the codes of its answers.
async fn codes(address: SocketAddr, bytes: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut answer = Vec::new();
    match stream.write_all(bytes).await {
        Err(error) if !matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => panic!("{error}"),
        _ => {}
    }
    // A connection that was closed on unread bytes may end with a reset; what it said before counts.
    drop(tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut answer)).await);
    let text = String::from_utf8_lossy(&answer).into_owned();
    text.split("HTTP/1.").skip(1).filter_map(|rest| rest.get(2..5)?.parse().ok()).collect()
}

#[tokio::test]
async fn no_bytes_reach_anything_but_declared_kinds() {
    // The fake API server panics when it is asked.
    let shop = shop(unasked).await;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let with = |head: &str| format!("{head}\r\nconnection: close\r\n\r\n");
    let post = |headers: &str, body: &str| {
        format!(
            "POST /v1/todos HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{headers}\r\n\r\n{body}"
        )
    };
    let next = "GET /v1/secrets HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let cases: Vec<(String, &[u16])> = vec![
        (get("/v1/todos/../secrets"), &[404]),
        (get("/v1/todos/..%2f..%2fsecrets"), &[404]),
        (get("/v1/todos/%2e%2e/secrets"), &[404]),
        (get("/v1/../apis/a.b/v1/namespaces/shop/todos"), &[404]),
        (get("/api/v1/namespaces/kube-system/secrets"), &[404]),
        (get("/apis/a.b/v1/todos"), &[404]),
        (get("/v1/secrets"), &[404]),
        (get("/v1/todos%00"), &[404]),
        (get("/v1/todos/milk%0d%0ahost:%20evil"), &[404]),
        (get("/v1/todos/a%2fstatus"), &[404]),
        (get("//v1/todos"), &[404]),
        (get("/v1/todos/milk?namespace=../kube-system"), &[400]),
        (get("/v1/todos/milk?namespace=kube-system"), &[400]),
        (get("/metrics"), &[404]),
        (get("http://localhost/v1/todos/milk"), &[200]),
        (get("http://evil.example/v1/todos/milk"), &[403]),
        (get("http://169.254.169.254/latest/meta-data"), &[403]),
        (get("https://kubernetes.default.svc/api"), &[403]),
        (get(&format!("/v1/todos/{}", "a".repeat(8_000))), &[404]),
        (get(&format!("/v1/todos/{}", "a".repeat(70_000))), &[414, 431]),
        (with("CONNECT evil.example:443 HTTP/1.1\r\nhost: localhost"), &[403, 404]),
        (with("CONNECT localhost:443 HTTP/1.1\r\nhost: localhost"), &[404, 405]),
        (with("OPTIONS * HTTP/1.1\r\nhost: localhost"), &[404]),
        (with("TRACE /v1/todos HTTP/1.1\r\nhost: localhost"), &[405]),
        (with("GET /v1/todos HTTP/1.1"), &[403]),
        (with("GET /v1/todos HTTP/1.0"), &[403]),
        (with("GET /v1/todos HTTP/1.1\r\nhost: localhost\r\nhost: evil.example"), &[403]),
        (with("GET /v1/todos HTTP/1.1\r\nhost: localhost, evil.example"), &[403]),
        (with("GET /v1/todos HTTP/1.1\r\nhost: user@localhost"), &[403]),
        (with("GET /v1/todos HTTP/1.1\r\n host: localhost"), &[400]),
        (with("GET /v1/todos HTTP/1.1\r\nhost : localhost"), &[400]),
        (with(&format!("GET /v1 HTTP/1.1\r\nhost: localhost{}", "\r\na: b".repeat(100))), &[431]),
        (with(&format!("GET /v1 HTTP/1.1\r\nhost: localhost\r\na: {}", "b".repeat(70_000))), &[431]),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[]),
        ("\u{16}\u{3}\u{1}\u{2}hello".to_owned(), &[400]),
        ("GET\r\n\r\n".to_owned(), &[400]),
        ("\0\0\0\0\r\n\r\n".to_owned(), &[400]),
        // What a proxy before us and we could read differently ends the connection, or is read in one way and closed.
        (post("content-length: 2\r\ncontent-length: 3", "{}") + next, &[400]),
        (post("content-length: -1", "{}") + next, &[400]),
        (post("content-length: +2", "{}") + next, &[400]),
        (post("transfer-encoding: chunked, identity", "0\r\n\r\n") + next, &[400]),
        (post("transfer-encoding: xchunked", "0\r\n\r\n") + next, &[400]),
        (post("transfer-encoding: chunked", "zz\r\n{}\r\n0\r\n\r\n") + next, &[400]),
        (post("transfer-encoding: chunked", "ffffffffffffffffff\r\n{}\r\n") + next, &[400]),
    ];
    let mut wrong = Vec::new();
    for (bytes, expected) in cases {
        let shown: String = bytes.chars().take(120).collect();
        let found = codes(shop.address, bytes.as_bytes()).await;
        let fits = match expected {
            [] => found.iter().all(|code| *code >= 400),
            _ => matches!(found.as_slice(), [one] if expected.contains(one)),
        };
        if !fits {
            wrong.push(format!("{shown:?}: {found:?} and not one of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let upgrade = ["upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="];
    assert_eq!(shop.ask("GET /v1/todos/milk", &upgrade, "").await.status, 200, "an upgrade is not taken");
    let both = post("content-length: 2\r\ntransfer-encoding: chunked", "0\r\n\r\n") + next;
    let found = codes(shop.address, both.as_bytes()).await;
    assert!(!found.contains(&200) && !found.contains(&201), "{found:?}");
    assert_eq!(shop.get("/v1/todos/milk").await.status, 200, "and it goes on");
}
