//! The system that the demo shows: cluster, Kafka, sidecar, todo-app, consumer.
//!
//! Owns their start, their end and where they are. Ports are the documented ones where they are free.

use std::net::TcpListener;

use anyhow::Context;
use contract::ports;
use devcluster::{ClusterOptions, Provided};
use e2e::program::{Scratch, unique};
use e2e::sample::{self, Sample};
use e2e::sidecar::{Settings, Sidecar};
use e2e::{binaries, todos};
use serde_json::json;

use super::screen::Screen;

/// The namespace of the demo's todos.
pub(crate) const NAMESPACE: &str = "default";
/// Their topic.
pub(crate) const TOPIC: &str = "k8sasbackend.com.todos";

/// The running system.
pub(crate) struct Stage {
    pub(crate) cluster: Provided,
    pub(crate) sidecar: Option<Sidecar>,
    pub(crate) app: Sample,
    pub(crate) table: Sample,
    pub(crate) scratch: Scratch,
    settings: Settings,
}

impl Stage {
    /// Builds and starts everything.
    pub(crate) async fn set(screen: &mut Screen) -> anyhow::Result<Self> {
        screen
            .during("our programs, built", async {
                tokio::task::spawn_blocking(|| binaries::path("kab-sidecar")).await?.map(drop)
            })
            .await?;
        let cluster = screen
            .during("etcd, kube-apiserver, kube-controller-manager and Kafka, ready", async {
                Ok(devcluster::provided_or_started(ClusterOptions::for_tests("demo")).await?)
            })
            .await?;
        let brokers = cluster.endpoints().kafka.clone().context("the cluster has no Kafka")?;
        let kubeconfig = cluster.endpoints().kubeconfig.clone();
        let scratch = Scratch::new(&format!("demo-{}", unique()))?;
        let kube = todos::client(&kubeconfig).await?;
        screen.during("the kind Todo, installed (manifests/crds)", todos::install(&kube, todos::CRD)).await?;

        let app_address = settled(ports::APP)?;
        let settings = Settings::new(&kubeconfig)
            .kind(json!({
                "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [NAMESPACE], "topic": TOPIC,
                "hooks": {"reconcile": "/hooks/todos/reconcile", "notify": "/hooks/todos/notify"},
            }))
            .set("app", json!({"name": "todo-app", "url": format!("http://{app_address}")}))
            .kafka(&brokers)
            .set("cluster", json!("demo"))
            // As the injector does with the pod's uid: after a crash it need not wait for its own Lease.
            .set("lease", json!({"identity": "demo"}))
            .set("api", json!({"address": address(ports::ENTITY_API)}))
            .set("admin", json!({"address": address(ports::ADMIN)}));
        let sidecar = screen
            .during("kab-sidecar, ready", async {
                let sidecar = Sidecar::spawn(&scratch, &settings).await?;
                sidecar.ready().await?;
                Ok(sidecar)
            })
            .await?;
        let app =
            screen.during("todo-app, listening", sample::todo_app(&scratch, sidecar.api.base(), &app_address)).await?;
        let table = screen
            .during(
                "todo-table (the consumer), listening",
                sample::todo_table(&scratch, &brokers, TOPIC, "127.0.0.1:0"),
            )
            .await?;
        Ok(Self { cluster, sidecar: Some(sidecar), app, table, scratch, settings })
    }

    /// The sidecar, which runs except in the middle of the tour.
    pub(crate) fn sidecar(&self) -> anyhow::Result<&Sidecar> {
        self.sidecar.as_ref().context("the sidecar has been killed")
    }

    /// Ends the sidecar by SIGKILL.
    pub(crate) async fn kill_sidecar(&mut self) -> anyhow::Result<u32> {
        let sidecar = self.sidecar.take().context("the sidecar has been killed")?;
        let pid = sidecar.program.pid();
        sidecar.kill().await?;
        Ok(pid)
    }

    /// Starts the sidecar again with the same configuration.
    pub(crate) async fn restart_sidecar(&mut self) -> anyhow::Result<&Sidecar> {
        let sidecar = Sidecar::spawn(&self.scratch, &self.settings).await?;
        sidecar.ready().await?;
        Ok(self.sidecar.insert(sidecar))
    }

    /// What to go on with.
    pub(crate) fn leaflet(&self, screen: &mut Screen) {
        let sidecar = self.sidecar.as_ref().map_or("", |sidecar| sidecar.api.base());
        let admin = self.sidecar.as_ref().map_or("", |sidecar| sidecar.admin.base());
        screen.heading("It stays until you press Ctrl-C. Go on with:");
        screen.say(&format!(
            "  todo-app, page and API       {}/  and  {}/docs",
            self.app.http.base(),
            self.app.http.base()
        ));
        screen.say(&format!("  the entity API               curl -s {sidecar}/v1/todos"));
        screen.say(&format!("  readiness and metrics        {admin}/readyz  and  {admin}/metrics"));
        screen.say(&format!("  the consumer's table         {}/", self.table.http.base()));
        screen.say(&format!(
            "  kubectl                      export KUBECONFIG={}",
            self.cluster.endpoints().kubeconfig.display()
        ));
        screen.say(&format!("                               {} get todos --watch", self.cluster.kubectl().display()));
        screen.say(&format!("  logs                         {}", self.scratch.folder().display()));
    }

    /// The ends of all logs.
    pub(crate) fn logs(&self) -> String {
        self.scratch.dump()
    }

    /// Ends everything, the users before what they use.
    pub(crate) async fn strike(self) {
        let programs = [Some(self.app.program), Some(self.table.program), self.sidecar.map(|sidecar| sidecar.program)];
        for program in programs.into_iter().flatten() {
            drop(program.terminate().await);
        }
        drop(self.cluster.stop().await);
        self.scratch.remove();
    }
}

/// The documented port on loopback if it is free, else another that is: for who has to be told where before there is anybody.
fn settled(port: u16) -> anyhow::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", port)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)))?;
    Ok(listener.local_addr()?.to_string())
}

/// The documented port on loopback if it is free, else any.
fn address(port: u16) -> String {
    let free = TcpListener::bind(("127.0.0.1", port)).is_ok();
    format!("127.0.0.1:{}", if free { port } else { 0 })
}
