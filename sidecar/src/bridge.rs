//! The broadcast of one kind and namespace scope to Kafka: a [`Ledger`] that decides, a feed from the informer, a thread for Kafka calls.
//!
//! Owns the way between them and nothing else: every message is drained into the ledger at once, so that the informer never waits
//! for Kafka. `app` constructs and runs it. Only this module and its parts name rdkafka.

mod client;
pub mod letters;
mod metrics;
mod producer;
mod reader;
mod secrets;
pub mod source;
mod teller;
mod term;
mod token;
mod topics;
mod trouble;
mod worker;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant, SystemTime};

use runtime::readiness::Part;
use sidecar_core::envelope::Envelope;
use sidecar_core::feed::Feed;
use sidecar_core::kind::Kind;
use sidecar_core::ledger::batch::Batch;
use sidecar_core::ledger::position::identity;
use sidecar_core::ledger::{Effect, Input, Ledger, Now};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::KafkaConfig;
use crate::informer::{AttachHandle, Ended};
use crate::leases;
use client::Clients;
use metrics::Labels;
pub use metrics::Metrics;
pub use teller::Teller;
use term::Permit;
pub use term::run;
use topics::Sizes;
use trouble::{Cause, Trouble};
use worker::{Job, Report, Worker};

/// Outcomes (one at a time) and notices on their way from the thread.
const REPORTS: usize = 16;
/// How long a stop may take to send what waits: within a pod's usual 30 s of grace, with room for the stages beside it.
const DRAIN: Duration = Duration::from_secs(8);
/// How long the thread may then take to end a call.
const END: Duration = Duration::from_secs(4);
/// How often the age of what waits is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Why a broadcast cannot be, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// librdkafka does not know a property, or not its value.
    #[error("wrong configuration: kafka.properties.{property}: {fault}")]
    Property {
        /// Its name.
        property: String,
        /// What librdkafka says.
        fault: String,
    },
    /// A file that the configuration names for Kafka cannot be read.
    #[error("wrong configuration: kafka.{key}: {fault}")]
    File {
        /// The setting.
        key: String,
        /// The file, and why.
        fault: String,
    },
    /// The thread for Kafka calls cannot be started.
    #[error("failed to start the thread for Kafka calls")]
    Thread(#[source] std::io::Error),
    /// The thread for Kafka calls has ended by itself, which is a fault of ours.
    #[error("the thread for Kafka calls has ended")]
    Worker,
    /// The informer has ended, and so does the process.
    #[error("failed to attach to the informer")]
    Informer(#[from] Ended),
    /// The keeper of the Lease has ended, and so does the process.
    #[error("failed to learn who leads")]
    Leadership(#[from] leases::Ended),
}

/// Whether librdkafka knows the properties and the files are there: asked at start, before any kind is found.
///
/// # Errors
/// [`BridgeError::Property`] or [`BridgeError::File`], which are faults of the configuration.
pub fn check(kafka: &KafkaConfig) -> Result<(), BridgeError> {
    let (unheard, _) = mpsc::channel(1);
    Clients::new(kafka, "kab".to_owned(), unheard).check()
}

/// What a broadcast is made of.
#[derive(Clone)]
pub struct Setting {
    /// How to reach Kafka, and what a crash may cost.
    pub kafka: KafkaConfig,
    /// The cluster's name in `ce_source`, positions and the transactional id.
    pub cluster: String,
    /// What to broadcast.
    pub kind: Arc<Kind>,
    /// Its namespace, or absent for all of them.
    pub namespace: Option<String>,
    /// Where to.
    pub topic: String,
    /// The informer of the same kind and namespace.
    pub informer: AttachHandle,
    /// `kafka PLURAL`.
    pub part: Part,
    /// Shared by all bridges.
    pub metrics: Metrics,
    /// Where what people should know is told.
    pub teller: Teller,
}

/// One term's broadcast, ready to run.
struct Bridge {
    worker: Worker,
    reports: mpsc::Receiver<Report>,
    informer: AttachHandle,
    part: Part,
    metrics: Metrics,
    teller: Teller,
    labels: Labels,
    away: String,
    queue_bytes: usize,
}

impl Bridge {
    /// Checks the properties. Reaches for nothing: Kafka may be away.
    ///
    /// # Errors
    /// [`BridgeError::Property`], which is a fault of the configuration.
    fn new(setting: Setting, permit: Permit) -> Result<Self, BridgeError> {
        let Setting { kafka, cluster, kind, namespace, topic, informer, part, metrics, teller } = setting;
        let scope = namespace.unwrap_or_else(|| "*".to_owned());
        let identity = identity(&cluster, &scope, &kind);
        let (sender, reports) = mpsc::channel(REPORTS);
        let clients = Clients::new(&kafka, identity.clone(), sender.clone());
        clients.check()?;
        let labels = Labels { kind: kind.full_name(), namespace: scope.clone() };
        let worker = Worker {
            clients,
            envelope: Envelope::new(&cluster, &kind),
            identity,
            scope,
            topic,
            sizes: Sizes { partitions: kafka.partitions, replication_factor: kafka.replication_factor },
            stop: permit,
            reports: sender,
        };
        let brokers = ["bootstrap.servers", "metadata.broker.list"].iter().find_map(|name| kafka.properties.get(*name));
        let away = format!(
            "no broker answers in time at {}; changes wait and are sent when Kafka is back",
            brokers.map_or("?", String::as_str)
        );
        Ok(Self { worker, reports, informer, part, metrics, teller, labels, away, queue_bytes: kafka.queue_bytes })
    }

    /// Broadcasts until `stop`; then sends what waits, for a bounded time, and ends. Without the Lease it ends at once.
    ///
    /// # Errors
    /// When the informer or the thread for Kafka calls ended without being asked. Kafka being away is no error.
    async fn run(self, stop: CancellationToken) -> Result<(), BridgeError> {
        let Self { worker, reports, informer, part, metrics, teller, labels, away, queue_bytes } = self;
        let abandon = worker.stop.clone();
        let identity = worker.identity.clone();
        let (jobs, todo) = blocking::channel();
        let thread = std::thread::Builder::new()
            .name(format!("kafka {}", labels.kind))
            .spawn(move || worker.run(&todo))
            .map_err(BridgeError::Thread)?;
        part.down("connecting");
        let broadcast = Broadcast {
            ledger: Ledger::new(queue_bytes, Instant::now()),
            feed: None,
            jobs,
            reports,
            informer,
            part,
            metrics,
            teller,
            labels,
            away,
            remark: None,
            doubted: false,
            batch: None,
            busy: false,
            began: Instant::now(),
            jitter: RandomState::new(),
            steps: 0,
        };
        // What is under way ends with the permit, and what waits is the next holder's to find.
        let outcome = tokio::select! {
            biased;
            () = abandon.lost() => Ok(()),
            outcome = broadcast.run(stop) => outcome,
        };
        abandon.cancel();
        let ended = tokio::time::timeout(END, tokio::task::spawn_blocking(move || thread.join())).await;
        if ended.is_err() {
            tracing::warn!(identity, "a Kafka call does not end, leaving it");
        }
        outcome
    }
}

/// A bridge at work.
struct Broadcast {
    ledger: Ledger,
    feed: Option<mpsc::Receiver<Feed>>,
    jobs: blocking::Sender<Job>,
    reports: mpsc::Receiver<Report>,
    informer: AttachHandle,
    part: Part,
    metrics: Metrics,
    teller: Teller,
    labels: Labels,
    /// What is said while Kafka is away.
    away: String,
    /// What to say of a topic that is used although it is not as configured.
    remark: Option<String>,
    /// Whether the last batch failed for a reason that a new connection does not end: only a batch that is sent tells otherwise.
    doubted: bool,
    /// Being sent.
    batch: Option<Arc<Batch>>,
    /// Whether the thread has a call under way, and since when.
    busy: bool,
    began: Instant,
    jitter: RandomState,
    steps: u64,
}

impl Broadcast {
    async fn run(mut self, stop: CancellationToken) -> Result<(), BridgeError> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = self.ledger.wake_at();
            let input = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                report = self.reports.recv() => match self.report(report.ok_or(BridgeError::Worker)?) {
                    Some(input) => input,
                    None => continue,
                },
                message = fed(&mut self.feed) => message.map_or(Input::FeedClosed, Input::Fed),
                () = until(wake) => Input::Tick,
                _ = look.tick() => {
                    self.measure();
                    continue;
                }
            };
            let sent = matches!(input, Input::Sent(_));
            self.step(input).await?;
            if sent {
                self.measure();
            }
        }
        self.drain().await
    }

    async fn drain(mut self) -> Result<(), BridgeError> {
        let deadline = tokio::time::Instant::now() + DRAIN;
        self.step(Input::Stop).await?;
        while !self.ledger.is_drained() {
            let wake = self.ledger.wake_at();
            let input = tokio::select! {
                report = self.reports.recv() => match self.report(report.ok_or(BridgeError::Worker)?) {
                    Some(input) => input,
                    None => continue,
                },
                () = until(wake) => Input::Tick,
                () = tokio::time::sleep_until(deadline) => break,
            };
            self.step(input).await?;
        }
        let position = self.ledger.position().and_then(|position| position.version).unwrap_or_default();
        let (kind, ns) = (&self.labels.kind, &self.labels.namespace);
        if self.ledger.is_drained() {
            tracing::info!(%kind, ns, %position, "the broadcast has ended");
        } else {
            let left = self.ledger.outbox().len();
            tracing::warn!(%kind, ns, %position, left, "the broadcast ends before all is told; the next start goes on there");
        }
        Ok(())
    }

    async fn step(&mut self, input: Input) -> Result<(), BridgeError> {
        self.steps += 1;
        let now = Now {
            instant: Instant::now(),
            wall: SystemTime::now(),
            jitter: (self.jitter.hash_one(self.steps) >> 11) as f64 / (1_u64 << 53) as f64,
        };
        for effect in self.ledger.step(input, now) {
            match effect {
                Effect::Open => self.start(Job::Open)?,
                Effect::Send(batch) => {
                    self.batch = Some(batch.clone());
                    self.start(Job::Send(batch))?;
                }
                Effect::ReadBack => self.start(Job::ReadBack)?,
                Effect::Attach { from } => {
                    tracing::info!(kind = %self.labels.kind, ns = self.labels.namespace, from = from.map(|from| from.0), "attaching");
                    // The old feed goes first: the informer could be waiting for it to be drained.
                    self.feed = None;
                    self.feed = Some(self.informer.attach(from).await?);
                }
                Effect::Detach => self.feed = None,
            }
        }
        Ok(())
    }

    fn start(&mut self, job: Job) -> Result<(), BridgeError> {
        self.busy = true;
        self.began = Instant::now();
        self.jobs.send(job).map_err(|_| BridgeError::Worker)
    }

    /// What a report means for the ledger, if anything; and tells people.
    fn report(&mut self, report: Report) -> Option<Input> {
        if let Report::Notice(cause, why) = report {
            // While nothing is to be done, a lost connection is no trouble yet.
            if self.busy {
                self.down(cause, why);
            }
            return None;
        }
        if let Report::Remark(remark) = report {
            self.remark = remark;
            return None;
        }
        if let Report::Lost(trouble) = report {
            self.down(trouble.cause, trouble.detail);
            self.metrics.failed(&self.labels, false, trouble.cause);
            // A call that has been asked for meanwhile finds no producer, and fails.
            return (!self.busy).then_some(Input::Failed(trouble.failure));
        }
        self.busy = false;
        let batch = self.batch.take();
        Some(match report {
            Report::Opened(opened) => {
                match opened.position.as_ref().and_then(|position| position.version) {
                    Some(version) => {
                        if !self.doubted {
                            self.up();
                        }
                        self.metrics.position(&self.labels, version.0);
                    }
                    // Until a position stands, a change is told as the state that a list met, not as what happened.
                    None => self.part.down("comparing what exists with the topic"),
                }
                Input::Opened(opened)
            }
            Report::Sent(ends) => {
                self.doubted = false;
                self.up();
                if let Some(batch) = batch {
                    self.metrics.sent(&self.labels, &batch, self.began.elapsed().as_secs_f64());
                }
                Input::Sent(ends)
            }
            Report::ReadBack(readings) => Input::ReadBack(readings),
            Report::Failed(Trouble { failure, cause, detail }) => {
                tracing::debug!(kind = %self.labels.kind, ns = self.labels.namespace, detail, ?failure, "a Kafka call failed");
                self.doubted |= batch.is_some() && !matches!(cause, Cause::Away | Cause::Fenced | Cause::Stopped);
                self.down(cause, detail);
                self.metrics.failed(&self.labels, batch.is_some(), cause);
                Input::Failed(failure)
            }
            Report::Notice(..) | Report::Remark(_) | Report::Lost(_) => return None,
        })
    }

    /// Says that all is well, and what there is to say all the same.
    fn up(&mut self) {
        match &self.remark {
            Some(remark) => self.part.up_with(remark.clone()),
            None => self.part.up(),
        }
        self.metrics.trouble(&self.labels, self.remark.as_ref().map(|_| Cause::Partitions));
        self.teller.well(self.remark.as_deref());
    }

    /// Says what is wrong. Kafka being away shows itself in many ways: people are told once, in the same words.
    fn down(&mut self, cause: Cause, detail: String) {
        if cause != Cause::Stopped {
            self.metrics.trouble(&self.labels, Some(cause));
        }
        self.teller.wrong(cause, &detail);
        match cause {
            Cause::Away => self.part.down(self.away.clone()),
            Cause::Stopped => {}
            _ => self.part.down(detail),
        }
    }

    fn measure(&self) {
        let outbox = self.ledger.outbox();
        let lag = self.ledger.oldest().and_then(|oldest| oldest.elapsed().ok()).unwrap_or_default();
        self.metrics.waiting(&self.labels, outbox.len(), outbox.bytes(), lag.as_secs_f64());
        self.metrics.collapsed(&self.labels, outbox.collapsed());
    }
}

async fn fed(feed: &mut Option<mpsc::Receiver<Feed>>) -> Option<Feed> {
    match feed {
        Some(receiver) => {
            let message = receiver.recv().await;
            if message.is_none() {
                *feed = None;
            }
            message
        }
        None => std::future::pending().await,
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
