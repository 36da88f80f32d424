//! The process that holds a cluster in the background: starts it, waits to be told to end, ends it. It is started by
//! `up` and never by a person; what it prints goes to a log that `up` shows.

use anyhow::Context as _;
use devcluster::containers::{ContainerCluster, ContainerOptions};
use devcluster::{Cluster, ClusterOptions};
use tokio::signal::unix::{SignalKind, signal};

use super::Wishes;

pub(crate) fn run(wishes: &Wishes) -> anyhow::Result<()> {
    // A session of its own: neither the terminal's Ctrl-C nor its end reaches this process.
    nix::unistd::setsid().context("failed to begin a session")?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::INFO).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(hold(wishes))
}

async fn hold(wishes: &Wishes) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let told_to_end = async {
        tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
    };
    let options = options(wishes)?;
    tokio::pin!(told_to_end);
    if wishes.containers {
        let cluster = tokio::select! {
            // A container does not end with the process that asked for it.
            () = &mut told_to_end => return Ok(ContainerCluster::remove_mine(&options.environment).await?),
            started = ContainerCluster::start(ContainerOptions::like(&options)) => started?,
        };
        told_to_end.await;
        return Ok(cluster.stop().await?);
    }
    let cluster = tokio::select! {
        // Whatever runs by then, a build or half a cluster, ends with this process.
        () = &mut told_to_end => return Ok(()),
        started = Cluster::start(options) => started?,
    };
    told_to_end.await;
    cluster.stop().await?;
    Ok(())
}

fn options(wishes: &Wishes) -> Result<ClusterOptions, devcluster::Error> {
    Ok(ClusterOptions {
        kafka: !wishes.no_kafka,
        fsync: !wishes.no_fsync,
        audit_log: wishes.audit_log,
        api_server_port: wishes.api_port,
        kafka_port: wishes.kafka_port,
        ..ClusterOptions::named(&wishes.name.name)?
    })
}
