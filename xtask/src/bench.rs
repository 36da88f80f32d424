//! `cargo xtask bench NAME …`: builds the benchmarks for release and runs one. What is measured and how stands in `benches/`.

use anyhow::{Context, ensure};

/// What the command line says: the benchmark's name and its own flags.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// `api`, `memory` or `bridge`, and flags such as `--write` and `--rounds 5`; `--help` lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    arguments: Vec<String>,
}

/// Runs the benchmark to its end.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let status = e2e::binaries::cargo()
        .args(["run", "--release", "--package", "benches", "--bin", "bench", "--"])
        .args(&options.arguments)
        .status()
        .context("failed to run cargo")?;
    ensure!(status.success(), "the benchmark ended with {status}");
    Ok(())
}
