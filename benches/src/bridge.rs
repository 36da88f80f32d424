//! The broadcast: how soon a change is visible in Kafka, how fast much of it catches up, what it costs the API server, and memory.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

mod absence;
mod arrivals;
mod catch_up;
mod followers;
mod full_speed;
mod latency;
mod memory;
mod plain;
mod site;
pub(crate) mod watch_and_produce;
mod writer;

use crate::figures::Figure;
use site::Site;

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// From a write to its visibility, at 200 changes a second.
    Latency,
    /// An empty topic and many entities.
    Catchup,
    /// Many changes during an absence.
    Absence,
    /// All that the API server takes.
    Load,
    /// While many changes are caught up with.
    Memory,
    /// Caches that come from the topic.
    Source,
}

/// How much of everything.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Amount {
    /// Entities and changes to catch up with.
    #[arg(long, default_value_t = 100_000)]
    many: usize,
    /// Seconds of each load.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
}

/// Measures all parts, or only some.
pub(crate) async fn measure(rounds: usize, only: &[Part], amount: Amount) -> anyhow::Result<Vec<Figure>> {
    let wanted = |part| only.is_empty() || only.contains(&part);
    println!("starting the cluster …");
    let site = Site::start().await?;
    let mut figures = Vec::new();
    if wanted(Part::Latency) {
        latency::measure(&site, rounds, amount, &mut figures).await?;
    }
    if wanted(Part::Source) {
        followers::measure(&site, rounds, amount, &mut figures).await?;
    }
    if wanted(Part::Load) {
        full_speed::measure(&site, rounds, amount, &mut figures).await?;
    }
    if wanted(Part::Memory) {
        memory::measure(&site, amount, &mut figures).await?;
    }
    if wanted(Part::Catchup) || wanted(Part::Absence) {
        let topics = catch_up::measure(&site, rounds, amount, &mut figures).await?;
        if wanted(Part::Absence) {
            absence::measure(&site, &topics, amount, &mut figures).await?;
        }
    }
    site.stop().await;
    Ok(figures)
}
