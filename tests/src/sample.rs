//! The sample's two programs as processes.

use crate::entity_api::Client;
use crate::program::{Program, Scratch};

/// A program of the sample and its HTTP port.
#[derive(Debug)]
pub struct Sample {
    /// The process.
    pub program: Program,
    /// Its HTTP port.
    pub http: Client,
}

/// Starts `todo-app` before the sidecar at `kab_url`, on `listen` (`127.0.0.1:0` for a free port).
///
/// # Errors
/// When it cannot be started or does not tell its address.
pub async fn todo_app(scratch: &Scratch, kab_url: &str, listen: &str) -> anyhow::Result<Sample> {
    todo_app_told(scratch, &[("KAB_URL", kab_url.to_owned())], listen).await
}

/// Starts `todo-app` with these variables.
///
/// # Errors
/// When it cannot be started or does not tell its address.
pub async fn todo_app_told(
    scratch: &Scratch,
    environment: &[(&'static str, String)],
    listen: &str,
) -> anyhow::Result<Sample> {
    let arguments = ["--listen".to_owned(), listen.to_owned()];
    start(Program::spawn(scratch, "todo-app", &arguments, environment).await?).await
}

/// Starts `todo-table` on a topic.
///
/// # Errors
/// When it cannot be started or does not tell its address.
pub async fn todo_table(scratch: &Scratch, brokers: &str, topic: &str, listen: &str) -> anyhow::Result<Sample> {
    let arguments = ["--brokers", brokers, "--topic", topic, "--listen", listen].map(str::to_owned);
    start(Program::spawn(scratch, "todo-table", &arguments, &[]).await?).await
}

async fn start(program: Program) -> anyhow::Result<Sample> {
    let base = program.told("its address", base).await?;
    Ok(Sample { program, http: Client::new(base) })
}

/// The first URL on loopback in a log.
fn base(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("http://127.0.0.1:")?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    rest.get(port.len()..)?.starts_with(|next: char| !next.is_ascii_digit()).then(|| format!("http://127.0.0.1:{port}"))
}
