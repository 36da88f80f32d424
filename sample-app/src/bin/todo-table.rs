//! `todo-table`: a table of todos, kept from what is broadcast about them. Owns the command line and the program's life.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Parser;
use parking_lot::Mutex;
use sample_app::serve;
use sample_app::table::follow::Follower;
use sample_app::table::state::Table;
use sample_app::table::{Settings, api};

/// A table of todos, built from the records of their topic. Reads the topic from the beginning at each start.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "TODO_TABLE_LISTEN", default_value = "127.0.0.1:8081", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// How many of the last records are kept for /records.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    keep: usize,
    #[command(flatten)]
    settings: Settings,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen, keep, settings } = Arguments::parse();
    serve::log_to_stderr();
    let table = Arc::new(Mutex::new(Table::new(keep)));
    let follower = Follower::new(settings, Arc::clone(&table));
    let router = api::router(table, follower.progress());

    let end = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&end);
    let mut following = tokio::task::spawn_blocking(move || follower.run(&told));
    let served = tokio::select! {
        served = serve::until_told_to_end("todo-table", listen, router) => served,
        // It only ends by itself when it cannot go on.
        ended = &mut following => return ended?.context("failed to follow the topic"),
    };
    end.store(true, Ordering::Relaxed);
    following.await?.context("failed to follow the topic")?;
    served
}
