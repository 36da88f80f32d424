//! Another writer: changes todos straight at the API server, at a rate or as many as it takes, and keeps when each was answered.

use std::time::{Duration, Instant, SystemTime};

use anyhow::Context;
use e2e::todos;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::task::JoinSet;

use super::site::{AT_ONCE, Place, Site, id};

/// A change that the API server has acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) version: u64,
    /// When the answer was there.
    pub(super) at: Instant,
    /// The same by the clock that the broker's times are of.
    pub(super) wall: SystemTime,
}

/// Writes `rate` changes a second for so long, each when its time has come, in turns to the first `entities` todos.
pub(super) async fn steadily(
    site: &Site,
    place: &Place,
    entities: usize,
    rate: u32,
    duration: Duration,
) -> anyhow::Result<Vec<Written>> {
    let mut pace = tokio::time::interval(Duration::from_secs(1) / rate);
    let end = Instant::now() + duration;
    let mut writes = JoinSet::new();
    let mut number = 0;
    while Instant::now() < end {
        pace.tick().await;
        let (kube, namespace) = (site.kube.clone(), place.namespace.clone());
        writes.spawn(async move { change(&kube, &namespace, number % entities, number).await });
        number += 1;
    }
    let mut all = Vec::new();
    while let Some(written) = writes.join_next().await {
        all.push(written??);
    }
    Ok(all)
}

/// Writes as much as the API server takes, to the first `entities` todos in turns, until so many changes are made or the time is over.
pub(super) async fn full(
    site: &Site,
    place: &Place,
    entities: usize,
    count: usize,
    duration: Duration,
) -> anyhow::Result<Vec<Written>> {
    let end = Instant::now() + duration;
    stream::iter(0..count)
        .take_while(|_| std::future::ready(Instant::now() < end))
        .map(|number| change(&site.kube, &place.namespace, number % entities, number))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// A change that keeps the length.
async fn change(kube: &kube::Client, namespace: &str, entity: usize, number: usize) -> anyhow::Result<Written> {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos();
    let changed = todos::change(kube, namespace, &id(entity), &format!("{number:0>20} {nanos:0>39}")).await?;
    let (at, wall) = (Instant::now(), SystemTime::now());
    let version = changed.metadata.resource_version.context("no version")?.parse()?;
    Ok(Written { version, at, wall })
}
