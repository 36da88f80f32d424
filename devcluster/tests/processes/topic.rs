//! A Kafka topic as the tests use it: made, written to, read from its beginning.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

const LIMIT: Duration = Duration::from_secs(20);

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("reconnect.backoff.max.ms", "200").set("log_level", "3");
    config
}

/// Makes a topic with one partition.
pub(crate) async fn create(bootstrap: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap).create().unwrap();
    let options = AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT));
    let made = admin.create_topics(&[NewTopic::new(topic, 1, TopicReplication::Fixed(1))], &options).await.unwrap();
    for result in made {
        result.unwrap();
    }
}

/// Writes one record and waits for its acknowledgement, at most this long.
pub(crate) fn write(bootstrap: &str, topic: &str, value: &str, limit: Duration) -> Result<(), String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut config = config(bootstrap);
    config.set("message.timeout.ms", limit.as_millis().to_string()).set("acks", "all");
    let producer: ThreadedProducer<Acknowledged> =
        config.create_with_context(Acknowledged(sender)).map_err(|error| error.to_string())?;
    let record: BaseRecord<'_, (), str> = BaseRecord::to(topic).payload(value);
    producer.send(record).map_err(|(error, _)| error.to_string())?;
    receiver.recv_timeout(limit + Duration::from_secs(5)).map_err(|error| error.to_string())?
}

struct Acknowledged(std::sync::mpsc::Sender<Result<(), String>>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let said = result.as_ref().map(drop).map_err(|(error, _)| error.to_string());
        let _ = self.0.send(said);
    }
}

/// Everything in the topic now.
pub(crate) fn read(bootstrap: &str, topic: &str) -> Vec<String> {
    let consumer: BaseConsumer = config(bootstrap).set("group.id", "unused").create().unwrap();
    let (low, high) = consumer.fetch_watermarks(topic, 0, LIMIT).unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Offset(low)).unwrap();
    consumer.assign(&assignment).unwrap();
    let mut values = Vec::new();
    while low + i64::try_from(values.len()).unwrap() < high {
        let record = consumer.poll(LIMIT).expect("records up to the high watermark").unwrap();
        values.push(String::from_utf8_lossy(record.payload().unwrap_or_default()).into_owned());
    }
    values
}

/// Asks for the topic, at most this long, and returns the address that the broker calls its own.
pub(crate) fn metadata(bootstrap: &str, topic: &str, limit: Duration) -> Result<String, String> {
    let producer: BaseProducer = config(bootstrap).create().map_err(|error| error.to_string())?;
    let metadata = producer.client().fetch_metadata(Some(topic), limit).map_err(|error| error.to_string())?;
    if let Some(error) = metadata.topics().iter().find_map(|topic| topic.error()) {
        return Err(format!("{error:?}"));
    }
    let broker = metadata.brokers().first().ok_or("no broker")?;
    Ok(format!("{}:{}", broker.host(), broker.port()))
}
