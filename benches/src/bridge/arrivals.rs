//! A downstream consumer: reads a topic from its end on, committed records only, and keeps when each version was there.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use contract::record::header;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// Until the consumer is there, or the last record.
const LIMIT: Duration = Duration::from_secs(20);

/// A consumer at work.
pub(super) struct Arrivals {
    over: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<HashMap<u64, Instant>>>,
}

impl Arrivals {
    /// Begins at the end of the topic; returns once nothing that is written from now on can be missed.
    pub(super) async fn of(brokers: &str, topic: &str) -> anyhow::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let thread = std::thread::spawn({
            let (brokers, topic, over) = (brokers.to_owned(), topic.to_owned(), over.clone());
            move || {
                let consumer = consumer(&brokers, &topic)?;
                let _ = ready.send(());
                read(&consumer, &over)
            }
        });
        tokio::time::timeout(LIMIT, is_ready).await?.context("the consumer does not start")?;
        Ok(Self { over, thread })
    }

    /// What arrived, once nothing has come for a second.
    pub(super) async fn end(self) -> anyhow::Result<HashMap<u64, Instant>> {
        self.over.store(true, Ordering::Relaxed);
        let joined = tokio::task::spawn_blocking(|| self.thread.join()).await?;
        joined.map_err(|_| anyhow!("the consumer has panicked"))?
    }
}

fn consumer(brokers: &str, topic: &str) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .create()?;
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT)?;
    let found = metadata.topics().first().context("no topic")?;
    let mut assignment = TopicPartitionList::new();
    for partition in found.partitions() {
        let (_, end) = consumer.fetch_watermarks(topic, partition.id(), LIMIT)?;
        assignment.add_partition_offset(topic, partition.id(), Offset::Offset(end))?;
    }
    consumer.assign(&assignment)?;
    let mut open = found.partitions().len();
    let start = Instant::now();
    while open > 0 {
        ensure!(start.elapsed() < LIMIT, "the consumer does not come to the end of {topic}");
        if let Some(Err(KafkaError::PartitionEOF(_))) = consumer.poll(Duration::from_millis(100)) {
            open -= 1;
        }
    }
    Ok(consumer)
}

fn read(consumer: &BaseConsumer, over: &AtomicBool) -> anyhow::Result<HashMap<u64, Instant>> {
    let mut seen = HashMap::new();
    let mut last = Instant::now();
    loop {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                last = Instant::now();
                if let Some(version) = version(&message) {
                    seen.entry(version).or_insert(last);
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => return Err(error.into()),
        }
        if over.load(Ordering::Relaxed) && last.elapsed() > Duration::from_secs(1) {
            return Ok(seen);
        }
    }
}

/// The version in `ce_id`.
pub(super) fn version(message: &BorrowedMessage<'_>) -> Option<u64> {
    let id = message.headers()?.iter().find(|found| found.key == header::ID)?;
    let (_, version) = str::from_utf8(id.value?).ok()?.rsplit_once('/')?;
    version.parse().ok()
}
