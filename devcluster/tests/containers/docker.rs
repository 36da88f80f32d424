//! A Docker daemon and the images for the tests. It owns the way into a process that has `DOCKER_HOST` in its environment;
//! a daemon that was started for it ends with the last test process.

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use devcluster::containers::ContainerOptions;
use devcluster::environment::Environment;
use devcluster::{Artifact, ClusterOptions, Toolbox};
use testcontainers::bollard::Docker;
use testcontainers::bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptions};
use testcontainers::core::client::docker_client_instance;

/// Set in the processes that the tests start.
const INNER: &str = "DEVCLUSTER_TEST_INSIDE";

/// The tests look at all that a daemon has, so they take turns.
static TURN: Mutex<()> = Mutex::new(());

/// Runs the body in a process of its own with a daemon to talk to. Called by a test, with that test's name.
pub(crate) fn with_daemon<F: Future<Output = Result<()>>>(test: &str, body: impl FnOnce() -> F) -> Result<()> {
    if std::env::var_os(INNER).is_some() {
        return run(body());
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/docker-daemon");
    // The daemon, if one is started, is this process's: it ends with it.
    let output = Command::new(script)
        .arg("ensure")
        .arg(std::process::id().to_string())
        .stderr(Stdio::inherit())
        .output()
        .context("failed to run the script that provides a Docker daemon")?;
    ensure!(output.status.success(), "there is no Docker daemon; the reason stands above");
    let line = String::from_utf8(output.stdout)?;
    let host = line.trim().strip_prefix("DOCKER_HOST=").context("the script did not say where the daemon is")?;
    let status = inner(test, host)?.status()?;
    ensure!(status.success(), "the test failed inside its own process ({status}); its output stands above");
    Ok(())
}

/// The same with an address at which no daemon needs to be.
pub(crate) fn with_address<F: Future<Output = Result<()>>>(
    test: &str,
    host: &str,
    body: impl FnOnce() -> F,
) -> Result<()> {
    if std::env::var_os(INNER).is_some() {
        return run(body());
    }
    let status = inner(test, host)?.status()?;
    ensure!(status.success(), "the test failed inside its own process ({status}); its output stands above");
    Ok(())
}

/// A process that runs one test of this binary.
pub(crate) fn inner(test: &str, host: &str) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(INNER, "1").env("DOCKER_HOST", host);
    Ok(command)
}

fn run(body: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(body)
}

/// A cluster of the images made here, which are built unless the daemon has them.
pub(crate) async fn options(name: &str) -> Result<ContainerOptions> {
    let toolbox = Toolbox::new(Environment::of_this_process());
    let artifacts =
        [Artifact::Etcd, Artifact::ApiServer, Artifact::ControllerManager, Artifact::Kubectl, Artifact::Kafka];
    toolbox.provide(&artifacts).await?;
    let [etcd, api_server, controller_manager, kubectl, kafka] = artifacts.map(|artifact| toolbox.path(artifact));
    let build = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("images/build"))
        .args([etcd?, api_server?, controller_manager?, kubectl?, kafka?.join("libs")])
        .stderr(Stdio::inherit())
        .output()
        .context("failed to run the script that builds the images")?;
    ensure!(build.status.success(), "the images could not be built; the reason stands above");
    let names = String::from_utf8(build.stdout)?;
    let name_of = |what: &str| {
        let line = names.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(' '));
        line.map(str::to_owned).with_context(|| format!("no {what} image in {names:?}"))
    };
    let wanted = ContainerOptions::like(&ClusterOptions::for_tests(name));
    Ok(ContainerOptions { kubernetes_image: name_of("kubernetes")?, kafka_image: name_of("kafka")?, ..wanted })
}

/// What a daemon has at the moment, as far as a cluster could leave it behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Inventory {
    pub(crate) containers: Vec<String>,
    networks: Vec<String>,
    volumes: Vec<String>,
}

pub(crate) async fn client() -> Result<Docker> {
    Ok(docker_client_instance().await?)
}

impl Inventory {
    pub(crate) async fn take() -> Result<Self> {
        let docker = client().await?;
        let mine = HashMap::from([("label", vec!["com.k8sasbackend.devcluster"])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&mine).build();
        let containers = docker.list_containers(Some(options)).await?.into_iter().filter_map(|it| it.id);
        let networks = docker.list_networks(None::<ListNetworksOptions>).await?.into_iter().filter_map(|it| it.name);
        let volumes =
            docker.list_volumes(None::<testcontainers::bollard::query_parameters::ListVolumesOptions>).await?;
        let volumes = volumes.volumes.into_iter().flatten().map(|it| it.name);
        let mut taken =
            Self { containers: containers.collect(), networks: networks.collect(), volumes: volumes.collect() };
        for list in [&mut taken.containers, &mut taken.networks, &mut taken.volumes] {
            list.sort();
        }
        Ok(taken)
    }
}
