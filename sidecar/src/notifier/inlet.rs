//! Where a notifier's changes come from: the watch, or a cache that is filled from the topic.
//!
//! Both are told as the same feed. A cache's begins with everything that it holds; then come the changes that it has shown, for as long as they are
//! remembered.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sidecar_core::feed::{Delta, Feed};
use sidecar_core::followed::Cursor;
use sidecar_core::version::Version;
use tokio::sync::{mpsc, watch};

use crate::informer::{AttachHandle, Ended};
use crate::view::View;

/// Changes that are taken from a cache at a time.
const MOST: usize = 256;

/// Where changes come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// From a watch of the API server: every change, for as long as its history reaches back.
    Watch(AttachHandle),
    /// From the cache, which something else fills.
    Cache,
}

impl Source {
    /// A feed of what lies behind `from`.
    pub(super) fn open(&self, view: &Arc<View>, from: Option<Version>) -> Inlet {
        match self {
            Self::Watch(handle) => {
                let handle = handle.clone();
                Inlet::Opening(Box::pin(async move { handle.attach(from).await }))
            }
            Self::Cache => Inlet::Cache(Follower {
                view: Arc::clone(view),
                progress: view.progress(),
                cursor: None,
                read: VecDeque::new(),
            }),
        }
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<mpsc::Receiver<Feed>, Ended>> + Send>>;

/// A feed under way.
pub(super) enum Inlet {
    Opening(Opening),
    Watch(mpsc::Receiver<Feed>),
    Cache(Follower),
}

/// Follows a cache.
pub(super) struct Follower {
    view: Arc<View>,
    progress: watch::Receiver<Version>,
    cursor: Option<Cursor>,
    read: VecDeque<Feed>,
}

/// The next message; `None` when the feed has ended. Cancelling loses nothing.
pub(super) async fn next(inlet: &mut Option<Inlet>) -> Option<Feed> {
    loop {
        match inlet {
            None => return std::future::pending().await,
            Some(Inlet::Opening(opening)) => match opening.await {
                Ok(feed) => *inlet = Some(Inlet::Watch(feed)),
                // The informer has ended, and so does the process.
                Err(Ended) => {
                    *inlet = None;
                    return std::future::pending().await;
                }
            },
            Some(Inlet::Watch(feed)) => return feed.recv().await,
            Some(Inlet::Cache(follower)) => return Some(follower.next().await),
        }
    }
}

/// Returns when the cache has everything.
pub(super) async fn filled(view: &View) {
    let mut progress = view.progress();
    while !view.is_filled() {
        // The sender lives as long as the view, so this cannot fail.
        let _ = progress.changed().await;
    }
}

impl Follower {
    async fn next(&mut self) -> Feed {
        loop {
            if let Some(feed) = self.read.pop_front() {
                return feed;
            }
            self.progress.mark_unchanged();
            match self.cursor {
                None => {
                    filled(&self.view).await;
                    let (entities, cursor) = self.view.follow();
                    self.cursor = Some(cursor);
                    return Feed::Relisted { version: cursor.position.version, entities };
                }
                Some(cursor) => match self.view.after(cursor, MOST) {
                    Some((events, behind)) if events.is_empty() => {
                        let come = behind.position.version > cursor.position.version;
                        self.cursor = Some(behind);
                        if come {
                            return Feed::Bookmark(behind.position.version);
                        }
                        let _ = self.progress.changed().await;
                    }
                    Some((events, behind)) => {
                        self.cursor = Some(behind);
                        let deltas = events.iter().filter_map(|event| {
                            let change = event.to(|_| true)?;
                            Some(Feed::Delta(Delta { change, entity: Arc::clone(&event.entity) }))
                        });
                        self.read.extend(deltas);
                    }
                    None => self.cursor = None,
                },
            }
        }
    }
}
