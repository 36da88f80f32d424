//! `todo-table`: a downstream consumer that builds its own table of todos from the topic, and counts what the topic's
//! promises say must not happen.
//!
//! It writes nothing, neither to Kafka nor to disk. The table is in memory, so each start reads the topic from the
//! beginning; a compacted topic is made for that. It also starts over after a long absence: a deletion is a tombstone, and
//! Kafka forgets tombstones after the topic's `delete.retention.ms` (a day unless set), so whoever was away for longer may
//! have missed one and would keep a todo that is gone.

pub mod api;
pub mod follow;
pub mod record;
pub mod state;

use std::sync::Arc;

use parking_lot::Mutex;

pub use follow::Settings;

/// The table, written by the one thread that follows the topic and read by the HTTP API.
pub type Shared = Arc<Mutex<state::Table>>;
