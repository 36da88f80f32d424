//! `GET /v1/KIND` with `Accept: text/event-stream`: the present state, `synced`, and then each change as it comes.
//!
//! What an event is, and where a reader goes on, is decided by [`sidecar_core::followed`] and [`sidecar_core::events`]. No reader has a queue of
//! its own: each reads at its own pace from the history that all share, so a thousand readers cost one rendering of an event. One that the history has
//! passed by is told `reset` and gets the state again; one that takes nothing at all is cut by [`super::steady`]. `service` calls it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use contract::problem::Problem;
use futures::Stream;
use futures::future::select_all;
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, VARY};
use hyper::{HeaderMap, Method, Response};
use sidecar_core::entity::Entity;
use sidecar_core::events;
use sidecar_core::feed::Change;
use sidecar_core::filter::Budget;
use sidecar_core::followed::{Cursor, Position, render};
use sidecar_core::query::{self, ListQuery};
use sidecar_core::version::Version;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::answer::Fault;
use super::context::Context;
use super::metrics::OpenStream;
use super::parameters;
use super::places::connections;
use super::read::{not_filled, wait};
use super::service::Api;
use crate::config::ApiLimits;
use crate::kinds::Served;
use crate::view::View;

/// An idle connection shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The first bytes: how long a reader waits before it comes back.
const RETRY: &[u8] = b"retry: 1000\n\n";
/// The present state goes out in pieces of about so many bytes.
const PIECE: usize = 64 << 10;
/// Events taken from the history at once: under its lock, and held for a reader.
const BATCH: usize = 64;
/// When to come back after having been refused.
const BUSY_SECONDS: u64 = 5;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

type Frames = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;
/// The body of such an answer; it ends with the process, or when its reader goes.
pub(super) type EventStream = StreamBody<Frames>;

/// Whether a request asks for events.
pub(super) fn wanted(method: &Method, headers: &HeaderMap) -> bool {
    let safe = matches!(*method, Method::GET | Method::HEAD);
    safe && events::wanted(headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()))
}

/// How many readers there may be; the rest of the connections is for requests.
fn most(limits: &ApiLimits) -> usize {
    connections(limits.connections) / 4 * 3
}

/// Places for readers.
pub(super) fn places(limits: &ApiLimits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(most(limits)))
}

impl Api {
    /// The events of a kind, until the reader goes or `stop`.
    pub(super) async fn follow(
        &self,
        served: &Served,
        (method, headers, query): (&Method, &HeaderMap, &str),
        context: &Context,
        stop: CancellationToken,
    ) -> Result<Response<EventStream>, Box<Fault>> {
        let list = ListQuery::parse(query, &served.description().filters)?;
        events::check(&list)?;
        parameters::check_listed(served, list.namespace.as_deref())?;
        wait(served, context, list.namespace.as_deref(), None).await?;
        if !served.view.is_filled() {
            return Err(not_filled(served));
        }
        if method == Method::HEAD {
            return Ok(answer(Box::pin(futures::stream::empty())));
        }
        let Ok(place) = Arc::clone(&self.streams).try_acquire_owned() else {
            let detail =
                format!("{} readers of events are connected, which is as many as there may be", most(&self.limits));
            return Err(Fault::unavailable(detail, BUSY_SECONDS));
        };
        let mut reader = Reader {
            sources: sources(served, &list),
            query: list,
            phase: Phase::Live,
            ready: VecDeque::from([Bytes::from_static(RETRY)]),
            heartbeat: tokio::time::interval(HEARTBEAT),
            stop,
            _held: (place, self.metrics.stream(&served.full_name)),
        };
        reader.heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        reader.heartbeat.reset();
        reader.begin(headers.get(LAST_EVENT_ID)).await?;
        let frames = futures::stream::unfold(reader, |mut reader| async move {
            let bytes = reader.next().await?;
            Some((Ok(Frame::data(bytes)), reader))
        });
        Ok(answer(Box::pin(frames)))
    }
}

fn answer(frames: Frames) -> Response<EventStream> {
    let mut answer = Response::new(StreamBody::new(frames));
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

/// The views that the query reaches, each at its end.
fn sources(served: &Served, list: &ListQuery) -> Vec<Source> {
    let reached = served.view.views().iter().filter(|view| match (&list.namespace, view.namespace()) {
        (Some(asked), Some(held)) => asked == held,
        _ => true,
    });
    let source = |view: &Arc<View>| Source { progress: view.progress(), view: Arc::clone(view), cursor: None };
    reached.map(source).collect()
}

/// One watch, and how far the reader has come in it.
struct Source {
    view: Arc<View>,
    progress: watch::Receiver<Version>,
    cursor: Option<Cursor>,
}

impl Source {
    fn place(&self) -> (Option<&str>, Position) {
        let position = self.cursor.map_or_else(Position::default, |cursor| cursor.position);
        (self.view.namespace().map(|namespace| &**namespace), position)
    }
}

enum Phase {
    /// This is still to be sent of the present state.
    Present(std::vec::IntoIter<Arc<Entity>>),
    Live,
}

struct Reader {
    sources: Vec<Source>,
    query: ListQuery,
    phase: Phase,
    ready: VecDeque<Bytes>,
    heartbeat: Interval,
    stop: CancellationToken,
    _held: (OwnedSemaphorePermit, OpenStream),
}

impl Reader {
    /// Goes on behind `Last-Event-ID`, or begins with the present state.
    async fn begin(&mut self, last: Option<&HeaderValue>) -> Result<(), Problem> {
        match last.filter(|last| !last.is_empty()) {
            Some(last) if last.to_str().is_ok_and(|last| self.resume(last)) => return Ok(()),
            Some(_) => self.ready.push_back(reset("what happened since Last-Event-ID is not known any more")),
            None => {}
        }
        let present = self.present();
        // Here the caller can still be told what is wrong with the filter.
        let Some(filter) = self.query.filter.clone() else {
            self.phase = Phase::Present(present.into_iter());
            return Ok(());
        };
        let ask = move || {
            let mut budget = Budget::default();
            let mut seen = Vec::new();
            for entity in present {
                let fits = filter.matches(&entity, &mut budget);
                if fits.map_err(|fault| query::bad("filter", &fault.to_string()))? {
                    seen.push(entity);
                }
            }
            Ok::<_, Problem>(seen)
        };
        let asked = tokio::task::spawn_blocking(ask).await;
        let failed = |_| Problem::new(contract::problem::Code::Internal, "the filter could not be asked");
        self.phase = Phase::Present(asked.map_err(failed)??.into_iter());
        Ok(())
    }

    fn resume(&mut self, last: &str) -> bool {
        let namespaces: Vec<_> = self.sources.iter().map(|source| source.place().0).collect();
        let Some(positions) = events::read_id(last, &namespaces) else { return false };
        for (source, position) in self.sources.iter_mut().zip(positions) {
            source.cursor = source.view.resume(position);
        }
        self.sources.iter().all(|source| source.cursor.is_some())
    }

    /// Everything that there is, but for what the filter hides; each source stands behind it.
    fn present(&mut self) -> Vec<Arc<Entity>> {
        let unfiltered = ListQuery { filter: None, ..self.query.clone() };
        let mut present = Vec::new();
        for source in &mut self.sources {
            let (entities, cursor) = source.view.follow();
            source.cursor = Some(cursor);
            present.extend(entities.into_iter().filter(|entity| events::sees(&unfiltered, entity)));
        }
        present
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.stop.is_cancelled() {
                return None;
            }
            if let Some(bytes) = self.ready.pop_front() {
                return Some(bytes);
            }
            if let Phase::Present(entities) = &mut self.phase {
                let piece = piece(entities, &self.query);
                if !piece.is_empty() {
                    return Some(piece);
                }
                self.phase = Phase::Live;
                return Some(Bytes::from(format!("id: {}\nevent: synced\ndata: {{}}\n\n", self.id())));
            }
            if self.take() {
                // Many events that this reader does not see should not keep others waiting.
                tokio::task::consume_budget().await;
                continue;
            }
            tokio::select! {
                () = self.stop.cancelled() => return None,
                () = changed(&mut self.sources) => {}
                // An id without data tells nothing, but is remembered: so a reader who sees little stays within the history.
                _ = self.heartbeat.tick() => return Some(Bytes::from(format!(": alive\nid: {}\n\n", self.id()))),
            }
        }
    }

    /// Takes the next events from the history. Whether there were any.
    fn take(&mut self) -> bool {
        for index in 0..self.sources.len() {
            let Some(source) = self.sources.get_mut(index) else { break };
            source.progress.borrow_and_update();
            let Some((events, behind)) = source.cursor.and_then(|cursor| source.view.after(cursor, BATCH)) else {
                self.ready.push_back(reset("what happened meanwhile is not known any more"));
                let present = self.present();
                let seen = present.into_iter().filter(|entity| events::sees(&self.query, entity));
                self.phase = Phase::Present(seen.collect::<Vec<_>>().into_iter());
                return true;
            };
            let before = source.cursor;
            for event in &events {
                if let Some(source) = self.sources.get_mut(index) {
                    source.cursor = before.map(|cursor| cursor.at(event.position));
                }
                let Some(change) = event.to(|entity| events::sees(&self.query, entity)) else { continue };
                self.ready.push_back(Bytes::from(format!("id: {}\n", self.id())));
                self.ready.push_back(match &self.query.fields {
                    None => event.rendered(change),
                    Some(_) => rendered(change, &event.entity, &self.query),
                });
            }
            if let Some(source) = self.sources.get_mut(index) {
                source.cursor = Some(behind);
            }
            if !events.is_empty() {
                return true;
            }
        }
        false
    }

    fn id(&self) -> String {
        events::id(self.sources.iter().map(Source::place))
    }
}

async fn changed(sources: &mut [Source]) {
    match sources {
        // The sender lives as long as the view, so waiting cannot fail.
        [one] => drop(one.progress.changed().await),
        several => drop(select_all(several.iter_mut().map(|source| Box::pin(source.progress.changed()))).await),
    }
}

/// A reader who comes back after this has no id: it has nothing any more to go on from.
fn reset(reason: &str) -> Bytes {
    Bytes::from(format!("id\nevent: reset\ndata: {{\"reason\":\"{reason}\"}}\n\n"))
}

fn piece(entities: &mut std::vec::IntoIter<Arc<Entity>>, query: &ListQuery) -> Bytes {
    let mut out = Vec::new();
    while out.len() < PIECE {
        let Some(entity) = entities.next() else { break };
        write(Change::Added, &entity, query, &mut out);
    }
    Bytes::from(out)
}

fn rendered(change: Change, entity: &Entity, query: &ListQuery) -> Bytes {
    let mut out = Vec::new();
    write(change, entity, query, &mut out);
    Bytes::from(out)
}

fn write(change: Change, entity: &Entity, query: &ListQuery, out: &mut Vec<u8>) {
    match &query.fields {
        None => render(change, &entity.json, out),
        Some(fields) => {
            let mut json = Vec::new();
            fields.write(&entity.json, &mut json);
            render(change, &json, out);
        }
    }
}
