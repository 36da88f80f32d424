//! One Lease: carries out what a [`Candidate`] decides, one request at a time.
//!
//! Owns the candidate and tells what it knows; whether the Lease is wanted is [`super::council`]'s to say, which runs it.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use sidecar_core::lease::{Candidate, Claim, Effect, Failure, Input, Lease, Moment, Standing, Term, wire};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::notified::Notified;
use super::request::{Requests, Trouble, nonsense};
use super::{Announcer, Identity, Metrics, clock, metrics};

/// How long handing over may take: nobody waits longer for it than for the Lease to run out.
pub(super) const HAND_OVER: Duration = Duration::from_secs(3);
/// Between two looks whether the work in a Lease that is not wanted has ended.
const LOOK: Duration = Duration::from_millis(50);

/// What an election is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Order {
    /// Whether to take the Lease.
    pub(super) want: bool,
    /// The term in which work in the shard is right.
    pub(super) work: Option<u64>,
    /// The number of shards to write.
    pub(super) declare: Option<u32>,
}

/// What an election knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) standing: Standing,
    /// The number of shards for which the Lease stands, if it was read: 1 where none is written.
    pub(super) layout: Option<u32>,
    /// The number of shards that is written in it.
    pub(super) written: Option<u32>,
    /// When the last request whose answer said so was sent.
    pub(super) asked: Moment,
    /// When the present term was first known.
    pub(super) since: Moment,
    /// Why the last request had no result.
    pub(super) trouble: Option<String>,
}

impl Heard {
    pub(super) fn new() -> Self {
        Self {
            standing: Standing::Unknown,
            layout: None,
            written: None,
            asked: Moment::ZERO,
            since: Moment::ZERO,
            trouble: None,
        }
    }

    /// The term that goes on, wanted or not.
    pub(super) fn term(&self) -> Option<Term> {
        match self.standing {
            Standing::Leading(term) | Standing::Yielding(term) => Some(term),
            _ => None,
        }
    }
}

/// One Lease's election, ready to run.
pub(super) struct Election {
    candidate: Candidate,
    requests: Requests,
    orders: watch::Receiver<Order>,
    heard: watch::Sender<Heard>,
    /// Told whoever holds the Lease.
    whole: Option<Announcer>,
    /// Told who works on the shard.
    shard: Option<Announcer>,
    metrics: Metrics,
    labels: metrics::Labels,
    led: Option<u64>,
    sent: Moment,
    asked: Moment,
    since: Moment,
    trouble: Option<String>,
    jitter: RandomState,
    steps: u64,
}

/// What an election is told by, and tells.
pub(super) struct Ends {
    pub(super) orders: watch::Receiver<Order>,
    pub(super) heard: watch::Sender<Heard>,
    pub(super) whole: Option<Announcer>,
    pub(super) shard: Option<Announcer>,
}

impl Election {
    pub(super) fn new(
        identity: &Identity,
        requests: Requests,
        ends: Ends,
        metrics: Metrics,
        labels: metrics::Labels,
    ) -> Self {
        let Ends { orders, heard, whole, shard } = ends;
        let Identity { process, app, durations } = identity.clone();
        Self {
            candidate: Candidate::new(process, app, durations, clock::now()),
            requests,
            orders,
            heard,
            whole,
            shard,
            metrics,
            labels,
            led: None,
            sent: Moment::ZERO,
            asked: Moment::ZERO,
            since: Moment::ZERO,
            trouble: None,
            jitter: RandomState::new(),
            steps: 0,
        }
    }

    /// Takes part until `stop`; then hands over, and gives its announcers back.
    pub(super) async fn run(mut self, stop: CancellationToken) -> (Option<Announcer>, Option<Announcer>) {
        let mut request: Option<InFlight> = None;
        let mut deadline = None;
        let mut order = Order::default();
        for input in self.take(&mut order) {
            self.step(input, &mut request);
        }
        while !self.candidate.has_ended() {
            let now = clock::now();
            let due = self.candidate.wake_at().map(|due| due.saturating_sub(now));
            let yields = matches!(self.candidate.standing(now), Standing::Yielding(_)) && request.is_none();
            let input = tokio::select! {
                () = stop.cancelled(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + HAND_OVER);
                    Some(Input::Stop)
                }
                outcome = answer(&mut request) => Some(self.heard(outcome)),
                changed = self.orders.changed() => match changed {
                    Ok(()) => None,
                    Err(_) => Some(Input::Stop),
                },
                () = waited(due) => Some(Input::Tick),
                () = tokio::time::sleep(LOOK), if yields => {
                    if self.is_engaged() { continue }
                    Some(Input::Yield)
                }
                () = until(deadline) => {
                    tracing::warn!(lease = self.requests.name, "failed to hand the Lease over in time, leaving it to run out");
                    break;
                }
            };
            match input {
                Some(input) => self.step(input, &mut request),
                None => {
                    for input in self.take(&mut order) {
                        self.step(input, &mut request);
                    }
                }
            }
            self.announce(order);
        }
        (self.whole, self.shard)
    }

    /// What a new order means for the candidate.
    fn take(&mut self, order: &mut Order) -> Vec<Input> {
        let before = std::mem::replace(order, *self.orders.borrow_and_update());
        let want =
            (before.want != order.want || self.candidate.wants() != order.want).then_some(Input::Want(order.want));
        want.into_iter().chain(order.declare.map(Input::Declare)).collect()
    }

    fn step(&mut self, input: Input, request: &mut Option<InFlight>) {
        self.steps += 1;
        let jitter = (self.jitter.hash_one(self.steps) >> 11) as f64 / (1_u64 << 53) as f64;
        let now = clock::now();
        if let Some(effect) = self.candidate.step(input, now, jitter) {
            self.sent = now;
            let notified = self.whole.as_ref().map(|whole| whole.notified.clone()).unwrap_or_default();
            *request = Some(send(self.requests.clone(), notified, effect));
        }
    }

    fn is_engaged(&self) -> bool {
        self.whole.iter().chain(&self.shard).any(Announcer::is_engaged)
    }

    /// What an outcome means for the candidate; what failed is remembered for people.
    fn heard(&mut self, outcome: Outcome) -> Input {
        let told = match &outcome {
            Outcome::Read(Err(trouble)) | Outcome::Written(Err(trouble)) => Some(trouble),
            Outcome::Read(Ok(_)) | Outcome::Written(Ok(_)) => {
                self.asked = self.sent;
                None
            }
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

    /// Tells everybody what is known now.
    fn announce(&mut self, order: Order) {
        let now = clock::now();
        let standing = self.candidate.standing(now);
        let term = match &standing {
            Standing::Leading(term) | Standing::Yielding(term) => Some(*term),
            _ => None,
        };
        self.count(term, now);
        if let Some(shard) = &self.shard {
            let shown = match (&standing, order.work) {
                (Standing::Leading(term), work) if work != Some(term.number) => Standing::Unknown,
                _ => standing.clone(),
            };
            shard.announce(shown);
        }
        if let Some(whole) = &self.whole {
            whole.announce(standing.clone());
        }
        let written = self.candidate.lease().and_then(|lease| lease.shards);
        let layout = self.candidate.lease().map(|lease| lease.shards.unwrap_or(1));
        let (asked, since, trouble) = (self.asked, self.since, self.trouble.clone());
        let heard = Heard { standing, layout, written, asked, since, trouble };
        self.heard.send_if_modified(|before| {
            let modified = *before != heard;
            *before = heard;
            modified
        });
    }

    fn count(&mut self, term: Option<Term>, now: Moment) {
        let number = term.map(|term| term.number);
        if self.led == number {
            return;
        }
        let (lease, namespace) = (&self.requests.name, &self.requests.namespace);
        if self.led.is_some() {
            self.metrics.leads(&self.labels, false);
            tracing::info!(lease, namespace, "this sidecar leads no longer");
        }
        if let Some(term) = term {
            self.since = now;
            self.metrics.leads(&self.labels, true);
            tracing::info!(lease, namespace, epoch = term.epoch, "this sidecar leads");
        }
        self.led = number;
    }
}

type InFlight = Pin<Box<dyn Future<Output = Outcome> + Send>>;

enum Outcome {
    Read(Result<Option<Lease>, Trouble>),
    Written(Result<Lease, Trouble>),
}

fn send(requests: Requests, notified: Notified, effect: Effect) -> InFlight {
    Box::pin(async move {
        match effect {
            Effect::Read => Outcome::Read(read(&requests, &notified).await),
            Effect::Write(claim) => Outcome::Written(write(&requests, &notified, &claim).await),
        }
    })
}

async fn read(requests: &Requests, notified: &Notified) -> Result<Option<Lease>, Trouble> {
    let told = requests.read().await?;
    told.map(|body| understand(&body, notified)).transpose()
}

async fn write(requests: &Requests, notified: &Notified, claim: &Claim) -> Result<Lease, Trouble> {
    // Who takes a Lease goes on where the one before has come to.
    let news = if claim.acquired { None } else { notified.news(claim.transitions) };
    let body = wire::body(claim, &requests.name, news.as_deref(), Timestamp::now());
    let told = match claim.base {
        Some(_) => requests.patch(body).await?,
        None => requests.create(body).await?,
    };
    understand(&told, notified)
}

fn understand(body: &[u8], notified: &Notified) -> Result<Lease, Trouble> {
    notified.found(wire::notified(body).map_err(|error| nonsense(&error))?);
    wire::read(body).map_err(|error| nonsense(&error))
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

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
