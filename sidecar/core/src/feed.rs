//! What the informer tells the bridge, in order.

use std::sync::Arc;

use crate::entity::Entity;
use crate::version::Version;

/// What happened to an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// It is new.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One change, as the watch told it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Delta {
    /// What happened.
    pub change: Change,
    /// The entity after the change; for a deletion its last state, with the version of the deletion.
    pub entity: Arc<Entity>,
}

/// The informer's messages to one bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// The next change. Versions grow from message to message.
    Delta(Delta),
    /// Every change up to this version has been told.
    Bookmark(Version),
    /// History was lost or never had (first start, 410 Gone, etcd restored to the past): this is the whole state at a version.
    Relisted {
        /// The list's version.
        version: Version,
        /// Everything that exists then, in key order.
        entities: Vec<Arc<Entity>>,
    },
}
