//! The gateway against small apps that behave, hang, rage and lie.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::config::{AppUrl, HealthConfig};

fn gateway(addresses: Vec<std::net::SocketAddr>, concurrency: usize) -> (Hooks, Registry) {
    let health =
        HealthConfig { path: None, interval: Duration::from_secs(5), timeout: Duration::from_secs(1), threshold: 3 };
    let url = AppUrl { authority: "127.0.0.1:8080".to_owned(), addresses };
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    (Hooks::new(AppConfig { name: None, url, concurrency, health }, metrics).0, registry)
}

fn call(hook: HookName, deadline: Duration) -> Call {
    Call {
        kind: Arc::from("todos.k8sasbackend.com"),
        hook,
        path: Arc::from("/hooks/todos?x=1"),
        body: Bytes::from_static(b"{\"entity\":{}}"),
        content_type: None,
        headers: HeaderMap::new(),
        attempt: 3,
        deadline,
        trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
    }
}

/// Reads one request, head and body; `None` when the caller has gone.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream.read(&mut part).await.ok().filter(|count| *count > 0)?;
        text.extend_from_slice(&part[..count]);
        let whole = String::from_utf8_lossy(&text).into_owned();
        let Some((head, body)) = whole.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
        if body.len() >= length.parse().unwrap() {
            return Some(whole);
        }
    }
}

/// An app: `serve` gets each connection, with its number.
async fn app<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream, usize) -> F + Send + 'static,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, number));
        }
    });
    address
}

const PATIENT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_call_carries_what_the_app_needs_and_connections_are_used_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&connections);
    let address = app(move |mut stream, _| {
        seen.fetch_add(1, Ordering::Relaxed);
        async move {
            while let Some(request) = request(&mut stream).await {
                let answer =
                    format!("HTTP/1.1 200 OK\r\nretry-after: 7\r\ncontent-length: {}\r\n\r\n{request}", request.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let (hooks, registry) = gateway(vec![address], 4);
    for _ in 0..5 {
        let answer = hooks.call(call(HookName::Reconcile, PATIENT)).await.unwrap();
        assert_eq!((answer.status, answer.retry_after), (200, Some(Duration::from_secs(7))));
        let told = String::from_utf8(answer.body.to_vec()).unwrap();
        for line in [
            "POST /hooks/todos?x=1 HTTP/1.1\r\n",
            "host: 127.0.0.1:8080\r\n",
            "kab-attempt: 3\r\n",
            "content-type: application/json\r\n",
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
            "\r\n\r\n{\"entity\":{}}",
        ] {
            assert!(told.contains(line), "{line:?} is missing in {told}");
        }
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let counted = "kab_hook_requests_total{kind=\"todos.k8sasbackend.com\",hook=\"reconcile\",outcome=\"done\"} 5";
    assert!(text.contains(counted) && text.contains("kab_hook_in_flight{hook=\"reconcile\"} 0"), "{text}");
}

#[tokio::test]
async fn an_idle_connection_that_the_app_closed_costs_no_call() {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    // Reads a second request on the first connection and closes without a word, as a server does whose patience ended meanwhile.
    let address = app(move |mut stream, number| {
        let seen = Arc::clone(&seen);
        async move {
            while request(&mut stream).await.is_some() {
                if seen.fetch_add(1, Ordering::Relaxed) == 1 && number == 0 {
                    return;
                }
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let (hooks, _registry) = gateway(vec![address], 4);
    for _ in 0..3 {
        assert_eq!(hooks.call(call(HookName::Notify, PATIENT)).await.unwrap().status, 204);
    }
    assert_eq!(requests.load(Ordering::Relaxed), 4, "one was sent twice");
}

#[tokio::test]
async fn an_app_that_closes_every_connection_unanswered_is_called_once() {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let address = app(move |mut stream, _| {
        let seen = Arc::clone(&seen);
        async move {
            request(&mut stream).await;
            seen.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await;
    let (hooks, _registry) = gateway(vec![address], 4);
    assert_eq!(hooks.call(call(HookName::Notify, PATIENT)).await, Err(Failure::Broken));
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn every_way_to_fail_has_its_name() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (hooks, _registry) = gateway(vec![free], 4);
    assert_eq!(hooks.call(call(HookName::Validate, PATIENT)).await, Err(Failure::Away));

    let hanging = app(|mut stream, _| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345").await;
        std::future::pending::<()>().await;
    })
    .await;
    let (hooks, _registry) = gateway(vec![hanging], 4);
    assert_eq!(hooks.call(call(HookName::Validate, Duration::from_millis(50))).await, Err(Failure::Late));

    for garbage in ["SSH-2.0-OpenSSH_9\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345", "\0\0\0\0"] {
        let address = app(move |mut stream, _| async move {
            request(&mut stream).await;
            let _ = stream.write_all(garbage.as_bytes()).await;
        })
        .await;
        let (hooks, _registry) = gateway(vec![address], 4);
        assert_eq!(hooks.call(call(HookName::Validate, PATIENT)).await, Err(Failure::Broken), "{garbage:?}");
    }
}

#[tokio::test]
async fn an_answer_is_cut_at_its_bound_whatever_it_announces() {
    for head in ["content-length: 524288000", "transfer-encoding: chunked", "connection: close"] {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        let address = app(move |mut stream, _| {
            let counted = Arc::clone(&counted);
            async move {
                request(&mut stream).await;
                let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n").as_bytes()).await;
                let piece = [b"10000\r\n".as_slice(), &vec![b' '; 65536], b"\r\n"].concat();
                for _ in 0..8000 {
                    if stream.write_all(&piece).await.is_err() {
                        return;
                    }
                    counted.fetch_add(piece.len(), Ordering::Relaxed);
                }
            }
        })
        .await;
        let (hooks, _registry) = gateway(vec![address], 4);
        assert_eq!(hooks.call(call(HookName::Reconcile, PATIENT)).await, Err(Failure::TooLarge), "{head}");
        assert!(sent.load(Ordering::Relaxed) < 100 << 20, "the rest is not taken");
    }
    let fits = app(|mut stream, _| async move {
        request(&mut stream).await;
        let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {ANSWER_BYTES}\r\n\r\n").as_bytes()).await;
        let _ = stream.write_all(&vec![b' '; ANSWER_BYTES]).await;
    })
    .await;
    let (hooks, _registry) = gateway(vec![fits], 4);
    assert_eq!(hooks.call(call(HookName::Reconcile, PATIENT)).await.unwrap().body.len(), ANSWER_BYTES);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let address = app(move |mut stream, _| {
        let seen = Arc::clone(&seen);
        async move {
            while request(&mut stream).await.is_some() {
                seen.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(b"HTTP/1.1 307 X\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    let (hooks, _registry) = gateway(vec![address], 4);
    assert_eq!(hooks.call(call(HookName::Notify, PATIENT)).await.unwrap().status, 307);
    assert_eq!(requests.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn calls_of_work_are_bounded_and_those_of_admission_pass_them() {
    let under_way = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let seen = Arc::clone(&under_way);
    let (open, opened) = tokio::sync::watch::channel(false);
    let address = app(move |mut stream, _| {
        let (seen, mut opened) = (Arc::clone(&seen), opened.clone());
        async move {
            while let Some(request) = request(&mut stream).await {
                if !request.contains("/door") {
                    let now = seen.0.fetch_add(1, Ordering::SeqCst) + 1;
                    seen.1.fetch_max(now, Ordering::SeqCst);
                    opened.wait_for(|open| *open).await.unwrap();
                    seen.0.fetch_sub(1, Ordering::SeqCst);
                }
                let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
            }
        }
    })
    .await;
    let (hooks, _registry) = gateway(vec![address], 2);
    let work: Vec<_> = (0..6)
        .map(|_| {
            let hooks = hooks.clone();
            tokio::spawn(async move { hooks.call(call(HookName::Reconcile, PATIENT)).await })
        })
        .collect();
    while under_way.0.load(Ordering::SeqCst) < 2 {
        tokio::task::yield_now().await;
    }
    let door = Call { path: Arc::from("/door"), ..call(HookName::Validate, PATIENT) };
    assert_eq!(hooks.call(door).await.unwrap().status, 204, "while all places of work are taken");
    open.send(true).unwrap();
    for call in work {
        assert_eq!(call.await.unwrap().unwrap().status, 204);
    }
    assert_eq!(under_way.1.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn the_next_address_is_tried_when_nobody_listens_at_the_first() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let address = app(|mut stream, _| async move {
        request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    })
    .await;
    let (hooks, _registry) = gateway(vec![free, address], 4);
    assert_eq!(hooks.call(call(HookName::Notify, PATIENT)).await.unwrap().status, 204);
}

#[tokio::test]
async fn what_is_wrong_with_an_answer_is_counted() {
    let (hooks, registry) = gateway(Vec::new(), 1);
    let answer =
        |body: &'static str| Answer { status: 200, retry_after: None, body: Bytes::from_static(body.as_bytes()) };
    let read = |body| hooks.read::<contract::hook::ValidateAnswer>("todos", HookName::Validate, &answer(body));
    assert!(read(r#"{"allowed": true, "colour": 1}"#).unwrap().allowed);
    assert_eq!(read(r#"{"allowed": 1}"#).unwrap_err().pointer.as_deref(), Some("/allowed"));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in ["kab_hook_unknown_members_total", "kab_hook_unusable_answers_total"] {
        assert!(text.contains(&format!("{line}{{kind=\"todos\",hook=\"validate\"}} 1")), "{text}");
    }
}
