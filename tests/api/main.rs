//! Tier 3: the sidecar and the sample apps against real etcd, kube-apiserver and Kafka.
//!
//! One cluster for the whole binary; each test has a namespace and a topic of its own. Tests that stop or restart the API server or
//! etcd start a control plane of their own.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a failed test dumps its logs")]

mod admission;
mod audience;
mod bounds;
mod budgets;
mod credentials;
mod definitions;
mod entities;
mod events;
mod faults;
mod guarded;
mod history;
mod kinds;
mod kubernetes_events;
mod leases;
mod linearizable;
mod lists;
mod malformed;
mod notify;
mod outages;
mod paging;
mod reconcile;
mod reconcilers;
mod records;
mod redefinitions;
mod refusals;
mod resumption;
mod sample;
mod security;
mod shapes;
mod shards;
mod source;
mod startup;
mod tail;
mod topics;
mod traces;
mod world;
mod writes;
