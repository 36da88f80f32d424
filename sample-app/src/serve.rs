//! How both programs listen and end. Owns the signals; called by `bin/`.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// How long requests in flight may take to finish once the program has been told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves `router` until SIGTERM or Ctrl-C, then lets requests in flight finish. The first line on standard output is
/// `PROGRAM listens on http://ADDRESS`, with the real port when 0 was asked for.
///
/// # Errors
/// When the address cannot be bound.
#[expect(clippy::print_stdout, reason = "the address is this program's result, not its log")]
pub async fn until_told_to_end(program: &str, address: SocketAddr, router: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("failed to listen on {address}"))?;
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    println!("{program} listens on http://{}", listener.local_addr()?);

    let (told, mut ending) = tokio::sync::watch::channel(());
    let server = axum::serve(listener, router).with_graceful_shutdown(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending");
        drop(told);
    });
    tokio::select! {
        served = server => served.context("failed to serve"),
        () = async { _ = ending.changed().await; tokio::time::sleep(DRAIN).await } => {
            tracing::warn!("some requests did not finish in time");
            Ok(())
        }
    }
}

/// Logs to standard error, at `info` unless `RUST_LOG` says otherwise.
pub fn log_to_stderr() {
    use std::io::IsTerminal;

    use tracing_subscriber::EnvFilter;

    let colours = std::io::stderr().is_terminal();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
}
