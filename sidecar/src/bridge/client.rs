//! How librdkafka is set up: the properties of each client, secrets and tokens from files, its log lines, its error events.
//!
//! Owns what the broadcast's promises need of librdkafka; everything else is the configuration's. Files are read for each client anew, so
//! a secret that was replaced is in use from the next connection on. Never sends or reads records.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::admin::AdminClient;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use sidecar_core::ledger::Failure;
use tokio::sync::mpsc;

use crate::bridge::BridgeError;
use crate::bridge::secrets::Secrets;
use crate::bridge::token::TokenFile;
use crate::bridge::trouble::{Cause, Trouble, cause};
use crate::bridge::worker::Report;
use crate::config::{Delivery, KafkaConfig};

/// A hung transaction holds up every read_committed consumer of the topic until the broker ends it, so it must not be long; a batch
/// needs some milliseconds.
const TRANSACTION_TIMEOUT_MS: &str = "15000";
/// The broker decides how large a record may be; the client only must not stand in the way of what etcd can hold.
const MESSAGE_MAX_BYTES: &str = "8388608";
/// librdkafka's own default.
const BATCH_BYTES: usize = 1_000_000;
/// What a reader holds that was fetched and not taken yet.
const READ_AHEAD_KIB: &str = "8192";
/// A token is a file's content: a client that asks for it has it at once.
const TOKEN: Duration = Duration::from_secs(1);

/// What records and committed offsets a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Up to the first open transaction, without aborted ones.
    Committed,
    /// Everything: for the true end of a partition.
    Uncommitted,
}

/// Makes clients.
#[derive(Clone)]
pub(super) struct Clients {
    properties: BTreeMap<String, String>,
    files: BTreeMap<String, PathBuf>,
    identity: String,
    delivery: Delivery,
    context: Context,
}

impl Clients {
    pub(super) fn new(kafka: &KafkaConfig, identity: String, reports: mpsc::Sender<Report>) -> Self {
        let secrets = Secrets::of(&kafka.properties);
        let token = kafka.token_file.clone().map(|path| TokenFile { path, secrets: secrets.clone() });
        let context = Context { reports, last: Arc::default(), secrets, token, tokens: Arc::default() };
        let (properties, files) = (kafka.properties.clone(), kafka.property_files.clone());
        Self { properties, files, identity, delivery: kafka.delivery, context }
    }

    /// Whether librdkafka knows the properties, and the files that they name are there.
    pub(super) fn check(&self) -> Result<(), BridgeError> {
        let unreadable = |key: String, path: &Path, error: &std::io::Error| BridgeError::File {
            key,
            fault: format!("failed to read {}: {error}", path.display()),
        };
        for (name, path) in &self.files {
            let read = self.context.secrets.read(path);
            read.map_err(|error| unreadable(format!("propertyFiles.{name}"), path, &error))?;
        }
        if let Some(TokenFile { path, secrets }) = &self.context.token {
            secrets.read(path).map_err(|error| unreadable("tokenFile".to_owned(), path, &error))?;
        }
        let is_path = |name: &str| name.starts_with("ssl.") && name.ends_with(".location") && !name.contains("engine");
        for (name, path) in self.properties.iter().filter(|(name, path)| is_path(name) && *path != "probe") {
            let path = Path::new(path);
            path.metadata().map_err(|error| unreadable(format!("properties.{name}"), path, &error))?;
        }
        let wrong = |error: KafkaError| {
            let (property, fault) = match error {
                KafkaError::ClientConfig(_, fault, property, _) => (property, fault),
                other => ("?".to_owned(), other.to_string()),
            };
            BridgeError::Property { property, fault: self.hide(&fault) }
        };
        let gone = |trouble: Trouble| BridgeError::File { key: "propertyFiles".to_owned(), fault: trouble.detail };
        self.producer(None).map_err(gone)?.create_native_config().map_err(wrong)?;
        self.reader(Isolation::Committed).map_err(gone)?.create_native_config().map(drop).map_err(wrong)
    }

    /// A text for people, without any secret.
    pub(super) fn hide(&self, text: &str) -> String {
        self.context.secrets.hide(text).into_owned()
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    pub(super) fn delivery(&self) -> Delivery {
        self.delivery
    }

    /// For records and position. `record_limit` is the topic's: a batch of small records must not be refused for its size.
    pub(super) fn producer(&self, record_limit: Option<usize>) -> Result<ClientConfig, Trouble> {
        let batch = record_limit.map_or(BATCH_BYTES, |limit| limit.min(BATCH_BYTES));
        let mut config = ClientConfig::new();
        config.set("linger.ms", "0").set("message.max.bytes", MESSAGE_MAX_BYTES).set("batch.size", batch.to_string());
        if self.delivery == Delivery::ExactlyOnce {
            config.set("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS);
        }
        self.configured(&mut config)?;
        config.set("enable.idempotence", "true").set("acks", "all").set("partitioner", "murmur2_random");
        // Else to ask for a topic that was deleted would make it again, with the broker's settings in place of ours.
        config.set("allow.auto.create.topics", "false");
        if self.delivery == Delivery::ExactlyOnce {
            config.set("transactional.id", &self.identity);
        }
        Ok(config)
    }

    /// For positions, ends and reading back. The group is never joined: librdkafka wants a name to assign partitions.
    fn reader(&self, isolation: Isolation) -> Result<ClientConfig, Trouble> {
        let mut config = ClientConfig::new();
        // librdkafka's own default would let it read 64 MiB ahead.
        config.set("queued.max.messages.kbytes", READ_AHEAD_KIB);
        self.configured(&mut config)?;
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
        Ok(config)
    }

    /// A consumer that may be asked at once: its blocking calls serve no events, so a token must be there before them.
    pub(super) fn consumer(&self, isolation: Isolation) -> Result<BaseConsumer<Context>, Trouble> {
        let tokens = || self.context.tokens.load(Ordering::Relaxed);
        let (before, asked) = (tokens(), Instant::now());
        let consumer: BaseConsumer<Context> =
            self.reader(isolation)?.create_with_context(self.context.clone()).map_err(making)?;
        while self.context.token.is_some() && tokens() == before && asked.elapsed() < TOKEN {
            drop(consumer.poll(Duration::from_millis(10)));
        }
        Ok(consumer)
    }

    /// For making topics and for their settings. Nothing where tokens are used: rdkafka's admin client does not hand them on.
    pub(super) fn admin(&self) -> Result<Option<AdminClient<Context>>, Trouble> {
        if self.context.token.is_some() {
            return Ok(None);
        }
        let mut config = ClientConfig::new();
        self.configured(&mut config)?;
        config.create_with_context(self.context.clone()).map(Some).map_err(making)
    }

    fn configured(&self, config: &mut ClientConfig) -> Result<(), Trouble> {
        config.set("client.id", "kab-sidecar");
        // Idle connections are closed by brokers all the time; that is no news.
        config.set("log.connection.close", "false");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        for (name, path) in &self.files {
            let value = self.context.secrets.read(path).map_err(|error| {
                let detail = format!("failed to read {} (kafka.propertyFiles.{name}): {error}", path.display());
                Trouble::new(Failure::Renew, Cause::Denied, detail)
            })?;
            config.set(name, value);
        }
        // librdkafka's own debugging is asked for by a property of its own, and then wanted.
        let debugging = self.properties.contains_key("debug");
        config.set_log_level(if debugging { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        Ok(())
    }
}

fn making(error: KafkaError) -> Trouble {
    Trouble::of("make a Kafka client", &error)
}

/// What librdkafka says on the side; clones speak to the same bridge.
#[derive(Debug, Clone)]
pub(super) struct Context {
    reports: mpsc::Sender<Report>,
    last: Arc<Mutex<Option<String>>>,
    secrets: Secrets,
    token: Option<TokenFile>,
    /// How many tokens were handed out.
    tokens: Arc<AtomicU64>,
}

impl Context {
    /// Why Kafka lately refused a connection, once.
    pub(super) fn take_last(&self) -> Option<String> {
        self.last.lock().take()
    }

    /// Whether Kafka has refused a connection since that was last asked for.
    pub(super) fn is_refused(&self) -> bool {
        self.last.lock().is_some()
    }

    /// Tells the bridge why a call takes long. A full channel means that it has news enough.
    pub(super) fn notice(&self, cause: Cause, why: &str) {
        let _ = self.reports.try_send(Report::Notice(cause, self.secrets.hide(why).into_owned()));
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let token = self.token.as_ref().ok_or("kafka.tokenFile is not set")?.read(SystemTime::now());
        self.tokens.fetch_add(1, Ordering::Relaxed);
        Ok(token?)
    }

    /// librdkafka repeats a failing connection every few seconds at level error: the bridge tells that once, so here it is for debugging.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let message = self.secrets.hide(message);
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
        let reason = &*self.secrets.hide(reason);
        tracing::debug!(target: "librdkafka", %error, "{reason}");
        // What follows counts repetitions, and would look like news each time.
        let reason = reason.split(" (after ").next().unwrap_or(reason);
        match error.rdkafka_error_code() {
            Some(code @ (RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::Resolve)) => {
                self.notice(cause(code), reason)
            }
            // No group is joined: whether its name may be used is of no interest.
            Some(RDKafkaErrorCode::GroupAuthorizationFailed) | None => {}
            Some(code) if cause(code) == Cause::Denied => {
                *self.last.lock() = Some(reason.to_owned());
                self.notice(Cause::Denied, reason);
            }
            Some(_) => {}
        }
    }
}

impl ConsumerContext for Context {}
