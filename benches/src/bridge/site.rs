//! What the broadcast is measured on: a cluster with a broker, and sidecars, each for a namespace and a topic of its own.

use std::time::Duration;

use anyhow::{Context, ensure};
use devcluster::{Cluster, ClusterOptions};
use e2e::program::{Scratch, unique};
use e2e::sidecar::{Settings, Sidecar};
use e2e::{todos, topics, wait};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

/// Until a sidecar is ready, or has told everything.
pub(super) const LIMIT: Duration = Duration::from_secs(180);
/// Writes in flight where as many as possible are wanted.
pub(super) const AT_ONCE: usize = 16;

/// A running cluster.
pub(super) struct Site {
    pub(super) cluster: Cluster,
    pub(super) kube: kube::Client,
    pub(super) brokers: String,
    pub(super) scratch: Scratch,
}

/// A place for one measurement.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) topic: String,
}

impl Site {
    pub(super) async fn start() -> anyhow::Result<Self> {
        ensure!(
            !cfg!(debug_assertions),
            "figures of a debug build mean nothing: use `cargo xtask bench`, which builds for release"
        );
        let cluster = Cluster::start(ClusterOptions::for_tests("bench-bridge")).await?;
        let kube = todos::client(&cluster.endpoints().kubeconfig).await?;
        todos::install(&kube, todos::CRD).await?;
        let brokers = cluster.endpoints().kafka.clone().context("the cluster has a broker")?;
        let scratch = Scratch::new(&format!("bench-bridge-{}", unique()))?;
        Ok(Self { cluster, kube, brokers, scratch })
    }

    /// A new namespace, and a topic whose records have the broker's time: nothing else tells when a record was there.
    pub(super) async fn place(&self, name: &str) -> anyhow::Result<Place> {
        let place = Place { namespace: name.to_owned(), topic: format!("bench.{name}") };
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::all(self.kube.clone()).create(&PostParams::default(), &namespace).await?;
        self.topic(&place.topic).await?;
        Ok(place)
    }

    /// A topic with the broker's times.
    pub(super) async fn topic(&self, name: &str) -> anyhow::Result<()> {
        let settings = [
            ("cleanup.policy", "compact"),
            ("max.message.bytes", "2097152"),
            ("message.timestamp.type", "LogAppendTime"),
            // Nothing is compacted away while it is measured.
            ("min.compaction.lag.ms", "86400000"),
        ];
        topics::create(&self.brokers, name, 1, &settings).await
    }

    /// A sidecar that owns the place's todos and broadcasts them, ready.
    pub(super) async fn broadcasting(&self, place: &Place, delivery: &str) -> anyhow::Result<Sidecar> {
        self.ready(self.settings().owned_todos(&place.namespace, &place.topic).set("kafka", self.kafka(delivery))).await
    }

    /// A sidecar of that name of a cluster, so that it has a position of its own; it need not be ready.
    pub(super) async fn in_cluster(&self, cluster: &str, place: &Place) -> anyhow::Result<Sidecar> {
        let settings = self.settings().owned_todos(&place.namespace, &place.topic);
        let settings = settings.set("kafka", self.kafka("exactlyOnce")).set("cluster", json!(cluster));
        Sidecar::spawn(&self.scratch, &settings).await
    }

    /// A sidecar that consumes the place's todos, from the API server or from Kafka, ready.
    pub(super) async fn consuming(&self, place: &Place, source: &str) -> anyhow::Result<Sidecar> {
        let kind = json!({
            "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "namespaces": [place.namespace], "source": source,
        });
        let mut settings = self.settings();
        if source == "kafka" {
            let kind = kind.as_object().cloned().into_iter().flatten().chain([("topic".into(), json!(place.topic))]);
            settings = settings.kind(Value::Object(kind.collect())).set("kafka", self.kafka("exactlyOnce"));
        } else {
            settings = settings.kind(kind);
        }
        self.ready(settings).await
    }

    fn kafka(&self, delivery: &str) -> Value {
        json!({"properties": {"bootstrap.servers": self.brokers}, "delivery": delivery})
    }

    fn settings(&self) -> Settings {
        Settings::new(&self.cluster.endpoints().kubeconfig)
    }

    async fn ready(&self, settings: Settings) -> anyhow::Result<Sidecar> {
        let sidecar = Sidecar::spawn(&self.scratch, &settings).await?;
        ready(&sidecar).await?;
        Ok(sidecar)
    }

    /// Creates todos `todo-FROM` to `todo-TO` straight at the API server, about 300 bytes each in the business shape.
    pub(super) async fn fill(&self, place: &Place, from: usize, to: usize) -> anyhow::Result<()> {
        let message = "x".repeat(60);
        stream::iter(from..to)
            .map(|number| {
                let message = message.clone();
                async move { todos::create(&self.kube, &place.namespace, &id(number), &message).await }
            })
            .buffer_unordered(AT_ONCE)
            .try_for_each(|_| async { Ok(()) })
            .await
    }

    pub(super) async fn stop(self) {
        drop(self.cluster.stop().await);
        self.scratch.remove();
    }
}

/// Waits until every part of it is up.
pub(super) async fn ready(sidecar: &Sidecar) -> anyhow::Result<()> {
    wait::until("the sidecar to be ready", LIMIT, || async {
        ensure!(sidecar.program.is_running(), "it has ended");
        let answer = sidecar.admin.get("/readyz").await?;
        let parts = answer.body.get("parts").and_then(Value::as_array).cloned().unwrap_or_default();
        let up = parts.iter().all(|part| part.get("state") == Some(&json!("up")));
        ensure!(answer.status.is_success() && up, "{}", answer.body);
        Ok(())
    })
    .await
}

/// Waits until the broadcast's position has reached a version.
pub(super) async fn told(sidecar: &Sidecar, version: u64) -> anyhow::Result<()> {
    wait::until(&format!("the broadcast to reach {version}"), LIMIT, || async {
        let position = sidecar.metric("kab_bridge_position").await?;
        #[expect(clippy::cast_precision_loss, reason = "versions of a new cluster")]
        let reached = position >= version as f64;
        ensure!(reached, "{position}");
        Ok(())
    })
    .await
}

/// The name of a todo.
pub(super) fn id(number: usize) -> String {
    format!("todo-{number:06}")
}
