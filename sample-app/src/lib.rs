//! Two programs as a user of the sidecar would write them: `todo-app`, which owns todos, and `todo-table`, which only
//! reads what is broadcast about them.
//!
//! Neither knows Kubernetes: the app speaks business JSON over HTTP to its sidecar, the table reads a Kafka topic.

pub mod app;
pub mod serve;
pub mod table;
pub mod todo;
