//! The cluster of processes, as its users meet it: real binaries, real faults. One cluster serves all tests that do
//! not need one of their own; whoever uses it has it alone, because most of these tests break it for a while.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod faults;
mod history;
mod kubectl;
mod life;
mod topic;
mod wire;

use devcluster::{Cluster, ClusterOptions};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

static SHARED: OnceCell<Mutex<Cluster>> = OnceCell::const_new();

/// The shared cluster, with Kafka. Its processes end with this one.
async fn cluster() -> MutexGuard<'static, Cluster> {
    let start = async || Mutex::new(Cluster::start(ClusterOptions::for_tests("shared")).await.unwrap());
    SHARED.get_or_init(start).await.lock().await
}
