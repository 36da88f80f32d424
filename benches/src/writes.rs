//! Writes through the sidecar, against a direct keep-alive client of the API server that makes the same writes.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::figures::{Figure, Goal, median};
use crate::system::{NAMESPACE, System};
use e2e::todos;

/// Creates in a run with 16 in flight; a tenth of it one at a time.
const CREATES: usize = 2000;

/// Measures rate with 16 in flight and the added median latency one at a time.
pub(crate) async fn measure(system: &System, rounds: usize, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let (mut ours, mut direct, mut added) = (Vec::new(), Vec::new(), Vec::new());
    println!("creates through the sidecar and directly, {rounds} rounds …");
    for round in 0..rounds {
        let name = |who: &str, number: usize| format!("w-{who}-{round}-{number}");
        let through = run(16, CREATES, |number| sidecar(system, name("s", number))).await?;
        let straight = run(16, CREATES, |number| api_server(system, name("d", number))).await?;
        ours.push(through.0);
        direct.push(straight.0);
        let through = run(1, CREATES / 10, |number| sidecar(system, name("t", number))).await?;
        let straight = run(1, CREATES / 10, |number| api_server(system, name("e", number))).await?;
        added.push((through.1.as_secs_f64() - straight.1.as_secs_f64()) * 1000.0);
    }
    figures.push(Figure::against(
        "creates, 16 in flight: rate",
        &ours,
        "1/s",
        "direct client",
        &direct,
        Goal::AtLeast(0.95),
    ));
    figures.push(Figure::alone("create, one at a time: added p50", median(&added), "ms", Goal::AtMost(0.3)));
    println!("deleting what was written …");
    let api = todos::api(&system.kube, NAMESPACE);
    let made = api.list_metadata(&Default::default()).await?;
    stream::iter(made.items.into_iter().filter_map(|item| item.metadata.name).filter(|name| name.starts_with("w-")))
        .map(|name| {
            let api = api.clone();
            async move { api.delete(&name, &Default::default()).await.map(drop) }
        })
        .buffer_unordered(16)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    Ok(())
}

/// Rate and median latency of `count` writes with so many in flight.
async fn run<Write, Done>(in_flight: usize, count: usize, write: Write) -> anyhow::Result<(f64, Duration)>
where
    Write: Fn(usize) -> Done,
    Done: Future<Output = anyhow::Result<()>>,
{
    let start = Instant::now();
    let mut latencies: Vec<Duration> = stream::iter(0..count)
        .map(|number| {
            let write = write(number);
            async move {
                let start = Instant::now();
                write.await.map(|()| start.elapsed())
            }
        })
        .buffer_unordered(in_flight)
        .try_collect()
        .await?;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let rate = count as f64 / start.elapsed().as_secs_f64();
    latencies.sort();
    Ok((rate, latencies.get(count / 2).copied().unwrap_or_default()))
}

async fn sidecar(system: &System, id: String) -> anyhow::Result<()> {
    let todo = json!({"id": id, "when": "2030-01-01T10:00:00Z", "message": "written"});
    system.sidecar.api.post("/v1/todos", &todo).await?.expect(201).context("through the sidecar").map(drop)
}

async fn api_server(system: &System, id: String) -> anyhow::Result<()> {
    todos::create(&system.kube, NAMESPACE, &id, "written").await.context("directly").map(drop)
}
