//! The same bytes by librdkafka's own producer, as it comes and without transactions; and what a topic has, with the broker's times.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::arrivals::version;

/// For one reading or one sending of everything.
const LIMIT: Duration = Duration::from_secs(120);

/// A record as it lies in the topic.
pub(super) struct Lying {
    pub(super) message: OwnedMessage,
    /// Absent for a tombstone.
    pub(super) version: Option<u64>,
    /// Milliseconds: when the broker appended it.
    pub(super) appended: i64,
}

/// All committed records from an offset on; the topics here have one partition.
pub(super) async fn read(brokers: &str, topic: &str, from: i64) -> anyhow::Result<Vec<Lying>> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .create()?;
        let mut assignment = TopicPartitionList::new();
        assignment.add_partition_offset(&topic, 0, Offset::Offset(from))?;
        consumer.assign(&assignment)?;
        let (start, mut all) = (Instant::now(), Vec::new());
        loop {
            ensure!(start.elapsed() < LIMIT, "failed to read {topic} to its end");
            match consumer.poll(Duration::from_millis(200)) {
                None => {}
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(all),
                Some(Err(error)) => return Err(error).context(format!("failed to read {topic}")),
                Some(Ok(message)) => all.push(Lying {
                    version: version(&message),
                    appended: message.timestamp().to_millis().context("a record without a time")?,
                    message: message.detach(),
                }),
            }
        }
    })
    .await?
}

/// Where the next record will lie.
pub(super) async fn end(brokers: &str, topic: &str) -> anyhow::Result<i64> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &brokers).set("group.id", "bench").create()?;
        Ok(consumer.fetch_watermarks(&topic, 0, LIMIT)?.1)
    })
    .await?
}

/// Sends the same keys, headers and values to another topic, with the producer's own settings.
pub(super) async fn send(brokers: &str, topic: &str, records: Vec<Lying>) -> anyhow::Result<()> {
    let (brokers, topic) = (brokers.to_owned(), topic.to_owned());
    tokio::task::spawn_blocking(move || {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", &brokers).create()?;
        // A client in steady work knows its topic.
        producer.client().fetch_metadata(Some(&topic), LIMIT)?;
        for Lying { message, .. } in &records {
            let mut record = BaseRecord::<[u8], [u8]>::to(&topic)
                .key(message.key().unwrap_or_default())
                .headers(message.headers().cloned().unwrap_or_else(OwnedHeaders::new));
            if let Some(value) = message.payload() {
                record = record.payload(value);
            }
            while let Err((error, back)) = producer.send(record) {
                if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                    bail!(error);
                }
                producer.poll(Duration::from_millis(1));
                record = back;
            }
            producer.poll(Duration::ZERO);
        }
        Ok(producer.flush(LIMIT)?)
    })
    .await?
}

/// Records a second by the broker's clock. What came with the first batch does not count, because nobody knows when it was begun.
pub(super) fn rate(records: &[Lying]) -> anyhow::Result<f64> {
    let first = records.first().context("no records")?.appended;
    let last = records.last().context("no records")?.appended;
    ensure!(last > first, "everything came at once");
    let behind = records.iter().filter(|record| record.appended > first).count();
    #[expect(clippy::cast_precision_loss, reason = "a hundred thousand records within minutes")]
    Ok(behind as f64 * 1000.0 / (last - first) as f64)
}
