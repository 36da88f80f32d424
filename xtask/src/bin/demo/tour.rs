//! The tour: what the system does, shown and checked step by step.
#![expect(clippy::indexing_slicing, reason = "a member that a JSON value does not have is null, not a panic")]

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use contract::record::{Event, header};
use e2e::entity_api::Client;
use e2e::wait;
use reqwest::Method;
use serde_json::{Value, json};

use super::screen::Screen;
use super::stage::{NAMESPACE, Stage};

/// Walks through it; the first thing that is not as it should be ends it.
pub(crate) async fn walk(stage: &mut Stage, screen: &mut Screen) -> anyhow::Result<()> {
    let id = format!("buy-milk-{}", e2e::program::unique());
    let key = format!("{NAMESPACE}/{id}");
    let path = format!("/api/todos/{id}");

    screen.step("A third party creates a todo through the app");
    let todo = json!({"id": id, "when": "2030-12-24T10:00:00Z", "message": "buy milk"});
    let created = say(screen, &stage.app.http, Method::POST, "/api/todos", Some(&todo)).await?;
    ensure!(created["id"] == id.as_str(), "the answer is not the todo: {created}");
    screen.held("the app spoke plain JSON to its sidecar on localhost; it has no Kubernetes library");

    screen.step("It is a custom resource: kubectl sees it");
    let seen = kubectl(stage, screen, &["get", "todos", &id]).await?;
    ensure!(seen.contains("buy milk"), "kubectl does not show it");
    screen.held("same entity, other door");

    screen.step(
        "What has become of it is the app's to say: the sidecar asks when a todo changes, and when its time has come",
    );
    until(&stage.app.http, &path, "/status/phase", "Scheduled").await?;
    let soon = jiff::Timestamp::now() + Duration::from_secs(3);
    let tea = format!("make-tea-{}", e2e::program::unique());
    let todo = json!({"id": tea, "when": soon.to_string(), "message": "make tea"});
    say(screen, &stage.app.http, Method::POST, "/api/todos", Some(&todo)).await?;
    let tea = format!("/api/todos/{tea}");
    until(&stage.app.http, &tea, "/status/phase", "Due").await?;
    say(screen, &stage.app.http, Method::GET, &tea, None).await?;
    screen.held("three seconds later it is due: the app asked to be asked again, and answered with the status");

    screen.step("Somebody changes it with kubectl, the app answers the change");
    let patch = r#"{"spec":{"message":"buy oat milk"}}"#;
    kubectl(stage, screen, &["patch", "todo", &id, "--type=merge", "--patch", patch]).await?;
    until(&stage.app.http, &path, "/message", "buy oat milk").await?;
    say(screen, &stage.app.http, Method::GET, &path, None).await?;
    screen.held("the sidecar's cache follows a watch; nobody polls");

    screen.step("Rules hold at both doors");
    let past = json!({"id": "too-late", "when": "2001-01-01T10:00:00Z", "message": "buy milk"});
    let refused = answer(screen, &stage.app.http, Method::POST, "/api/todos", Some(&past)).await?;
    ensure!(refused.0 == 422, "the app's own rule did not refuse a todo in the past: {refused:?}");
    screen.held("the app's rule: not in the past");
    let blank = r#"{"spec":{"message":"  "}}"#;
    let told = kubectl_refused(stage, screen, &["patch", "todo", &id, "--type=merge", "--patch", blank]).await?;
    ensure!(told.contains("blank"), "the CEL rule of the CRD did not refuse a blank message: {told}");
    screen.held("the kind's own rule, in the schema: for every writer");

    screen.step("Every change is a record in Kafka: what the consumer has");
    let records = until_records(stage, &key, &["created", "updated", "updated"]).await?;
    screen.output(&records.join("\n"));
    screen.held("one record per change, whoever made it, in order: the first update is the status");

    screen.step("The sidecar is killed (SIGKILL), changes go on, it comes back");
    let pid = stage.kill_sidecar().await?;
    screen.command(&format!("kill -9 {pid}"));
    for message in ["one", "two", "three"] {
        let patch = json!({"spec": {"message": message}}).to_string();
        kubectl(stage, screen, &["patch", "todo", &id, "--type=merge", "--patch", &patch]).await?;
    }
    let away = answer(screen, &stage.app.http, Method::GET, &path, None).await?;
    ensure!(away.0 == 503, "the app should say that its backend is away: {away:?}");
    let (start, sidecar) = (std::time::Instant::now(), stage.restart_sidecar().await?);
    screen.held(&format!(
        "back and ready as process {} in {:.1} s",
        sidecar.program.pid(),
        start.elapsed().as_secs_f64()
    ));
    let records =
        until_records(stage, &key, &["created", "updated", "updated", "updated", "updated", "updated"]).await?;
    screen.output(&records.join("\n"));
    let stats = stage.table.http.get("/stats").await?.expect(200)?.body;
    let counts = &stats["counts"];
    ensure!(counts["repeats"] == 0 && counts["outOfOrder"] == 0, "the consumer met repeats or disorder: {stats}");
    screen.held("nothing lost, nothing twice, in order");

    screen.step("The third party deletes it");
    answer(screen, &stage.app.http, Method::DELETE, &path, None).await?;
    let all = ["created", "updated", "updated", "updated", "updated", "updated", "deleted", "tombstone"];
    let records = until_records(stage, &key, &all).await?;
    screen.output(records.get(6..).unwrap_or_default().join("\n").as_str());
    let table = stage.table.http.get("/table").await?.expect(200)?.body.to_string();
    ensure!(!table.contains(&id), "the consumer's table still has it: {table}");
    screen.held("a deletion carries the last known todo; the consumer's table is empty of it");

    screen.step("What the sidecar says of itself");
    let ready = stage.sidecar()?.admin.get("/readyz").await?.expect(200)?;
    screen.command(&format!("curl -s {}/readyz", stage.sidecar()?.admin.base()));
    screen.output(&ready.body.to_string());
    Ok(())
}

/// Sends a request that must succeed, and shows it and its answer.
async fn say(
    screen: &Screen,
    http: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let (status, answer) = answer(screen, http, method, path, body).await?;
    ensure!((200..300).contains(&status), "expected a success, got {status}: {answer}");
    Ok(answer)
}

/// Sends a request and shows it and its answer.
async fn answer(
    screen: &Screen,
    http: &Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> anyhow::Result<(u16, Value)> {
    let data = body.map(|body| format!(" -H 'content-type: application/json' -d '{body}'")).unwrap_or_default();
    let verb = if method == Method::GET || method == Method::POST { String::new() } else { format!(" -X {method}") };
    screen.command(&format!("curl -s{verb} {}{path}{data}", http.base()));
    let answer = http.send(method, path, &[], body.map(Value::to_string)).await?;
    let status = answer.status.as_u16();
    screen.output(&format!("{status} {}", if answer.body.is_null() { String::new() } else { answer.body.to_string() }));
    Ok((status, answer.body))
}

/// Runs kubectl, which must succeed, and shows what it prints.
async fn kubectl(stage: &Stage, screen: &Screen, arguments: &[&str]) -> anyhow::Result<String> {
    let (success, text) = run_kubectl(stage, screen, arguments).await?;
    ensure!(success, "kubectl failed: {text}");
    Ok(text)
}

/// Runs kubectl, which must be refused, and shows what it prints.
async fn kubectl_refused(stage: &Stage, screen: &Screen, arguments: &[&str]) -> anyhow::Result<String> {
    let (success, text) = run_kubectl(stage, screen, arguments).await?;
    ensure!(!success, "kubectl was not refused: {text}");
    Ok(text)
}

async fn run_kubectl(stage: &Stage, screen: &Screen, arguments: &[&str]) -> anyhow::Result<(bool, String)> {
    let shown: Vec<String> = arguments
        .iter()
        .map(|argument| if argument.contains(['{', ' ']) { format!("'{argument}'") } else { (*argument).to_owned() })
        .collect();
    screen.command(&format!("kubectl {}", shown.join(" ")));
    let output = tokio::process::Command::new(stage.cluster.kubectl())
        .args(["--namespace", NAMESPACE])
        .args(arguments)
        .env("KUBECONFIG", &stage.cluster.endpoints().kubeconfig)
        .stdin(Stdio::null())
        .output()
        .await
        .context("failed to run kubectl")?;
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    screen.output(&text);
    Ok((output.status.success(), text))
}

/// Waits until the app answers this text at a place.
async fn until(http: &Client, path: &str, pointer: &str, text: &str) -> anyhow::Result<()> {
    wait::until(&format!("the app to answer {text:?}"), Duration::from_secs(20), || async {
        let body = http.get(path).await?.expect(200)?.body;
        ensure!(body.pointer(pointer).is_some_and(|found| found == text), "{body}");
        Ok(())
    })
    .await
}

/// Waits until the consumer has exactly these events of a key; answers a line for each.
async fn until_records(stage: &Stage, key: &str, events: &[&str]) -> anyhow::Result<Vec<String>> {
    wait::until(&format!("the consumer to have {events:?}"), Duration::from_secs(10), || async {
        let body = stage.table.http.get("/records").await?.expect(200)?.body;
        let records = body["records"].as_array().cloned().unwrap_or_default();
        let mine: Vec<&Value> = records.iter().filter(|record| record["key"] == key).collect();
        let seen: Vec<&str> = mine.iter().map(|record| event(record)).collect();
        ensure!(seen == events, "{seen:?}");
        Ok(mine.into_iter().map(line).collect())
    })
    .await
}

/// A record as one line.
fn line(record: &Value) -> String {
    let (event, id) = (event(record), record["headers"][header::ID].as_str().unwrap_or_default());
    let message = record["value"]["message"].as_str().map(|message| format!("  {message:?}")).unwrap_or_default();
    format!("{}/{}  {event:<9}  {id}{message}", record["partition"], record["offset"])
}

/// What a record tells.
fn event(record: &Value) -> &'static str {
    record["headers"][header::TYPE].as_str().and_then(Event::of_type).map_or("tombstone", Event::name)
}
