//! Fills a view from the compacted topic and follows it, in place of a watch: a thread that reads, and a [`Replica`] that decides what is shown.
//!
//! Owns the way between Kafka and the view, and what is said of it in readiness. Never sends anything, joins no group and commits no offset. What is
//! shown stays while Kafka is away, and is said to be old. `app` constructs and runs it.

mod metrics;
mod session;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use runtime::readiness::Part;
use sidecar_core::kind::Kind;
use sidecar_core::ledger::Failure;
use sidecar_core::ledger::position::identity;
use sidecar_core::replica::{Content, Cut, Replica, Subject};
use sidecar_core::watch::Loss;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::bridge::BridgeError;
use crate::bridge::client::Clients;
use crate::bridge::trouble::{Cause, Trouble};
use crate::bridge::worker::Report;
use crate::config::KafkaConfig;
use crate::view::View;
use metrics::Labels;
pub use metrics::Metrics;
use session::{End, Session};

/// Notices on their way from librdkafka.
const REPORTS: usize = 16;
/// Between two beginnings.
const PAUSE: Duration = Duration::from_secs(1);
/// Until it is tried again whether everything fits: as dear as reading all that does.
const FULL: Duration = Duration::from_secs(60);
/// How long the thread may take to end a call.
const JOIN: Duration = Duration::from_secs(4);
/// A broadcast whose kind is idle says about once a minute how far it is.
const SILENT: Duration = Duration::from_secs(150);

/// What a source is made of.
pub struct Setting {
    /// How to reach Kafka.
    pub kafka: KafkaConfig,
    /// The cluster's name, as the broadcast has it.
    pub cluster: String,
    /// What is followed.
    pub kind: Arc<Kind>,
    /// Where to put it; says the namespace too.
    pub view: Arc<View>,
    /// Where it is broadcast.
    pub topic: String,
    /// What the view may hold.
    pub cache_bytes: usize,
    /// `cache PLURAL`.
    pub part: Part,
    /// Shared by all sources.
    pub metrics: Metrics,
}

/// One source, ready to run.
pub struct Source {
    follower: Follower,
}

impl Source {
    /// Checks the properties. Reaches for nothing: Kafka may be away.
    ///
    /// # Errors
    /// When the configuration is at fault.
    pub fn new(setting: Setting) -> Result<Self, BridgeError> {
        let Setting { kafka, cluster, kind, view, topic, cache_bytes, part, metrics } = setting;
        let scope = view.namespace().map_or("*", |namespace| namespace).to_owned();
        let (sender, reports) = mpsc::channel(REPORTS);
        let clients = Clients::new(&kafka, identity(&cluster, &scope, &kind), sender);
        clients.check()?;
        let brokers = ["bootstrap.servers", "metadata.broker.list"].iter().find_map(|name| kafka.properties.get(*name));
        let away = format!("no broker answers in time at {}", brokers.map_or("?", String::as_str));
        let labels = Labels { kind: kind.full_name(), namespace: scope };
        let subject = Subject { cluster, topic, kind, namespace: view.namespace().cloned() };
        let follower =
            Follower { clients, reports, subject, view, cache_bytes, part, metrics, labels, away, told: Told::Nothing };
        Ok(Self { follower })
    }

    /// Follows until `stop`.
    ///
    /// # Errors
    /// When the thread ended without being asked. Kafka being away is no error.
    pub async fn run(self, stop: CancellationToken) -> Result<(), BridgeError> {
        let follower = self.follower;
        let (ended, end) = oneshot::channel::<()>();
        let (name, asked) = (format!("source {}", follower.labels.kind), stop.clone());
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let _ended = ended;
            follower.run(&asked);
        });
        let thread = thread.map_err(BridgeError::Thread)?;
        tokio::select! {
            () = stop.cancelled() => {}
            // Nothing is ever sent: the sender is dropped when the thread ends.
            _ = end => return if stop.is_cancelled() { Ok(()) } else { Err(BridgeError::Worker) },
        }
        let joined = tokio::task::spawn_blocking(move || thread.join());
        if tokio::time::timeout(JOIN, joined).await.is_err() {
            tracing::warn!("a Kafka call does not end, leaving it");
        }
        Ok(())
    }
}

/// What readiness was last told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Trouble,
    Silence,
    Well,
}

/// The thread's own.
struct Follower {
    clients: Clients,
    reports: mpsc::Receiver<Report>,
    subject: Subject,
    view: Arc<View>,
    cache_bytes: usize,
    part: Part,
    metrics: Metrics,
    labels: Labels,
    /// What is said while Kafka is away.
    away: String,
    told: Told,
}

impl Follower {
    fn run(mut self, stop: &CancellationToken) {
        self.part.down(format!("connecting to Kafka, to read the topic {}", self.subject.topic));
        while !stop.is_cancelled() {
            let ended = Session::open(&self.clients, &self.subject, self.cache_bytes)
                .map_err(End::Trouble)
                .and_then(|session| session.run(&mut self, stop));
            let pause = match ended {
                Ok(()) => return,
                Err(End::Trouble(trouble)) => {
                    self.trouble(trouble.because(self.clients.context().take_last()));
                    PAUSE
                }
                Err(End::Full) => {
                    self.full();
                    FULL
                }
                Err(End::Anew(why)) => {
                    let (kind, ns) = (&self.labels.kind, &self.labels.namespace);
                    tracing::warn!(%kind, ns, why, "reading the topic from the beginning again");
                    self.say(Told::Trouble, why);
                    PAUSE
                }
            };
            let due = Instant::now() + pause;
            while Instant::now() < due && !stop.is_cancelled() {
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Shows a cut. Whether it fits.
    fn show(&mut self, cut: Cut) -> Result<(), End> {
        let Cut { version, written, content } = cut;
        // By the clock of whoever wrote it: within a cluster these differ by far less than what an age is good for.
        let age = SystemTime::now().duration_since(written).unwrap_or_default();
        let now = Instant::now();
        let then = now.checked_sub(age).unwrap_or(now);
        match content {
            Content::Whole(entities) => {
                self.metrics.shown(&self.labels, true, entities.len());
                let again = self.view.is_filled();
                self.view.fill(version, entities, then);
                if again {
                    // Among other reasons the broadcast compares everything when the kind's definition has changed.
                    self.view.broken();
                }
            }
            Content::Changes(changes) => {
                self.metrics.shown(&self.labels, false, changes.len());
                for delta in &changes {
                    self.view.observe(delta, then);
                }
                self.view.bookmark(version, then);
            }
        }
        if self.view.size().bytes > self.cache_bytes { Err(End::Full) } else { Ok(()) }
    }

    /// Says how it is, between two cuts.
    fn look(&mut self, replica: &Replica) {
        if !self.view.is_filled() {
            return self.say(Told::Trouble, replica.waiting().to_string());
        }
        let silent = replica.heard().and_then(|heard| heard.elapsed().ok()).filter(|silent| *silent > SILENT);
        match silent {
            Some(silent) => {
                let text = format!("the sidecar that broadcasts it has told nothing for {} s", silent.as_secs());
                self.say(Told::Silence, text);
            }
            None => self.well(),
        }
    }

    fn well(&mut self) {
        if self.told == Told::Trouble {
            let (kind, ns, topic) = (&self.labels.kind, &self.labels.namespace, &self.subject.topic);
            tracing::info!(%kind, ns, topic, "following the topic");
        }
        self.told = Told::Well;
        self.part.up();
    }

    /// Takes what librdkafka has said on the side. Whether it had anything to say.
    fn notices(&mut self) -> bool {
        let mut any = false;
        while let Ok(report) = self.reports.try_recv() {
            if let Report::Notice(cause, why) = report {
                self.trouble(Trouble::new(Failure::Renew, cause, why));
                any = true;
            }
        }
        any
    }

    /// Says what is wrong. Kafka being away shows itself in many ways: people are told once, in the same words.
    fn trouble(&mut self, trouble: Trouble) {
        self.metrics.failed(&self.labels, trouble.cause);
        match trouble.cause {
            Cause::Stopped => {}
            Cause::Away => self.say(Told::Trouble, self.away.clone()),
            _ => self.say(Told::Trouble, trouble.detail),
        }
    }

    /// What was shown stays to be read, so a filled cache stays ready; its age is told with every answer.
    fn say(&mut self, told: Told, text: String) {
        if self.view.is_filled() {
            if self.told != told {
                let (kind, ns) = (&self.labels.kind, &self.labels.namespace);
                tracing::warn!(%kind, ns, reason = text, "the cache is not current");
            }
            self.part.up_with(format!("not current: {text}"));
        } else {
            self.part.down(text);
        }
        self.told = told;
    }

    fn full(&mut self) {
        self.view.lose(Loss::Full);
        self.metrics.full(&self.labels);
        let bytes = self.cache_bytes;
        self.part.down(format!("there is more than the {bytes} bytes that the cache may hold (cacheBytes)"));
        self.told = Told::Trouble;
    }
}
