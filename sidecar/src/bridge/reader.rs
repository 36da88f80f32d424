//! What Kafka has of us: the position, the ends of the topic, what its records show, and bodies that are needed again.
//!
//! Owns the consumers, which live as long as one reading. Never joins a group, never commits an offset.
//!
//! A read_committed reader sees a partition only up to its first open transaction, and that may be another sidecar's. What was committed
//! behind it is there all the same. So the end is first asked for without regard to transactions, and the reading waits until all before
//! that end is decided; our own transactions are, since the producer was made before.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::names::POSITIONS_TOPIC;
use contract::record::header;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use sidecar_core::ledger::Failure;
use sidecar_core::ledger::batch::{Item, Place};
use sidecar_core::ledger::position::{Offsets, Position};
use sidecar_core::ledger::readback::{Readback, Reading};

use crate::bridge::client::{Clients, Context, Isolation};
use crate::bridge::term::Permit;
use crate::bridge::trouble::{Cause, Trouble};

const PATIENCE: Duration = Duration::from_secs(5);
/// Without any progress for so long, a reading is given up.
const STALL: Duration = Duration::from_secs(30);
/// How far back from the end the position is first looked for: it is written with every batch, so it is near.
const TAIL: i64 = 1_000;

/// Part of a partition: from an offset up to, and without, another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    partition: i32,
    from: i64,
    to: i64,
}

/// Reads one topic's records, and positions.
pub(super) struct Reader<'a> {
    clients: &'a Clients,
    topic: &'a str,
    stop: &'a Permit,
}

impl<'a> Reader<'a> {
    pub(super) fn new(clients: &'a Clients, topic: &'a str, stop: &'a Permit) -> Self {
        Self { clients, topic, stop }
    }

    /// The end of each partition of the topic, whatever is committed of it.
    pub(super) fn ends(&self, partitions: &[i32]) -> Result<Offsets, Trouble> {
        let consumer = self.consumer(Isolation::Uncommitted)?;
        partitions.iter().map(|partition| Ok((*partition, bounds(&consumer, self.topic, *partition)?.1))).collect()
    }

    /// The position under `key`, if there is a record of it.
    pub(super) fn position(&self, key: &str) -> Result<Option<Position>, Trouble> {
        let (low, end) = bounds(&self.consumer(Isolation::Uncommitted)?, POSITIONS_TOPIC, 0)?;
        let mut back = TAIL;
        loop {
            let from = end.saturating_sub(back).max(low);
            let mut found = None;
            self.read(POSITIONS_TOPIC, vec![Span { partition: 0, from, to: end }], |message| {
                if message.key() == Some(key.as_bytes()) {
                    found = Some(message.payload().map(|value| Position::from_json(value, self.topic)));
                }
            })?;
            match found {
                Some(Some(Ok(position))) => return Ok(Some(position)),
                Some(Some(Err(error))) => {
                    tracing::warn!(
                        key,
                        error = &error as &dyn std::error::Error,
                        "comparing everything with the topic instead"
                    );
                    return Ok(Some(Position::default()));
                }
                Some(None) => return Ok(None),
                None if from <= low => return Ok(None),
                None => back = back.saturating_mul(10),
            }
        }
    }

    /// Feeds the topic's records to `readback`: from the beginning, or from offsets where given.
    pub(super) fn records(&self, readback: &mut Readback, from: Option<&Offsets>, to: &Offsets) -> Result<(), Trouble> {
        let span = |(partition, to): (&i32, &i64)| {
            let from = from.and_then(|from| from.get(partition)).copied().unwrap_or(0);
            Span { partition: *partition, from, to: *to }
        };
        self.read(self.topic, to.iter().map(span).collect(), |message| {
            let Some(key) = message.key().and_then(|key| str::from_utf8(key).ok()) else { return };
            readback.take(Reading {
                key,
                id: header_of(message, header::ID),
                event_type: header_of(message, header::TYPE),
                source: header_of(message, header::SOURCE),
                value: message.payload(),
                place: Place { partition: message.partition(), offset: message.offset() },
            });
        })
    }

    /// The bodies of what vanished, from where they lie.
    pub(super) fn bodies(&self, items: &[Item]) -> Result<HashMap<Place, Bytes>, Trouble> {
        let mut spans: HashMap<i32, Span> = HashMap::new();
        let mut bodies = HashMap::new();
        for item in items {
            let Item::Vanished(gone) = item else { continue };
            let Place { partition, offset } = gone.place;
            let span = spans.entry(partition).or_insert(Span { partition, from: offset, to: offset + 1 });
            span.from = span.from.min(offset);
            span.to = span.to.max(offset + 1);
            bodies.insert(gone.place, None);
        }
        self.read(self.topic, spans.into_values().collect(), |message| {
            let place = Place { partition: message.partition(), offset: message.offset() };
            if let Some(body) = bodies.get_mut(&place) {
                *body = message.payload().map(Bytes::copy_from_slice);
            }
        })?;
        bodies
            .into_iter()
            .map(|(place, body)| {
                let Place { partition, offset } = place;
                body.map(|body| (place, body)).ok_or_else(|| {
                    let detail = format!("the record at {}[{partition}]@{offset} was there and is gone", self.topic);
                    Trouble::new(Failure::Renew, Cause::Topic, detail)
                })
            })
            .collect()
    }

    fn consumer(&self, isolation: Isolation) -> Result<BaseConsumer<Context>, Trouble> {
        self.clients.consumer(isolation)
    }

    fn read(
        &self,
        topic: &str,
        mut spans: Vec<Span>,
        mut each: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), Trouble> {
        spans.retain(|span| span.from < span.to);
        if spans.is_empty() {
            return Ok(());
        }
        let doing = || format!("read topic {topic}");
        let consumer = self.consumer(Isolation::Committed)?;
        for span in &spans {
            self.wait_decided(&consumer, topic, *span)?;
        }
        let mut assignment = TopicPartitionList::new();
        for span in &spans {
            assignment
                .add_partition_offset(topic, span.partition, Offset::Offset(span.from))
                .map_err(|error| Trouble::of(&doing(), &error))?;
        }
        consumer.assign(&assignment).map_err(|error| Trouble::of(&doing(), &error))?;
        let mut last = Instant::now();
        while !spans.is_empty() {
            if self.stop.is_cancelled() {
                return Err(Trouble::stopped());
            }
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    last = Instant::now();
                    let Some(index) = spans.iter().position(|span| span.partition == message.partition()) else {
                        continue;
                    };
                    let to = spans.get(index).map_or(0, |span| span.to);
                    if message.offset() < to {
                        each(&message);
                    }
                    if message.offset() + 1 >= to {
                        spans.swap_remove(index);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    last = Instant::now();
                    spans.retain(|span| span.partition != partition);
                }
                Some(Err(error)) if last.elapsed() > STALL => return Err(Trouble::of(&doing(), &error)),
                None if last.elapsed() > STALL => {
                    let detail = format!("failed to read topic {topic}: nothing came for {} s", STALL.as_secs());
                    return Err(Trouble::new(Failure::Renew, Cause::Away, detail));
                }
                Some(Err(error)) => tracing::debug!(topic, %error, "reading goes on"),
                None => {}
            }
        }
        Ok(())
    }

    /// Waits until no open transaction hides a record before the end of the span.
    fn wait_decided(&self, consumer: &BaseConsumer<Context>, topic: &str, span: Span) -> Result<(), Trouble> {
        let started = Instant::now();
        loop {
            let (_, stable) = bounds(consumer, topic, span.partition)?;
            if stable >= span.to {
                return Ok(());
            }
            if self.stop.is_cancelled() {
                return Err(Trouble::stopped());
            }
            if started.elapsed() > STALL {
                let Span { partition, to, .. } = span;
                let detail = format!(
                    "another producer's open transaction hides what lies before {topic}[{partition}]@{to}; the broker ends it in time"
                );
                return Err(Trouble::new(Failure::Renew, Cause::Other, detail));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The first offset of a partition, and the end that a reader of the consumer's isolation sees.
fn bounds(consumer: &BaseConsumer<Context>, topic: &str, partition: i32) -> Result<(i64, i64), Trouble> {
    consumer
        .fetch_watermarks(topic, partition, PATIENCE)
        .map_err(|error| Trouble::of(&format!("ask for the ends of topic {topic}"), &error))
}

fn header_of<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let header = message.headers()?.iter().find(|header| header.key == name)?;
    str::from_utf8(header.value?).ok()
}
