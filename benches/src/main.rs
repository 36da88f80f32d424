//! `cargo xtask bench NAME`: measures, prints a table, and keeps the figures. Benchmarks are never tests.
#![expect(clippy::print_stdout, reason = "a benchmark talks to a person at a terminal")]

mod api;
mod figures;
mod load;
mod memory;
mod reference;
mod system;
mod writes;

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Benchmarks, each against references in the same run")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The entity API: reads, lists, writes and memory.
    Api {
        /// Also write the table to docs/benchmarks.md.
        #[arg(long)]
        write: bool,
        /// How often everything is measured; the median counts.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Leave out the memory of 10,000 and 100,000 entities, which takes minutes.
        #[arg(long)]
        no_memory: bool,
    },
    /// The bare server that answers every request with a file; started by the other benchmarks.
    #[command(hide = true)]
    Reference {
        /// The body.
        body: PathBuf,
        /// Headers as a JSON array of pairs.
        headers: String,
    },
}

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in the project's root")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Arguments::parse().what {
        What::Api { write, rounds, no_memory } => {
            let figures = runtime.block_on(api::measure(rounds.max(1), !no_memory))?;
            println!("\n{}", figures::table(&figures));
            figures::keep(root, "api", &figures, write)
        }
        What::Reference { body, headers } => {
            let body = std::fs::read(&body).with_context(|| format!("failed to read {}", body.display()))?;
            let headers: Vec<(String, String)> = serde_json::from_str(&headers).context("the headers are no pairs")?;
            runtime.block_on(reference::serve(body.into(), &headers, |address| println!("listening on {address}")))
        }
    }
}
