//! The watch protocol as a state machine: which request to make next, and what each line of the answer means.
//!
//! A fill is a streaming list (`sendInitialEvents=true`); where the API server cannot, a paged list. A watch goes on from the last
//! version told. 410 Gone is normal: fill again. An ERROR line, a cut or a silence: the same watch again after a backoff.

use std::sync::Arc;

use crate::entity::Entity;
use crate::feed::Delta;
use crate::kind::Kind;
use crate::mapping::MappingError;
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
    },
}

impl WatchLine {
    /// Reads one line.
    ///
    /// # Errors
    /// When the line is not a watch event, or its object cannot become an entity.
    pub fn parse(kind: &Kind, line: &[u8]) -> Result<Self, MappingError> {
        let _ = (kind, line);
        todo!()
    }
}

/// Placeholder for the machine's input and output: see the module docs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The state at a version is complete: replace the cache, and tell the bridge where history was lost.
    Filled {
        /// The version.
        version: Version,
        /// Everything that exists, in key order.
        entities: Vec<Arc<Entity>>,
    },
}
