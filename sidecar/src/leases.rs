//! Holds the Leases: carries out what a [`Candidate`] decides, and lets drivers know whether they may work.
//!
//! Decides nothing: whose a Lease is, and until when, is [`sidecar_core::lease`]'s. `app` constructs and runs a [`Keeper`] per kind, namespace
//! scope and shard; a driver holds its [`Leadership`], and asks it again before everything that cannot be undone.

mod clock;
mod metrics;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use runtime::readiness::Part;
use sidecar_core::kind::Kind;
pub use sidecar_core::lease::Term;
use sidecar_core::lease::{Candidate, Claim, Durations, Effect, Failure, Input, Lease, Moment, Standing, wire};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use metrics::Metrics;

/// A Lease is some hundred bytes.
const ANSWER_BYTES: usize = 64 << 10;
/// How long handing over may take: nobody waits longer for it than for the Lease to run out.
const HAND_OVER: Duration = Duration::from_secs(3);

/// The keeper has ended: the process is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the keeper of the Lease has ended")]
pub struct Ended;

/// Whether this sidecar may do what only one may do. Clones know the same.
#[derive(Debug, Clone)]
pub struct Leadership {
    standing: watch::Receiver<Standing>,
}

/// Where a [`Keeper`] says what it knows.
#[derive(Debug)]
pub struct Announcer {
    standing: watch::Sender<Standing>,
}

/// The two ends between a keeper and a driver.
pub fn leadership() -> (Announcer, Leadership) {
    let (sender, receiver) = watch::channel(Standing::Unknown);
    (Announcer { standing: sender }, Leadership { standing: receiver })
}

impl Leadership {
    /// Whether the term of that number still goes on at this very moment, also after the process or the machine stood still.
    pub fn holds(&self, term: u64) -> bool {
        left(&self.standing.borrow(), term).is_some()
    }

    /// What is known now.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Returns when what is known has changed since the last call.
    ///
    /// # Errors
    /// When the keeper has ended.
    pub async fn changed(&mut self) -> Result<(), Ended> {
        self.standing.changed().await.map_err(|_| Ended)
    }

    /// Returns when the term of that number is over.
    pub async fn lost(&mut self, term: u64) {
        loop {
            let Some(left) = left(&self.standing.borrow_and_update(), term) else { return };
            tokio::select! {
                changed = self.standing.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}

/// How much is left of a term.
fn left(standing: &Standing, term: u64) -> Option<Duration> {
    match standing {
        Standing::Leading(now) if now.number == term => {
            now.until.checked_sub(clock::now()).filter(|left| !left.is_zero())
        }
        _ => None,
    }
}

/// Who takes part in elections.
#[derive(Debug, Clone)]
pub struct Identity {
    /// This process, among all that live.
    pub process: String,
    /// The application, where it has a name.
    pub app: Option<String>,
    /// How long things take.
    pub durations: Durations,
}

/// What a keeper is made of.
pub struct Keeper {
    /// How to reach the API server.
    pub client: Client,
    /// The kind that is to be worked on.
    pub kind: Arc<Kind>,
    /// Its namespace, or absent for all of them.
    pub scope: Option<Arc<str>>,
    /// Where the Lease for all namespaces is: the sidecar's own.
    pub home: String,
    /// Who wants it.
    pub identity: Identity,
    /// Where it is told.
    pub announcer: Announcer,
    /// `lease PLURAL`.
    pub part: Part,
    /// Shared by all keepers.
    pub metrics: Metrics,
}

impl Keeper {
    /// Takes part until `stop`, when all work has ended; then hands over.
    ///
    /// # Errors
    /// None: whatever fails is tried again.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let Self { client, kind, scope, home, identity, announcer, part, metrics } = self;
        let Identity { process, app, durations } = identity;
        let labels = metrics::labels(&kind, scope.as_deref());
        let election = Election {
            candidate: Candidate::new(process, app, durations, clock::now()),
            requests: Requests {
                client,
                namespace: scope.as_deref().map_or(home, str::to_owned),
                name: wire::name(&kind, scope.is_none(), SHARD),
                // Half of what a holder has: so one request that hangs leaves time for another.
                limit: durations.renew / 2,
            },
            noun: kind.kind.clone(),
            announcer,
            part,
            metrics,
            labels,
            trouble: None,
            jitter: RandomState::new(),
            steps: 0,
        };
        election.run(stop).await;
        Ok(())
    }
}

/// A kind has one shard.
const SHARD: u32 = 0;

struct Election {
    candidate: Candidate,
    requests: Requests,
    noun: String,
    announcer: Announcer,
    part: Part,
    metrics: Metrics,
    labels: metrics::Labels,
    /// Why the last request had no result.
    trouble: Option<String>,
    jitter: RandomState,
    steps: u64,
}

impl Election {
    async fn run(mut self, stop: CancellationToken) {
        let mut request: Option<InFlight> = None;
        let mut deadline = None;
        while !self.candidate.has_ended() {
            let due = self.candidate.wake_at().map(|due| due.saturating_sub(clock::now()));
            let input = tokio::select! {
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(tokio::time::Instant::now() + HAND_OVER);
                    Input::Stop
                }
                outcome = answer(&mut request) => self.heard(outcome),
                () = waited(due) => Input::Tick,
                () = until(deadline) => {
                    tracing::warn!(lease = self.requests.name, "failed to hand the Lease over in time, leaving it to run out");
                    return;
                }
            };
            self.steps += 1;
            let jitter = (self.jitter.hash_one(self.steps) >> 11) as f64 / (1_u64 << 53) as f64;
            let now = clock::now();
            if let Some(effect) = self.candidate.step(input, now, jitter) {
                request = Some(self.requests.send(effect));
            }
            self.announce(now);
        }
    }

    /// What an outcome means for the candidate; what failed is remembered for people.
    fn heard(&mut self, outcome: Outcome) -> Input {
        let told = match &outcome {
            Outcome::Read(Err(trouble)) | Outcome::Written(Err(trouble)) => Some(trouble),
            Outcome::Read(Ok(_)) | Outcome::Written(Ok(_)) => None,
        };
        if told.is_some_and(|trouble| trouble.failure == Failure::Unknown) {
            self.metrics.failed(&self.labels);
        }
        self.trouble = told.filter(|trouble| trouble.failure == Failure::Unknown).map(|trouble| trouble.detail.clone());
        match outcome {
            Outcome::Read(read) => Input::Read(read.map_err(|trouble| trouble.failure)),
            Outcome::Written(written) => Input::Written(written.map_err(|trouble| trouble.failure)),
        }
    }

    fn announce(&self, now: Moment) {
        let standing = self.candidate.standing(now);
        self.tell(&standing);
        self.announcer.standing.send_if_modified(|before| {
            let leads = |standing: &Standing| match standing {
                Standing::Leading(term) => Some(term.number),
                _ => None,
            };
            if leads(before) != leads(&standing) {
                let (lease, namespace) = (&self.requests.name, &self.requests.namespace);
                match &standing {
                    Standing::Leading(term) => {
                        self.metrics.leads(&self.labels, true);
                        tracing::info!(lease, namespace, epoch = term.epoch, "this sidecar leads");
                    }
                    _ => {
                        self.metrics.leads(&self.labels, false);
                        tracing::info!(lease, namespace, "this sidecar leads no longer");
                    }
                }
            }
            let modified = *before != standing;
            *before = standing;
            modified
        });
    }

    fn tell(&self, standing: &Standing) {
        let Requests { namespace, name, .. } = &self.requests;
        match (standing, &self.trouble) {
            (Standing::Foreign { app }, _) => self.part.down(format!(
                "application {app:?} owns {} here: this sidecar only consumes; if that is over, hand it on with \
                 `kubectl delete lease {name} -n {namespace}`",
                self.noun
            )),
            (Standing::Leading(_), None) => self.part.up(),
            (Standing::Leading(_), Some(trouble)) => self.part.up_with(trouble.clone()),
            (_, Some(trouble)) => self.part.down(trouble.clone()),
            (Standing::Standby { holder: Some(holder) }, None) => self.part.up_with(format!("standby: {holder} leads")),
            (Standing::Standby { holder: None } | Standing::Unknown, None) => {
                self.part.up_with("standby: nobody leads yet")
            }
        }
    }
}

type InFlight = Pin<Box<dyn Future<Output = Outcome> + Send>>;

enum Outcome {
    Read(Result<Option<Lease>, Trouble>),
    Written(Result<Lease, Trouble>),
}

struct Trouble {
    failure: Failure,
    detail: String,
}

/// How to ask for one Lease.
#[derive(Clone)]
struct Requests {
    client: Client,
    namespace: String,
    name: String,
    limit: Duration,
}

impl Requests {
    fn send(&self, effect: Effect) -> InFlight {
        let this = self.clone();
        Box::pin(async move {
            match effect {
                Effect::Read => Outcome::Read(this.read().await),
                Effect::Write(claim) => Outcome::Written(this.write(&claim).await),
            }
        })
    }

    async fn read(&self) -> Result<Option<Lease>, Trouble> {
        let path = format!("{}/{}", self.collection(), self.name);
        match self.ask(Method::GET, &path, "application/json", Vec::new()).await? {
            (StatusCode::OK, body) => self.lease(&body).map(Some),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => Err(self.refused(status, &body)),
        }
    }

    async fn write(&self, claim: &Claim) -> Result<Lease, Trouble> {
        let body = wire::body(claim, &self.name, Timestamp::now());
        let manager = contract::names::FIELD_MANAGER;
        let answer = if claim.base.is_some() {
            let path = format!("{}/{}?fieldManager={manager}", self.collection(), self.name);
            self.ask(Method::PATCH, &path, "application/merge-patch+json", body).await?
        } else {
            let path = format!("{}?fieldManager={manager}", self.collection());
            self.ask(Method::POST, &path, "application/json", body).await?
        };
        match answer {
            (StatusCode::OK | StatusCode::CREATED, body) => self.lease(&body),
            (StatusCode::CONFLICT, _) => Err(Trouble { failure: Failure::Conflict, detail: String::new() }),
            (StatusCode::NOT_FOUND, _) if claim.base.is_some() => {
                Err(Trouble { failure: Failure::Conflict, detail: String::new() })
            }
            (status, body) => Err(self.refused(status, &body)),
        }
    }

    fn collection(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), Trouble> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .map_err(|error| unknown(error.to_string()))?;
        let exchange = async {
            let answer = self.client.send(request).await.map_err(|error| unknown(away(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(|error| unknown(error.to_string()))?.to_bytes()))
        };
        tokio::time::timeout(self.limit, exchange)
            .await
            .unwrap_or_else(|_| Err(unknown(format!("no answer within {:?}", self.limit))))
    }

    fn lease(&self, body: &[u8]) -> Result<Lease, Trouble> {
        wire::read(body).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
            unknown(format!("{error}{cause}"))
        })
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Trouble {
        #[derive(serde::Deserialize)]
        struct Told {
            message: String,
        }
        let why = serde_json::from_slice::<Told>(body).map_or_else(|_| status.to_string(), |told| told.message);
        let advice = if status == StatusCode::FORBIDDEN {
            "; let the sidecar's user get, create and patch leases of coordination.k8s.io there"
        } else {
            ""
        };
        unknown(format!("{why}{advice}"))
    }
}

fn unknown(detail: String) -> Trouble {
    Trouble { failure: Failure::Unknown, detail: format!("the Lease cannot be read or written: {detail}") }
}

/// The innermost cause: the outer ones only say that a request failed.
fn away(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

async fn answer(request: &mut Option<InFlight>) -> Outcome {
    match request {
        Some(exchange) => {
            let outcome = exchange.await;
            *request = None;
            outcome
        }
        None => std::future::pending().await,
    }
}

async fn waited(due: Option<Duration>) {
    match due {
        Some(due) => tokio::time::sleep(due).await,
        None => std::future::pending().await,
    }
}

async fn until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
