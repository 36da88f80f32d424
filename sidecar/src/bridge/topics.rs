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
/// How long one request may take before it is looked whether Kafka refused the connection: that is told by the way.
const SLICE: Duration = Duration::from_secs(1);
/// How long to wait for what librdkafka has to say on the side.
const EVENTS: Duration = Duration::from_millis(50);
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

impl Sizes {
    /// What to say of a topic that somebody else made with fewer partitions. It is used all the same: more partitions would move keys, which
    /// is for its owner to decide.
    pub(super) fn remark(self, name: &str, topic: &Topic) -> Option<String> {
        let found = topic.partitions.len();
        let wanted =
            self.partitions.and_then(|wanted| usize::try_from(wanted).ok()).filter(|wanted| *wanted > found)?;
        Some(format!(
            "topic {name} has {found} of the {wanted} partitions that are configured, and is used as it is: consumers share fewer \
             partitions; set kafka.partitions to {found}, or add partitions and have every consumer start over"
        ))
    }
}

/// Who asks.
struct Ask {
    reader: BaseConsumer<Context>,
    /// Absent where tokens are used.
    admin: Option<AdminClient<Context>>,
}

/// The kind's topic, ready to be sent to; and the topic of positions beside it.
pub(super) fn ensure(clients: &Clients, topic: &str, sizes: Sizes) -> Result<Topic, Trouble> {
    let ask = Ask { reader: clients.consumer(Isolation::Committed)?, admin: clients.admin()? };
    let replicas = || TopicReplication::Fixed(sizes.replication_factor.unwrap_or(-1));
    // Written with every batch and read from its end: small segments keep what is cleaned late small too. One partition, because a
    // position's place must not depend on how many there are.
    let positions = NewTopic::new(POSITIONS_TOPIC, 1, replicas())
        .set("cleanup.policy", "compact")
        .set("segment.bytes", "16777216")
        .set("min.cleanable.dirty.ratio", "0.1");
    ask.one(POSITIONS_TOPIC, &positions)?;
    let new = NewTopic::new(topic, sizes.partitions.unwrap_or(-1), replicas())
        .set("cleanup.policy", "compact")
        .set("max.message.bytes", RECORD_LIMIT);
    ask.one(topic, &new)
}

/// The partitions of a topic that somebody else makes, and that may be read as a table.
pub(super) fn find(clients: &Clients, name: &str) -> Result<Vec<i32>, Trouble> {
    let ask = Ask { reader: clients.consumer(Isolation::Committed)?, admin: clients.admin()? };
    let partitions = partitions(&ask.reader, name)?.ok_or_else(|| missing(name))?;
    ask.check(name)?;
    Ok(partitions)
}

/// What to say of a topic that is not there, and that is not ours to make.
pub(super) fn missing(name: &str) -> Trouble {
    let detail = format!("there is no topic {name}: the sidecar that broadcasts the kind makes it");
    Trouble::new(Failure::Renew, Cause::Topic, detail)
}

/// The partitions of a topic, or nothing where there is no such topic.
pub(super) fn partitions(reader: &BaseConsumer<Context>, name: &str) -> Result<Option<Vec<i32>>, Trouble> {
    let doing = || format!("ask for topic {name}");
    let metadata = metadata(reader, name).map_err(|error| Trouble::of(&doing(), &error))?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
    match topic.error().map(RDKafkaErrorCode::from) {
        None => Ok(Some(topic.partitions().iter().map(|partition| partition.id()).collect())),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        Some(RDKafkaErrorCode::LeaderNotAvailable) => Ok(Some(Vec::new())),
        Some(code) => Err(Trouble::of(&doing(), &KafkaError::MetadataFetch(code))),
    }
}

/// Asks in slices: a connection that Kafka refuses is told by an event, and need not be waited for.
fn metadata(reader: &BaseConsumer<Context>, name: &str) -> Result<rdkafka::metadata::Metadata, KafkaError> {
    let begun = Instant::now();
    loop {
        let answer = reader.fetch_metadata(Some(name), SLICE);
        if answer.is_ok() {
            return answer;
        }
        // Without a wait the first log line would look like the end of what librdkafka has to say.
        while reader.poll(EVENTS).is_some() {}
        if begun.elapsed() > PATIENCE || reader.context().is_refused() {
            return answer;
        }
    }
}

impl Ask {
    fn one(&self, name: &str, new: &NewTopic<'_>) -> Result<Topic, Trouble> {
        let mut created = false;
        let deadline = Instant::now() + SPREAD;
        let partitions = loop {
            match partitions(&self.reader, name)? {
                Some(partitions) if !partitions.is_empty() => break partitions,
                None if !created => created = self.create(name, new)?,
                _ if Instant::now() > deadline => {
                    let detail =
                        format!("topic {name} has no partitions yet, {} s after it was made", SPREAD.as_secs());
                    return Err(Trouble::new(Failure::Renew, Cause::Topic, detail));
                }
                _ => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let record_limit = self.check(name)?;
        Ok(Topic { partitions, created, record_limit })
    }

    /// Whether it was us who made it.
    fn create(&self, name: &str, new: &NewTopic<'_>) -> Result<bool, Trouble> {
        let by_hand = format!(
            "create it with cleanup.policy=compact{}",
            if name == POSITIONS_TOPIC { " and one partition" } else { "" }
        );
        let Some(admin) = &self.admin else {
            let detail =
                format!("topic {name} is not there, and with OAUTHBEARER the sidecar cannot make it: {by_hand}");
            return Err(Trouble::new(Failure::Renew, Cause::Topic, detail));
        };
        let doing = format!("create topic {name}");
        let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
        let answers = block_on(admin.create_topics([new], &options)).map_err(|error| Trouble::of(&doing, &error))?;
        match answers.into_iter().next() {
            Some(Ok(_)) => {
                tracing::info!(topic = name, "created the topic");
                Ok(true)
            }
            Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | None => Ok(false),
            Some(Err((
                _,
                code @ (RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed),
            ))) => {
                let detail = format!(
                    "topic {name} is not there, and the sidecar's user may not make it ({code}): {by_hand}, or give the user the right to"
                );
                Err(Trouble::new(Failure::Renew, Cause::Denied, detail))
            }
            Some(Err((_, code))) => Err(Trouble::of(&doing, &KafkaError::AdminOp(code))),
        }
    }

    /// The largest record that the topic takes, if it may be known. A topic that forgets otherwise than by key is refused.
    fn check(&self, name: &str) -> Result<Option<usize>, Trouble> {
        let unseen = |why: &dyn std::fmt::Display| {
            tracing::warn!(topic = name, %why, "cannot see the topic's settings: make sure that its cleanup.policy is compact");
        };
        let Some(admin) = &self.admin else {
            unseen(&"OAUTHBEARER");
            return Ok(None);
        };
        let doing = format!("ask for the settings of topic {name}");
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let answers = block_on(admin.describe_configs([&ResourceSpecifier::Topic(name)], &options))
            .map_err(|error| Trouble::of(&doing, &error))?;
        let settings: ConfigResource = match answers.into_iter().next() {
            Some(Ok(settings)) => settings,
            Some(Err(
                code @ (RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed),
            )) => {
                unseen(&code);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_partitions_than_configured_are_remarked_and_more_are_not() {
        let sizes = |partitions| Sizes { partitions, replication_factor: None };
        let topic = Topic { partitions: vec![0, 1], created: false, record_limit: None };
        let remark = sizes(Some(6)).remark("todos", &topic).unwrap();
        assert!(remark.contains("todos") && remark.contains("2 of the 6"), "{remark}");
        for enough in [None, Some(1), Some(2)] {
            assert_eq!(sizes(enough).remark("todos", &topic), None);
        }
    }
}
