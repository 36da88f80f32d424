//! Runs our programs against a real cluster: for the tests here and for the demo.
//!
//! Owns how a program of ours is built, configured, started, killed and looked at from outside. Asserts nothing itself.

pub mod acknowledged;
pub mod admission;
pub mod app;
pub mod binaries;
pub mod broadcast;
pub mod crd;
pub mod dice;
pub mod entity_api;
pub mod events;
pub mod faults;
pub mod front;
pub mod linearizability;
pub mod program;
pub mod sample;
pub mod sidecar;
pub mod todos;
pub mod topic;
pub mod topics;
pub mod wait;
