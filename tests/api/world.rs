//! One test's world: a namespace and a topic of its own on the shared cluster, the programs that it starts, and a dump when it fails.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::mpsc;

use anyhow::Context;
use devcluster::{ClusterOptions, Provided};
use e2e::program::Scratch;
use e2e::sidecar::{Settings, Sidecar};
use e2e::todos;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

/// What a test works with.
pub(crate) struct World {
    /// The test's namespace.
    pub(crate) ns: String,
    /// The test's topic.
    pub(crate) topic: String,
    /// Kafka's bootstrap servers.
    pub(crate) brokers: String,
    /// The admin's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// A Kubernetes client with the admin's rights: the other writer.
    pub(crate) kube: kube::Client,
    /// The test's folder: configuration and logs.
    pub(crate) scratch: Scratch,
}

/// Runs a test in a world of its own on the shared cluster.
pub(crate) fn run<Body>(test: &str, body: Body)
where
    Body: AsyncFnOnce(&World) -> anyhow::Result<()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let cluster = shared();
        let endpoints = cluster.endpoints();
        let brokers = endpoints.kafka.clone().expect("the shared cluster has Kafka");
        let world =
            World::new(test, endpoints.kubeconfig.clone(), brokers).await.expect("failed to make the test's world");
        world.judge(body).await;
    });
}

/// The shared cluster: the one that the environment provides, or one that is started with the first test and ends with the process.
pub(crate) fn shared() -> &'static Provided {
    static SHARED: OnceLock<Provided> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (answer, started) = mpsc::channel();
        // The cluster outlives the runtime of the test that happens to come first.
        std::thread::Builder::new()
            .name("cluster".into())
            .spawn(move || {
                let runtime =
                    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
                let provided = runtime.block_on(async {
                    let provided = devcluster::provided_or_started(ClusterOptions::for_tests("api")).await?;
                    let kube = todos::client(&provided.endpoints().kubeconfig).await?;
                    todos::install(&kube, todos::CRD).await?;
                    Ok::<_, anyhow::Error>(provided)
                });
                answer.send(provided).expect("the first test waits");
                runtime.block_on(std::future::pending::<()>());
            })
            .unwrap();
        started.recv().unwrap().unwrap_or_else(|error| panic!("failed to start the cluster: {error:?}"))
    })
}

impl World {
    /// A world on any cluster.
    pub(crate) async fn new(test: &str, kubeconfig: PathBuf, brokers: String) -> anyhow::Result<Self> {
        let name: String = test.replace('_', "-").chars().take(40).collect();
        let ns = format!("{}-{}", name.trim_end_matches('-'), e2e::program::unique());
        let kube = todos::client(&kubeconfig).await?;
        let api: Api<Namespace> = Api::all(kube.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": ns}}))?;
        api.create(&PostParams::default(), &namespace).await.context("failed to create the test's namespace")?;
        Ok(Self { topic: format!("test.{ns}"), scratch: Scratch::new(&ns)?, ns, brokers, kubeconfig, kube })
    }

    /// Runs the body; on failure dumps the logs, else removes what the test made. `KEEP=1` leaves everything.
    pub(crate) async fn judge<Body>(&self, body: Body)
    where
        Body: AsyncFnOnce(&World) -> anyhow::Result<()>,
    {
        let outcome = AssertUnwindSafe(body(self)).catch_unwind().await;
        let keep = std::env::var_os("KEEP").is_some();
        if !matches!(outcome, Ok(Ok(()))) {
            eprintln!("{}", self.scratch.dump());
        } else if !keep {
            self.scratch.remove();
        }
        if !keep {
            let api: Api<Namespace> = Api::all(self.kube.clone());
            drop(api.delete(&self.ns, &DeleteParams::background()).await);
        }
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => panic!("{error:?}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Settings of a sidecar for this test: Todos of its namespace, owned, broadcast to its topic.
    pub(crate) fn settings(&self) -> Settings {
        Settings::new(&self.kubeconfig).owned_todos(&self.ns, &self.topic).kafka(&self.brokers)
    }

    /// A sidecar with [`World::settings`], ready, its bridge attached.
    pub(crate) async fn sidecar(&self) -> anyhow::Result<Sidecar> {
        self.start(&self.settings()).await
    }

    /// A sidecar with other settings, ready.
    pub(crate) async fn start(&self, settings: &Settings) -> anyhow::Result<Sidecar> {
        let sidecar = Sidecar::spawn(&self.scratch, settings).await?;
        sidecar.ready().await?;
        Ok(sidecar)
    }
}
