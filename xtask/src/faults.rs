//! `cargo xtask faults NAME`: a fault campaign against real parts. What fails, who goes on asking, and what is judged stand in `tests/src/faults`.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use e2e::faults::script::End;

/// What the command line says.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Which campaign
    campaign: Campaign,
    /// For how long; the fault under way is brought to its end
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The script's seed: the same one brings the same faults in the same order [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
}

/// The campaigns.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Campaign {
    /// The entity API at two sidecars, while API server, etcd, the ways to them and the sidecars fail
    Api,
}

/// Runs it, prints the report, and fails if anything was wrong.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let seed = options.seed.unwrap_or_else(|| now().as_secs());
    let end = End::After(Duration::from_secs(60 * options.minutes));
    let mut out = std::io::stdout();
    writeln!(out, "seed {seed}, {} min", options.minutes).context("failed to print")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = match options.campaign {
        Campaign::Api => runtime.block_on(e2e::faults::api::run(seed, end))?,
    };
    write!(out, "{report}").context("failed to print")?;
    ensure!(report.wrong.is_empty(), "{} things were wrong", report.wrong.len());
    Ok(())
}
