//! The container backend against a real Docker daemon, with images made from scratch out of the process backend's own
//! binaries. Each test runs in a process of its own, because the daemon's address can only be handed over in the
//! environment, and because one of them kills its process.

mod cluster;
mod docker;
mod refusals;
mod work;
