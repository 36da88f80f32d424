//! An entity of the campaign's own, which tells whether writes become records: written at the API server, and awaited by a consumer of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use contract::record::{Event, header};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{NAMESPACE, TOPIC};
use crate::{todos, wait};

/// One try to write.
const WRITE: Duration = Duration::from_secs(5);
/// A poll, after which it is looked whether the reader is to end.
const POLL: Duration = Duration::from_millis(100);

/// What was told of the probe, in its order: the two parts of `ce_id`, and the event.
type Told = Arc<Mutex<Vec<(String, u64, Event)>>>;

/// The entity `probe`.
pub(super) struct Probe {
    todos: Api<DynamicObject>,
    written: AtomicU64,
    told: Told,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Probe {
    /// Begins to read the topic, which is there.
    pub(super) fn start(kube: &kube::Client, brokers: &str) -> anyhow::Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "kab-test-probe")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            // After an outage it has to be back before it is missed.
            .set("reconnect.backoff.max.ms", "1000")
            .create()?;
        let metadata = consumer.fetch_metadata(Some(TOPIC), Duration::from_secs(20))?;
        let mut assignment = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            assignment.add_partition_offset(TOPIC, partition.id(), Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let (told, over) = (Told::default(), Arc::new(AtomicBool::new(false)));
        let reader = std::thread::Builder::new().name("probe".to_owned()).spawn({
            let (told, over) = (Arc::clone(&told), Arc::clone(&over));
            move || read(&consumer, &told, &over)
        })?;
        let todos = todos::api(kube, NAMESPACE);
        Ok(Self { todos, written: AtomicU64::new(0), told, over, reader: Some(reader) })
    }

    /// Writes until that succeeds, and waits for the record; the version.
    pub(super) async fn is_told(&self, limit: Duration) -> anyhow::Result<u64> {
        Ok(self.write_and_wait(limit).await?.0)
    }

    /// The same until the record says what happened, and not what somebody met who compared: then all that was written before is told too.
    pub(super) async fn is_told_as_it_happened(&self, limit: Duration) -> anyhow::Result<()> {
        for _ in 0..10 {
            if let (_, Event::Created | Event::Updated) = self.write_and_wait(limit).await? {
                return Ok(());
            }
        }
        bail!("the broadcast compares and compares")
    }

    async fn write_and_wait(&self, limit: Duration) -> anyhow::Result<(u64, Event)> {
        let before = self.told.lock().unwrap_or_else(PoisonError::into_inner).len();
        let (uid, version) = wait::until("the API server to take a write", limit, || self.write()).await?;
        let event = wait::until(&format!("a record of the probe, {uid}/{version}"), limit, || async {
            let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let new = told.get(before..).unwrap_or_default();
            // A write before it that was not answered may have had its effect after it.
            let found = new.iter().find(|(of, told, _)| *of == uid && *told >= version);
            found.map(|(_, _, event)| *event).with_context(|| format!("{new:?}"))
        })
        .await?;
        Ok((version, event))
    }

    async fn write(&self) -> anyhow::Result<(String, u64)> {
        let message = format!("probe-{}", self.written.fetch_add(1, Ordering::Relaxed));
        let object = todos::object("probe", &message)?;
        let (parameters, patch) = (PatchParams::apply("kab-test").force(), Patch::Apply(object));
        let written = tokio::time::timeout(WRITE, self.todos.patch("probe", &parameters, &patch)).await??;
        let version = written.metadata.resource_version.context("no version")?.parse()?;
        Ok((written.metadata.uid.context("no uid")?, version))
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // It ends after its poll.
        let _ = self.reader.take().map(JoinHandle::join);
    }
}

fn read(consumer: &BaseConsumer, told: &Told, over: &AtomicBool) {
    let key = contract::record::key(Some(NAMESPACE), "probe");
    while !over.load(Ordering::Relaxed) {
        // A broker that is away comes back.
        let Some(Ok(message)) = consumer.poll(POLL) else { continue };
        if message.key() != Some(key.as_bytes()) {
            continue;
        }
        let header = |name: &str| {
            let found = message.headers()?.iter().find(|header| header.key == name)?;
            std::str::from_utf8(found.value?).ok()
        };
        let id = header(header::ID).and_then(|id| id.rsplit_once('/'));
        let version = id.and_then(|(_, version)| version.parse().ok());
        let event = header(header::TYPE).and_then(Event::of_type);
        if let (Some((uid, _)), Some(version), Some(event)) = (id, version, event) {
            told.lock().unwrap_or_else(PoisonError::into_inner).push((uid.to_owned(), version, event));
        }
    }
}
