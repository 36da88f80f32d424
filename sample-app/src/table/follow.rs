//! Follows the topic: the only file that talks to Kafka.
//!
//! Reads all partitions from the beginning with `read_committed`, so that a transaction that was aborted is never seen.
//! Commits no offsets and joins no group. Runs on a thread of its own, called by `bin/todo-table.rs`; waits for Kafka as
//! long as it takes, and says so once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaErrorCode;
use serde::Serialize;

use super::Shared;
use super::record::Record;

/// How long one look for records takes at most, and so how soon the end is noticed.
const POLL: Duration = Duration::from_millis(200);
/// The pause between two looks at the topic's partitions, when something is amiss and when all is well.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How long Kafka may take to answer that.
const ANSWER: Duration = Duration::from_secs(2);

/// What the consumer can be told.
#[derive(Debug, Clone, clap::Args)]
pub struct Settings {
    /// Kafka's addresses.
    #[arg(long, env = "KAFKA_BROKERS", default_value = "127.0.0.1:9092", value_name = "HOST:PORT,…")]
    pub brokers: String,
    /// The topic of todos.
    #[arg(long, env = "TODO_TABLE_TOPIC", default_value = "k8sasbackend.com.todos")]
    pub topic: String,
    /// A librdkafka property (TLS, SASL …); may be given several times.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    pub properties: Vec<(String, String)>,
    /// Read the topic from the beginning again after an absence this long. Must be less than the topic's
    /// delete.retention.ms.
    #[arg(long, default_value_t = 12 * 60 * 60, value_name = "SECONDS")]
    pub start_over_after: u64,
    /// Print a line for each record.
    #[arg(long)]
    pub print: bool,
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a property is given as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// How the following goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// Absent while all is well; else what is being waited for.
    pub waiting_for: Option<String>,
    /// Whether the end of each partition has been reached since the start from the beginning: the table is complete.
    pub synced: bool,
    /// The next offset of each partition.
    pub next_offsets: BTreeMap<i32, i64>,
    /// How often the topic was begun anew after too long an absence.
    pub started_over: u64,
}

/// Follows the topic into a table.
#[derive(Debug)]
pub struct Follower {
    settings: Settings,
    table: Shared,
    progress: Arc<Mutex<Progress>>,
}

impl Follower {
    /// A follower that has not begun yet.
    pub fn new(settings: Settings, table: Shared) -> Self {
        let waiting_for = Some("Kafka's first answer".to_owned());
        let progress = Progress { waiting_for, synced: false, next_offsets: BTreeMap::new(), started_over: 0 };
        Self { settings, table, progress: Arc::new(Mutex::new(progress)) }
    }

    /// Where to read how it goes.
    pub fn progress(&self) -> Arc<Mutex<Progress>> {
        Arc::clone(&self.progress)
    }

    /// Follows until `end` is set. Blocks.
    ///
    /// # Errors
    /// When librdkafka refuses the properties.
    pub fn run(&self, end: &AtomicBool) -> KafkaResult<()> {
        loop {
            let consumer: BaseConsumer<Quiet> = self.configuration().create_with_context(Quiet)?;
            if self.follow(&consumer, end)? == Outcome::Ended {
                return Ok(());
            }
            tracing::warn!("was away for too long to know of all deletions: reading the topic from the beginning");
            self.table.lock().start_over();
            let mut progress = self.progress.lock();
            (progress.synced, progress.next_offsets) = (false, BTreeMap::new());
            progress.started_over += 1;
        }
    }

    fn configuration(&self) -> ClientConfig {
        let mut configuration = ClientConfig::new();
        configuration.extend(self.settings.properties.iter().cloned());
        configuration
            .set("bootstrap.servers", &self.settings.brokers)
            // librdkafka wants a name here even of a consumer that joins no group.
            .set("group.id", "todo-table")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true");
        configuration
    }

    fn follow(&self, consumer: &BaseConsumer<Quiet>, end: &AtomicBool) -> KafkaResult<Outcome> {
        let patience = Duration::from_secs(self.settings.start_over_after);
        let mut partitions = Partitions::default();
        // Wall-clock time: a machine that slept was away, too.
        let mut heard = SystemTime::now();
        let mut looked: Option<Instant> = None;
        let mut disturbed = true;
        while !end.load(Ordering::Relaxed) {
            let pause = if disturbed { LOOK.0 } else { LOOK.1.min(patience / 2) };
            if looked.is_none_or(|looked| looked.elapsed() >= pause) {
                let found = self.partitions(consumer);
                looked = Some(Instant::now());
                match found {
                    Err(waiting_for) => {
                        disturbed = true;
                        self.wait_for(waiting_for);
                    }
                    Ok(_) if heard.elapsed().unwrap_or_default() > patience => return Ok(Outcome::TooLongAway),
                    Ok(found) => {
                        (heard, disturbed) = (SystemTime::now(), false);
                        partitions.assign_new(consumer, &self.settings.topic, &found)?;
                        self.all_is_well();
                    }
                }
            }
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => self.take(&Record::of(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => partitions.reached_end(partition),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    return Err(KafkaError::MessageConsumptionFatal(code));
                }
                Some(Err(error)) => {
                    // What it amounts to is found out by looking; but not once for each of them: librdkafka queues many,
                    // records wait behind them, and a look takes a while.
                    tracing::debug!(%error, "reading was interrupted");
                    disturbed = true;
                }
            }
            self.progress.lock().synced |= partitions.are_all_read();
        }
        Ok(Outcome::Ended)
    }

    /// The topic's partitions, or what has to be waited for.
    fn partitions(&self, consumer: &BaseConsumer<Quiet>) -> Result<Vec<i32>, String> {
        let topic = &self.settings.topic;
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER);
        let metadata = metadata.map_err(|error| {
            tracing::debug!(%error, "no metadata");
            format!("Kafka at {} to answer", self.settings.brokers)
        })?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.map(|found| found.error()) {
            Some(Some(error)) => Err(format!("topic {topic} ({})", RDKafkaErrorCode::from(error))),
            None => Err(format!("topic {topic}")),
            Some(None) => {
                Ok(found.iter().flat_map(|found| found.partitions()).map(|partition| partition.id()).collect())
            }
        }
    }

    #[expect(clippy::print_stdout, reason = "the records are this program's result, not its log")]
    fn take(&self, record: &Record) {
        if self.settings.print {
            println!("{record}");
        }
        self.progress.lock().next_offsets.insert(record.partition, record.offset + 1);
        self.table.lock().apply(record.clone());
    }

    fn wait_for(&self, what: String) {
        let mut progress = self.progress.lock();
        if progress.waiting_for.as_ref() != Some(&what) {
            tracing::warn!("waiting for {what}");
        }
        progress.waiting_for = Some(what);
    }

    fn all_is_well(&self) {
        if self.progress.lock().waiting_for.take().is_some() {
            tracing::info!(topic = self.settings.topic, "following the topic");
        }
    }
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Ended,
    TooLongAway,
}

/// The partitions being read, and whether each has been read to its end once.
#[derive(Default)]
struct Partitions(BTreeMap<i32, bool>);

impl Partitions {
    fn assign_new(&mut self, consumer: &BaseConsumer<Quiet>, topic: &str, found: &[i32]) -> KafkaResult<()> {
        let mut new = TopicPartitionList::new();
        for &partition in found.iter().filter(|partition| !self.0.contains_key(partition)) {
            new.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        if new.count() > 0 {
            consumer.incremental_assign(&new)?;
            self.0.extend(new.elements().iter().map(|element| (element.partition(), false)));
        }
        Ok(())
    }

    fn reached_end(&mut self, partition: i32) {
        self.0.insert(partition, true);
    }

    fn are_all_read(&self) -> bool {
        !self.0.is_empty() && self.0.values().all(|read| *read)
    }
}

/// Keeps librdkafka's own words at debug level: what they amount to is said by [`Follower::wait_for`], once.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "librdkafka: {reason}");
    }
}

impl ConsumerContext for Quiet {}
