//! What a test or the demo runs against: the cluster and the brokers that the user names in `KUBECONFIG` and
//! `KAB_KAFKA`, and for whatever is not named one that is started here. It never touches a given cluster beyond
//! handing out how to reach it.

use std::path::{Path, PathBuf};

use crate::cluster::{Cluster, ClusterOptions, Endpoints};
use crate::containers::{ContainerCluster, ContainerOptions};
use crate::environment::Environment;
use crate::error::Error;

/// Set to `containers`, it makes [`provided_or_started`] use Docker in place of programs that are built here.
pub const BACKEND_VARIABLE: &str = "KAB_CLUSTER_BACKEND";

/// A cluster from somewhere.
#[derive(Debug)]
pub struct Provided {
    endpoints: Endpoints,
    kubectl: PathBuf,
    started: Started,
}

#[derive(Debug)]
enum Started {
    Nothing,
    Processes(Box<Cluster>),
    Containers(Box<ContainerCluster>),
}

impl Provided {
    /// How to reach it.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The cluster of processes behind it, which is what faults can be done to; `None` if nothing was started, or
    /// containers were. With a given `KUBECONFIG` and no `KAB_KAFKA` it runs Kafka alone.
    pub fn cluster(&self) -> Option<&Cluster> {
        match &self.started {
            Started::Processes(cluster) => Some(cluster),
            Started::Nothing | Started::Containers(_) => None,
        }
    }

    /// A kubectl: the cluster's own, or for a given one that on the `PATH`.
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    /// Ends what was started; what was given stays.
    pub async fn stop(self) -> Result<(), Error> {
        match self.started {
            Started::Nothing => Ok(()),
            Started::Processes(cluster) => cluster.stop().await,
            Started::Containers(cluster) => cluster.stop().await,
        }
    }
}

/// Uses what `KUBECONFIG` and `KAB_KAFKA` name, and starts the rest.
pub async fn provided_or_started(options: ClusterOptions) -> Result<Provided, Error> {
    let environment = options.environment.clone();
    let kubeconfig = given_kubeconfig(&environment)?;
    let kafka = environment.value("KAB_KAFKA").map(|it| it.to_string_lossy().into_owned());
    let on_path = || environment.program("kubectl").unwrap_or_else(|| PathBuf::from("kubectl"));
    let start_kafka = options.kafka && kafka.is_none();
    if let (Some(kubeconfig), false) = (&kubeconfig, start_kafka) {
        let endpoints = Endpoints { kubeconfig: kubeconfig.clone(), kafka };
        return Ok(Provided { endpoints, kubectl: on_path(), started: Started::Nothing });
    }
    let options = ClusterOptions { kafka: start_kafka, kubeconfig: kubeconfig.clone(), ..options };
    let (mut endpoints, kubectl, started) = if wants_containers(&environment)? {
        let cluster = ContainerCluster::start(ContainerOptions::like(&options)).await?;
        (cluster.endpoints().clone(), cluster.kubectl().to_path_buf(), Started::Containers(Box::new(cluster)))
    } else {
        let cluster = Cluster::start(options).await?;
        let kubectl = if kubeconfig.is_some() { on_path() } else { cluster.kubectl().to_path_buf() };
        (cluster.endpoints().clone(), kubectl, Started::Processes(Box::new(cluster)))
    };
    endpoints.kafka = kafka.or(endpoints.kafka);
    Ok(Provided { endpoints, kubectl, started })
}

/// Whether the environment asks for containers in place of processes.
pub fn wants_containers(environment: &Environment) -> Result<bool, Error> {
    match environment.value(BACKEND_VARIABLE).map(|it| it.to_string_lossy()) {
        None => Ok(false),
        Some(word) if word == "processes" => Ok(false),
        Some(word) if word == "containers" => Ok(true),
        Some(word) => Err(Error::Backend(word.into_owned())),
    }
}

fn given_kubeconfig(environment: &Environment) -> Result<Option<PathBuf>, Error> {
    let Some(value) = environment.value("KUBECONFIG") else { return Ok(None) };
    let mut files = std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty());
    let (Some(file), None) = (files.next(), files.next()) else {
        return Err(Error::SeveralKubeconfigs(value.to_string_lossy().into_owned()));
    };
    let file = std::path::absolute(&file).map_err(Error::file("find", &file))?;
    // Opened and not only looked for: a file that may not be read is told here, and not by each program in its way.
    std::fs::File::open(&file).map_err(Error::file("open KUBECONFIG", &file))?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing_installed() -> Environment {
        Environment::of_this_process().with("PATH", "/nowhere").without("KUBECONFIG").without("KAB_KAFKA")
    }

    fn options(environment: Environment) -> ClusterOptions {
        ClusterOptions { environment, ..ClusterOptions::for_tests("provided") }
    }

    #[tokio::test]
    async fn what_is_given_is_used_and_nothing_is_started() {
        let file = std::env::temp_dir().join(format!("devcluster-given-{}", std::process::id()));
        std::fs::write(&file, "apiVersion: v1\nkind: Config\n").unwrap();
        let environment = nothing_installed().with("KUBECONFIG", &file).with("KAB_KAFKA", "broker:9092");
        let provided = provided_or_started(options(environment)).await.unwrap();
        assert_eq!(provided.endpoints().kubeconfig, file);
        assert_eq!(provided.endpoints().kafka.as_deref(), Some("broker:9092"));
        assert!(provided.cluster().is_none());
        std::fs::remove_file(file).unwrap();
    }

    #[tokio::test]
    async fn a_kubeconfig_that_is_not_there_is_named() {
        let environment = nothing_installed().with("KUBECONFIG", "/nowhere/config");
        let message = provided_or_started(options(environment)).await.unwrap_err().to_string();
        assert!(message.contains("KUBECONFIG") && message.contains("/nowhere/config"), "{message}");
    }

    #[tokio::test]
    async fn with_brokers_given_no_java_is_asked_for() {
        let cache = std::env::temp_dir().join(format!("devcluster-nothing-built-{}", std::process::id()));
        let environment = nothing_installed().with("XDG_CACHE_HOME", &cache);
        let given = environment.clone().with("KAB_KAFKA", "broker:9092");
        let message = provided_or_started(options(given)).await.unwrap_err().to_string();
        assert!(message.contains("golang-go") && !message.contains("jdk") && !message.contains("maven"), "{message}");
        let message = provided_or_started(options(environment)).await.unwrap_err().to_string();
        assert!(message.contains("golang-go") && message.contains("jdk") && message.contains("maven"), "{message}");
    }
}
