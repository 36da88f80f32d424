//! What crosses a process border: names, ports, the business shape of an entity, hooks, records, problems.
//!
//! Owns the words that an app, a consumer and the sidecar must agree on. Never does IO and knows nothing of
//! Kubernetes' or Kafka's clients. Every other package of the product builds on it.

pub mod entity;
pub mod hook;
pub mod names;
pub mod ports;
pub mod problem;
pub mod record;
