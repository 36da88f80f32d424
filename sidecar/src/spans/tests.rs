//! The exporter against a collector that is a plain HTTP server.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use prometheus_client::registry::Registry;
use serde_json::Value as Json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Collector;

/// A collector that is busy the first time, and then hands out what it got.
async fn collector() -> (String, mpsc::UnboundedReceiver<Json>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (told, requests) = mpsc::unbounded_channel();
    let busy = Arc::new(AtomicBool::new(true));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (told, busy) = (told.clone(), Arc::clone(&busy));
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let (told, busy) = (told.clone(), busy.swap(false, Ordering::Relaxed));
                async move {
                    assert_eq!(request.uri().path(), "/v1/traces");
                    let body = request.collect().await.unwrap().to_bytes();
                    if !busy {
                        told.send(serde_json::from_slice(&body).unwrap()).unwrap();
                    }
                    let status = if busy { 503 } else { 200 };
                    Ok::<_, Infallible>(Response::builder().status(status).body(Full::new(Bytes::from("{}"))).unwrap())
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, requests)
}

#[tokio::test]
async fn spans_reach_the_collector_when_it_is_busy_at_first_and_what_waits_at_the_end() {
    let (authority, mut requests) = collector().await;
    let to = Collector { authority, path: "/v1/traces".to_owned() };
    let config = TracingConfig { collector: Some(to.clone()), ratio: 1.0, service: "shop".to_owned() };
    let mut registry = Registry::default();
    let (queue, exporter) = exporter::exporter(&to, &config, "pod-1", Metrics::register(&mut registry));
    let span = |number| Span {
        context: TraceContext::root(1, number, 1.0).unwrap(),
        parent: None,
        name: "GET todos".into(),
        role: Role::Server,
        start: SystemTime::now(),
        took: std::time::Duration::from_millis(1),
        attributes: Vec::new(),
        failed: false,
    };
    queue.push(span(1));
    let stop = CancellationToken::new();
    let ended = tokio::spawn(exporter.run(stop.clone()));
    let first = requests.recv().await.unwrap();
    queue.push(span(2));
    stop.cancel();
    ended.await.unwrap().unwrap();
    let mut told = vec![first];
    told.extend(std::iter::from_fn(|| requests.try_recv().ok()));
    let ids: std::collections::BTreeSet<String> = told
        .iter()
        .flat_map(|told| told["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap())
        .map(|span| span["spanId"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.into_iter().collect::<Vec<_>>(), ["0000000000000001", "0000000000000002"]);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains(r#"kab_trace_spans_total{outcome="told"} 2"#), "{text}");
}

#[test]
fn while_it_is_off_there_is_nothing() {
    assert!(!is_on() && here().is_none() && of(Version(1)).is_none());
    assert!(incoming(&HeaderMap::new(), || unreachable!()).is_none());
}
