//! `cargo xtask bench NAME`: measures, prints a table, and keeps the figures. Benchmarks are never tests.
#![expect(clippy::print_stdout, reason = "a benchmark talks to a person at a terminal")]

mod api;
mod bridge;
mod figures;
mod first_list;
mod lists;
mod load;
mod memory;
mod peers;
mod reference;
mod system;
mod writes;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};

use api::Part;
use figures::{Figure, Write};
use memory::Many;
use reference::Fixed;

#[derive(Parser)]
#[command(about = "Benchmarks, each against references in the same run")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The entity API: reads, lists and writes; then what `memory` measures.
    Api {
        /// Also write the table to docs/benchmarks.md.
        #[arg(long)]
        write: bool,
        /// How often everything is measured; the median counts.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Leave out what `memory` measures, which takes minutes.
        #[arg(long)]
        no_memory: bool,
        /// Only these parts, for somebody who works on them.
        #[arg(long, value_enum, conflicts_with = "write")]
        only: Vec<Part>,
        #[command(flatten)]
        many: Many,
    },
    /// The sidecar's memory: idle, with 10,000 and 100,000 entities, after many requests; and how soon it has a list of 100,000.
    Memory {
        /// Also write the table to docs/benchmarks.md.
        #[arg(long)]
        write: bool,
        #[command(flatten)]
        many: Many,
    },
    /// The broadcast to Kafka: latency, catching up, what it costs the API server, memory.
    Bridge {
        /// Also write the table to docs/benchmarks.md.
        #[arg(long)]
        write: bool,
        /// How often everything is measured; the median counts.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
        /// Only these parts: their figures take the place of the same ones in the table.
        #[arg(long, value_enum, value_delimiter = ',')]
        only: Vec<bridge::Part>,
        #[command(flatten)]
        amount: bridge::Amount,
    },
    /// A load on one path of a server that runs already, for a look at it with a profiler.
    Load {
        /// The server's address.
        server: SocketAddr,
        /// What is asked for.
        path: String,
        /// Connections that are kept.
        #[arg(long, default_value_t = 16)]
        connections: usize,
        /// How long.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// The bare loop that the broadcast is held against; started by its benchmark.
    #[command(hide = true)]
    WatchAndProduce {
        /// How to reach the API server.
        kubeconfig: PathBuf,
        /// Whose todos.
        namespace: String,
        /// Where Kafka is.
        brokers: String,
        /// Where they go.
        topic: String,
    },
    /// The bare server that answers every request with a file; started by the other benchmarks.
    #[command(hide = true)]
    Reference {
        /// The body.
        body: PathBuf,
        /// Headers as a JSON array of pairs.
        headers: String,
        /// Be axum instead of hyper alone, for one path.
        #[arg(long)]
        axum: Option<String>,
    },
}

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package lies in the project's root")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match Arguments::parse().what {
        What::Api { write, rounds, no_memory, only, many } => {
            let figures = runtime.block_on(api::measure(rounds.max(1), &only))?;
            tell(root, "api", &figures, write, false)?;
            if no_memory || !only.is_empty() {
                Ok(())
            } else {
                tell(root, "memory", &runtime.block_on(memory::measure(many))?, write, false)
            }
        }
        What::Memory { write, many } => tell(root, "memory", &runtime.block_on(memory::measure(many))?, write, false),
        What::Bridge { write, rounds, only, amount } => {
            let figures = runtime.block_on(bridge::measure(rounds.max(1), &only, amount))?;
            tell(root, "bridge", &figures, write, !only.is_empty())
        }
        What::WatchAndProduce { kubeconfig, namespace, brokers, topic } => {
            runtime.block_on(bridge::watch_and_produce::run(&kubeconfig, &namespace, &brokers, &topic))
        }
        What::Load { server, path, connections, seconds } => {
            let request = load::get(&path);
            let outcome = runtime.block_on(load::run(server, &request, connections, Duration::from_secs(seconds)))?;
            let (p50, p99) = (outcome.milliseconds(0.5), outcome.milliseconds(0.99));
            println!("{:.0} 1/s, p50 {p50} ms, p99 {p99} ms", outcome.rate);
            Ok(())
        }
        What::Reference { body, headers, axum } => {
            let body = std::fs::read(&body).with_context(|| format!("failed to read {}", body.display()))?;
            let headers: Vec<(String, String)> = serde_json::from_str(&headers).context("the headers are no pairs")?;
            let fixed = Fixed::new(body.into(), &headers)?;
            let ready = |address| println!("listening on {address}");
            runtime.block_on(async {
                match axum {
                    Some(path) => reference::axum(fixed, &path, ready).await,
                    None => reference::hyper(fixed, ready).await,
                }
            })
        }
    }
}

fn tell(root: &Path, name: &str, figures: &[Figure], write: bool, part: bool) -> anyhow::Result<()> {
    println!("\n{}", figures::table(figures));
    let write = match (write, part) {
        (false, _) => Write::No,
        (true, false) => Write::All,
        (true, true) => Write::Part,
    };
    figures::keep(root, name, figures, write)
}
