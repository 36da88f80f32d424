//! The sidecar's decisions, pure and synchronous: no IO, no clock, no tokio, hyper, kube or rdkafka.
//!
//! What must not be wrong lives here, where tables and property tests reach it; `sidecar` feeds it and carries out
//! what it decides.

pub mod admission;
pub mod backoff;
pub mod budget;
pub mod cache;
pub mod entity;
pub mod envelope;
pub mod events;
pub mod expiry;
pub mod feed;
pub mod fields;
pub mod filter;
mod fnv;
pub mod followed;
pub mod health;
pub mod hook;
pub mod index;
pub mod kind;
pub mod lease;
pub mod ledger;
pub mod list;
pub mod mapping;
pub mod marks;
mod members;
pub mod notices;
pub mod observed;
pub mod openapi;
pub mod order;
pub mod outbox;
pub mod path;
pub mod projection;
pub mod query;
pub mod queue;
pub mod reconcile;
pub mod recorder;
pub mod refusal;
pub mod replica;
pub mod retry;
pub mod schema;
pub mod selector;
pub mod shard;
pub mod shelf;
pub mod trace;
pub mod version;
pub mod watch;
pub mod write;
