//! Which reads are answered at once, and that their answers are those of the long way.

use std::sync::Arc;
use std::time::Instant;

use hyper::header::{AGE, CONTENT_TYPE, ETAG, HOST};
use hyper::{HeaderMap, Request};
use prometheus_client::registry::Registry;
use sidecar_core::mapping;
use sidecar_core::version::Version;

use super::metrics::Recent;
use super::tests::{LIMITS, kind, schema, shop, unasked, view};
use super::{Access, Api, Metrics, Token};
use crate::fake::{self, todo};
use crate::kinds::{Kinds, Served};
use crate::store::Store;
use crate::view::{KindView, View};

/// The namespaces of a kind, over which `milk` is spread.
fn api(namespaces: &[&str], access: Access) -> Api {
    let kind = kind("a.b", true);
    let milk = || [todo("milk", 5, "buy milk")];
    let views = namespaces.iter().map(|namespace| view(&kind, Some(namespace), 9, &milk())).collect();
    over(views, access)
}

fn over(views: Vec<Arc<View>>, access: Access) -> Api {
    let kind = kind("a.b", true);
    let mut registry = Registry::default();
    let store = Store::new(fake::client(unasked).0, crate::store::Metrics::register(&mut registry));
    let kinds = Kinds::new([kind.full_name()]);
    kinds.slot(0).unwrap().serve(Served::new(Arc::new(kind), schema(), KindView::new(views)));
    Api::new(Arc::new(kinds), store, Metrics::register(&mut registry), LIMITS).with_access(access)
}

fn request(line: &str, headers: &[(&'static str, &'static str)]) -> Request<()> {
    let (method, target) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(target).header(HOST, "localhost:3600");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn at_once(api: &Api, line: &str, headers: &[(&'static str, &'static str)]) -> bool {
    let mut asked = request(line, headers);
    let answer = api.at_once(&mut asked, &Recent::default());
    assert_eq!(asked.headers().is_empty(), answer.is_some(), "a request without an answer is as it was");
    answer.is_some()
}

#[tokio::test]
async fn a_read_that_wants_nothing_but_an_entity_is_answered_at_once() {
    let api = api(&["shop"], Access::default());
    for line in ["GET /v1/todos/milk", "HEAD /v1/todos/milk", "GET /v1/todos.a.b/milk"] {
        assert!(at_once(&api, line, &[]), "{line}");
    }
    for header in [("accept", "*/*"), ("accept", "application/json"), ("user-agent", "curl")] {
        assert!(at_once(&api, "GET /v1/todos/milk", &[header]), "{header:?}");
    }
}

#[tokio::test]
async fn what_is_out_of_the_ordinary_goes_the_long_way() {
    let api = api(&["shop"], Access { token: None, origins: vec!["https://shop.example".to_owned()] });
    for line in [
        "POST /v1/todos",
        "PUT /v1/todos/milk",
        "OPTIONS /v1/todos/milk",
        "GET /v1/todos",
        "GET /v1/todos/",
        "GET /v1/todos/bread",
        "GET /v1/todos/mil%6b",
        "GET /v1/tod%6fs/milk",
        "GET /v1/todos/milk?namespace=shop",
        "GET /v1/todos/milk/status",
        "GET /v1/cats/milk",
        "GET /v2/todos/milk",
        "GET http://localhost/v1/todos/milk",
        "GET http://evil.example/v1/todos/milk",
    ] {
        assert!(!at_once(&api, line, &[]), "{line}");
    }
    for header in [
        ("host", "localhost:3600"),
        ("origin", "http://localhost:3600"),
        ("origin", "https://shop.example"),
        ("origin", "https://evil.example"),
        ("accept", "text/html"),
        ("if-match", "\"5\""),
        ("if-none-match", "\"5\""),
        ("cache-control", "no-cache"),
        ("at-least-version", "5"),
        ("prefer", "wait=1"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ] {
        assert!(!at_once(&api, "GET /v1/todos/milk", &[header]), "{header:?}");
    }
    let mut foreign = request("GET /v1/todos/milk", &[]);
    for host in [None, Some("evil.example")] {
        foreign.headers_mut().remove(HOST);
        foreign.headers_mut().extend(host.map(|host| (HOST, host.parse().unwrap())));
        assert!(api.at_once(&mut foreign, &Recent::default()).is_none(), "{host:?}");
    }
}

#[tokio::test]
async fn without_the_token_nothing_is_answered_at_once() {
    let file = std::env::temp_dir().join(format!("kab-at-once-{}.token", std::process::id()));
    std::fs::write(&file, "s3cret\n").unwrap();
    let api = api(&["shop"], Access { token: Some(Token::open(&file).unwrap()), origins: Vec::new() });
    std::fs::remove_file(&file).unwrap();
    assert!(!at_once(&api, "GET /v1/todos/milk", &[]));
    assert!(!at_once(&api, "GET /v1/todos/milk", &[("authorization", "Bearer wrong")]));
    assert!(at_once(&api, "GET /v1/todos/milk", &[("authorization", "Bearer s3cret")]));
}

#[tokio::test]
async fn nothing_is_answered_at_once_from_several_namespaces_or_from_a_cache_that_is_not_filled() {
    assert!(!at_once(&api(&["farm", "shop"], Access::default()), "GET /v1/todos/milk", &[]));
    let view = View::new(Some(Arc::from("shop")));
    let milk = todo("milk", 5, "buy milk");
    view.written(Arc::new(mapping::entity(&kind("a.b", true), milk.as_bytes()).unwrap()));
    let api = over(vec![Arc::new(view)], Access::default());
    assert!(!at_once(&api, "GET /v1/todos/milk", &[]));
    api.kinds.served().for_each(|served| {
        served.view.views().iter().for_each(|view| view.fill(Version(4), Vec::new(), Instant::now()));
    });
    assert!(at_once(&api, "GET /v1/todos/milk", &[]));
}

#[tokio::test]
async fn the_request_s_headers_do_not_come_back() {
    let api = api(&["shop"], Access::default());
    let mut asked = request("GET /v1/todos/milk", &[("x-secret", "1"), ("accept", "*/*"), ("accept", "text/html")]);
    let answer = api.at_once(&mut asked, &Recent::default()).unwrap();
    let expected: HeaderMap = [(CONTENT_TYPE, "application/json"), (ETAG, "\"5\""), (AGE, "0")]
        .map(|(name, value)| (name, value.parse().unwrap()))
        .into_iter()
        .collect();
    assert_eq!(*answer.headers(), expected);
}

#[tokio::test]
async fn both_ways_answer_the_same() {
    let shop = shop(unasked).await;
    for method in ["GET", "HEAD"] {
        let line = format!("{method} /v1/todos/milk");
        let (short, long) = (shop.ask(&line, &[], "").await, shop.ask(&line, &["prefer: handling=lenient"], "").await);
        let head = |head: &str| head.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n");
        assert_eq!((head(&short.head), short.body), (head(&long.head), long.body), "{method}");
    }
}
