//! What is measured: a cluster, a release sidecar over it, and the servers that it is held against.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, ensure};
use devcluster::{Cluster, ClusterOptions};
use e2e::entity_api::Answer;
use e2e::program::{Scratch, unique};
use e2e::sidecar::{Settings, Sidecar};
use e2e::todos;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The namespace of the measured todos.
pub(crate) const NAMESPACE: &str = "default";

/// The running system.
pub(crate) struct System {
    pub(crate) cluster: Cluster,
    pub(crate) kube: kube::Client,
    pub(crate) sidecar: Sidecar,
    pub(crate) scratch: Scratch,
}

impl System {
    /// A cluster and a sidecar that owns Todos.
    pub(crate) async fn start(kafka: bool) -> anyhow::Result<Self> {
        ensure!(
            !cfg!(debug_assertions),
            "figures of a debug build mean nothing: use `cargo xtask bench`, which builds for release"
        );
        let options = ClusterOptions { kafka, ..ClusterOptions::for_tests("bench") };
        let cluster = Cluster::start(options).await?;
        let kube = todos::client(&cluster.endpoints().kubeconfig).await?;
        todos::install(&kube, todos::CRD).await?;
        let scratch = Scratch::new(&format!("bench-{}", unique()))?;
        let mut settings = settings(&cluster);
        if let Some(brokers) = &cluster.endpoints().kafka {
            settings = settings.kafka(brokers);
        }
        let sidecar = Sidecar::spawn(&scratch, &settings).await?;
        sidecar.ready().await?;
        Ok(Self { cluster, kube, sidecar, scratch })
    }

    /// Another sidecar over the same todos, without Kafka; it need not be ready.
    pub(crate) async fn another(&self) -> anyhow::Result<Sidecar> {
        Sidecar::spawn(&self.scratch, &settings(&self.cluster)).await
    }

    /// Creates todos `todo-FROM` to `todo-TO` straight at the API server, about 300 bytes each in the business shape.
    pub(crate) async fn fill(&self, from: usize, to: usize) -> anyhow::Result<()> {
        let message = "x".repeat(60);
        stream::iter(from..to)
            .map(|number| {
                let (kube, message) = (self.kube.clone(), message.clone());
                async move { todos::create(&kube, NAMESPACE, &format!("todo-{number:06}"), &message).await }
            })
            .buffer_unordered(16)
            .try_for_each(|_| async { Ok(()) })
            .await
    }

    /// The sidecar's address.
    pub(crate) fn address(&self) -> anyhow::Result<SocketAddr> {
        let base = self.sidecar.api.base();
        base.strip_prefix("http://").unwrap_or(base).parse().context("the sidecar's address is none")
    }

    /// A server that gives the same answer as the one given: axum for one path, or else hyper alone.
    pub(crate) async fn reference(&self, answer: &Answer, axum: Option<&str>) -> anyhow::Result<Server> {
        let body = self.scratch.file("reference", "json");
        std::fs::write(&body, answer.body.to_string())?;
        let headers: Vec<(String, String)> = answer
            .headers
            .iter()
            .filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("reference").arg(&body).arg(serde_json::to_string(&headers)?);
        command.args(axum.iter().flat_map(|path| ["--axum", path]));
        Server::start(command).await
    }

    /// `kubectl proxy` on a free port.
    pub(crate) async fn kubectl_proxy(&self) -> anyhow::Result<Server> {
        let mut command = Command::new(self.cluster.kubectl());
        command.args(["proxy", "--port=0"]).env("KUBECONFIG", &self.cluster.endpoints().kubeconfig);
        Server::start(command).await
    }

    /// Ends everything.
    pub(crate) async fn stop(self) {
        drop(self.sidecar.terminate().await);
        drop(self.cluster.stop().await);
        self.scratch.remove();
    }
}

fn settings(cluster: &Cluster) -> Settings {
    Settings::new(&cluster.endpoints().kubeconfig).owned_todos(NAMESPACE, "bench.todos")
}

/// A server of somebody else, ended when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _child: Child,
}

impl Server {
    /// Starts a command and reads its address from the end of the first line that has one.
    async fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let stdout = child.stdout.take().context("the output is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some(address) = line.split_whitespace().find_map(|word| word.parse().ok()) {
                return Ok(Self { address, _child: child });
            }
        }
        anyhow::bail!("a server ended without telling its address")
    }
}
