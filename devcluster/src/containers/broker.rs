//! The Kafka container: broker and KRaft controller in one. It owns the broker's settings. Its port outside is chosen
//! beforehand, because a client connects to whatever address the broker names, and the broker must be told it at its start.

use std::path::Path;

use super::daemon::{Daemon, Wait, Wanted, is_port_conflict};
use super::error::ContainerError;
use super::ownership::Ownership;
use super::{Container, ContainerOptions};
use crate::error::Error;
use crate::ports::Port;
use crate::readiness::Readiness;

const PORT: u16 = 9092;
/// How often a start is tried with another port after one was snatched away.
const ATTEMPTS: usize = 3;

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) container: Container,
    port: Port,
}

impl Broker {
    /// Starts it and returns when it has joined its own cluster.
    pub(super) async fn start(
        daemon: &Daemon,
        ownership: &Ownership,
        options: &ContainerOptions,
        directory: &Path,
    ) -> Result<Self, Error> {
        let image = options.kafka_image.as_str();
        let mut attempt = 1;
        let (container, port) = loop {
            let port = Port::any(&options.environment)?;
            let (log, variables) = (directory.join("logs/kafka.log"), settings(port.number()));
            let wanted = Wanted { image, log, port: PORT, outside: Some(port.number()), command: &[], variables };
            match daemon.start(ownership, &wanted).await {
                Ok(container) => break (container, port),
                Err(error) if attempt < ATTEMPTS && is_port_conflict(&error) => attempt += 1,
                Err(error) => return Err(ContainerError::docker("start the Kafka container")(error).into()),
            }
        };
        let broker = Self { container, port };
        let readiness = Readiness::Kafka { address: broker.bootstrap() };
        Wait::new(&broker.container, image).until(&readiness).await?;
        Ok(broker)
    }

    /// The value for `bootstrap.servers`.
    pub(super) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }
}

/// As the image wants them: `KAFKA_` and the property in capitals, dots as underscores. Once one is set, the image's own
/// defaults do not count any more, so all that the broker needs stands here.
fn settings(port: u16) -> Vec<(&'static str, String)> {
    let mut settings: Vec<_> = [
        ("CLUSTER_ID", "a2FiLWRldmNsdXN0ZXItMQ"),
        ("KAFKA_HEAP_OPTS", "-Xmx512m"),
        ("KAFKA_PROCESS_ROLES", "broker,controller"),
        ("KAFKA_NODE_ID", "1"),
        ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@127.0.0.1:9093"),
        ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
        ("KAFKA_LISTENERS", "PLAINTEXT://0.0.0.0:9092,INNER://127.0.0.1:9094,CONTROLLER://127.0.0.1:9093"),
        // The transaction coordinator sends markers to its own broker, and from inside the container the published port
        // cannot be reached.
        ("KAFKA_INTER_BROKER_LISTENER_NAME", "INNER"),
        ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT"),
        // Whoever wants a topic makes it, with the settings that it needs.
        ("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false"),
        // One broker can hold one replica.
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
        ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR", "1"),
        ("KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR", "1"),
        // The defaults of 50 each only make the first group and the first transaction wait.
        ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "4"),
        ("KAFKA_TRANSACTION_STATE_LOG_NUM_PARTITIONS", "4"),
        // A first consumer need not wait for company.
        ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into();
    let advertised = format!("PLAINTEXT://127.0.0.1:{port},INNER://127.0.0.1:9094");
    settings.push(("KAFKA_ADVERTISED_LISTENERS", advertised));
    settings
}
