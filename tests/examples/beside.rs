//! Runs a command beside a sidecar: `cargo run -p e2e --example beside -- COMMAND ARGUMENTS… URL`, the URL of the entity API added behind.
//!
//! The cluster is the one that the environment provides, or one that is started; the sidecar serves Todos of a namespace of its own, which
//! is removed at the end. For the public tools in `tests/clients`.

use std::process::Command;

use anyhow::{Context, ensure};
use devcluster::ClusterOptions;
use e2e::program::{Scratch, unique};
use e2e::sidecar::{Settings, Sidecar};
use e2e::todos;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

fn main() -> anyhow::Result<()> {
    let mut command = std::env::args().skip(1);
    let program = command.next().context("usage: beside COMMAND ARGUMENTS…")?;
    let arguments: Vec<String> = command.collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let cluster =
            devcluster::provided_or_started(ClusterOptions { kafka: false, ..ClusterOptions::for_tests("beside") })
                .await?;
        let kube = todos::client(&cluster.endpoints().kubeconfig).await?;
        todos::install(&kube, todos::CRD).await?;
        let ns = format!("beside-{}", unique());
        let namespaces: Api<Namespace> = Api::all(kube);
        namespaces
            .create(&PostParams::default(), &serde_json::from_value(json!({"metadata": {"name": ns}}))?)
            .await
            .context("failed to create a namespace")?;
        let scratch = Scratch::new(&ns)?;
        let kind = json!({"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [ns]});
        let settings = Settings::new(&cluster.endpoints().kubeconfig).kind(kind);
        let sidecar = Sidecar::spawn(&scratch, &settings).await?;
        sidecar.ready().await?;
        let url = sidecar.api.base().to_owned();
        let ended = tokio::task::spawn_blocking(move || Command::new(&program).args(arguments).arg(url).status())
            .await?
            .context("failed to run the command")?;
        ensure!(sidecar.program.is_running(), "the sidecar has ended:\n{}", scratch.dump());
        sidecar.terminate().await?;
        namespaces.delete(&ns, &DeleteParams::background()).await?;
        ensure!(ended.success(), "the command ended with {ended}");
        scratch.remove();
        Ok(())
    })
}
