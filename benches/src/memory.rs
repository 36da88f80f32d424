//! Resident memory of the sidecar: idle, with many entities, and after many requests; and, since so many are there, the first list of them.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]
#![expect(clippy::indexing_slicing, reason = "a member that a JSON value does not have is null, not a panic")]

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::wait;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;

use crate::figures::{Figure, Goal};
use crate::system::System;
use crate::{first_list, load};

const SOME: usize = 10_000;
const MANY: usize = 100_000;
/// In flight, or connections, while requests are counted.
const AT_ONCE: usize = 16;
/// Todos that are written to again and again, so that the first tenth has written to each.
const CHANGED: usize = 500;
/// How often the first list is read.
const LISTS: usize = 3;

/// How many requests must not make the sidecar grow.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Many {
    /// Reads on kept connections.
    #[arg(long, default_value_t = 1_000_000)]
    reads: usize,
    /// Connections made for one read each.
    #[arg(long, default_value_t = 100_000)]
    reconnects: usize,
    /// Writes.
    #[arg(long, default_value_t = 20_000)]
    writes: usize,
}

/// The resident set of a process in MiB, and what of it is not pages of files.
fn resident(pid: u32) -> anyhow::Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name: &str| -> anyhow::Result<f64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
    };
    Ok((of("VmRSS:")?, of("RssAnon:")?))
}

/// Measures all of it.
pub(crate) async fn measure(many: Many) -> anyhow::Result<Vec<Figure>> {
    println!("starting the cluster and the sidecar …");
    let system = System::start(true).await?;
    let pid = system.sidecar.program.pid();
    let mut figures = Vec::new();
    let mut tell = |name: &str, value: f64, goal: Goal| {
        println!("  {name}: {value:.1} MiB");
        figures.push(Figure::alone(name, value, "MiB", goal));
    };
    let (idle, own) = resident(pid)?;
    tell("RSS idle, Kafka producer connected", idle, Goal::AtMost(14.0));
    tell("of that, not pages of files", own, Goal::None);

    println!("{SOME} todos …");
    system.fill(0, SOME).await?;
    cached(&system, SOME).await?;
    let (some, own) = resident(pid)?;
    tell("RSS with 10,000 todos", some, Goal::AtMost(20.0));
    tell("of that, not pages of files", own, Goal::None);

    // A tenth of each before that, so that buffers and connections have the size that they need.
    println!("{} reads, {} reconnects and {} writes …", many.reads, many.reconnects, many.writes);
    reads(&system, many.reads / 10).await?;
    let before = resident(pid)?.0;
    reads(&system, many.reads).await?;
    tell(&format!("growth over {} reads", many.reads), resident(pid)?.0 - before, Goal::AtMost(1.0));
    reconnects(&system, many.reconnects / 10).await?;
    let before = resident(pid)?.0;
    reconnects(&system, many.reconnects).await?;
    tell(&format!("growth over {} reconnects", many.reconnects), resident(pid)?.0 - before, Goal::AtMost(1.0));
    writes(&system, many.writes / 10).await?;
    let before = resident(pid)?.0;
    writes(&system, many.writes).await?;
    tell(&format!("growth over {} writes", many.writes), resident(pid)?.0 - before, Goal::AtMost(1.0));

    println!("{MANY} todos, which takes minutes …");
    system.fill(SOME, MANY).await?;
    cached(&system, MANY).await?;
    let page = system.sidecar.api.get("/v1/todos?limit=1000").await?.expect(200)?;
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let json = page.body["items"].to_string().len() as f64 * (MANY / 1000) as f64 / 1_048_576.0;
    let business_json = |name: &str, now: f64| {
        Figure::against(name, &[now - idle], "MiB", "their business JSON", &[json], Goal::AtMost(1.5))
    };
    figures.push(business_json("RSS above idle with 100,000 todos, told one by one", resident(pid)?.0));
    let listed = system.another().await?;
    listed.ready().await?;
    figures.push(business_json("RSS above idle with 100,000 todos, listed", resident(listed.program.pid())?.0));
    drop(listed.terminate().await);
    first_list::measure(&system, MANY, LISTS, &mut figures).await?;
    system.stop().await;
    Ok(figures)
}

/// Waits until the cache holds so many.
async fn cached(system: &System, count: usize) -> anyhow::Result<()> {
    wait::until(&format!("{count} entities in the cache"), Duration::from_secs(60), || async {
        let held = system.sidecar.metric("kab_cache_entities").await?;
        #[expect(clippy::cast_precision_loss, reason = "a hundred thousand")]
        let enough = held >= count as f64;
        ensure!(enough, "{held}");
        Ok(())
    })
    .await
}

async fn reads(system: &System, count: usize) -> anyhow::Result<()> {
    let mut made = 0.0;
    #[expect(clippy::cast_precision_loss, reason = "a million")]
    let count = count as f64;
    while made < count {
        let duration = Duration::from_secs(2);
        let run = load::run(system.address()?, &load::get("/v1/todos/todo-000007"), AT_ONCE, duration).await?;
        made += run.rate * duration.as_secs_f64();
    }
    Ok(())
}

async fn reconnects(system: &System, count: usize) -> anyhow::Result<()> {
    load::reconnect(system.address()?, &load::get("/v1/todos/todo-000007"), AT_ONCE, count).await
}

async fn writes(system: &System, count: usize) -> anyhow::Result<()> {
    stream::iter(0..count)
        .map(|number| async move {
            let path = format!("/v1/todos/todo-{:06}", number % CHANGED);
            // As long as it was before.
            let change = json!({"message": format!("{number:0>60}")});
            system.sidecar.api.patch(&path, &change).await?.expect(200).map(drop)
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|()| async { Ok(()) })
        .await
}

/// The highest resident set that a process has had, in MiB.
pub(crate) fn peak(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// Has the kernel look for the highest from now on.
pub(crate) fn forget_peak(pid: u32) -> anyhow::Result<()> {
    Ok(std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}
