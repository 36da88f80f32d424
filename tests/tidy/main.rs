//! Tier 0: the tree itself keeps to its own rules (docs/style.md, docs/architecture.md). No build, no cluster, seconds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a failed test dumps its logs")]

mod documents;
mod layers;
mod metrics;
mod sources;
mod tree;
