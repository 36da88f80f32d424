//! The thread that makes the blocking Kafka calls of one broadcast, one at a time.
//!
//! Owns the producer. Decides nothing: the ledger says what to do, and what came of it goes back as a [`Report`].

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use contract::record::header;
use sidecar_core::envelope::Envelope;
use sidecar_core::ledger::batch::{Batch, Item};
use sidecar_core::ledger::position::Offsets;
use sidecar_core::ledger::readback::{Readback, Readings};
use sidecar_core::ledger::{Failure, Opened};
use sidecar_core::trace::span::Role;
use tokio::sync::mpsc;

use crate::bridge::client::Clients;
use crate::bridge::producer::Sender;
use crate::bridge::reader::Reader;
use crate::bridge::term::Permit;
use crate::bridge::topics::{self, Sizes, Topic};
use crate::bridge::trouble::{Cause, Trouble};
use crate::spans;

/// How often librdkafka's events are served while nothing is to be done.
const IDLE: Duration = Duration::from_secs(1);

/// How often it is looked whether the topic is still there while nothing is sent to it.
const LOOK: Duration = Duration::from_secs(10);
/// A topic that shows less than we sent was made anew; unless somebody else's open transaction hides the rest, which the broker ends by then.
const HIDDEN: Duration = Duration::from_secs(20);

/// A call to make.
#[derive(Debug)]
pub(super) enum Job {
    Open,
    Send(Arc<Batch>),
    ReadBack,
}

/// What came of it, or what librdkafka says in between.
#[derive(Debug)]
pub(super) enum Report {
    Opened(Opened),
    Sent(Offsets),
    ReadBack(Readings),
    Failed(Trouble),
    /// No outcome yet: what to say of a topic that is used although it is not as configured.
    Remark(Option<String>),
    /// No outcome yet: why it takes long.
    Notice(Cause, String),
    /// Of no call: the topic is not the one any more that was sent to, and the producer is given up.
    Lost(Trouble),
}

pub(super) struct Worker {
    pub(super) clients: Clients,
    pub(super) envelope: Envelope,
    pub(super) identity: String,
    pub(super) scope: String,
    pub(super) topic: String,
    pub(super) sizes: Sizes,
    /// When it ends, so does a call that is under way: what waits then is left to the next start, here or elsewhere.
    pub(super) stop: Permit,
    pub(super) reports: mpsc::Sender<Report>,
}

/// What is open between calls.
struct Open {
    sender: Sender,
    topic: Topic,
    /// Behind the last record of each partition that we know of.
    ends: Offsets,
    /// When it was last known to be all there.
    seen: Instant,
    /// When it was last looked at.
    looked: Instant,
}

impl Open {
    /// Takes where our records have come to lie. What lies before the end that was known lies in another topic of the name.
    fn reach(&mut self, ends: &Offsets) -> bool {
        if !ends.is_empty() {
            self.seen = Instant::now();
            self.looked = self.seen;
        }
        let mut same = true;
        for (partition, end) in ends {
            let known = self.ends.entry(*partition).or_insert(*end);
            same &= *known <= *end;
            *known = *end;
        }
        same
    }

    /// Looks now and then whether the topic is the one that was sent to: deleted, or made anew, it would else be noticed with the next change only.
    fn look(&mut self, name: &str) -> Result<(), Trouble> {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        let whole = self.sender.shows(&self.ends)?;
        self.looked = Instant::now();
        if whole {
            self.seen = self.looked;
        }
        if self.seen.elapsed() < HIDDEN { Ok(()) } else { Err(Trouble::made_anew(name)) }
    }
}

impl Worker {
    /// Works until there are no more jobs to come.
    pub(super) fn run(self, jobs: &Receiver<Job>) {
        let mut open: Option<Open> = None;
        loop {
            let report = match jobs.recv_timeout(IDLE) {
                Ok(Job::Open) => {
                    // The old producer ends first: it may hold what it could not send.
                    open = None;
                    self.open().map(|(opened, now)| {
                        open = Some(now);
                        Report::Opened(opened)
                    })
                }
                Ok(Job::Send(batch)) => self.opened(open.as_ref()).and_then(|open| self.send(open, &batch)),
                Ok(Job::ReadBack) => self.opened(open.as_ref()).and_then(|open| self.read_back(open)),
                Err(RecvTimeoutError::Timeout) => {
                    let looked = open.as_mut().map_or(Ok(()), |open| {
                        open.sender.idle();
                        open.look(&self.topic)
                    });
                    match looked {
                        Ok(()) => continue,
                        Err(trouble) => {
                            open = None;
                            Ok(Report::Lost(trouble))
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if report.is_ok() {
                // What works is not refused any more.
                self.clients.context().take_last();
            }
            let report = report.unwrap_or_else(|trouble| {
                if trouble.failure != Failure::Again {
                    open = None;
                }
                let trouble = trouble.because(self.clients.context().take_last());
                Report::Failed(Trouble { detail: self.clients.hide(&trouble.detail), ..trouble })
            });
            // What was sent arrived; but the rest of the topic is not what the position speaks of.
            let anew = match &report {
                Report::Sent(ends) => open.take_if(|open| !open.reach(ends)).map(|_| Trouble::made_anew(&self.topic)),
                _ => None,
            };
            for report in [Some(report), anew.map(Report::Lost)].into_iter().flatten() {
                if self.reports.blocking_send(report).is_err() {
                    return;
                }
            }
        }
    }

    fn open(&self) -> Result<(Opened, Open), Trouble> {
        let topic = topics::ensure(&self.clients, &self.topic, self.sizes)?;
        let remark = self.sizes.remark(&self.topic, &topic);
        let sender = Sender::open(
            &self.clients.producer(topic.record_limit)?,
            self.clients.context().clone(),
            self.clients.delivery(),
            self.topic.clone(),
            self.identity.clone(),
            self.stop.clone(),
        )?;
        // Only now: what an older producer had under way is decided, and it can add nothing.
        let reader = self.reader();
        let position = reader.position(&self.identity)?;
        let ends = reader.ends(&topic.partitions)?;
        let mut since = Readback::since(self.envelope.source(), &self.scope);
        if let Some(position) = position.as_ref().filter(|position| position.version.is_some()) {
            reader.records(&mut since, Some(&position.offsets), &ends)?;
        }
        // Before what it is a remark on: both are taken in this order.
        drop(self.reports.blocking_send(Report::Remark(remark)));
        let now = Instant::now();
        let open = Open { sender, topic, ends: ends.clone(), seen: now, looked: now };
        let opened = Opened { position, sent: since.done(), ends, created: open.topic.created };
        Ok((opened, open))
    }

    fn send(&self, open: &Open, batch: &Batch) -> Result<Report, Trouble> {
        let vanished = batch.items.iter().any(|item| matches!(item, Item::Vanished(_)));
        let bodies = if vanished { self.reader().bodies(&batch.items)? } else { HashMap::new() };
        let body = |item: &Item| match item {
            Item::Vanished(gone) => bodies.get(&gone.place).map(AsRef::as_ref),
            Item::Change(_) | Item::Tombstone { .. } => None,
        };
        let mut spans = Vec::new();
        let records = batch.items.iter().flat_map(|item| {
            let mut records = self.envelope.records(item, body(item));
            if let Some(span) = self.span(item) {
                for record in records.iter_mut().filter(|record| record.event.is_some()) {
                    record.headers.push((header::TRACEPARENT, span.context().to_string().into()));
                }
                spans.push(span);
            }
            records
        });
        let sent = open.sender.send(records, &batch.position.to_json(&self.topic)).map(Report::Sent);
        spans.iter_mut().for_each(|span| span.failed(sent.is_err()));
        sent
    }

    /// For a change that is in a trace.
    fn span(&self, item: &Item) -> Option<spans::Open> {
        let Item::Change(change) = item else { return None };
        let mut span =
            spans::below(spans::of(change.entity.version), Role::Producer, || format!("send {}", self.topic).into())?;
        span.set("messaging.system", "kafka");
        span.set("messaging.destination.name", self.topic.clone());
        Some(span)
    }

    fn read_back(&self, open: &Open) -> Result<Report, Trouble> {
        let reader = self.reader();
        let ends = reader.ends(&open.topic.partitions)?;
        let mut whole = Readback::whole(self.envelope.source(), &self.scope);
        reader.records(&mut whole, None, &ends)?;
        Ok(Report::ReadBack(whole.done()))
    }

    fn reader(&self) -> Reader<'_> {
        Reader::new(&self.clients, &self.topic, &self.stop)
    }

    fn opened<'a>(&self, open: Option<&'a Open>) -> Result<&'a Open, Trouble> {
        open.ok_or_else(|| Trouble::new(Failure::Renew, Cause::Other, "the producer is not open"))
    }
}
