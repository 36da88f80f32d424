//! Follows one kind in one namespace scope: makes the requests that [`Machine`] wants, feeds it what comes back, and carries out its effects.
//!
//! Decides nothing: what a line means and what follows is [`sidecar_core::watch`]'s. The view is written here only; whoever
//! takes a seat gets the same changes over its own channel, and is let go, alone, when it does not keep up. `app` constructs and runs it.

mod lines;
mod metrics;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::stream::{FuturesUnordered, StreamExt};
use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, RETRY_AFTER};
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use runtime::readiness::Part;
use sidecar_core::feed::Feed;
use sidecar_core::kind::Kind;
use sidecar_core::version::Version;
use sidecar_core::watch::machine::{Machine, Settings};
use sidecar_core::watch::{Effect, Input, ListPage, Note, Refill, Request, Seat, WatchLine};
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use crate::resource;
use crate::view::View;
use lines::{Line, Lines};
pub use metrics::Metrics;

/// Messages under way to a seat. It drains at once into its own bounded queue, so this only covers a moment: about a
/// tenth of a second at the rate at which an API server can send.
const FEED: usize = 1024;
/// A seat that takes nothing for so long is let go; it attaches again where it was.
const STALL: Duration = Duration::from_secs(5);
/// A refusal's body: a `Status`, of which only the message is shown.
const REFUSAL_BYTES: usize = 64 << 10;
/// A page of a list: far more than [`Settings::page`] objects of the usual size, far less than would hurt.
const PAGE_BYTES: usize = 1 << 30;

/// How whoever has a seat gets at the changes of one watch; clones reach the same informer.
#[derive(Debug, Clone)]
pub struct AttachHandle {
    seat: Seat,
    requests: mpsc::Sender<Attachment>,
}

/// The informer's end of [`AttachHandle`]. Clones are the same end, which one informer after the other takes.
#[derive(Debug, Clone)]
pub struct Attachments {
    requests: Arc<Mutex<mpsc::Receiver<Attachment>>>,
}

#[derive(Debug)]
struct Attachment {
    seat: Seat,
    from: Option<Version>,
    feed: mpsc::Sender<Feed>,
}

/// The informer has ended: the process is ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the informer has ended")]
pub struct Ended;

/// The two ends of the way to attach; the first is the bridge's.
pub fn attachments() -> (AttachHandle, Attachments) {
    let (sender, receiver) = mpsc::channel(1);
    (AttachHandle { seat: Seat::Bridge, requests: sender }, Attachments { requests: Arc::new(Mutex::new(receiver)) })
}

impl AttachHandle {
    /// The same informer, for another seat.
    #[must_use]
    pub fn of(&self, seat: Seat) -> Self {
        Self { seat, requests: self.requests.clone() }
    }

    /// Attaches, instead of whoever had the seat before: everything behind `from` comes, in order, once; or, where history does not
    /// reach back, first [`Feed::Relisted`]. Dropping the receiver detaches. A receiver that ends was let go for not keeping up (or the process
    /// is ending): attach again with the position then reached.
    ///
    /// # Errors
    /// When the informer has ended.
    pub async fn attach(&self, from: Option<Version>) -> Result<mpsc::Receiver<Feed>, Ended> {
        let (feed, receiver) = mpsc::channel(FEED);
        self.requests.send(Attachment { seat: self.seat, from, feed }).await.map_err(|_| Ended)?;
        Ok(receiver)
    }
}

/// One informer, ready to run.
pub struct Informer {
    /// How to reach the API server.
    pub client: Client,
    /// What to follow.
    pub kind: Arc<Kind>,
    /// Where to put it; says the namespace too.
    pub view: Arc<View>,
    /// Where those with a seat ask.
    pub attachments: Attachments,
    /// What the view may hold.
    pub cache_bytes: usize,
    /// `cache PLURAL`.
    pub part: Part,
    /// Shared by all informers.
    pub metrics: Metrics,
}

impl Informer {
    /// Follows until `stop`.
    ///
    /// # Errors
    /// None: whatever fails is tried again.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let Self { client, kind, view, attachments, cache_bytes, part, metrics } = self;
        let machine = Machine::new(Settings { cache_bytes, ..Settings::default() }, now());
        let follower = Follower {
            client,
            kind,
            view,
            part,
            metrics,
            cache_bytes,
            machine,
            flight: Flight::None,
            feeds: BTreeMap::new(),
            jitter: Jitter::default(),
        };
        stop.run_until_cancelled(follower.follow(attachments)).await;
        Ok(())
    }
}

struct Follower {
    client: Client,
    kind: Arc<Kind>,
    view: Arc<View>,
    part: Part,
    metrics: Metrics,
    cache_bytes: usize,
    machine: Machine,
    flight: Flight,
    feeds: BTreeMap<Seat, mpsc::Sender<Feed>>,
    jitter: Jitter,
}

/// The request in flight, as far as it has come.
enum Flight {
    None,
    Head { answer: Pin<Box<dyn Future<Output = Head> + Send>>, watch: bool },
    Lines(Lines),
    Whole(Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>>),
}

enum Head {
    Opened(Response<Body>),
    Other(Input),
}

impl Follower {
    async fn follow(mut self, attachments: Attachments) {
        let mut requests = attachments.requests.lock().await;
        loop {
            let deadline = tokio::time::Instant::from_std(self.machine.deadline());
            let input = tokio::select! {
                input = self.flight.next(&self.kind) => input,
                () = tokio::time::sleep_until(deadline) => Input::Tick,
                Some(attachment) = requests.recv() => {
                    let Attachment { seat, from, feed } = attachment;
                    self.feeds.insert(seat, feed);
                    Input::Attach { seat, from }
                }
                () = self.view.redefinition() => Input::Redefined,
                seat = closed(&self.feeds) => {
                    self.feeds.remove(&seat);
                    Input::Detach { seat }
                }
            };
            self.metrics.input(&self.kind, &input);
            if matches!(input, Input::Ended | Input::Broken { .. } | Input::Refused { .. }) {
                self.view.broken();
            }
            let mut next = VecDeque::from([input]);
            while let Some(input) = next.pop_front() {
                let effects = self.machine.step(input, now(), self.jitter.next());
                for effect in effects {
                    if let Err(Stalled(seat)) = self.carry_out(effect).await {
                        tracing::warn!(kind = %self.kind.full_name(), ?seat, "it does not keep up, letting it go");
                        self.feeds.remove(&seat);
                        next.push_back(Input::Detach { seat });
                    }
                }
                // Our own writes and the indexes count too, which the machine does not see.
                if next.is_empty() && self.view.is_filled() && self.view.size().bytes > self.cache_bytes {
                    next.push_back(Input::Full);
                }
            }
        }
    }

    async fn carry_out(&mut self, effect: Effect) -> Result<(), Stalled> {
        match effect {
            Effect::Request(request) => self.flight = self.open(&request),
            Effect::HangUp => self.flight = Flight::None,
            Effect::Fill { version, entities } => {
                self.view.fill(version, entities, now());
                self.part.up();
            }
            Effect::Lose(why) => self.view.lose(why),
            Effect::Observe(delta) => self.view.observe(&delta, now()),
            Effect::Bookmark(version) => self.view.bookmark(version, now()),
            Effect::Tell(seat, feed) => return self.tell(seat, feed).await,
            Effect::Note(note) => self.note(&note),
        }
        Ok(())
    }

    async fn tell(&mut self, seat: Seat, message: Feed) -> Result<(), Stalled> {
        let Some(feed) = self.feeds.get(&seat) else { return Ok(()) };
        feed.send_timeout(message, STALL).await.map_err(|_| Stalled(seat))
    }

    fn note(&self, note: &Note) {
        let kind = self.kind.full_name();
        let ns = self.view.namespace().map_or("*", |namespace| namespace);
        match note {
            Note::Failed { failures, reason, wait } => {
                if *failures == 1 {
                    tracing::warn!(%kind, ns, %reason, ?wait, "the watch broke off");
                } else {
                    tracing::debug!(%kind, ns, %reason, ?wait, failures, "the watch broke off again");
                }
                // Reads go on from what is known, so a filled cache stays ready; its age is told with every answer.
                if self.view.is_filled() {
                    self.part.up_with(format!("not current: {reason}"))
                } else {
                    self.part.down(reason.clone())
                }
            }
            Note::Silent(silent) => {
                tracing::warn!(%kind, ns, ?silent, "the watch is silent, opening another one");
                if self.view.is_filled() {
                    self.part.up_with(format!("not current: the watch told nothing for {} s", silent.as_secs()));
                }
            }
            Note::Full(wait) => {
                let bytes = self.cache_bytes;
                tracing::warn!(%kind, ns, bytes, ?wait, "there is more than the cache may hold, letting it go");
                self.part.down(format!("there is more than the {bytes} bytes that the cache may hold (cacheBytes)"));
            }
            Note::Recovered => {
                tracing::info!(%kind, ns, "following again");
                if self.view.is_filled() {
                    self.part.up();
                }
            }
            Note::Refill(why @ (Refill::Expired | Refill::Attached | Refill::Redefined)) => {
                tracing::info!(%kind, ns, ?why, "listing everything again")
            }
            Note::Refill(Refill::Restored) => {
                tracing::warn!(%kind, ns, "the API server's store was restored to the past, listing everything again");
            }
            Note::Paging => tracing::info!(%kind, ns, "the API server cannot stream lists, asking for pages"),
        }
        if matches!(note, Note::Refill(_)) && self.view.is_filled() {
            self.part.up_with("not current: everything is listed again");
        }
        self.metrics.note(&self.kind, note);
    }

    fn open(&self, request: &Request) -> Flight {
        self.metrics.request(&self.kind, request);
        let path = resource::collection(&self.kind, self.view.namespace().map(|namespace| &**namespace));
        // Only ours: names and values of labels need no escaping.
        let selected = self.view.selector().map_or_else(String::new, |selector| format!("&labelSelector={selector}"));
        let built = HttpRequest::builder()
            .method(Method::GET)
            .uri(format!("{path}?{}{selected}", request.query()))
            .header(ACCEPT, "application/json")
            .body(Body::empty());
        let client = self.client.clone();
        let answer = async move {
            match built {
                Ok(request) => head(client.send(request).await).await,
                Err(error) => Head::Other(Input::Broken { reason: error.to_string() }),
            }
        };
        Flight::Head { answer: Box::pin(answer), watch: request.is_watch() }
    }
}

struct Stalled(Seat);

/// tokio's clock, which a test can advance.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Returns when somebody has let its seat go, and which.
async fn closed(feeds: &BTreeMap<Seat, mpsc::Sender<Feed>>) -> Seat {
    let mut closing: FuturesUnordered<_> = feeds
        .iter()
        .map(|(seat, feed)| async move {
            feed.closed().await;
            *seat
        })
        .collect();
    match closing.next().await {
        Some(seat) => seat,
        None => std::future::pending().await,
    }
}

async fn head(answer: Result<Response<Body>, kube::Error>) -> Head {
    let answer = match answer {
        Ok(answer) if answer.status() == StatusCode::OK => return Head::Opened(answer),
        Ok(answer) => answer,
        Err(error) => return Head::Other(Input::Broken { reason: away(&error) }),
    };
    let status = answer.status().as_u16();
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = Limited::new(answer.into_body(), REFUSAL_BYTES).collect().await;
    let text = body.map(|body| body.to_bytes()).unwrap_or_default();
    let told = serde_json::from_slice::<serde_json::Value>(&text).ok();
    let message = told.as_ref().and_then(|told| told.get("message")?.as_str()).unwrap_or_default().to_owned();
    Head::Other(Input::Refused { status, message, retry_after: retry_after.map(Duration::from_secs) })
}

/// What is wrong, from the innermost cause: the outer ones only say that a request failed.
fn away(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    format!("the API server cannot be reached: {cause}")
}

impl Flight {
    /// What comes next. Cancelling loses nothing.
    async fn next(&mut self, kind: &Kind) -> Input {
        loop {
            match self {
                Self::None => return std::future::pending().await,
                Self::Head { answer, watch } => {
                    let watch = *watch;
                    match answer.await {
                        Head::Opened(response) if watch => *self = Self::Lines(Lines::new(response.into_body())),
                        Head::Opened(response) => *self = Self::Whole(Box::pin(whole(response.into_body()))),
                        Head::Other(input) => {
                            *self = Self::None;
                            return input;
                        }
                    }
                    return Input::Opened;
                }
                Self::Lines(lines) => match lines.next().await {
                    Line::Complete(line) if line.iter().all(u8::is_ascii_whitespace) => {}
                    Line::Complete(line) => {
                        crate::spans::note(&line);
                        return match WatchLine::parse(kind, &line) {
                            Ok(line) => Input::Line(line),
                            Err(error) => Input::Broken { reason: unreadable(&error) },
                        };
                    }
                    Line::End => {
                        *self = Self::None;
                        return Input::Ended;
                    }
                    Line::Broken(reason) => {
                        *self = Self::None;
                        return Input::Broken { reason };
                    }
                },
                Self::Whole(body) => {
                    let body = body.await;
                    *self = Self::None;
                    return match body.map(|body| ListPage::parse(kind, &body).map_err(|error| unreadable(&error))) {
                        Ok(Ok(page)) => Input::Page(page),
                        Ok(Err(reason)) | Err(reason) => Input::Broken { reason },
                    };
                }
            }
        }
    }
}

async fn whole(body: Body) -> Result<Bytes, String> {
    Limited::new(body, PAGE_BYTES).collect().await.map(|body| body.to_bytes()).map_err(|error| error.to_string())
}

fn unreadable(error: &sidecar_core::mapping::MappingError) -> String {
    let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
    format!("{error}{cause}")
}

/// Random numbers in 0..1, good enough to spread retries.
#[derive(Debug, Default)]
struct Jitter {
    state: std::collections::hash_map::RandomState,
    count: u64,
}

impl Jitter {
    fn next(&mut self) -> f64 {
        use std::hash::BuildHasher;
        self.count += 1;
        let bits = self.state.hash_one(self.count) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests;
