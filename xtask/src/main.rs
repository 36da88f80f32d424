//! The project's own commands (`cargo xtask …`). Owns the command line alone; each command has its own file.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod cluster;
mod faults;
mod generate;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure: a release build against references in the same run.
    Bench(bench::Options),
    /// A real cluster in the background: up, down, status, env, logs.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Let everything fail around our programs, and say what they did wrong.
    Faults(faults::Options),
    /// Write everything that is made from code: CRDs, OpenAPI, the configuration table.
    Generate {
        /// Change nothing; fail with the differences if there are any.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Bench(options) => bench::run(&options),
        Command::Cluster(command) => cluster::run(command),
        Command::Faults(options) => faults::run(&options),
        Command::Generate { check } => generate::run(check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // For a person at a terminal: what failed and why, and no backtrace.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
