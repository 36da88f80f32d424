//! A cluster of containers from its start to its end, in order and by force.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use devcluster::ClusterOptions;
use devcluster::containers::{ContainerCluster, ContainerOptions};

use crate::docker::{Inventory, inner, options, with_daemon};
use crate::work;

const SERVES: &str = "cluster::a_cluster_of_containers_serves_and_leaves_nothing_behind";
const KILLED: &str = "cluster::what_a_killed_owner_left_is_removed_by_the_next_start_and_nothing_else";
/// Set in the process that is to be killed.
const VICTIM: &str = "DEVCLUSTER_TEST_VICTIM";
const READY: &str = "the victim's cluster is ready: ";

#[test]
fn a_cluster_of_containers_serves_and_leaves_nothing_behind() -> Result<()> {
    with_daemon(SERVES, || async {
        let mut options = options("serves").await?;
        // As on a machine that has Docker alone.
        options.environment = options.environment.with("PATH", "/nowhere");
        let before = Inventory::take().await?;
        let cluster = ContainerCluster::start(options).await?;
        ensure!(cluster.containers().len() == 2);

        let client = work::kubernetes(cluster.endpoints()).await?;
        work::define_a_kind_and_use_it(&client).await?;
        work::get_a_token(&client).await?;
        work::send_and_receive(cluster.endpoints().kafka.as_deref().context("there is no broker")?).await?;

        let kubectl = Command::new(cluster.kubectl()).args(["get", "notes", "first", "--output=name"]).output()?;
        ensure!(kubectl.stdout == b"note.test.k8sasbackend.com/first\n", "{kubectl:?}");

        for log in ["kubernetes.log", "kafka.log"] {
            let text = std::fs::read_to_string(cluster.directory().join("logs").join(log))?;
            ensure!(text.lines().count() > 5, "{log} has only {text:?}");
        }

        let directory = cluster.directory().to_path_buf();
        cluster.stop().await?;
        let after = Inventory::take().await?;
        ensure!(after == before, "left behind: {after:?}, before it was {before:?}");
        ensure!(!directory.exists(), "{directory:?} is still there");
        Ok(())
    })
}

#[test]
fn what_a_killed_owner_left_is_removed_by_the_next_start_and_nothing_else() -> Result<()> {
    if std::env::var_os(VICTIM).is_some() {
        return with_daemon(KILLED, || async {
            let cluster = ContainerCluster::start(kubernetes_alone("victim").await?).await?;
            writeln!(std::io::stdout(), "{READY}{}", cluster.containers().join(" "))?;
            // Until it is killed, or the test is gone.
            let gone = tokio::task::spawn_blocking(|| std::io::stdin().lines().count()).await;
            drop(cluster);
            gone.map(drop).map_err(Into::into)
        });
    }
    with_daemon(KILLED, || async {
        let before = Inventory::take().await?;
        let living = ContainerCluster::start(kubernetes_alone("living").await?).await?;
        let host = std::env::var("DOCKER_HOST")?;
        let mut victim = inner(KILLED, &host)?.env(VICTIM, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(victim.stdout.take().context("the victim has no output")?);
        let left = output.lines().map_while(Result::ok).find_map(|line| {
            let (_, ids) = line.split_once(READY)?;
            Some(ids.to_owned())
        });
        let left = left.context("the victim ended before its cluster was ready")?;
        victim.kill()?;
        victim.wait()?;
        ensure!(Inventory::take().await?.containers.contains(&left), "a killed process cannot have cleaned up");

        let next = ContainerCluster::start(kubernetes_alone("next").await?).await?;
        let others = before.containers.iter().map(String::as_str);
        let mut expected: Vec<_> = others.chain(next.containers()).chain(living.containers()).collect();
        expected.sort_unstable();
        ensure!(Inventory::take().await?.containers == expected, "expected {expected:?}");

        // Without a runtime around, where the containers' handles cannot clean up by themselves.
        std::thread::spawn(move || drop(next)).join().ok().context("the drop panicked")?;
        drop(living);
        let after = Inventory::take().await?;
        ensure!(after == before, "left behind: {after:?}, before it was {before:?}");
        Ok(())
    })
}

#[test]
fn with_a_cluster_given_only_the_broker_is_started() -> Result<()> {
    with_daemon("cluster::with_a_cluster_given_only_the_broker_is_started", || async {
        let kubeconfig = PathBuf::from("/given/kubeconfig");
        let options = ContainerOptions { kubeconfig: Some(kubeconfig.clone()), ..options("broker").await? };
        let cluster = ContainerCluster::start(options).await?;
        ensure!(cluster.containers().len() == 1, "{cluster:?}");
        let endpoints = cluster.endpoints();
        ensure!(endpoints.kubeconfig == kubeconfig && endpoints.kafka.is_some(), "{endpoints:?}");
        Ok(cluster.stop().await?)
    })
}

#[test]
fn a_start_that_was_given_up_can_be_cleaned_up_after() -> Result<()> {
    with_daemon("cluster::a_start_that_was_given_up_can_be_cleaned_up_after", || async {
        let options = kubernetes_alone("given-up").await?;
        let environment = options.environment.clone();
        let before = Inventory::take().await?;
        let created = async {
            while Inventory::take().await?.containers.len() == before.containers.len() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        };
        tokio::select! {
            started = ContainerCluster::start(options) => anyhow::bail!("it was too quick to be given up: {started:?}"),
            created = created => created?,
        }
        ContainerCluster::remove_mine(&environment).await?;
        let after = Inventory::take().await?;
        ensure!(after == before, "left behind: {after:?}, before it was {before:?}");
        Ok(())
    })
}

#[test]
fn a_start_may_move_between_threads() {
    fn may_move(_: impl Send) {}
    may_move(devcluster::provided_or_started(ClusterOptions::for_tests("threads")));
}

async fn kubernetes_alone(name: &str) -> Result<ContainerOptions> {
    Ok(ContainerOptions { kafka: false, ..options(name).await? })
}
