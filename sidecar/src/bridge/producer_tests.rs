//! Tests of the producer, against librdkafka's mock broker: what each fault of a broker means for the ledger.
//!
//! The mock speaks the transactional protocol but does not isolate readers; what a read_committed consumer sees is shown with a
//! real broker.

use std::borrow::Cow;
use std::collections::BTreeMap;

use contract::record::Event;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokio::sync::mpsc;

use super::*;
use crate::bridge::client::Clients;
use crate::bridge::worker::Report;
use crate::config::KafkaConfig;

const TOPIC: &str = "todos";

struct Broker {
    mock: MockCluster<'static, DefaultProducerContext>,
    stop: Permit,
    reports: mpsc::Receiver<Report>,
    report: mpsc::Sender<Report>,
}

impl Broker {
    fn new() -> Self {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(TOPIC, 1, 1).unwrap();
        mock.create_topic(POSITIONS_TOPIC, 1, 1).unwrap();
        let (report, reports) = mpsc::channel(16);
        Self { mock, stop: Permit::unlimited(), reports, report }
    }

    fn sender(&self, delivery: Delivery) -> Result<Sender, Trouble> {
        let properties = BTreeMap::from([("bootstrap.servers".to_owned(), self.mock.bootstrap_servers())]);
        let kafka = KafkaConfig {
            properties,
            property_files: BTreeMap::new(),
            token_file: None,
            delivery,
            queue_bytes: 0,
            partitions: None,
            replication_factor: None,
        };
        let clients = Clients::new(&kafka, "kab.test".to_owned(), self.report.clone());
        Sender::open(
            &clients.producer(None).unwrap(),
            clients.context().clone(),
            delivery,
            TOPIC.to_owned(),
            "kab.test".to_owned(),
            self.stop.clone(),
        )
    }

    /// The next request of that kind is answered so.
    fn fault(&self, request: RDKafkaApiKey, error: RDKafkaRespErr) {
        self.mock.request_errors(request, &[error]);
    }
}

fn records() -> impl Iterator<Item = Record<'static>> {
    let record = |key, value: &'static [u8]| Record {
        event: Some(Event::Updated),
        key: Cow::Borrowed(key),
        headers: vec![("ce_id", Cow::Borrowed("u/1"))],
        value: Some(value),
    };
    [record("shop/milk", b"{}"), record("shop/eggs", br#"{"large":true}"#)].into_iter()
}

fn after_fault(
    delivery: Delivery,
    request: RDKafkaApiKey,
    error: RDKafkaRespErr,
) -> (Result<Offsets, Trouble>, Sender) {
    let broker = Broker::new();
    let sender = broker.sender(delivery).unwrap();
    sender.send(records(), "{}").unwrap();
    broker.fault(request, error);
    let outcome = sender.send(records(), "{}");
    (outcome, sender)
}

#[test]
fn a_batch_is_sent_and_the_ends_behind_it_are_told() {
    for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
        let broker = Broker::new();
        let sender = broker.sender(delivery).unwrap();
        assert_eq!(sender.send(records(), "{}"), Ok(Offsets::from([(0, 2)])));
        assert_eq!(sender.send(std::iter::empty(), "{}"), Ok(Offsets::new()));
    }
}

#[test]
fn a_broker_that_is_not_ready_is_asked_again_without_anybody_noticing() {
    use RDKafkaRespErr as Error;
    for (request, error) in [
        (RDKafkaApiKey::Produce, Error::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS),
        (RDKafkaApiKey::Produce, Error::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION),
        (RDKafkaApiKey::EndTxn, Error::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE),
        (RDKafkaApiKey::AddPartitionsToTxn, Error::RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS),
    ] {
        let (outcome, _) = after_fault(Delivery::ExactlyOnce, request, error);
        assert!(outcome.is_ok(), "{error:?}: {outcome:?}");
    }
}

#[test]
fn a_record_that_the_broker_finds_too_large_is_named_with_its_size() {
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    let trouble = after_fault(Delivery::ExactlyOnce, RDKafkaApiKey::Produce, error).0.unwrap_err();
    assert_eq!((trouble.failure, trouble.cause), (Failure::TooLarge, Cause::TooLarge));

    let broker = Broker::new();
    let sender = broker.sender(Delivery::AtLeastOnce).unwrap();
    broker.fault(RDKafkaApiKey::Produce, error);
    let trouble = sender.send(records().skip(1), "{}").unwrap_err();
    assert_eq!(trouble.failure, Failure::TooLarge);
    assert!(trouble.detail.starts_with("shop/eggs is 14 bytes, more than topic todos takes"), "{}", trouble.detail);
}

#[test]
fn a_refused_record_aborts_the_transaction_and_the_same_producer_sends_again() {
    let broker = Broker::new();
    let sender = broker.sender(Delivery::ExactlyOnce).unwrap();
    broker.fault(RDKafkaApiKey::Produce, RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD);
    let trouble = sender.send(records(), "{}").unwrap_err();
    assert_eq!((trouble.failure, trouble.cause), (Failure::Again, Cause::Other));
    // librdkafka's purge of what was aborted ends some time after the abort and can sweep away what comes too soon; the ledger
    // pauses, and takes what is swept away for one more `Again`.
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut outcome = sender.send(records(), "{}");
    while let Err(Trouble { failure: Failure::Again, .. }) = &outcome
        && Instant::now() < deadline
    {
        outcome = sender.send(records(), "{}");
    }
    assert_eq!(outcome.map(|ends| ends.len()), Ok(1));
}

#[test]
fn at_least_once_a_refused_record_means_to_look_at_the_topic_first() {
    let error = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    let trouble = after_fault(Delivery::AtLeastOnce, RDKafkaApiKey::Produce, error).0.unwrap_err();
    assert_eq!(trouble.failure, Failure::Renew);
}

#[test]
fn a_producer_that_another_one_has_fenced_says_so() {
    use RDKafkaRespErr as Error;
    for (request, error) in [
        (RDKafkaApiKey::AddPartitionsToTxn, Error::RD_KAFKA_RESP_ERR_PRODUCER_FENCED),
        (RDKafkaApiKey::EndTxn, Error::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH),
    ] {
        let (outcome, sender) = after_fault(Delivery::ExactlyOnce, request, error);
        let trouble = outcome.unwrap_err();
        assert_eq!((trouble.failure, trouble.cause), (Failure::Fenced, Cause::Fenced), "{trouble:?}");
        assert!(trouble.detail.contains("another sidecar broadcasts"), "{}", trouble.detail);
        assert!(sender.send(records(), "{}").is_err(), "a fenced producer sends nothing more");
    }
}

#[test]
fn a_transactional_id_that_is_not_allowed_is_told_at_once() {
    let broker = Broker::new();
    broker
        .fault(RDKafkaApiKey::InitProducerId, RDKafkaRespErr::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    let trouble = broker.sender(Delivery::ExactlyOnce).err().unwrap();
    assert_eq!(trouble.cause, Cause::Denied, "{trouble:?}");
}

#[test]
fn with_every_broker_away_a_stop_is_heard_and_the_reason_was_told_meanwhile() {
    let mut broker = Broker::new();
    let sender = broker.sender(Delivery::ExactlyOnce).unwrap();
    sender.send(records(), "{}").unwrap();
    broker.mock.broker_down(-1).unwrap();
    let stop = broker.stop.clone();
    let sending = std::thread::spawn(move || sender.send(records(), "{}"));
    // Waits for the notice, so for as long as it takes librdkafka to notice.
    let notice = broker.reports.blocking_recv();
    assert!(matches!(notice, Some(Report::Notice(Cause::Away, _))), "{notice:?}");
    stop.cancel();
    let trouble = sending.join().unwrap().unwrap_err();
    assert_eq!(trouble.cause, Cause::Stopped);
}
