//! The producer of one broadcast: a batch and its position, all or nothing (exactly once), or in this order (at least once).
//!
//! Owns one librdkafka producer from its making to its end. Blocks, so only the worker's thread calls it. It waits for deliveries by
//! polling until nothing is in flight, and commits only then: librdkafka's own wait inside of a commit takes 100 ms.

use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::names::POSITIONS_TOPIC;
use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use sidecar_core::envelope::Record;
use sidecar_core::ledger::Failure;
use sidecar_core::ledger::position::Offsets;

use crate::bridge::client::Context;
use crate::bridge::term::Permit;
use crate::bridge::trouble::{Cause, Trouble, cause, code};
use crate::config::Delivery;

/// One blocking call to librdkafka takes at most about so long, so that a stop is seen.
const SLICE: Duration = Duration::from_secs(2);
/// How long a question may take that is asked only to know sooner.
const GLANCE: Duration = Duration::from_millis(500);
/// How long a new producer may take to become ready: it waits there for an older one's transaction to end.
const INITIALIZATION: Duration = Duration::from_secs(20);
/// After so long without deliveries a refused connection counts; brokers that restart refuse some for a moment.
const REFUSED: Duration = Duration::from_secs(1);
/// How often an abort is tried before the producer is given up; a new one of the same id aborts as well.
const ABORTS: u32 = 3;

/// Sends batches.
pub(super) struct Sender {
    producer: BaseProducer<Deliveries>,
    delivery: Delivery,
    topic: String,
    identity: String,
    stop: Permit,
}

impl Sender {
    /// A producer that is ready. Exactly once, every older one of the same identity can do nothing any more from now on, and what it had
    /// under way is decided.
    pub(super) fn open(
        config: &ClientConfig,
        context: Context,
        delivery: Delivery,
        topic: String,
        identity: String,
        stop: Permit,
    ) -> Result<Self, Trouble> {
        let deliveries = Deliveries { context, topic: topic.clone(), state: Arc::default() };
        let producer = BaseProducer::from_config_and_context(config, deliveries)
            .map_err(|error| Trouble::of("make a Kafka producer", &error))?;
        let sender = Self { producer, delivery, topic, identity, stop };
        // A token is asked for at once, and handed over here.
        sender.idle();
        if delivery == Delivery::ExactlyOnce {
            sender.repeat("make the producer ready for transactions", INITIALIZATION, |producer| {
                producer.init_transactions(SLICE)
            })?;
        }
        Ok(sender)
    }

    /// Serves librdkafka's events; for when nothing is to be sent.
    pub(super) fn idle(&self) {
        self.producer.poll(Duration::ZERO);
    }

    /// Whether the topic shows as much as these ends; for when nothing is to be sent. A broker that does not answer shows what is needed: whether it does
    /// is found out when there is something to send.
    ///
    /// # Errors
    /// When there is no such topic.
    pub(super) fn shows(&self, ends: &Offsets) -> Result<bool, Trouble> {
        let client = self.producer.client();
        let Ok(metadata) = client.fetch_metadata(Some(&self.topic), GLANCE) else { return Ok(true) };
        let found = metadata.topics().iter().find(|found| found.name() == self.topic);
        let error = found.map(|found| found.error().map(RDKafkaErrorCode::from));
        if matches!(
            error,
            None | Some(Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic))
        ) {
            let detail = format!("topic {} was deleted; it is made again, and all that exists told to it", self.topic);
            return Err(Trouble::new(Failure::Renew, Cause::Topic, detail));
        }
        Ok(ends.iter().all(|(partition, end)| {
            client.fetch_watermarks(&self.topic, *partition, GLANCE).map_or(true, |(_, shown)| shown >= *end)
        }))
    }

    /// Sends records and position. Returns the offsets behind the records.
    pub(super) fn send<'a>(
        &self,
        mut records: impl Iterator<Item = Record<'a>>,
        position: &str,
    ) -> Result<Offsets, Trouble> {
        self.deliveries().lock().clear();
        if self.stop.is_cancelled() {
            return Err(Trouble::stopped());
        }
        match self.delivery {
            Delivery::ExactlyOnce => self.transaction(records, position),
            Delivery::AtLeastOnce => {
                // Some may be there when others failed, so only reading the topic tells: never the same producer again.
                records.try_for_each(|record| self.record(&record))?;
                self.settle()?;
                self.position(position)?;
                self.settle()?;
                Ok(std::mem::take(&mut self.deliveries().lock().ends))
            }
        }
    }

    fn transaction<'a>(
        &self,
        mut records: impl Iterator<Item = Record<'a>>,
        position: &str,
    ) -> Result<Offsets, Trouble> {
        self.producer.begin_transaction().map_err(|error| self.trouble("begin a transaction", &error))?;
        let sent = records
            .try_for_each(|record| self.record(&record))
            .and_then(|()| self.position(position))
            .and_then(|()| self.settle())
            // The last moment at which nothing is told yet: a process that stood still until now may have lost its Lease.
            .and_then(|()| if self.stop.is_cancelled() { Err(Trouble::stopped()) } else { Ok(()) });
        if let Err(trouble) = sent {
            return Err(self.abort(self.explained(trouble)));
        }
        let ends = std::mem::take(&mut self.deliveries().lock().ends);
        self.commit().map(|()| ends)
    }

    /// Why the transaction failed, where the records only tell that they were swept away with it. Asked by beginning another one, which
    /// a transaction that failed refuses with its reason, and one that goes on refuses too.
    fn explained(&self, trouble: Trouble) -> Trouble {
        if trouble.cause != Cause::Other {
            return trouble;
        }
        match self.producer.begin_transaction() {
            Err(KafkaError::Transaction(told)) if told.txn_requires_abort() => {
                self.trouble("send a record", &KafkaError::Transaction(told))
            }
            _ => trouble,
        }
    }

    /// Until it is known whether the transaction is committed, this is asked again: a lost answer is not a failure.
    fn commit(&self) -> Result<(), Trouble> {
        loop {
            match self.producer.commit_transaction(SLICE) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    let trouble = self.trouble("commit a transaction", &error);
                    match &error {
                        _ if self.stop.is_cancelled() => return Err(Trouble::stopped()),
                        KafkaError::Transaction(told) if told.is_fatal() => return Err(trouble),
                        KafkaError::Transaction(told) if told.txn_requires_abort() => return Err(self.abort(trouble)),
                        // What became of it is for the position to tell.
                        KafkaError::Transaction(told) if told.is_retriable() && self.is_refused() => {
                            return Err(trouble);
                        }
                        KafkaError::Transaction(told) if told.is_retriable() => self.notice(&trouble),
                        _ => return Err(trouble),
                    }
                }
            }
        }
    }

    /// Ends the transaction, so that the batch can be sent again by this producer. `trouble` says why; it becomes
    /// worse when the abort fails too.
    fn abort(&self, trouble: Trouble) -> Trouble {
        let hopeless =
            matches!(trouble.failure, Failure::Fenced) || trouble.cause == Cause::Denied && self.is_refused();
        if hopeless || self.producer.client().fatal_error().is_some() {
            return trouble;
        }
        self.producer.purge(PurgeConfig::default().queue());
        // With no leave to go on there is no time either: aborting waits for what is in flight, only less finely.
        if self.drain().is_err() && !self.stop.is_cancelled() {
            return trouble;
        }
        for _ in 0..ABORTS {
            match self.producer.abort_transaction(SLICE) {
                Ok(()) if trouble.failure == Failure::TooLarge => return trouble,
                Ok(()) => return Trouble { failure: Failure::Again, ..trouble },
                Err(KafkaError::Transaction(error)) if error.is_retriable() && !self.stop.is_cancelled() => {}
                Err(error) => {
                    tracing::debug!(topic = self.topic, %error, "the abort failed too");
                    return trouble;
                }
            }
        }
        trouble
    }

    /// Gives one record to librdkafka.
    fn record(&self, record: &Record<'_>) -> Result<(), Trouble> {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new_with_capacity(record.headers.len()), |headers, (key, value)| {
                headers.insert(Header { key, value: Some(value.as_bytes()) })
            });
        let mut message = BaseRecord::<str, [u8], ()>::to(&self.topic).key(record.key.as_ref()).headers(headers);
        if let Some(value) = record.value {
            message = message.payload(value);
        }
        self.give(message)
    }

    fn position(&self, position: &str) -> Result<(), Trouble> {
        let message = BaseRecord::to(POSITIONS_TOPIC).partition(0).key(&*self.identity).payload(position.as_bytes());
        self.give(message)
    }

    fn give(&self, mut message: BaseRecord<'_, str, [u8], ()>) -> Result<(), Trouble> {
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if self.stop.is_cancelled() {
                        return Err(Trouble::stopped());
                    }
                    self.producer.poll(Duration::from_millis(5));
                    message = back;
                }
                Err((error, back)) => {
                    if code(&error) == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
                        let key = String::from_utf8_lossy(back.key.unwrap_or_default().as_bytes()).into_owned();
                        return Err(too_large(&self.topic, &key, back.payload.map_or(0, <[u8]>::len)));
                    }
                    return Err(self.trouble("send a record", &error));
                }
            }
        }
    }

    /// Waits until every delivery is reported, and says what failed.
    fn settle(&self) -> Result<(), Trouble> {
        self.drain()?;
        let mut deliveries = self.deliveries().lock();
        if let Some((key, bytes)) = deliveries.too_large.take() {
            return Err(too_large(&self.topic, &key, bytes));
        }
        match deliveries.failed.take() {
            Some(error) => {
                drop(deliveries);
                Err(self.trouble("send a record", &error))
            }
            None => Ok(()),
        }
    }

    /// Waits until nothing is in flight: with a fine step at first, because a healthy broker answers within milliseconds. It sleeps between looks:
    /// rdkafka's own wait rounds what is left of it down to whole milliseconds, and turns round and round through the last one.
    fn drain(&self) -> Result<(), Trouble> {
        let started = Instant::now();
        loop {
            let in_flight = self.producer.in_flight_count();
            if in_flight == 0 {
                return Ok(());
            }
            if self.stop.is_cancelled() {
                return Err(Trouble::stopped());
            }
            if started.elapsed() > REFUSED && self.is_refused() {
                // It would be tried again until the records are too old, with secrets that may have been replaced meanwhile.
                return Err(Trouble::refused());
            }
            self.producer.poll(Duration::ZERO);
            if self.producer.in_flight_count() < in_flight {
                continue;
            }
            std::thread::sleep(match started.elapsed().as_millis() {
                0..20 => Duration::from_micros(250),
                20..100 => Duration::from_millis(1),
                100..2_000 => Duration::from_millis(10),
                _ => Duration::from_millis(100),
            });
        }
    }

    /// Calls until it works, for at most `limit`.
    fn repeat(
        &self,
        doing: &str,
        limit: Duration,
        call: impl Fn(&BaseProducer<Deliveries>) -> Result<(), KafkaError>,
    ) -> Result<(), Trouble> {
        let started = Instant::now();
        loop {
            if self.stop.is_cancelled() {
                // Being made ready fences whoever was ready before: that may be the next leader by now.
                return Err(Trouble::stopped());
            }
            let outcome = call(&self.producer);
            // Events first: they tell why it does not work.
            self.idle();
            match outcome {
                Ok(()) => return Ok(()),
                Err(_) if self.stop.is_cancelled() => return Err(Trouble::stopped()),
                Err(_) if self.is_refused() => {
                    return Err(Trouble::refused());
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() && started.elapsed() < limit => {
                    self.notice(&Trouble::of(doing, &KafkaError::Transaction(error)));
                }
                Err(error) => return Err(self.trouble(doing, &error)),
            }
        }
    }

    /// What an error means; a fatal one has happened before the call that it fails.
    fn trouble(&self, doing: &str, error: &KafkaError) -> Trouble {
        let mut trouble = Trouble::of(doing, error);
        if let Some((code, reason)) = self.producer.client().fatal_error() {
            if cause(code) == Cause::Fenced {
                trouble = Trouble::of(doing, &KafkaError::Global(code));
            } else {
                trouble.detail = format!("{} ({reason})", trouble.detail);
            }
        }
        trouble
    }

    fn is_refused(&self) -> bool {
        self.producer.context().context.is_refused()
    }

    fn notice(&self, trouble: &Trouble) {
        self.idle();
        self.producer.context().context.notice(trouble.cause, &trouble.detail);
    }

    fn deliveries(&self) -> &Mutex<State> {
        &self.producer.context().state
    }
}

fn too_large(topic: &str, key: &str, bytes: usize) -> Trouble {
    let detail = format!(
        "{key} is {bytes} bytes, more than topic {topic} takes: raise the topic's max.message.bytes, or make the entity smaller; \
         until then nothing is broadcast, and nothing is left out"
    );
    Trouble::new(Failure::TooLarge, Cause::TooLarge, detail)
}

/// What librdkafka reports of the records in flight.
struct Deliveries {
    context: Context,
    topic: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    ends: Offsets,
    failed: Option<KafkaError>,
    too_large: Option<(String, usize)>,
}

impl State {
    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.context.generate_oauth_token(config)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut state = self.state.lock();
        match result {
            Ok(message) if message.topic() == self.topic => {
                let end = state.ends.entry(message.partition()).or_default();
                *end = (message.offset() + 1).max(*end);
            }
            Ok(_) => {}
            // A batch that is too large fails with all its records: the largest is the one to look at.
            Err((error, message)) if code(error) == Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                let bytes = message.payload_len();
                if state.too_large.as_ref().is_none_or(|(_, largest)| *largest < bytes) {
                    let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
                    state.too_large = Some((key, bytes));
                }
            }
            // What follows the first failure is only swept away with it.
            Err((error, _)) => drop(state.failed.get_or_insert_with(|| error.clone())),
        }
    }
}

#[cfg(test)]
#[path = "producer_tests.rs"]
mod tests;
