//! What people are told when a cluster of containers cannot be had.

use anyhow::{Context as _, Result, ensure};
use devcluster::ClusterOptions;
use devcluster::containers::{ContainerCluster, ContainerOptions};

use crate::docker::{Inventory, options, with_address, with_daemon};

async fn refusal(options: ContainerOptions) -> Result<String> {
    let error = ContainerCluster::start(options).await.err().context("the cluster started")?;
    Ok(format!("{:#}", anyhow::Error::from(error)))
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
