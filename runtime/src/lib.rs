//! Plumbing of our binaries: telemetry, shutdown, supervised tasks, readiness, the admin server, TLS, the Kubernetes client.
//!
//! Knows nothing of entities, records or hooks: what a process needs whatever it does. `main.rs` and the composition root of each
//! binary call it.

pub mod admin;
pub mod arenas;
pub mod kubernetes;
pub mod readiness;
pub mod shutdown;
pub mod tasks;
pub mod telemetry;
pub mod tls;
