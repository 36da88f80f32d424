//! Server-sent events: nothing lost and nothing twice, whoever writes, whatever breaks, however many read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use devcluster::Part;
use e2e::events::{Events, Told};
use e2e::sidecar::Settings;
use e2e::{todos, wait};
use kube::api::DeleteParams;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::history::on_its_own;
use crate::world::{World, run};

const WRITERS: usize = 8;
const WRITES: usize = 2_000 / WRITERS;
const READERS: usize = 200;

/// Names and ids.
fn brief(all: &[Told]) -> Vec<(String, String)> {
    let id = |told: &Told| told.json().ok().and_then(|data| Some(data.get("id")?.as_str()?.to_owned()));
    all.iter().map(|told| (told.name.clone(), id(told).unwrap_or_default())).collect()
}

fn of(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned())).collect()
}

/// Writes as an app and as another writer; answers the versions of what was stored.
async fn write(world: &World, api: &e2e::entity_api::Client, writer: usize) -> anyhow::Result<Vec<String>> {
    let mut versions = Vec::new();
    for number in 0..WRITES {
        let id = format!("{writer}-{}", number % 5);
        let todo = json!({"id": id, "when": "2030-01-01T10:00:00Z", "message": format!("{number}")});
        match number % 10 {
            7 => {
                api.delete(&format!("/v1/todos/{id}")).await?.expect(204)?;
            }
            3 => {
                let changed = todos::change(&world.kube, &world.ns, &id, &format!("kubectl {number}")).await;
                // It may be the one that was deleted before.
                versions.extend(changed.ok().and_then(|changed| changed.metadata.resource_version));
            }
            _ => {
                let stored = api.put(&format!("/v1/todos/{id}"), &todo).await?;
                ensure!(stored.status.is_success(), "{stored:?}");
                versions.push(stored.header("etag").trim_matches('"').to_owned());
            }
        }
    }
    Ok(versions)
}

/// Reads until `end` comes, and comes back again and again if so; answers all versions told, and what it then knows to exist.
async fn read(base: String, comes_back: bool) -> anyhow::Result<(Vec<u64>, BTreeMap<String, u64>)> {
    let mut events = Events::open(&base, "/v1/todos", "").await?;
    let (mut versions, mut table, mut synced) = (Vec::new(), BTreeMap::new(), false);
    loop {
        let told = events.next().await?;
        let Some(told) = told else { anyhow::bail!("the stream ended") };
        synced = synced || told.name == "synced";
        if told.name == "synced" {
            continue;
        }
        let data = told.json()?;
        let id = data["id"].as_str().unwrap_or_default().to_owned();
        let version: u64 = data["meta"]["version"].as_str().unwrap_or_default().parse()?;
        match told.name.as_str() {
            "added" => ensure!(table.insert(id.clone(), version).is_none(), "added twice: {told:?}"),
            "modified" => ensure!(table.insert(id.clone(), version).is_some(), "modified, but never added: {told:?}"),
            "deleted" => ensure!(table.remove(&id).is_some(), "deleted, but never added: {told:?}"),
            other => anyhow::bail!("{other} where nothing is lost"),
        }
        if synced {
            ensure!(told.id == Some(version.to_string()), "{told:?}");
            versions.push(version);
        }
        if id == "end" {
            return Ok((versions, table));
        }
        if comes_back && versions.len() % 20 == 19 {
            events = Events::open(&base, "/v1/todos", &events.last_id).await?;
        }
    }
}

#[test]
fn readers_miss_nothing_and_get_nothing_twice_under_load() {
    run("events_load", async |world| {
        let kind =
            json!({"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [world.ns]});
        let sidecar = world.start(&Settings::new(&world.kubeconfig).kind(kind)).await?;
        let base = sidecar.api.base().to_owned();
        let readers: Vec<_> = (0..READERS).map(|number| tokio::spawn(read(base.clone(), number % 20 == 0))).collect();
        wait::until("all readers to be connected", wait::LIMIT, || async {
            let connected = sidecar.metric("kab_api_event_streams").await?;
            ensure!(connected as usize == READERS, "{connected}");
            Ok(())
        })
        .await?;
        let writers = (0..WRITERS).map(|writer| write(world, &sidecar.api, writer));
        let written = futures::future::try_join_all(writers).await?;
        let end = json!({"id": "end", "when": "2030-01-01T10:00:00Z", "message": "end"});
        sidecar.api.post("/v1/todos", &end).await?.expect(201)?;
        let written: BTreeSet<u64> = written.iter().flatten().filter_map(|version| version.parse().ok()).collect();
        let list = sidecar.api.get("/v1/todos").await?.expect(200)?;
        let expected: BTreeMap<String, u64> = list.body["items"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| Some((item["id"].as_str()?.to_owned(), item["meta"]["version"].as_str()?.parse().ok()?)))
            .collect();
        for reader in readers {
            let (versions, table) = reader.await??;
            assert!(versions.is_sorted_by(|left, right| left < right), "in order and none twice");
            let told: BTreeSet<u64> = versions.into_iter().collect();
            assert_eq!(written.difference(&told).count(), 0, "every state that was stored was told");
            assert_eq!(table, expected);
        }
        Ok(())
    });
}

#[test]
fn after_a_restart_a_reader_is_told_to_start_over() {
    run("events_restart", async |world| {
        let sidecar = world.sidecar().await?;
        todos::create(&world.kube, &world.ns, "stays", "one").await?;
        todos::create(&world.kube, &world.ns, "goes", "one").await?;
        let mut events = Events::open(sidecar.api.base(), "/v1/todos", "").await?;
        events.until("synced").await?;
        sidecar.kill().await?;
        todos::api(&world.kube, &world.ns).delete("goes", &DeleteParams::default()).await?;

        let sidecar = world.sidecar().await?;
        let mut events = Events::open(sidecar.api.base(), "/v1/todos", &events.last_id).await?;
        let told = events.until("synced").await?;
        assert_eq!(brief(&told), of(&[("reset", ""), ("added", "stays"), ("synced", "")]));
        assert_eq!(told.first().and_then(|reset| reset.id.as_deref()), Some(""), "the old id is forgotten");
        let ended = sidecar.terminate().await?;
        assert!(ended.success(), "an open stream does not hold up the end: {ended}");
        assert_eq!(events.next().await?, None, "it ends in good order");
        Ok(())
    });
}

#[test]
fn a_reader_is_told_what_changed_while_the_watch_was_away_beyond_its_history() {
    on_its_own("events-expired", async |world, cluster| {
        let proxy = cluster.proxy(Part::ApiServer).await?;
        let kind =
            json!({"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [world.ns]});
        let sidecar = world.start(&Settings::new(proxy.kubeconfig()).kind(kind)).await?;
        for name in ["stays", "changes", "goes"] {
            todos::create(&world.kube, &world.ns, name, "one").await?;
        }
        wait::until("three entities", wait::LIMIT, || async {
            let list = sidecar.api.get("/v1/todos").await?.expect(200)?;
            ensure!(list.body["items"].as_array().is_some_and(|items| items.len() == 3), "{}", list.body);
            Ok(())
        })
        .await?;
        let mut events = Events::open(sidecar.api.base(), "/v1/todos", "").await?;
        assert_eq!(events.until("synced").await?.len(), 4);
        let before = events.last_id.clone();

        proxy.cut().await?;
        todos::change(&world.kube, &world.ns, "changes", "two").await?;
        todos::api(&world.kube, &world.ns).delete("goes", &DeleteParams::default()).await?;
        todos::create(&world.kube, &world.ns, "comes", "one").await?;
        cluster.compact().await?;
        cluster.process(Part::ApiServer).restart().await?;
        proxy.heal().await?;

        let expected = of(&[("deleted", "goes"), ("modified", "changes"), ("added", "comes")]);
        let mut told = Vec::new();
        while told.len() < 3 {
            told.extend(events.next().await?);
        }
        assert_eq!(brief(&told), expected, "only what changed, and no reset");
        let mut back = Events::open(sidecar.api.base(), "/v1/todos", &before).await?;
        let mut again = Vec::new();
        while again.len() < 3 {
            again.extend(back.next().await?);
        }
        assert_eq!(again, told, "who was away meanwhile is told the same");
        todos::change(&world.kube, &world.ns, "stays", "two").await?;
        assert_eq!(brief(&events.until("modified").await?), of(&[("modified", "stays")]));
        Ok(())
    });
}

#[test]
fn a_reader_that_takes_nothing_is_cut_and_can_come_back() {
    run("events_slow", async |world| {
        let kind = json!({"apiVersion": "v1", "kind": "ConfigMap", "owned": true, "namespaces": [world.ns]});
        let sidecar = world.start(&Settings::new(&world.kubeconfig).kind(kind)).await?;
        let slow = standing_still(sidecar.api.base().trim_start_matches("http://")).await?;
        let readers = || async { sidecar.metric("kab_api_event_streams").await };
        wait::until("the reader to be connected", wait::LIMIT, || async {
            ensure!(readers().await? == 1.0, "not yet");
            Ok(())
        })
        .await?;
        // More than the buffers of both ends of a connection take.
        for number in 0..30 {
            let large = json!({"data": {"large": format!("{number}").repeat(200_000)}});
            let stored = sidecar.api.put("/v1/configmaps/large", &large).await?;
            ensure!(stored.status.is_success(), "{}", stored.status);
        }
        wait::until("the reader to be cut", 2 * wait::LIMIT, || async {
            let connected = readers().await?;
            ensure!(connected == 0.0, "{connected} readers");
            Ok(())
        })
        .await?;
        drop(slow);
        let mut back = Events::open(sidecar.api.base(), "/v1/configmaps", "1").await?;
        let told = back.until("synced").await?;
        let newest = told.iter().find(|told| told.data.contains("\"large\"")).map(|told| told.data.contains("292929"));
        assert_eq!(newest, Some(true), "it starts over with the newest state");
        Ok(())
    });
}

/// A reader that asks and then reads nothing.
async fn standing_still(address: &str) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    let mut stream = socket.connect(address.parse()?).await?;
    let request = "GET /v1/configmaps HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}
