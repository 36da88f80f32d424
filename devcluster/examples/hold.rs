//! Starts a throw-away cluster, prints how to reach it as one line of JSON, and holds it until standard input ends.
//! The tests kill it to see that nothing outlives it.

use std::io::Write as _;

use anyhow::Context as _;
use devcluster::{Cluster, ClusterOptions};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let kafka = std::env::args().all(|argument| argument != "--no-kafka");
    let cluster = Cluster::start(ClusterOptions { kafka, ..ClusterOptions::for_tests("hold") }).await?;
    let said = serde_json::json!({
        "directory": cluster.directory(),
        "kubeconfig": cluster.endpoints().kubeconfig,
        "kafka": cluster.endpoints().kafka,
        "startedIn": devcluster::human(cluster.started_in()),
    });
    writeln!(std::io::stdout(), "{said}")?;
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await?
        .context("failed to wait for the end of standard input")?;
    cluster.stop().await?;
    Ok(())
}
