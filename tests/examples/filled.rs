//! Fills a topic by a real sidecar and has others read it: `cargo run -p e2e --example filled -- COMMAND…`, each called with BROKERS and TOPIC.
//!
//! The topic holds the life of some todos: created, changed, deleted with its tombstone, met again after the position was lost, and a deletion
//! that nobody saw. Each command prints what it read and the table that it made of it, and that must be what this program reads itself. For
//! the consumers in `tests/clients`. Cluster and brokers are always its own: it deletes a topic that belongs to all sidecars.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use contract::names::POSITIONS_TOPIC;
use contract::record::{Event, header};
use devcluster::{Cluster, ClusterOptions};
use e2e::program::{Scratch, unique};
use e2e::sidecar::{Settings, Sidecar};
use e2e::topic::{self, Record};
use e2e::{todos, topics};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

fn main() -> anyhow::Result<()> {
    let commands: Vec<String> = std::env::args().skip(1).collect();
    ensure!(!commands.is_empty(), "usage: filled COMMAND…");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let cluster = Cluster::start(ClusterOptions::for_tests("filled")).await?;
        let brokers = cluster.endpoints().kafka.clone().context("it has Kafka")?;
        let topic = format!("test.filled-{}", unique());
        let records = fill(&cluster, &brokers, &topic).await?;
        let expected = expected(&records)?;
        for command in commands {
            let output = tokio::task::spawn_blocking({
                let (command, brokers, topic) = (command.clone(), brokers.clone(), topic.clone());
                move || Command::new(command).args([brokers, topic]).stderr(Stdio::inherit()).output()
            })
            .await?
            .with_context(|| format!("failed to run {command}"))?;
            ensure!(output.status.success(), "{command} ended with {}", output.status);
            compare(&command, &expected, &String::from_utf8(output.stdout)?)?;
        }
        cluster.stop().await?;
        Ok(())
    })
}

async fn fill(cluster: &Cluster, brokers: &str, topic: &str) -> anyhow::Result<Vec<Record>> {
    let kube = todos::client(&cluster.endpoints().kubeconfig).await?;
    todos::install(&kube, todos::CRD).await?;
    let namespaces: Api<Namespace> = Api::all(kube.clone());
    let ns = "shop";
    namespaces
        .create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": ns}}))?)
        .await
        .context("failed to create a namespace")?;
    let scratch = Scratch::new(&format!("filled-{}", unique()))?;
    let settings = Settings::new(&cluster.endpoints().kubeconfig).owned_todos(ns, topic).kafka(brokers);
    let told = async |events: &[Event]| {
        topic::until(brokers, topic, &format!("{events:?} at the end"), |records| {
            let last: Vec<Event> = records.iter().filter_map(Record::event).collect();
            last.ends_with(events)
        })
        .await
    };

    todos::create(&kube, ns, "met-at-the-start", "there before").await?;
    let sidecar = Sidecar::spawn(&scratch, &settings).await?;
    sidecar.ready().await?;
    told(&[Event::Snapshot]).await?;
    let milk = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "buy mílk — 1 ℓ"});
    sidecar.api.post("/v1/todos", &milk).await?.expect(201)?;
    sidecar.api.patch("/v1/todos/milk", &json!({"message": "buy two"})).await?.expect(200)?;
    todos::create(&kube, ns, "eggs", "buy eggs").await?;
    todos::create(&kube, ns, "forgotten", "deleted while nobody looks").await?;
    todos::api(&kube, ns).delete("milk", &DeleteParams::default()).await?;
    told(&[Event::Deleted]).await?;
    sidecar.terminate().await?;

    // Without a position the sidecar compares everything with the topic, and finds what it did not see.
    todos::api(&kube, ns).delete("forgotten", &DeleteParams::default()).await?;
    todos::change(&kube, ns, "eggs", "buy six eggs").await?;
    topics::delete(brokers, POSITIONS_TOPIC).await?;
    let sidecar = Sidecar::spawn(&scratch, &settings).await?;
    sidecar.ready().await?;
    todos::create(&kube, ns, "last", "all is told").await?;
    // Whether it is new or was met in the list depends on which came first.
    let last = |record: &Record| record.key == "shop/last";
    let records = topic::until(brokers, topic, "the last todo", |records| records.last().is_some_and(last)).await?;
    sidecar.terminate().await?;
    scratch.remove();

    let events: Vec<_> = records.iter().map(|record| record.event().map_or("tombstone", Event::name)).collect();
    for wanted in ["created", "updated", "deleted", "snapshot", "tombstone"] {
        ensure!(events.contains(&wanted), "the topic should hold a record of each sort, and holds {events:?}");
    }
    ensure!(records.iter().any(|record| record.headers.contains_key(header::SKIPPED)), "no record has kab_skipped");
    Ok(records)
}

/// What a command has to print: each record with its CloudEvents attributes, then the table that is left.
fn expected(records: &[Record]) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut table = BTreeMap::new();
    for record in records {
        let Some(value) = &record.value else {
            lines.push(format!("tombstone\t{}", record.key));
            table.remove(&record.key);
            continue;
        };
        let header = |name: &str| record.headers.get(name).map_or("-", String::as_str);
        let seconds = header(header::TIME).parse::<Timestamp>().context("ce_time is a time")?.as_second();
        let message = value.get("message").and_then(serde_json::Value::as_str).context("a todo has a message")?;
        lines.push(
            [
                "record",
                &record.key,
                header(header::TYPE),
                header(header::ID),
                header(header::SOURCE),
                header(header::SUBJECT),
                &seconds.to_string(),
                header(header::CONTENT_TYPE),
                header(header::SKIPPED),
                message,
            ]
            .join("\t"),
        );
        if record.event() == Some(Event::Deleted) {
            table.remove(&record.key);
        } else {
            let version = record.id().rsplit('/').next().unwrap_or_default();
            table.insert(record.key.clone(), format!("table\t{}\t{version}\t{message}", record.key));
        }
    }
    lines.extend(table.into_values());
    Ok(lines)
}

#[expect(clippy::print_stdout, reason = "this program's result")]
fn compare(command: &str, expected: &[String], printed: &str) -> anyhow::Result<()> {
    let printed: Vec<&str> = printed.lines().collect();
    let differs = (0..expected.len().max(printed.len()))
        .find(|line| expected.get(*line).map(String::as_str) != printed.get(*line).copied());
    if let Some(line) = differs {
        bail!(
            "{command} reads something else in line {}:\n  expected {:?}\n  printed  {:?}",
            line + 1,
            expected.get(line),
            printed.get(line)
        );
    }
    println!("{command}: {} lines, all as expected", printed.len());
    Ok(())
}
