//! The table against librdkafka's mock broker: what is followed, what is waited for, when it starts over.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use sample_app::table::follow::Follower;
use sample_app::table::state::Table;
use sample_app::table::{Settings, api};
use serde_json::{Value, json};

const TOPIC: &str = "k8sasbackend.com.todos";
/// The mock broker, when it is down, takes connections and says nothing: not worth waiting for.
const IMPATIENT: [(&str, &str); 2] =
    [("socket.connection.setup.timeout.ms", "1000"), ("reconnect.backoff.max.ms", "200")];
const PATIENCE: Duration = Duration::from_secs(30);

struct Follows {
    url: String,
    end: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Follows {
    async fn new(kafka: &MockCluster<'_, DefaultProducerContext>, start_over_after: u64) -> Self {
        let settings = Settings {
            brokers: kafka.bootstrap_servers(),
            topic: TOPIC.to_owned(),
            properties: IMPATIENT.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            start_over_after,
            print: false,
        };
        let table = Arc::new(Mutex::new(Table::new(100)));
        let follower = Follower::new(settings, Arc::clone(&table));
        let router = api::router(table, follower.progress());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let end = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&end);
        let thread = Some(std::thread::spawn(move || follower.run(&told).unwrap()));
        Self { url, end, thread }
    }

    async fn get(&self, path: &str) -> Value {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        http.get(format!("{}{path}", self.url)).send().await.unwrap().json().await.unwrap()
    }

    /// Waits until `path` answers what `is` agrees to.
    async fn until(&self, path: &str, is: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let answer = self.get(path).await;
            if is(&answer) {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "{path} did not come to what is expected; last: {answer:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Follows {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn producer(kafka: &MockCluster<'_, DefaultProducerContext>) -> BaseProducer {
    let mut configuration = ClientConfig::new();
    configuration.extend(IMPATIENT.map(|(name, value)| (name.to_owned(), value.to_owned())));
    configuration.set("bootstrap.servers", kafka.bootstrap_servers()).create().unwrap()
}

/// Sends `EVENT VERSION` about a todo; `tombstone` for one.
fn send(producer: &BaseProducer, id: &str, text: &str) {
    let (event, version) = text.split_once(' ').unwrap_or((text, ""));
    let value = json!({
        "id": id, "when": "2030-01-01T00:00:00Z", "message": text, "done": false,
        "meta": { "version": version, "generation": 1, "uid": "u", "createdAt": "2026-01-01T00:00:00Z", "labels": {}, "deleting": false }
    });
    let (key, value) = (format!("shop/{id}"), value.to_string());
    let mut record = BaseRecord::to(TOPIC).key(&key);
    if event != "tombstone" {
        let ce_type = format!("com.k8sasbackend.v1.todo.{event}");
        let ce_id = format!("u/{version}");
        let headers = [("ce_specversion", "1.0"), ("ce_id", &ce_id), ("ce_type", &ce_type), ("ce_subject", &key)];
        let headers = headers
            .iter()
            .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }));
        record = record.payload(&value).headers(headers);
    }
    producer.send(record).map_err(|(error, _)| error).unwrap();
    producer.flush(PATIENCE).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topic_is_read_from_the_beginning_and_followed() {
    let kafka = MockCluster::new(1).unwrap();
    kafka.create_topic(TOPIC, 3, 1).unwrap();
    let producer = producer(&kafka);
    send(&producer, "a", "created 1");
    send(&producer, "b", "created 2");
    let table = Follows::new(&kafka, 3600).await;
    let before = table.until("/table", |answer| answer["synced"] == true).await;
    assert_eq!(before["todos"]["shop/a"]["message"], "created 1");
    send(&producer, "a", "updated 3");
    send(&producer, "b", "deleted 4");
    send(&producer, "b", "tombstone");
    let stats = table.until("/stats", |answer| answer["counts"]["records"] == 5).await;
    assert_eq!((stats["todos"].as_u64(), &stats["complaints"]), (Some(1), &json!([])));
    assert_eq!(stats["progress"]["waitingFor"], Value::Null);
    assert_eq!(table.get("/table").await["todos"]["shop/a"]["meta"]["version"], "3");

    let records = table.get("/records?after=4").await;
    assert_eq!((&records["last"], records["records"].as_array().unwrap().len()), (&json!(5), 1));
    let all = table.get("/records").await;
    let events: Vec<&Value> =
        all["records"].as_array().unwrap().iter().map(|record| &record["headers"]["ce_id"]).collect();
    assert!(events.contains(&&json!("u/4")), "{all:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_kafka_is_away_it_waits_and_says_so_and_then_goes_on() {
    let kafka = MockCluster::new(1).unwrap();
    kafka.create_topic(TOPIC, 1, 1).unwrap();
    let producer = producer(&kafka);
    kafka.broker_down(1).unwrap();
    let table = Follows::new(&kafka, 3600).await;
    let waits = |answer: &Value| {
        answer["progress"]["waitingFor"].as_str().is_some_and(|text| text.starts_with("Kafka at 127."))
    };
    table.until("/stats", waits).await;
    kafka.broker_up(1).unwrap();
    send(&producer, "a", "created 1");
    table.until("/stats", |answer| answer["counts"]["records"] == 1).await;
    kafka.broker_down(1).unwrap();
    table.until("/stats", waits).await;
    kafka.broker_up(1).unwrap();
    send(&producer, "a", "updated 2");
    let stats = table.until("/stats", |answer| answer["counts"]["records"] == 2 && !waits(answer)).await;
    assert_eq!((&stats["counts"]["repeats"], &stats["progress"]["startedOver"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_too_long_an_absence_it_starts_over() {
    let kafka = MockCluster::new(1).unwrap();
    kafka.create_topic(TOPIC, 1, 1).unwrap();
    let producer = producer(&kafka);
    send(&producer, "a", "created 1");
    let table = Follows::new(&kafka, 2).await;
    table.until("/table", |answer| answer["synced"] == true).await;
    kafka.broker_down(1).unwrap();
    let away = Instant::now();
    table
        .until("/stats", |answer| {
            away.elapsed() > Duration::from_secs(3) && !answer["progress"]["waitingFor"].is_null()
        })
        .await;
    kafka.broker_up(1).unwrap();
    let is_back = |answer: &Value| answer["progress"]["startedOver"] == 1 && answer["progress"]["synced"] == true;
    let stats = table.until("/stats", is_back).await;
    assert_eq!((&stats["counts"]["records"], &stats["counts"]["repeats"]), (&json!(1), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_loads_nothing_from_other_hosts() {
    let table = Arc::new(Mutex::new(Table::new(1)));
    let settings = Settings {
        brokers: String::new(),
        topic: String::new(),
        properties: vec![],
        start_over_after: 1,
        print: false,
    };
    let progress = Follower::new(settings, Arc::clone(&table)).progress();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, api::router(table, progress)).await });
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let html = http.get(url).send().await.unwrap().text().await.unwrap();
    assert!(html.contains("<title>The table of todos") && !html.contains("://"));
}
