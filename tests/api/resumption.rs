//! Readers of events who come back: each version once, however often the way to the API server is cut, and as long as the history is there no reset.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use devcluster::Part;
use e2e::events::Events;
use e2e::events::table::Table;
use e2e::sidecar::Settings;
use e2e::{todos, wait};
use kube::api::DeleteParams;
use serde_json::json;

use crate::world::{World, run, shared};

const READERS: usize = 4;
const WRITERS: usize = 3;
const CUTS: usize = 3;

/// Writes, past the sidecar, until it is told to stop; answers the versions of what was stored, and counts them.
async fn write(world: &World, writer: usize, stop: &AtomicBool, count: &AtomicUsize) -> anyhow::Result<Vec<u64>> {
    let mut versions = Vec::new();
    let api = todos::api(&world.kube, &world.ns);
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let id = format!("{writer}-{}", number % 3);
        let stored = match (number / 3) % 4 {
            0 => todos::create(&world.kube, &world.ns, &id, "new").await?,
            3 => {
                api.delete(&id, &DeleteParams::default()).await?;
                continue;
            }
            _ => todos::change(&world.kube, &world.ns, &id, &format!("{number}")).await?,
        };
        count.fetch_add(1, Ordering::Relaxed);
        versions.push(stored.metadata.resource_version.context("a version")?.parse()?);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(versions)
}

/// Reads until `end` comes, coming back after every so many events; answers its table and all versions that it was told.
async fn read(base: String, comes_back: Option<usize>) -> anyhow::Result<(Table, BTreeSet<u64>)> {
    let mut events = Events::open(&base, "/v1/todos", "").await?;
    let (mut table, mut versions, mut count) = (Table::default(), BTreeSet::new(), 0);
    loop {
        let told = events.next().await?.context("the stream ended")?;
        if let Some((id, state)) = table.take(&told).map_err(anyhow::Error::msg)? {
            ensure!(versions.insert(state.version), "told twice: {told:?}");
            if id == "end" {
                return Ok((table, versions));
            }
        }
        count += 1;
        if comes_back.is_some_and(|often| count % often == 0) && !events.last_id.is_empty() {
            events = Events::open(&base, "/v1/todos", &events.last_id).await?;
        }
    }
}

#[test]
fn a_reader_that_comes_back_gets_each_version_once_however_often_the_way_is_cut() {
    run("events_cut", async |world| {
        let Some(cluster) = shared().cluster() else {
            anyhow::bail!(
                "this test cuts the way to the API server: run it without KUBECONFIG, so that it starts its own"
            );
        };
        let proxy = cluster.proxy(Part::ApiServer).await?;
        let kind =
            json!({"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [world.ns]});
        let sidecar = world.start(&Settings::new(proxy.kubeconfig()).kind(kind)).await?;
        let base = sidecar.api.base().to_owned();
        let readers: Vec<_> = (0..READERS)
            .map(|number| tokio::spawn(read(base.clone(), (number > 0).then_some(5 * number + 2))))
            .collect();
        wait::until("all readers to be connected", wait::LIMIT, || async {
            let connected = sidecar.metric("kab_api_event_streams").await?;
            ensure!(connected as usize == READERS, "{connected}");
            Ok(())
        })
        .await?;

        let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let writing = futures::future::try_join_all((0..WRITERS).map(|writer| write(world, writer, &stop, &count)));
        let cutting = async {
            for _ in 0..CUTS {
                proxy.cut().await?;
                wait::until("readiness to say that the cache is not current", wait::LIMIT, || async {
                    let part = sidecar.part("cache").await?;
                    ensure!(part["detail"].to_string().contains("not current"), "{part}");
                    Ok(())
                })
                .await?;
                // What happens meanwhile is told afterwards.
                let newest =
                    todos::create(&world.kube, &world.ns, &format!("cut-{}", e2e::program::unique()), "x").await?;
                proxy.heal().await?;
                let version = newest.metadata.resource_version.unwrap_or_default();
                let newest = [("at-least-version", version.as_str()), ("prefer", "wait=60")];
                sidecar.api.send(reqwest::Method::GET, "/v1/todos", &newest, None).await?.expect(200)?;
            }
            wait::until("enough to be written", wait::LIMIT, || async {
                let count = count.load(Ordering::Relaxed);
                ensure!(count > 60, "{count}");
                Ok(())
            })
            .await?;
            stop.store(true, Ordering::Relaxed);
            Ok(())
        };
        let (written, ()) = futures::future::try_join(writing, cutting).await?;
        let end =
            todos::create(&world.kube, &world.ns, "end", "end").await?.metadata.resource_version.unwrap_or_default();
        let written: BTreeSet<u64> = written.into_iter().flatten().collect();
        let refills = sidecar.metric("kab_watch_refills_total").await.unwrap_or_default();
        ensure!(refills == 0.0, "the history was not there: {refills}");
        let all = [("at-least-version", end.as_str()), ("prefer", "wait=60")];
        let list = sidecar.api.send(reqwest::Method::GET, "/v1/todos", &all, None).await?.expect(200)?;
        for (number, reader) in readers.into_iter().enumerate() {
            let (table, versions) = reader.await?.with_context(|| format!("reader {number}"))?;
            ensure!(table.resets == 0, "reader {number} had to start over");
            let missed: Vec<&u64> = written.difference(&versions).collect();
            ensure!(missed.is_empty(), "reader {number} was not told of {missed:?}");
            let count = list.body["items"].as_array().map_or(0, Vec::len);
            ensure!(table.entities.len() == count, "reader {number} knows {} of {count}", table.entities.len());
        }
        Ok(())
    });
}
