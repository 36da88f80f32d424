//! Real etcd, Kubernetes control plane and Apache Kafka as processes on this machine, for tests, the demo and
//! `cargo xtask cluster`. Pinned versions are built once into the user's cache directory; everything listens on
//! loopback and ends with the process that started it. The product itself never depends on this crate.
//!
//! ```no_run
//! # async fn example() -> Result<(), devcluster::Error> {
//! let cluster = devcluster::Cluster::start(devcluster::ClusterOptions::for_tests("example")).await?;
//! println!("export KUBECONFIG={}", cluster.endpoints().kubeconfig.display());
//! cluster.stop().await
//! # }
//! ```

mod artifact;
mod cache;
mod certificates;
mod cluster;
pub mod containers;
pub mod environment;
mod error;
mod etcd;
mod http;
mod kafka;
mod kubernetes;
pub mod named;
mod pins;
mod ports;
mod prerequisites;
mod process;
mod provided;
mod proxy;
mod readiness;
pub mod roster;
mod site;
pub mod spawner;

pub use artifact::{Artifact, Toolbox};
pub use cache::human;
pub use cluster::{Cluster, ClusterOptions, Endpoints, Part, named_directory};
pub use error::Error;
pub use kafka::{Access, GuardedKafka, Right};
pub use prerequisites::Missing;
pub use process::Process;
pub use provided::{BACKEND_VARIABLE, Provided, provided_or_started, wants_containers};
pub use proxy::Proxy;
