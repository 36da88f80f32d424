//! One reading of the topic from its beginning, for as long as it goes well: two consumers, and the loop that feeds a [`Replica`].
//!
//! Owns what is asked of Kafka, and when. One consumer reads what is committed, of the kind's topic and of the positions; the other only asks for ends,
//! whatever is committed of them. Blocks: it runs on the source's thread.

use std::time::{Duration, Instant, SystemTime};

use contract::names::POSITIONS_TOPIC;
use contract::record::header;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use sidecar_core::ledger::Failure;
use sidecar_core::ledger::batch::Place;
use sidecar_core::ledger::position::Offsets;
use sidecar_core::replica::{Fault, Record, Replica, Subject};
use tokio_util::sync::CancellationToken;

use super::Follower;
use crate::bridge::client::{Clients, Context, Isolation};
use crate::bridge::topics;
use crate::bridge::trouble::{Cause, Trouble};

/// How long a question may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait for a record; a stop is seen as soon.
const IDLE: Duration = Duration::from_millis(200);
/// While a cut only waits for what is on its way: at first a healthy broker's time, then that of an open transaction of somebody else.
const SOON: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];
/// Records taken before it is looked whether there is something to show.
const BATCH: usize = 1_000;
/// Between two looks at the topic, when something is amiss and when all is well.
const LOOK: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(10)];
/// After so long an absence a tombstone may be gone from the topic before it was read: half of Kafka's usual `delete.retention.ms`.
const ABSENCE: Duration = Duration::from_secs(12 * 3600);

/// Why a session ended, other than being asked to.
pub(super) enum End {
    /// Something that has to pass, or that a person has to do.
    Trouble(Trouble),
    /// There is more than fits.
    Full,
    /// What was read does not lead on.
    Anew(String),
}

pub(super) struct Session {
    reader: BaseConsumer<Context>,
    asker: BaseConsumer<Context>,
    clients: Clients,
    topic: String,
    partitions: Vec<i32>,
    replica: Replica,
    /// Where the positions ended at the beginning.
    positions_end: i64,
    /// When Kafka last answered; by the clock on the wall, because a machine that slept was away too.
    heard: SystemTime,
    /// When the topic was last looked at, and whether all was well.
    looked: (Instant, bool),
    /// Since when only what is on its way is waited for.
    due: Option<Instant>,
}

impl Session {
    pub(super) fn open(clients: &Clients, subject: &Subject, cache_bytes: usize) -> Result<Self, Trouble> {
        let topic = subject.topic.clone();
        let partitions = topics::find(clients, &topic)?;
        topics::find(clients, POSITIONS_TOPIC)?;
        let asker = clients.consumer(Isolation::Uncommitted)?;
        let first = bounds(&asker, &topic, &partitions, Offset::Beginning)?;
        let positions_end = bounds(&asker, POSITIONS_TOPIC, &[0], Offset::End)?.get(&0).copied().unwrap_or(0);
        let reader = clients.consumer(Isolation::Committed)?;
        let doing = || format!("read topic {topic}");
        let mut assignment = TopicPartitionList::new();
        for (name, partition) in partitions.iter().map(|partition| (&*topic, *partition)).chain([(POSITIONS_TOPIC, 0)])
        {
            let added = assignment.add_partition_offset(name, partition, Offset::Beginning);
            added.map_err(|error| Trouble::of(&doing(), &error))?;
        }
        reader.assign(&assignment).map_err(|error| Trouble::of(&doing(), &error))?;
        Ok(Self {
            reader,
            asker,
            clients: clients.clone(),
            replica: Replica::new(subject.clone(), first, cache_bytes),
            topic,
            partitions,
            positions_end,
            heard: SystemTime::now(),
            looked: (Instant::now(), true),
            due: None,
        })
    }

    /// Reads until `stop`, or until it does not go on.
    pub(super) fn run(mut self, follower: &mut Follower, stop: &CancellationToken) -> Result<(), End> {
        follower.look(&self.replica);
        while !stop.is_cancelled() {
            let well = !follower.notices() & self.read()?;
            let asked = if well { self.ask() } else { Ok(()) };
            match asked {
                Ok(()) => {}
                Err(End::Trouble(trouble)) => self.amiss(follower, trouble),
                Err(end) => return Err(end),
            }
            if !well {
                self.looked.1 = false;
            }
            if let Some(cut) = self.replica.next_cut() {
                self.due = None;
                follower.show(cut)?;
                if self.looked.1 {
                    follower.look(&self.replica);
                }
            }
            self.look(follower)?;
        }
        Ok(())
    }

    /// Takes what there is, or waits a moment for it. Whether nothing went wrong.
    fn read(&mut self) -> Result<bool, End> {
        let mut well = true;
        let mut taken = 0;
        let patience = self.patience();
        let mut event = self.reader.poll(patience);
        while let Some(one) = event {
            match one {
                Ok(message) => {
                    self.heard = SystemTime::now();
                    take(&mut self.replica, &message).map_err(anew)?;
                }
                Err(KafkaError::PartitionEOF(_)) => {}
                Err(error) => {
                    // What it amounts to is found out by looking; librdkafka queues many of them.
                    tracing::debug!(topic = self.topic, %error, "reading was interrupted");
                    well = false;
                }
            }
            taken += 1;
            if taken >= BATCH {
                break;
            }
            event = self.reader.poll(Duration::ZERO);
        }
        Ok(well)
    }

    fn patience(&mut self) -> Duration {
        if !self.replica.is_due() {
            self.due = None;
            return IDLE;
        }
        let [soon, later] = SOON;
        let since = *self.due.get_or_insert_with(Instant::now);
        if since.elapsed() < later * 5 { soon } else { later }
    }

    /// Asks for what the replica wants to know.
    fn ask(&mut self) -> Result<(), End> {
        if self.replica.wants_ends() {
            let ends = bounds(&self.asker, &self.topic, &self.partitions, Offset::End).map_err(End::Trouble)?;
            self.heard = SystemTime::now();
            self.replica.ends(ends).map_err(anew)?;
        }
        // What is never shown to a reader, as the end of a transaction, moves it on too.
        let here = self.reader.position().map_err(|error| End::Trouble(Trouble::of("ask where we are", &error)))?;
        for place in here.elements() {
            let Offset::Offset(next) = place.offset() else { continue };
            if place.topic() == self.topic {
                self.replica.reach(place.partition(), next);
            } else if next >= self.positions_end {
                self.replica.positions_read().map_err(anew)?;
            }
        }
        if self.positions_end == 0 {
            self.replica.positions_read().map_err(anew)?;
        }
        Ok(())
    }

    /// Looks at the topic now and then: it may be another one, or Kafka may be back.
    fn look(&mut self, follower: &mut Follower) -> Result<(), End> {
        let (at, well) = self.looked;
        let [amiss, fine] = LOOK;
        if at.elapsed() < if well { fine } else { amiss } {
            return Ok(());
        }
        match topics::partitions(&self.asker, &self.topic) {
            Ok(Some(partitions)) if partitions == self.partitions => {
                if self.heard.elapsed().is_ok_and(|absence| absence > ABSENCE) {
                    return Err(End::Anew("Kafka was away for longer than deletions are kept".to_owned()));
                }
                self.heard = SystemTime::now();
                self.looked = (Instant::now(), true);
                follower.look(&self.replica);
                Ok(())
            }
            Ok(Some(_)) => Err(anew(Fault::Repartitioned)),
            Ok(None) => Err(End::Trouble(topics::missing(&self.topic))),
            Err(trouble) => {
                self.amiss(follower, trouble);
                Ok(())
            }
        }
    }

    fn amiss(&mut self, follower: &mut Follower, trouble: Trouble) {
        self.looked = (Instant::now(), false);
        follower.trouble(trouble.because(self.clients.context().take_last()));
    }
}

fn take(replica: &mut Replica, message: &BorrowedMessage<'_>) -> Result<(), Fault> {
    let Some(key) = message.key().and_then(|key| str::from_utf8(key).ok()) else { return Ok(()) };
    if message.topic() == POSITIONS_TOPIC {
        let millis = message.timestamp().to_millis().and_then(|millis| u64::try_from(millis).ok());
        let written = SystemTime::UNIX_EPOCH + Duration::from_millis(millis.unwrap_or(0));
        return replica.position(key, message.payload(), written);
    }
    let header = |name: &str| {
        let header = message.headers()?.iter().find(|header| header.key == name)?;
        str::from_utf8(header.value?).ok()
    };
    replica.take(&Record {
        key,
        id: header(header::ID),
        event_type: header(header::TYPE),
        source: header(header::SOURCE),
        skipped: header(header::SKIPPED),
        value: message.payload(),
        place: Place { partition: message.partition(), offset: message.offset() },
    })
}

fn anew(fault: Fault) -> End {
    match fault {
        Fault::Full => End::Full,
        other => End::Anew(other.to_string()),
    }
}

/// The first or the last offset of each partition, in one request to each broker.
fn bounds(asker: &BaseConsumer<Context>, topic: &str, partitions: &[i32], which: Offset) -> Result<Offsets, Trouble> {
    let doing = || format!("ask for the ends of topic {topic}");
    let mut wanted = TopicPartitionList::new();
    for partition in partitions {
        // librdkafka takes these two as the times of the first and of the last record.
        wanted.add_partition_offset(topic, *partition, which).map_err(|error| Trouble::of(&doing(), &error))?;
    }
    let answer = asker.offsets_for_times(wanted, PATIENCE).map_err(|error| Trouble::of(&doing(), &error))?;
    let each = answer.elements().into_iter().map(|element| match (element.error(), element.offset()) {
        (Ok(()), Offset::Offset(offset)) => Ok((element.partition(), offset)),
        (Err(error), _) => Err(Trouble::of(&doing(), &error)),
        (Ok(()), _) => Err(Trouble::new(Failure::Renew, Cause::Away, format!("failed to {}: no answer", doing()))),
    });
    each.collect()
}
