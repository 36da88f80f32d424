//! Resident memory of the sidecar: idle, with many entities, and after a million reads.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]
#![expect(clippy::indexing_slicing, reason = "a member that a JSON value does not have is null, not a panic")]

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::wait;

use crate::figures::{Figure, Goal};
use crate::load;
use crate::system::System;

/// The resident set of a process in MiB.
pub(crate) fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// Fills the cache and looks.
pub(crate) async fn measure(
    system: &System,
    idle: f64,
    present: usize,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<()> {
    let pid = system.sidecar.program.pid();
    figures.push(Figure::alone("RSS idle, Kafka producer connected", idle, "MiB", Goal::AtMost(14.0)));
    println!("10,000 todos …");
    system.fill(present, 10_000).await?;
    cached(system, 10_000).await?;
    figures.push(Figure::alone("RSS with 10,000 todos", resident(pid)?, "MiB", Goal::AtMost(20.0)));

    let before = resident(pid)?;
    println!("a million reads …");
    let mut reads = 0.0;
    while reads < 1e6 {
        reads +=
            load::run(system.address()?, &load::get("/v1/todos/todo-000007"), 16, Duration::from_secs(2)).await?.rate
                * 2.0;
    }
    figures.push(Figure::alone("RSS growth over a million reads", resident(pid)? - before, "MiB", Goal::AtMost(1.0)));

    println!("100,000 todos, which takes minutes …");
    system.fill(10_000, 100_000).await?;
    cached(system, 100_000).await?;
    let bytes = system.sidecar.api.get("/v1/todos?limit=1000").await?.expect(200)?.body["items"].to_string().len();
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let json = bytes as f64 * 100.0 / 1_048_576.0;
    let above = resident(pid)? - idle;
    figures.push(Figure::against(
        "RSS above idle with 100,000 todos",
        &[above],
        "MiB",
        "their business JSON",
        &[json],
        Goal::AtMost(1.5),
    ));
    Ok(())
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
