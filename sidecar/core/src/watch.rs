//! The watch protocol as a state machine: which request to make next, and what each line of the answer means.
//!
//! The informer owns one [`machine::Machine`] for each kind and namespace scope and only carries out its effects, in order:
//!
//! ```text
//! loop { select {
//!   until machine.deadline()     → step(Input::Tick)
//!   head of the answer in flight → step(Input::Opened) | step(Input::Refused{…}) | step(Input::Broken{…})
//!   its next line (watch)        → WatchLine::parse → step(Input::Line(…)), unreadable: step(Input::Broken{…})
//!   its whole body (list)        → ListPage::parse → step(Input::Page(…)), unreadable: step(Input::Broken{…})
//!   its end (watch)              → step(Input::Ended), an end in the middle of a line or a read error: step(Input::Broken{…})
//!   whoever takes a seat          → step(Input::Attach{…}) | step(Input::Detach{…})
//!   another definition           → step(Input::Redefined)
//! } }
//! ```
//!
//! At most one request is in flight. [`Effect::Request`] and [`Effect::HangUp`] drop it; what it may still have to say is never
//! fed to the machine.
//!
//! **Filling.** A streaming list (`sendInitialEvents=true`), which goes over into the watch without a gap; where the API server cannot, a
//! paged list and then a watch. Both are consistent reads, so a fill's version is the newest there is. 410 Gone is normal: fill again.
//!
//! **Following.** A cut, an ERROR line or silence (not even a bookmark): the same watch again, after a backoff when it had hardly begun.
//! A watch from a version in the future is silent, which after an etcd restore would mean to wait for ever; so before a
//! watch is opened again a [`Request::Probe`] asks for the newest version, and a version behind ours means: fill again.
//! (A restored etcd that has grown past our version before anyone looked cannot be told from one that was never restored; `etcdutl
//! snapshot restore --bump-revision --mark-compacted` makes it answer 410.)
//!
//! **A kind that is gone** (404: its definition, or this version of it, was removed) is waited for and then filled again. No seat is told anything of
//! it by itself: whether the objects are gone too shows when the kind is back. Objects that are deleted with their definition are deleted one
//! by one before, and the watch tells so.
//!
//! **More than fits** ([`machine::Settings::cache_bytes`]): the request is dropped, nothing is kept, and after a while everything is listed again. The
//! seats are told everything when it fits.
//!
//! **Whoever takes a [`Seat`]** attaches with the version up to which it has told everything. The watch is opened from there, and what the
//! cache and the other seats have already is told to that seat alone. Where history does not reach back (410), there is no version, or the version
//! lies in the future, the seat gets [`Feed::Relisted`] instead, and no other one does. After that and as long as it is attached it gets every change
//! behind its version once, in order; any loss of history in between is a `Relisted` again.

pub mod machine;
mod parse;

use std::sync::Arc;
use std::time::Duration;

use crate::entity::Entity;
use crate::feed::{Delta, Feed};
use crate::version::Version;

/// One line of a watch's answer, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchLine {
    /// ADDED, MODIFIED or DELETED.
    Delta(Delta),
    /// BOOKMARK; `initial_events_end` marks the end of a streaming list.
    Bookmark {
        /// Up to where everything has been told.
        version: Version,
        /// Annotation `k8s.io/initial-events-end: "true"`.
        initial_events_end: bool,
    },
    /// ERROR with an HTTP-like code and reason, e.g. 410 Expired.
    Error {
        /// The `Status`'s code.
        code: u16,
        /// The `Status`'s message.
        message: String,
        /// The `Status`'s `details.retryAfterSeconds`.
        retry_after: Option<Duration>,
    },
}

/// The answer to a list request, read once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The list's version: of its first page, and the same on the others.
    pub version: Version,
    /// The page's entities.
    pub items: Vec<Arc<Entity>>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// A GET on the kind's collection (of the scope's namespace, or of all). The answer to `Stream` and `Watch` is fed line by line, that to `Probe`
/// and `Page` as one [`ListPage`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The newest version there is: a consistent list of one.
    Probe,
    /// A streaming list that goes over into a watch.
    Stream {
        /// When the API server shall end it.
        timeout: Duration,
    },
    /// One page of a consistent list.
    Page {
        /// At most so many items.
        limit: usize,
        /// `next` of the page before.
        after: Option<String>,
    },
    /// A watch of what happens after a version.
    Watch {
        /// The version.
        from: Version,
        /// When the API server shall end it.
        timeout: Duration,
    },
}

impl Request {
    /// The URL's query string.
    pub fn query(&self) -> String {
        match self {
            Self::Probe => "limit=1".to_owned(),
            Self::Stream { timeout } => format!(
                "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds={}",
                timeout.as_secs()
            ),
            Self::Page { limit, after: None } => format!("limit={limit}"),
            Self::Page { limit, after: Some(after) } => {
                format!("limit={limit}&continue={}", crate::query::percent_encode(after))
            }
            Self::Watch { from, timeout } => {
                format!(
                    "watch=true&resourceVersion={from}&allowWatchBookmarks=true&timeoutSeconds={}",
                    timeout.as_secs()
                )
            }
        }
    }

    /// Whether the answer comes line by line.
    pub fn is_watch(&self) -> bool {
        matches!(self, Self::Stream { .. } | Self::Watch { .. })
    }
}

/// Who gets the changes of a watch one by one, beside the cache. Each has a place of its own, and none disturbs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seat {
    /// The broadcast to Kafka.
    Bridge,
    /// What calls the app's notify hook.
    Notifier,
}

/// What happened to the informer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// [`machine::Machine::deadline`] has come.
    Tick,
    /// The request in flight is answered with 200; its body follows.
    Opened,
    /// The next line of a watch's body.
    Line(WatchLine),
    /// The whole body of a list.
    Page(ListPage),
    /// The request in flight is answered with another status.
    Refused {
        /// The HTTP status.
        status: u16,
        /// The `Status`'s message, for people.
        message: String,
        /// The header `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// No connection, a cut, or something that cannot be read.
    Broken {
        /// What, for people.
        reason: String,
    },
    /// The body of a watch ended as HTTP says.
    Ended,
    /// Somebody takes a seat (instead of the one before, if any) and has told everything up to `from`.
    Attach {
        /// Which.
        seat: Seat,
        /// Absent: it has never told anything.
        from: Option<Version>,
    },
    /// Whoever had the seat has gone.
    Detach {
        /// Which.
        seat: Seat,
    },
    /// The cache has come to hold more than it may.
    Full,
    /// The kind's definition has changed: the API server may tell the same versions otherwise now (other fields, other defaults).
    Redefined,
}

/// What the informer is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Drop the request in flight, if any, and make this one.
    Request(Request),
    /// Drop the request in flight, if any.
    HangUp,
    /// [`crate::cache::Cache::replace`]: the cache is filled now.
    Fill {
        /// The version.
        version: Version,
        /// Everything that exists then, in key order.
        entities: Vec<Arc<Entity>>,
    },
    /// What is known is not read until the next `Fill`.
    Lose(Loss),
    /// [`crate::cache::Cache::observe`].
    Observe(Delta),
    /// [`crate::cache::Cache::bookmark`].
    Bookmark(Version),
    /// Send to whoever has the seat.
    Tell(Seat, Feed),
    /// For the log and the metrics.
    Note(Note),
}

/// Why there is nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The API server does not serve the kind any more: what is known says nothing about now.
    Gone,
    /// There is more than the cache may hold. Part of it would look like all of it, so nothing is kept.
    Full,
}

/// Something worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The request failed; the next one follows after `wait`.
    Failed {
        /// Failures in a row: 1 is worth a warning, more are not.
        failures: u32,
        /// What happened.
        reason: String,
        /// Until the next try.
        wait: Duration,
    },
    /// An open watch told nothing, not even a bookmark, for so long: it is replaced.
    Silent(Duration),
    /// A watch is told, or a list complete, after failures.
    Recovered,
    /// What was known is not enough to go on: everything is listed again.
    Refill(Refill),
    /// There is more than the cache may hold; whether it fits is tried again after this.
    Full(Duration),
    /// The API server cannot stream lists: they are paged.
    Paging,
}

/// Why everything is listed again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refill {
    /// 410 Gone: history does not reach back so far.
    Expired,
    /// The newest version there is lies before one that we know: the store was restored to the past.
    Restored,
    /// Whoever attached has no version.
    Attached,
    /// The kind's definition has changed.
    Redefined,
}
