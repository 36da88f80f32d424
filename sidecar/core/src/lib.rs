//! The sidecar's decisions, pure and synchronous: no IO, no clock, no tokio, hyper, kube or rdkafka.
//!
//! What must not be wrong lives here, where tables and property tests reach it; `sidecar` feeds it and carries out
//! what it decides.

pub mod kind;
pub mod version;
pub mod entity;
pub mod schema;
pub mod mapping;
pub mod write;
pub mod refusal;
pub mod selector;
pub mod query;
pub mod cache;
pub mod watch;
pub mod feed;
