//! What the owner of a Kafka does to topics: makes them, changes their settings, deletes them.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;

use crate::wait;

const LIMIT: Duration = Duration::from_secs(20);

fn admin(brokers: &str) -> anyhow::Result<(AdminClient<DefaultClientContext>, AdminOptions)> {
    let admin = ClientConfig::new().set("bootstrap.servers", brokers).create().context("failed to create an admin")?;
    Ok((admin, AdminOptions::new().request_timeout(Some(LIMIT)).operation_timeout(Some(LIMIT))))
}

/// Makes a topic with exactly these settings beside the broker's defaults.
///
/// # Errors
/// When the broker refuses it.
pub async fn create(brokers: &str, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    let (admin, options) = admin(brokers)?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    let new = settings.iter().fold(new, |new, (name, value)| new.set(name, value));
    let answer = admin.create_topics([&new], &options).await?.pop().context("the broker answers")?;
    answer.map(drop).map_err(|(_, code)| anyhow!("failed to create {topic}: {code}"))
}

/// Gives a topic these settings and the broker's defaults for all others.
///
/// # Errors
/// When the broker refuses it.
pub async fn alter(brokers: &str, topic: &str, settings: &[(&str, &str)]) -> anyhow::Result<()> {
    let (admin, options) = admin(brokers)?;
    let entries: HashMap<&str, &str> = settings.iter().copied().collect();
    let change = AlterConfig { specifier: ResourceSpecifier::Topic(topic), entries };
    let answer = admin.alter_configs([&change], &options).await?.pop().context("the broker answers")?;
    answer.map(drop).map_err(|(_, code)| anyhow!("failed to alter {topic}: {code}"))
}

/// Deletes a topic, and waits until it is gone.
///
/// # Errors
/// When the broker refuses it.
pub async fn delete(brokers: &str, topic: &str) -> anyhow::Result<()> {
    let (admin, options) = admin(brokers)?;
    let answer = admin.delete_topics(&[topic], &options).await?.pop().context("the broker answers")?;
    answer.map_err(|(_, code)| anyhow!("failed to delete {topic}: {code}"))?;
    wait::until(&format!("{topic} to be gone"), wait::LIMIT, || async {
        let metadata = admin.inner().fetch_metadata(None, LIMIT)?;
        anyhow::ensure!(metadata.topics().iter().all(|found| found.name() != topic), "it is listed");
        Ok(())
    })
    .await
}
