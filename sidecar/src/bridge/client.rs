//! How librdkafka is set up: the properties of each client, its log lines, its error events.
//!
//! Owns what the broadcast's promises need of librdkafka; everything else is the configuration's. Never sends or reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::mpsc;

use crate::bridge::trouble::{Cause, cause};
use crate::bridge::worker::Report;
use crate::config::{Delivery, KafkaConfig};

/// A hung transaction holds up every read_committed consumer of the topic until the broker ends it, so it must not be long; a batch
/// needs some milliseconds.
const TRANSACTION_TIMEOUT_MS: &str = "15000";
/// The broker decides how large a record may be; the client only must not stand in the way of what etcd can hold.
const MESSAGE_MAX_BYTES: &str = "8388608";
/// librdkafka's own default.
const BATCH_BYTES: usize = 1_000_000;

/// What records and committed offsets a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Up to the first open transaction, without aborted ones.
    Committed,
    /// Everything: for the true end of a partition.
    Uncommitted,
}

/// Makes clients.
#[derive(Debug, Clone)]
pub(super) struct Clients {
    properties: BTreeMap<String, String>,
    identity: String,
    delivery: Delivery,
    context: Context,
}

impl Clients {
    pub(super) fn new(kafka: &KafkaConfig, identity: String, reports: mpsc::Sender<Report>) -> Self {
        let context = Context { reports, last: Arc::default() };
        Self { properties: kafka.properties.clone(), identity, delivery: kafka.delivery, context }
    }

    /// Whether librdkafka knows the properties.
    pub(super) fn check(&self) -> Result<(), KafkaError> {
        self.producer(None).create_native_config()?;
        self.reader(Isolation::Committed).create_native_config().map(drop)
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// For records and position. `record_limit` is the topic's: a batch of small records must not be refused for its size.
    pub(super) fn producer(&self, record_limit: Option<usize>) -> ClientConfig {
        let batch = record_limit.map_or(BATCH_BYTES, |limit| limit.min(BATCH_BYTES));
        let mut config = ClientConfig::new();
        config.set("linger.ms", "0").set("message.max.bytes", MESSAGE_MAX_BYTES).set("batch.size", batch.to_string());
        if self.delivery == Delivery::ExactlyOnce {
            config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
        }
        self.configured(&mut config);
        config.set("enable.idempotence", "true").set("acks", "all").set("partitioner", "murmur2_random");
        if self.delivery == Delivery::ExactlyOnce {
            config.set("transactional.id", &self.identity);
        }
        config
    }

    /// For positions, ends and reading back. The group is never joined: librdkafka wants a name to assign partitions.
    pub(super) fn reader(&self, isolation: Isolation) -> ClientConfig {
        let mut config = ClientConfig::new();
        self.configured(&mut config);
        config
            .set("group.id", &self.identity)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set(
                "isolation.level",
                if isolation == Isolation::Committed { "read_committed" } else { "read_uncommitted" },
            );
        config
    }

    pub(super) fn admin(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        self.configured(&mut config);
        config
    }

    pub(super) fn make<T: FromClientConfigAndContext<Context>>(&self, config: &ClientConfig) -> Result<T, KafkaError> {
        config.create_with_context(self.context.clone())
    }

    fn configured(&self, config: &mut ClientConfig) {
        config.set("client.id", "kab-sidecar");
        // Idle connections are closed by brokers all the time; that is no news.
        config.set("log.connection.close", "false");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set_log_level(RDKafkaLogLevel::Info);
    }
}

/// What librdkafka says on the side; clones speak to the same bridge.
#[derive(Debug, Clone)]
pub(super) struct Context {
    reports: mpsc::Sender<Report>,
    last: Arc<Mutex<Option<String>>>,
}

impl Context {
    /// Why Kafka lately refused a connection, once.
    pub(super) fn take_last(&self) -> Option<String> {
        self.last.lock().take()
    }

    /// Tells the bridge why a call takes long. A full channel means that it has news enough.
    pub(super) fn notice(&self, cause: Cause, why: &str) {
        let _ = self.reports.try_send(Report::Notice(cause, why.to_owned()));
    }
}

impl ClientContext for Context {
    /// librdkafka repeats a failing connection every few seconds at level error: the bridge tells that once, so here it is for debugging.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning | RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::debug!(target: "librdkafka", facility, "{message}");
            }
            RDKafkaLogLevel::Debug => tracing::trace!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
        // What follows counts repetitions, and would look like news each time.
        let reason = reason.split(" (after ").next().unwrap_or(reason);
        match error.rdkafka_error_code() {
            Some(code @ (RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Resolve)) => {
                self.notice(cause(code), reason)
            }
            Some(code) if cause(code) == Cause::Denied => {
                *self.last.lock() = Some(reason.to_owned());
                self.notice(Cause::Denied, reason);
            }
            _ => {}
        }
    }
}

impl ConsumerContext for Context {}
