//! `cargo xtask faults NAME`: a fault campaign against real parts. What fails, who goes on asking, and what is judged stand in `tests/src/faults`.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use e2e::faults::report::Report;
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
    /// Put the outcome into docs/benchmarks.md
    #[arg(long)]
    write: bool,
}

/// The campaigns.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Campaign {
    /// The entity API at two sidecars, while API server, etcd, the ways to them and the sidecars fail
    Api,
    /// The broadcast of two sidecars, while the sidecars, Kafka, API server, etcd and the ways between them fail
    Bridge,
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
        Campaign::Bridge => runtime.block_on(e2e::faults::bridge::run(seed, end))?,
    };
    write!(out, "{report}").context("failed to print")?;
    if options.write {
        keep(&report)?;
    }
    ensure!(report.wrong.is_empty(), "{} things were wrong", report.wrong.len());
    Ok(())
}

/// Writes the section of docs/benchmarks.md between this campaign's markers.
fn keep(report: &Report) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in the project's root")?;
    let file = root.join("docs/benchmarks.md");
    let page = std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let page = replaced(&page, report).with_context(|| format!("in {}", file.display()))?;
    std::fs::write(&file, page).with_context(|| format!("failed to write {}", file.display()))
}

fn replaced(page: &str, report: &Report) -> anyhow::Result<String> {
    let marker = |word: &str| format!("<!-- {word} faults {} -->", report.campaign);
    let (begin, end) = (marker("begin"), marker("end"));
    let (before, rest) = page.split_once(&begin).with_context(|| format!("there is no {begin}"))?;
    let (_, after) = rest.split_once(&end).with_context(|| format!("there is no {end}"))?;
    let (minutes, seed, wrong) = (report.ran.as_secs() / 60, report.seed, report.wrong.len());
    let head = format!("{minutes} minutes, {} faults, seed {seed}, wrong: {wrong}", report.faults.len());
    Ok(format!("{before}{begin}\n{head}\n\n{}{end}{after}", report.tables()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_takes_the_place_of_the_one_before() {
        let page = "a\n<!-- begin faults api -->\nold\n<!-- end faults api -->\nz\n";
        let ran = Duration::from_secs(200);
        let report = Report { campaign: "api", seed: 7, ran, ..Report::default() };
        let once = replaced(page, &report).unwrap();
        assert!(
            once.starts_with("a\n<!-- begin faults api -->\n3 minutes, 0 faults, seed 7, wrong: 0\n\n| fault |"),
            "{once}"
        );
        assert!(once.ends_with("<!-- end faults api -->\nz\n") && !once.contains("old"), "{once}");
        assert_eq!(replaced(&once, &report).unwrap(), once);
        assert!(replaced("a", &report).is_err());
    }
}
