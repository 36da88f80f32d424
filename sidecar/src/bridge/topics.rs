//! The topics that a broadcast needs: made where they are missing, and looked at where they are there.
//!
//! Owns their settings. Never alters a topic that somebody else made: what does not fit is told, and nothing is broadcast.

use std::time::{Duration, Instant};

use contract::names::POSITIONS_TOPIC;
use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sidecar_core::ledger::Failure;

use crate::bridge::client::{Clients, Context, Isolation};
use crate::bridge::trouble::{Cause, Trouble};

const PATIENCE: Duration = Duration::from_secs(5);
/// How long a topic that was just made may take until every broker knows it.
const SPREAD: Duration = Duration::from_secs(15);
/// What etcd takes at most is 1.5 MiB: with this every entity fits.
const RECORD_LIMIT: &str = "2097152";

/// A topic, as found or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) partitions: Vec<i32>,
    /// Whether it was made just now.
    pub(super) created: bool,
    /// `max.message.bytes`, where we may know.
    pub(super) record_limit: Option<usize>,
}

/// The numbers for topics that are made; absent: the broker's defaults.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) partitions: Option<i32>,
    pub(super) replication_factor: Option<i32>,
}

/// The kind's topic, ready to be sent to; and the topic of positions beside it.
pub(super) fn ensure(clients: &Clients, topic: &str, sizes: Sizes) -> Result<Topic, Trouble> {
    let doing = "make a Kafka client";
    let admin: AdminClient<Context> = clients.make(&clients.admin()).map_err(|error| Trouble::of(doing, &error))?;
    let reader: BaseConsumer<Context> =
        clients.make(&clients.reader(Isolation::Committed)).map_err(|error| Trouble::of(doing, &error))?;
    let replicas = || TopicReplication::Fixed(sizes.replication_factor.unwrap_or(-1));
    // Written with every batch and read from its end: small segments keep what is cleaned late small too. One partition, because a
    // position's place must not depend on how many there are.
    let positions = NewTopic::new(POSITIONS_TOPIC, 1, replicas())
        .set("cleanup.policy", "compact")
        .set("segment.bytes", "16777216")
        .set("min.cleanable.dirty.ratio", "0.1");
    one(&admin, &reader, POSITIONS_TOPIC, &positions)?;
    let new = NewTopic::new(topic, sizes.partitions.unwrap_or(-1), replicas())
        .set("cleanup.policy", "compact")
        .set("max.message.bytes", RECORD_LIMIT);
    one(&admin, &reader, topic, &new)
}

fn one(
    admin: &AdminClient<Context>,
    reader: &BaseConsumer<Context>,
    name: &str,
    new: &NewTopic<'_>,
) -> Result<Topic, Trouble> {
    let mut created = false;
    let deadline = Instant::now() + SPREAD;
    let partitions = loop {
        match partitions(reader, name)? {
            Some(partitions) if !partitions.is_empty() => break partitions,
            None if !created => created = create(admin, name, new)?,
            _ if Instant::now() > deadline => {
                let detail = format!("topic {name} has no partitions yet, {} s after it was made", SPREAD.as_secs());
                return Err(Trouble::new(Failure::Renew, Cause::Topic, detail));
            }
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let record_limit = check(admin, name)?;
    Ok(Topic { partitions, created, record_limit })
}

/// The partitions of a topic, or nothing where there is no such topic.
fn partitions(reader: &BaseConsumer<Context>, name: &str) -> Result<Option<Vec<i32>>, Trouble> {
    let doing = || format!("ask for topic {name}");
    let metadata = reader.fetch_metadata(Some(name), PATIENCE).map_err(|error| Trouble::of(&doing(), &error))?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
    match topic.error().map(RDKafkaErrorCode::from) {
        None => Ok(Some(topic.partitions().iter().map(|partition| partition.id()).collect())),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        Some(RDKafkaErrorCode::LeaderNotAvailable) => Ok(Some(Vec::new())),
        Some(code) => Err(Trouble::of(&doing(), &KafkaError::MetadataFetch(code))),
    }
}

/// Whether it was us who made it.
fn create(admin: &AdminClient<Context>, name: &str, new: &NewTopic<'_>) -> Result<bool, Trouble> {
    let doing = format!("create topic {name}");
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let answers = block_on(admin.create_topics([new], &options)).map_err(|error| Trouble::of(&doing, &error))?;
    match answers.into_iter().next() {
        Some(Ok(_)) => {
            tracing::info!(topic = name, "created the topic");
            Ok(true)
        }
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(false),
        Some(Err((_, code))) => Err(Trouble::of(&doing, &KafkaError::AdminOp(code))),
    }
}

/// The largest record that the topic takes, if it may be known. A topic that forgets otherwise than by key is refused.
fn check(admin: &AdminClient<Context>, name: &str) -> Result<Option<usize>, Trouble> {
    let doing = format!("ask for the settings of topic {name}");
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let answers = block_on(admin.describe_configs([&ResourceSpecifier::Topic(name)], &options))
        .map_err(|error| Trouble::of(&doing, &error))?;
    let settings: ConfigResource = match answers.into_iter().next() {
        Some(Ok(settings)) => settings,
        Some(Err(
            code @ (RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed),
        )) => {
            tracing::warn!(topic = name, %code, "not allowed to see the topic's settings: make sure that its cleanup.policy is compact");
            return Ok(None);
        }
        Some(Err(code)) => return Err(Trouble::of(&doing, &KafkaError::AdminOp(code))),
        None => return Ok(None),
    };
    let value = |key: &str| settings.get(key).and_then(|entry| entry.value.clone());
    match value("cleanup.policy") {
        Some(policy) if policy != "compact" => {
            let detail = format!(
                "topic {name} has cleanup.policy={policy}, so it would forget entities that still exist, and nothing is broadcast: \
                 set cleanup.policy=compact, or name another topic"
            );
            Err(Trouble::new(Failure::Renew, Cause::Topic, detail))
        }
        _ => Ok(value("max.message.bytes").and_then(|limit| limit.parse().ok())),
    }
}
