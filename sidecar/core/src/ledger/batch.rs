//! What the ledger hands over to be told at once: items, and the position that goes with them.
//!
//! Owns the shapes only. The ledger makes batches, the bridge's sender sends them.

use std::time::SystemTime;

use crate::ledger::position::Position;
use crate::outbox::Change;
use crate::version::Version;

/// Where a record lies in its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// Something that the topic still shows and that is no more: its deletion was missed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Vanished {
    /// The record key.
    pub key: String,
    /// The uid of the last record.
    pub uid: Box<str>,
    /// The version of the last record.
    pub last: Version,
    /// Where the last known entity is to be read.
    pub place: Place,
    /// Its size.
    pub bytes: usize,
    /// When it was found to be gone.
    pub learned: SystemTime,
}

impl Vanished {
    /// The version that the deletion is told under: the earliest that it can have had. Nobody knows the true one, and this one is
    /// the same whenever the deletion is found, so that its event has the same id always; no other change of that uid can have it.
    pub fn deletion(&self) -> Version {
        Version(self.last.0.saturating_add(1))
    }
}

/// One thing to tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Item {
    /// A change: one record, and a tombstone behind a deletion.
    Change(Change),
    /// A deletion that was missed: the last entity, read from the topic, and a tombstone.
    Vanished(Vanished),
    /// Only the tombstone: the deletion's record is there already.
    Tombstone {
        /// The record key.
        key: String,
    },
}

impl Item {
    /// When the sidecar learned of it.
    pub fn learned(&self) -> Option<SystemTime> {
        match self {
            Self::Change(change) => Some(change.learned),
            Self::Vanished(gone) => Some(gone.learned),
            Self::Tombstone { .. } => None,
        }
    }
}

/// Items to send in this order, and the position that holds once they are there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Batch {
    /// In order; may be empty when only the position moves.
    pub items: Vec<Item>,
    /// To be written together with them, or directly after.
    pub position: Position,
}
