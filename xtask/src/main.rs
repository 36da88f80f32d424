//! The project's own commands (`cargo xtask …`). Owns the command line alone; each command has its own file.

use clap::{Parser, Subcommand};

mod generate;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write everything that is made from code: CRDs, OpenAPI, the configuration table.
    Generate {
        /// Change nothing; fail with the differences if there are any.
        #[arg(long)]
        check: bool,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Generate { check } => generate::run(check),
    }
}
