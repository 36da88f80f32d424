//! A `kab-sidecar` process: its configuration, its two addresses, and what it says of itself.
#![expect(clippy::indexing_slicing, reason = "a member that a JSON value does not have is null, not a panic")]

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::entity_api::Client;
use crate::program::{Program, Scratch};
use crate::wait;

/// A sidecar's configuration, on free ports.
#[derive(Debug, Clone)]
pub struct Settings {
    config: Value,
}

impl Settings {
    /// Nothing served yet, against the cluster of a kubeconfig.
    pub fn new(kubeconfig: &Path) -> Self {
        let config = json!({
            "api": {"address": "127.0.0.1:0"},
            "admin": {"address": "127.0.0.1:0"},
            "cluster": "test",
            "kubeconfig": kubeconfig,
            "log": {"level": "info", "format": "json"},
            "kinds": [],
        });
        Self { config }
    }

    /// Serves Todos of a namespace as their owner, broadcast to `topic`.
    #[must_use]
    pub fn owned_todos(self, ns: &str, topic: &str) -> Self {
        self.kind(json!({
            "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [ns], "topic": topic,
        }))
    }

    /// Serves another kind.
    #[must_use]
    pub fn kind(mut self, kind: Value) -> Self {
        if let Some(kinds) = self.config.get_mut("kinds").and_then(Value::as_array_mut) {
            kinds.push(kind);
        }
        self
    }

    /// Broadcasts to these brokers.
    #[must_use]
    pub fn kafka(self, brokers: &str) -> Self {
        self.set("kafka", json!({"properties": {"bootstrap.servers": brokers}}))
    }

    /// Sets a top-level key.
    #[must_use]
    pub fn set(mut self, key: &str, value: Value) -> Self {
        if let Some(config) = self.config.as_object_mut() {
            config.insert(key.to_owned(), value);
        }
        self
    }

    /// The configuration as a file's text.
    pub fn text(&self) -> String {
        self.config.to_string()
    }
}

/// A running sidecar.
#[derive(Debug)]
pub struct Sidecar {
    /// The process.
    pub program: Program,
    /// The entity API.
    pub api: Client,
    /// The admin port.
    pub admin: Client,
}

impl Sidecar {
    /// Starts a sidecar and waits until it has told its addresses; it need not be ready.
    ///
    /// # Errors
    /// When it ends before.
    pub async fn spawn(scratch: &Scratch, settings: &Settings) -> anyhow::Result<Self> {
        let program = Self::program(scratch, &settings.text()).await?;
        let (api, admin) = program.told("its addresses", addresses).await?;
        Ok(Self { program, api: Client::new(format!("http://{api}")), admin: Client::new(format!("http://{admin}")) })
    }

    /// Starts the program with a configuration that may be wrong.
    ///
    /// # Errors
    /// When it cannot be started at all.
    pub async fn program(scratch: &Scratch, config: &str) -> anyhow::Result<Program> {
        let file = scratch.file("sidecar", "yaml");
        std::fs::write(&file, config).with_context(|| format!("failed to write {}", file.display()))?;
        let arguments = ["--config".to_owned(), file.display().to_string()];
        Program::spawn(scratch, "kab-sidecar", &arguments, &[]).await
    }

    /// Waits until `/readyz` says 200 and every part is up, those that are only reported too; but for the app, for which a sidecar never waits.
    ///
    /// # Errors
    /// After [`wait::LIMIT`], with what is missing.
    pub async fn ready(&self) -> anyhow::Result<()> {
        wait::until("the sidecar to be ready", wait::LIMIT, || async {
            ensure!(self.program.is_running(), "it has ended");
            let answer = self.admin.get("/readyz").await?;
            let parts = answer.body["parts"].as_array().cloned().unwrap_or_default();
            ensure!(
                answer.status.is_success() && parts.iter().all(|part| part["state"] == "up" || part["name"] == "app"),
                "{}",
                answer.body
            );
            Ok(())
        })
        .await
    }

    /// The state of one part of `/readyz`, by the beginning of its name.
    ///
    /// # Errors
    /// When the admin port does not answer or has no such part.
    pub async fn part(&self, name: &str) -> anyhow::Result<Value> {
        let answer = self.admin.get("/readyz").await?;
        let parts = answer.body["parts"].as_array().cloned().unwrap_or_default();
        let found = parts.into_iter().find(|part| part["name"].as_str().is_some_and(|found| found.starts_with(name)));
        found.with_context(|| format!("no part {name:?} in {}", answer.body))
    }

    /// The sum of a metric over all its labels.
    ///
    /// # Errors
    /// When the admin port does not answer or the metric is not there.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let answer = self.admin.get("/metrics").await?;
        let text = answer.body.as_str().unwrap_or_default().to_owned();
        let values: Vec<f64> = text
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])))
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        ensure!(!values.is_empty(), "no metric {name} in\n{text}");
        Ok(values.into_iter().sum())
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub async fn kill(self) -> anyhow::Result<()> {
        self.program.kill().await
    }

    /// SIGTERM, and the end within its time.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn terminate(self) -> anyhow::Result<ExitStatus> {
        self.program.terminate().await
    }

    /// Waits for an end that nobody asked for.
    ///
    /// # Errors
    /// When it goes on running.
    pub async fn ended(&self) -> anyhow::Result<ExitStatus> {
        self.program.ended(Duration::from_secs(20)).await
    }
}

/// The two addresses from the log line that tells them.
fn addresses(log: &str) -> Option<(String, String)> {
    log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|line| {
        let address = |name: &str| line.get(name)?.as_str().map(str::to_owned);
        Some((address("api")?, address("admin")?))
    })
}
