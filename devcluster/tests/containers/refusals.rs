//! What people are told when a cluster of containers cannot be had.

use anyhow::{Context as _, Result, ensure};
use devcluster::containers::{ContainerCluster, ContainerOptions};
use devcluster::environment::Environment;
use devcluster::{Cluster, ClusterOptions};

use crate::docker::{Inventory, options, with_address, with_daemon};

async fn refusal(options: ContainerOptions) -> Result<String> {
    let error = ContainerCluster::start(options).await.err().context("the cluster started")?;
    Ok(format!("{:#}", anyhow::Error::from(error)))
}

#[test]
fn where_docker_answers_missing_programs_are_told_together_with_the_way_without_them() -> Result<()> {
    async fn told(name: &str) -> Result<String> {
        let empty = std::env::temp_dir().join(format!("devcluster-nothing-{name}-{}", std::process::id()));
        let environment = Environment::of_this_process()
            .with("PATH", "/nowhere")
            .with("XDG_CACHE_HOME", empty)
            .without("KUBEBUILDER_ASSETS");
        let options = ClusterOptions { environment, ..ClusterOptions::for_tests(name) };
        Ok(Cluster::start(options).await.err().context("the cluster started")?.to_string())
    }
    let test = "refusals::where_docker_answers_missing_programs_are_told_together_with_the_way_without_them";
    with_daemon(test, || async {
        let message = told("docker").await?;
        for word in ["golang-go", "cluster up --containers", "KAB_CLUSTER_BACKEND=containers"] {
            ensure!(message.contains(word), "{word} is not in: {message}");
        }
        Ok(())
    })
}

#[test]
fn without_a_daemon_one_message_says_where_it_was_looked_for_and_what_to_do() -> Result<()> {
    let test = "refusals::without_a_daemon_one_message_says_where_it_was_looked_for_and_what_to_do";
    with_address(test, "unix:///nowhere/docker.sock", || async {
        let message = refusal(ContainerOptions::like(&ClusterOptions::for_tests("nowhere"))).await?;
        for word in ["unix:///nowhere/docker.sock", "start it", "apt-get install docker.io", "DOCKER_HOST"] {
            ensure!(message.contains(word), "{word} is not in: {message}");
        }
        Ok(())
    })
}

#[test]
fn a_daemon_on_another_machine_is_refused_before_anything_is_started_there() -> Result<()> {
    let test = "refusals::a_daemon_on_another_machine_is_refused_before_anything_is_started_there";
    with_address(test, "tcp://192.0.2.1:2375", || async {
        let message = refusal(ContainerOptions::like(&ClusterOptions::for_tests("remote"))).await?;
        ensure!(message.contains("tcp://192.0.2.1:2375") && message.contains("another machine"), "{message}");
        Ok(())
    })
}

#[test]
fn an_image_that_cannot_be_had_is_named_with_the_variable_that_names_another() -> Result<()> {
    let test = "refusals::an_image_that_cannot_be_had_is_named_with_the_variable_that_names_another";
    with_daemon(test, || async {
        // Nothing listens on port 1, so that no registry is asked.
        let image = "127.0.0.1:1/no/such:image".to_owned();
        let message = refusal(ContainerOptions { kafka_image: image, ..options("pull").await? }).await?;
        ensure!(message.contains("127.0.0.1:1/no/such:image") && message.contains("KAB_KAFKA_IMAGE"), "{message}");
        Ok(())
    })
}

#[test]
fn a_container_that_ends_early_is_told_with_its_last_lines_and_nothing_stays() -> Result<()> {
    let test = "refusals::a_container_that_ends_early_is_told_with_its_last_lines_and_nothing_stays";
    with_daemon(test, || async {
        let options = options("early").await?;
        let before = Inventory::take().await?;
        // The Kubernetes image, started as if it were Kafka, complains about its missing command.
        let kafka_image = options.kubernetes_image.clone();
        let alone = ContainerOptions { kubeconfig: Some("/given".into()), kafka_image: kafka_image.clone(), ..options };
        let message = refusal(alone).await?;
        ensure!(message.contains(&kafka_image) && message.contains("usage: k3s server"), "{message}");
        let after = Inventory::take().await?;
        ensure!(after == before, "left behind: {after:?}, before it was {before:?}");
        Ok(())
    })
}
