//! One trace from a third party's request through the sidecar to the API server, the app's hook and the record; told to a collector by OTLP.

use anyhow::{Context, ensure};
use contract::names::TRACEPARENT;
use contract::record::header;
use e2e::app::{App, Reply};
use e2e::sidecar::Settings;
use e2e::{todos, topic, wait};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, run};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const ABOVE: &str = "b7ad6b7169203331";

fn above(trace: &str) -> String {
    format!("00-{trace}-{ABOVE}-01")
}

/// Spans of the trace that the collector got so far.
fn spans(collector: &App, trace: &str) -> Vec<Value> {
    let each = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let calls = collector.calls().into_iter().filter(|call| call.path == "/v1/traces");
    let resources = calls.flat_map(|call| each(&call.body, "resourceSpans"));
    let scopes = resources.flat_map(|resource| each(&resource, "scopeSpans"));
    scopes.flat_map(|scope| each(&scope, "spans")).filter(|span| span["traceId"] == trace).collect()
}

fn named<'a>(spans: &'a [Value], name: &str) -> anyhow::Result<&'a Value> {
    spans.iter().find(|span| span["name"] == name).with_context(|| format!("no span {name:?} in {spans:?}"))
}

/// The `traceparent` that the entity keeps.
async fn kept(world: &World, id: &str) -> anyhow::Result<String> {
    let todo = todos::api(&world.kube, &world.ns).get(id).await?;
    let annotations = todo.metadata.annotations.unwrap_or_default();
    annotations.get(TRACEPARENT).cloned().with_context(|| format!("{annotations:?}"))
}

fn settings(world: &World, app: &App, collector: &App) -> Settings {
    let kind = json!({
        "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [world.ns], "topic": world.topic,
        "hooks": {"reconcile": "/reconcile"},
    });
    Settings::new(&world.kubeconfig)
        .kind(kind)
        .kafka(&world.brokers)
        .set("app", json!({"name": "shop", "url": app.url()}))
        .set("tracing", json!({"enabled": true, "otlpEndpoint": collector.url()}))
}

#[test]
fn one_trace_goes_from_the_request_to_the_api_server_the_hook_and_the_record() {
    run("tracing_through", async |world| {
        let app = App::start(|_| Reply::ok(json!({}))).await?;
        let collector = App::start(|_| Reply::ok(json!({}))).await?;
        let sidecar = world.start(&settings(world, &app, &collector)).await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T00:00:00Z", "message": "x"}).to_string();
        let from = above(TRACE);
        sidecar.api.send(Method::POST, "/v1/todos", &[("traceparent", &from)], Some(todo)).await?.expect(201)?;
        ensure!(kept(world, "milk").await?.contains(TRACE));

        let key = format!("{}/milk", world.ns);
        let records = topic::until(&world.brokers, &world.topic, "the record", |records| {
            records.iter().any(|record| record.key == key)
        })
        .await?;
        let record = records.iter().find(|record| record.key == key).context("it is there")?;
        let of_record = record.headers.get(header::TRACEPARENT).context("the record is in a trace")?;
        let of_hook = wait::until("the hook to be called", wait::LIMIT, || async {
            let call = app.calls_of(&key).into_iter().next().context("no call")?;
            let told = call.headers.get("traceparent").context("a call in no trace")?;
            anyhow::Ok(told.to_str()?.to_owned())
        })
        .await?;

        let topic = &world.topic;
        let send = format!("send {topic}");
        let spans = wait::until("the spans", wait::LIMIT, || async {
            let spans = spans(&collector, TRACE);
            named(&spans, &send)?;
            named(&spans, "hook reconcile")?;
            anyhow::Ok(spans)
        })
        .await?;
        let (request, write) = (named(&spans, "POST todos.k8sasbackend.com")?, named(&spans, "POST todos")?);
        ensure!(request["parentSpanId"] == ABOVE && request["kind"] == 2, "{request}");
        ensure!(write["parentSpanId"] == request["spanId"] && write["kind"] == 3, "{write}");
        for (name, told) in [(send.as_str(), of_record), ("hook reconcile", &of_hook)] {
            let span = named(&spans, name)?;
            ensure!(span["parentSpanId"] == request["spanId"], "{span}");
            let expected = format!("00-{TRACE}-{}-01", span["spanId"].as_str().unwrap_or_default());
            ensure!(*told == expected, "{told} is not {expected}");
        }
        Ok(())
    });
}

#[test]
fn each_form_of_a_write_keeps_its_trace_and_leaves_annotations_of_others_alone() {
    run("tracing_writes", async |world| {
        let nobody = App::start(|_| Reply::ok(json!({}))).await?;
        let mut settings = world.settings();
        settings = settings.set("tracing", json!({"enabled": true, "otlpEndpoint": nobody.url()}));
        let sidecar = world.start(&settings).await?;
        // Made by somebody who traces nothing: there are no annotations at all.
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        wait::until("it to be served", wait::LIMIT, || async { sidecar.api.get("/v1/todos/milk").await?.expect(200) })
            .await?;
        let todo = json!({"when": "2030-01-01T00:00:00Z", "message": "two"}).to_string();
        let merge = json!({"message": "three"}).to_string();
        let patch = json!([{"op": "replace", "path": "/message", "value": "four"}]).to_string();
        let forms = [
            (Method::PUT, "application/json", todo),
            (Method::PATCH, "application/merge-patch+json", merge),
            (Method::PATCH, "application/json-patch+json", patch),
        ];
        for (number, (method, content_type, body)) in forms.into_iter().enumerate() {
            let trace = format!("{:032x}", number + 1);
            let headers = [("traceparent", above(&trace)), ("content-type", content_type.to_owned())];
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            sidecar.api.send(method, "/v1/todos/milk", &headers, Some(body)).await?.expect(200)?;
            let told = kept(world, "milk").await?;
            ensure!(told.contains(&trace), "{told} is not of {trace}");
        }
        let todo = todos::api(&world.kube, &world.ns).get("milk").await?;
        ensure!(todo.data["spec"]["message"] == "four", "{:?}", todo.data);
        Ok(())
    });
}
