//! Dead letters: changes that the app is not told any more, put into a topic for people to look at.
//!
//! Each is sent until Kafka has it; only then does whoever gave it on go on. The topic is the operator's: it is never made here, for nothing is known of how
//! long letters are to be kept. `app` constructs and runs it where a kind has such a topic.

use std::error::Error;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, NoCustomPartitioner, Producer, ProducerContext, ThreadedProducer};
use sidecar_core::notices::message::Letter;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::bridge::BridgeError;
use crate::bridge::client::{Clients, Context};
use crate::config::{Delivery, KafkaConfig};

/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(2);
/// For one attempt.
const ATTEMPT_MS: &str = "10000";

/// What comes in: a letter, and where to say that Kafka has it.
pub type Incoming = mpsc::Receiver<(Letter, oneshot::Sender<()>)>;

/// Sends letters to one topic.
pub struct Letters {
    /// How to reach Kafka.
    pub kafka: KafkaConfig,
    /// Where to.
    pub topic: String,
    /// What to send.
    pub incoming: Incoming,
}

type Delivered = oneshot::Sender<Result<(), KafkaError>>;

/// librdkafka's side: as the bridge's, and tells each delivery.
struct Told(Context);

impl ClientContext for Told {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.0.generate_oauth_token(config)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Told {
    type DeliveryOpaque = Box<Delivered>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivered: Self::DeliveryOpaque) {
        let outcome = result.as_ref().map(drop).map_err(|(error, _)| error.clone());
        // Whoever waited for it may have gone.
        let _ = delivered.send(outcome);
    }
}

impl Letters {
    /// Sends until `stop`.
    ///
    /// # Errors
    /// When the properties are wrong. Kafka being away is no error.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), BridgeError> {
        let (unheard, _) = mpsc::channel(1);
        // A letter is no part of a transaction.
        let kafka = KafkaConfig { delivery: Delivery::AtLeastOnce, ..self.kafka.clone() };
        let clients = Clients::new(&kafka, "kab-letters".to_owned(), unheard);
        clients.check()?;
        // Made with the first letter: most kinds never have one.
        let mut producer: Option<ThreadedProducer<Told>> = None;
        loop {
            let Some(Some((letter, sent))) = stop.run_until_cancelled(self.incoming.recv()).await else {
                stop.cancelled().await;
                return Ok(());
            };
            loop {
                let outcome = stop.run_until_cancelled(self.send(&clients, &mut producer, &letter)).await;
                match outcome {
                    None => return Ok(()),
                    Some(Ok(())) => break,
                    Some(Err(detail)) => {
                        let topic = &self.topic;
                        tracing::warn!(topic, detail, "a dead letter cannot be sent, trying again");
                        let _ = stop.run_until_cancelled(tokio::time::sleep(AGAIN)).await;
                    }
                }
            }
            // Whoever gave it may have lost its term; then it comes again.
            let _ = sent.send(());
        }
    }

    async fn send(
        &self,
        clients: &Clients,
        producer: &mut Option<ThreadedProducer<Told>>,
        letter: &Letter,
    ) -> Result<(), String> {
        let made = match producer.take() {
            Some(producer) => producer,
            None => {
                let mut config = clients.producer(None).map_err(|trouble| clients.hide(&trouble.detail))?;
                config.set("message.timeout.ms", ATTEMPT_MS);
                let made = config.create_with_context(Told(clients.context().clone()));
                made.map_err(|error| clients.hide(&error.to_string()))?
            }
        };
        let headers = letter.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value.as_bytes()) })
        });
        let (told, delivered) = oneshot::channel();
        let record = BaseRecord::<str, [u8], Box<Delivered>>::with_opaque_to(&self.topic, Box::new(told))
            .key(letter.key.as_str())
            .payload(letter.body.as_ref())
            .headers(headers);
        let outcome = match made.send(record) {
            Ok(()) => delivered.await.unwrap_or(Err(KafkaError::Canceled)),
            Err((error, _)) => Err(error),
        };
        let fatal = made.client().fatal_error().is_some();
        if !fatal {
            *producer = Some(made);
        }
        outcome.map_err(|error| clients.hide(&error.to_string()))
    }
}
