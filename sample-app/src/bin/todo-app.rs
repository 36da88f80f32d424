//! `todo-app`: a REST API for todos. Owns the command line alone.

use std::net::SocketAddr;

use clap::Parser;
use sample_app::{app, serve};

/// A REST API for todos, with a page for people. Keeps nothing itself: the todos are its sidecar's business.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "TODO_APP_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    #[command(flatten)]
    settings: app::Settings,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { listen, settings } = Arguments::parse();
    serve::log_to_stderr();
    serve::until_told_to_end("todo-app", listen, app::router(&settings)?).await
}
