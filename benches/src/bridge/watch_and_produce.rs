//! The bare loop that the broadcast is held against, a process of its own: watches, and sends what it sees. No position, no transactions, no list.
#![expect(clippy::print_stdout, reason = "tells that it has begun")]

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use contract::record::header;
use e2e::todos;
use futures::TryStreamExt;
use kube::api::{WatchEvent, WatchParams};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, ThreadedProducer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::site::{Place, Site};

/// The loop, until it is killed.
pub(crate) async fn run(kubeconfig: &Path, namespace: &str, brokers: &str, topic: &str) -> anyhow::Result<()> {
    let api = todos::api(&todos::client(kubeconfig).await?, namespace);
    // A thread of its own serves what is delivered.
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).set("linger.ms", "0").create()?;
    let begin = api.list_metadata(&Default::default()).await?.metadata.resource_version.context("no version")?;
    let mut events = Box::pin(api.watch(&WatchParams::default().disable_bookmarks(), &begin).await?);
    println!("watching");
    while let Some(event) = events.try_next().await? {
        let (WatchEvent::Added(todo) | WatchEvent::Modified(todo) | WatchEvent::Deleted(todo)) = event else {
            bail!("the watch ends with {event:?}");
        };
        let metadata = &todo.metadata;
        let key = format!("{namespace}/{}", metadata.name.as_deref().unwrap_or_default());
        let version = metadata.resource_version.as_deref().unwrap_or_default();
        let id = format!("{}/{version}", metadata.uid.as_deref().unwrap_or_default());
        let value = serde_json::to_vec(&todo)?;
        let headers = OwnedHeaders::new().insert(Header { key: header::ID, value: Some(&id) });
        let record = BaseRecord::to(topic).key(&key).payload(&value).headers(headers);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    bail!("the watch has ended")
}

/// The loop as a process; it ends when this is dropped.
pub(super) struct Loop {
    _child: Child,
}

impl Loop {
    pub(super) async fn start(site: &Site, place: &Place) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("watch-and-produce")
            .arg(&site.cluster.endpoints().kubeconfig)
            .args([&place.namespace, &site.brokers, &place.topic])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("the output is piped")?;
        let line = BufReader::new(stdout).lines().next_line().await?;
        ensure!(line.is_some(), "the bare loop ended without a word");
        Ok(Self { _child: child })
    }
}
