//! Tier 0: the tree itself keeps to its own rules (docs/style.md, docs/architecture.md). No build, no cluster, seconds.

mod documents;
mod layers;
mod sources;
mod tree;
