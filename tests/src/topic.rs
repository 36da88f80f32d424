//! A topic as a downstream consumer sees it: everything, from the beginning, committed records only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use contract::record::{Event, header};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::wait;

/// A record, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `NAMESPACE/ID`.
    pub key: String,
    /// All headers; each stands once.
    pub headers: BTreeMap<String, String>,
    /// The value, absent for a tombstone.
    pub value: Option<serde_json::Value>,
    /// The partition it was read from.
    pub partition: i32,
    /// Its place there.
    pub offset: i64,
    /// When it was sent, in milliseconds since 1970.
    pub timestamp: i64,
}

impl Record {
    /// What it tells; a tombstone tells nothing by itself.
    pub fn event(&self) -> Option<Event> {
        Event::of_type(self.headers.get(header::TYPE)?)
    }

    /// `ce_id`, empty for a tombstone.
    pub fn id(&self) -> &str {
        self.headers.get(header::ID).map_or("", String::as_str)
    }
}

/// Everything in the topic now, in the order of each partition. A topic that does not exist is empty.
///
/// # Errors
/// When the brokers do not answer within ten seconds, or a record is not what the contract says.
pub async fn read(brokers: &str, topic: &str) -> anyhow::Result<Vec<Record>> {
    read_as(brokers, topic, Duration::from_secs(10), Ok).await
}

/// The same of a topic that may be long: of each record only what is wanted is kept, and reading may take so long.
///
/// # Errors
/// When the brokers do not answer in time, a record is not what the contract says, or `wanted` fails.
pub async fn read_as<Wanted: Send + 'static>(
    brokers: &str,
    topic: &str,
    limit: Duration,
    wanted: impl Fn(Record) -> anyhow::Result<Wanted> + Send + 'static,
) -> anyhow::Result<Vec<Wanted>> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || read_blocking(&brokers, &topic, limit, &wanted)).await?
}

/// Waits until the topic's records satisfy `enough`, and answers them.
///
/// # Errors
/// After [`wait::LIMIT`], with the records seen last.
pub async fn until(
    brokers: &str,
    topic: &str,
    what: &str,
    enough: impl Fn(&[Record]) -> bool,
) -> anyhow::Result<Vec<Record>> {
    wait::until(what, wait::LIMIT, || async {
        let records = read(brokers, topic).await?;
        if enough(&records) { Ok(records) } else { bail!("{}", summary(&records)) }
    })
    .await
}

/// One line a record, for people.
pub fn summary(records: &[Record]) -> String {
    let lines: Vec<String> = records
        .iter()
        .map(|record| {
            let event = record.event().map_or("tombstone", Event::name);
            format!("{}/{} {} {event} {}", record.partition, record.offset, record.key, record.id())
        })
        .collect();
    format!("{} records\n  {}", lines.len(), lines.join("\n  "))
}

fn read_blocking<Wanted>(
    brokers: &str,
    topic: &str,
    limit: Duration,
    wanted: &dyn Fn(Record) -> anyhow::Result<Wanted>,
) -> anyhow::Result<Vec<Wanted>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "kab-test-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()
        .context("failed to create a consumer")?;
    let metadata = consumer.fetch_metadata(Some(topic), limit).context("failed to ask the brokers for the topic")?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(Vec::new()) };
    let mut assignment = TopicPartitionList::new();
    for partition in found.partitions() {
        assignment.add_partition_offset(topic, partition.id(), Offset::Beginning)?;
    }
    let mut open = found.partitions().len();
    if open == 0 {
        return Ok(Vec::new());
    }
    consumer.assign(&assignment)?;
    let (start, mut records) = (Instant::now(), Vec::new());
    while open > 0 {
        if start.elapsed() > limit {
            bail!("failed to read {topic} to its end within {} s", limit.as_secs());
        }
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
            Some(Err(error)) => return Err(error).context(format!("failed to read {topic}")),
            Some(Ok(message)) => records.push(wanted(owned(&message)?)?),
        }
    }
    Ok(records)
}

fn owned(message: &rdkafka::message::BorrowedMessage<'_>) -> anyhow::Result<Record> {
    let key = message.key().context("a record has no key")?;
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|header| {
                (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned())
            })
            .collect()
    });
    Ok(Record {
        key: String::from_utf8(key.to_vec()).context("a key is not UTF-8")?,
        headers: headers.unwrap_or_default(),
        value: message.payload().map(serde_json::from_slice).transpose().context("a value is not JSON")?,
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or_default(),
    })
}
