//! The second backend, for people who have Docker and neither Go nor a JDK: k3s without its node, and Apache Kafka, as
//! containers that publish their ports on loopback. It owns their start, readiness and removal, and removes those of
//! owners that were killed. It injects no faults; `Cluster` does that. `provided_or_started` and `cargo xtask cluster`
//! call it.

mod broker;
mod daemon;
mod error;
mod kubeconfig;
mod kubernetes;
mod ownership;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use testcontainers::{ContainerAsync, GenericImage};

use crate::cluster::{ClusterOptions, Endpoints, check_name};
use crate::environment::Environment;
use crate::error::Error;
use crate::roster::Roster;
use crate::site::Site;
use broker::Broker;
use daemon::Daemon;
pub use error::ContainerError;
use kubernetes::Kubernetes;
use ownership::Ownership;

/// The Kubernetes version that the process backend builds as well.
pub const KUBERNETES_IMAGE: &str = "rancher/k3s:v1.36.3-k3s1";
/// A broker of the same major version as the process backend's.
pub const KAFKA_IMAGE: &str = "apache/kafka:4.3.1";
/// Variables that name other images, for a mirror or a version of one's own.
pub const KUBERNETES_IMAGE_VARIABLE: &str = "KAB_K3S_IMAGE";
/// The same for the broker.
pub const KAFKA_IMAGE_VARIABLE: &str = "KAB_KAFKA_IMAGE";

/// How long a daemon may take to answer when it is only about a hint.
const GLANCE: Duration = Duration::from_secs(2);

/// What kind of cluster is wanted.
#[derive(Clone, Debug)]
pub struct ContainerOptions {
    /// Lower-case letters, digits and dashes; for people, and in the containers' labels.
    pub name: String,
    /// Whether there is a Kafka broker.
    pub kafka: bool,
    /// A cluster that is there already: then no Kubernetes container is started, only the broker.
    pub kubeconfig: Option<PathBuf>,
    /// An image that keeps the contract of `rancher/k3s`.
    pub kubernetes_image: String,
    /// An image that keeps the contract of `apache/kafka`.
    pub kafka_image: String,
    /// Where the kubeconfig and the logs go. Default: a temporary directory that is removed in the end.
    pub directory: Option<PathBuf>,
    /// The variables to go by.
    pub environment: Environment,
}

impl ContainerOptions {
    /// The same wishes as for a cluster of processes, as far as containers can fulfil them, with the images that the
    /// environment names.
    pub fn like(options: &ClusterOptions) -> Self {
        let environment = options.environment.clone();
        let image = |variable: &str, default: &str| {
            environment.value(variable).map_or_else(|| default.to_owned(), |it| it.to_string_lossy().into_owned())
        };
        Self {
            name: options.name.clone(),
            kafka: options.kafka,
            kubeconfig: options.kubeconfig.clone(),
            kubernetes_image: image(KUBERNETES_IMAGE_VARIABLE, KUBERNETES_IMAGE),
            kafka_image: image(KAFKA_IMAGE_VARIABLE, KAFKA_IMAGE),
            directory: options.directory.clone(),
            environment,
        }
    }
}

/// A running cluster of containers. Dropping it removes them, too, but only [`ContainerCluster::stop`] says when that
/// failed.
#[derive(Debug)]
pub struct ContainerCluster {
    kubernetes: Option<Kubernetes>,
    broker: Option<Broker>,
    endpoints: Endpoints,
    kubectl: PathBuf,
    started_in: Duration,
    site: Site,
}

impl ContainerCluster {
    /// Pulls what is missing, starts everything, and returns when all of it serves.
    pub async fn start(options: ContainerOptions) -> Result<Self, Error> {
        check_name(&options.name)?;
        let site = match &options.directory {
            Some(directory) => Site::at(directory, &options.name, &options.environment)?,
            None => Site::temporary(&options.name, &options.environment)?,
        };
        site.empty()?;
        let on_path = options.environment.program("kubectl");
        let kubectl = match (&on_path, &options.kubeconfig) {
            (Some(found), _) => found.clone(),
            (None, None) => site.directory.join("kubectl"),
            (None, Some(_)) => "kubectl".into(),
        };
        let roster = Roster::new(&site.directory, options.name.clone(), kubectl.clone())?;
        let daemon = Daemon::reach(&options.environment).await?;
        daemon.remove_left_over().await?;
        if options.kubeconfig.is_none() {
            daemon.provide_image(&options.kubernetes_image, KUBERNETES_IMAGE_VARIABLE).await?;
        }
        if options.kafka {
            daemon.provide_image(&options.kafka_image, KAFKA_IMAGE_VARIABLE).await?;
        }
        let begun = Instant::now();
        let ownership = Ownership::new(&options.name)?;
        let (kubernetes, broker) = match start_parts(&daemon, &ownership, &options, &site.directory).await {
            Ok(started) => started,
            Err(error) => {
                // A container that was created and could not be started has no handle that would remove it.
                daemon.remove(&ownership).await?;
                return Err(error);
            }
        };
        let started_in = begun.elapsed();
        if let (None, Some(kubernetes)) = (on_path, &kubernetes) {
            kubernetes.write_kubectl(&kubectl, &options.environment)?;
        }
        let kubeconfig = kubernetes.as_ref().map(|it| it.kubeconfig.clone()).or(options.kubeconfig);
        let endpoints =
            Endpoints { kubeconfig: kubeconfig.ok_or(Error::Internal)?, kafka: broker.as_ref().map(Broker::bootstrap) };
        roster.ready(&endpoints, started_in)?;
        Ok(Self { kubernetes, broker, endpoints, kubectl, started_in, site })
    }

    /// Removes the containers of all clusters of this process: what is to do after a start that was given up on its way,
    /// because a future that is dropped cannot wait for Docker.
    pub async fn remove_mine(environment: &Environment) -> Result<(), Error> {
        Ok(Daemon::reach(environment).await?.remove_mine().await?)
    }

    /// Removes the containers whose owners were killed, and tells which; where no daemon answers there are none.
    pub async fn remove_left_over(environment: &Environment) -> Result<(), Error> {
        match tokio::time::timeout(GLANCE, Daemon::reach(environment)).await {
            Ok(Ok(daemon)) => Ok(daemon.remove_left_over().await?),
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// How to reach it.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Where its kubeconfig and its logs are.
    pub fn directory(&self) -> &Path {
        &self.site.directory
    }

    /// A kubectl: that on the `PATH`, or one that runs the container's own and so reads files only as `-f -`.
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    /// How long it took from having all images to everything being ready.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// The containers' ids, for `docker logs` and `docker exec`.
    pub fn containers(&self) -> Vec<&str> {
        self.handles().into_iter().map(|container| container.id()).collect()
    }

    /// Removes the containers with all that they keep.
    pub async fn stop(mut self) -> Result<(), Error> {
        let kubernetes = self.kubernetes.take().map(|it| it.container);
        let broker = self.broker.take().map(|it| it.container);
        for container in [kubernetes, broker].into_iter().flatten() {
            container.rm().await.map_err(ContainerError::docker("remove a container"))?;
        }
        Ok(())
    }

    fn handles(&self) -> Vec<&Container> {
        let kubernetes = self.kubernetes.as_ref().map(|it| &it.container);
        kubernetes.into_iter().chain(self.broker.as_ref().map(|it| &it.container)).collect()
    }
}

/// Whether a cluster of containers could be started here, as far as the daemon is concerned.
pub(crate) async fn are_possible(environment: &Environment) -> bool {
    matches!(tokio::time::timeout(GLANCE, Daemon::reach(environment)).await, Ok(Ok(_)))
}

type Container = ContainerAsync<GenericImage>;

/// Both run to their end, also when the other one fails, so that no container is created behind the back of the removal
/// that follows a failure.
async fn start_parts(
    daemon: &Daemon,
    ownership: &Ownership,
    options: &ContainerOptions,
    directory: &Path,
) -> Result<(Option<Kubernetes>, Option<Broker>), Error> {
    let kubernetes = async {
        match options.kubeconfig {
            None => Kubernetes::start(daemon, ownership, options, directory).await.map(Some),
            Some(_) => Ok(None),
        }
    };
    let broker = async {
        if options.kafka { Broker::start(daemon, ownership, options, directory).await.map(Some) } else { Ok(None) }
    };
    let (kubernetes, broker) = tokio::join!(kubernetes, broker);
    Ok((kubernetes?, broker?))
}

impl Drop for ContainerCluster {
    /// The handles' own clean-up needs a runtime around it and panics without.
    fn drop(&mut self) {
        let left = (self.kubernetes.take(), self.broker.take());
        if tokio::runtime::Handle::try_current().is_ok() {
            return;
        }
        match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
            Ok(runtime) => runtime.block_on(async { drop(left) }),
            Err(error) => {
                tracing::warn!(%error, "the containers stay until the next cluster of containers is started");
                std::mem::forget(left);
            }
        }
    }
}
