//! Follows a view: whoever works on entities hears of each change, in order, or is told that some are not known any more.
//!
//! Owns the place in what the view tells; drivers hold it.

use std::sync::Arc;

use sidecar_core::followed::{Cursor, Event};
use sidecar_core::version::Version;
use tokio::sync::watch;

use super::View;

/// How many events are read at a time.
const EVENTS: usize = 256;

/// A place in what a view tells.
#[derive(Debug)]
pub struct Follower {
    view: Arc<View>,
    cursor: Cursor,
    progress: watch::Receiver<Version>,
}

impl Follower {
    /// From now on.
    pub fn new(view: Arc<View>) -> Self {
        let progress = view.progress();
        let (_, cursor) = view.follow();
        Self { view, cursor, progress }
    }

    /// Returns when there may be something to hear. Cancelling loses nothing.
    pub async fn changed(&mut self) {
        // The sender lives as long as the view, so this cannot fail.
        let _ = self.progress.changed().await;
    }

    /// Hands over every change since the last call; `false`: some are not known any more.
    pub fn each(&mut self, mut hear: impl FnMut(&Event)) -> bool {
        self.progress.mark_unchanged();
        loop {
            let Some((events, cursor)) = self.view.after(self.cursor, EVENTS) else {
                (_, self.cursor) = self.view.follow();
                return false;
            };
            self.cursor = cursor;
            events.iter().for_each(|event| hear(event));
            if events.len() < EVENTS {
                return true;
            }
        }
    }
}
