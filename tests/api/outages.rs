//! What goes on, and what is said, while a part is away.

use devcluster::Part;
use e2e::sidecar::Settings;
use e2e::{todos, wait};
use serde_json::json;

use crate::world::{run, shared};

#[test]
fn reads_go_on_while_the_api_server_is_away() {
    run("api_server_away", async |world| {
        let Some(cluster) = shared().cluster() else {
            anyhow::bail!(
                "this test cuts the way to the API server: run it without KUBECONFIG, so that it starts its own"
            );
        };
        let proxy = cluster.proxy(Part::ApiServer).await?;
        let settings = Settings::new(proxy.kubeconfig()).owned_todos(&world.ns, &world.topic).kafka(&world.brokers);
        let sidecar = world.start(&settings).await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;

        proxy.cut().await?;
        let read = sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
        assert_eq!(read.body["message"], "one");
        let refused = sidecar.api.patch("/v1/todos/milk", &json!({"message": "two"})).await?.expect(503)?;
        assert!(!refused.header("retry-after").is_empty());
        assert!(!refused.body.to_string().contains("127.0.0.1"), "no address reaches a caller: {}", refused.body);
        wait::until("the cache to grow old", wait::LIMIT, || async {
            let read = sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
            let age: u64 = read.header("age").parse()?;
            anyhow::ensure!(age >= 1, "{age} s");
            Ok(())
        })
        .await?;
        todos::change(&world.kube, &world.ns, "milk", "meanwhile").await?;

        proxy.heal().await?;
        wait::until("the cache to catch up", wait::LIMIT, || async {
            let read = sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
            anyhow::ensure!(read.body["message"] == "meanwhile", "{}", read.body);
            Ok(())
        })
        .await?;
        sidecar.api.patch("/v1/todos/milk", &json!({"message": "two"})).await?.expect(200)?;
        Ok(())
    });
}

#[test]
fn a_crd_that_comes_later_is_waited_for() {
    run("crd_later", async |world| {
        let group = format!("{}.test.k8sasbackend.com", e2e::program::unique());
        let crd = todos::CRD.replace("k8sasbackend.com", &group);
        let kind =
            json!({"apiVersion": format!("{group}/v1"), "kind": "Todo", "owned": true, "namespaces": [world.ns]});
        let settings = Settings::new(&world.kubeconfig).kind(kind);
        let sidecar = e2e::sidecar::Sidecar::spawn(&world.scratch, &settings).await?;
        wait::until("readiness to name what is missing", wait::LIMIT, || async {
            let answer = sidecar.admin.get("/readyz").await?;
            anyhow::ensure!(answer.status.as_u16() == 503, "{answer:?}");
            anyhow::ensure!(answer.body.to_string().contains(&group), "{}", answer.body);
            Ok(())
        })
        .await?;
        todos::install(&world.kube, &crd).await?;
        sidecar.ready().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        Ok(())
    });
}

/// A silent watch is given up after 75 s, and the request that follows it after 30 s more.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(120);

#[test]
fn a_watch_that_went_silent_is_told_and_replaced() {
    run("silent_watch", async |world| {
        let Some(cluster) = shared().cluster() else {
            anyhow::bail!(
                "this test swallows what the API server says: run it without KUBECONFIG, so that it starts its own"
            );
        };
        let proxy = cluster.proxy(Part::ApiServer).await?;
        let sidecar = world.start(&Settings::new(proxy.kubeconfig()).owned_todos(&world.ns, &world.topic)).await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;

        proxy.black_hole().await?;
        let changed = todos::change(&world.kube, &world.ns, "milk", "meanwhile").await?;
        let version = changed.metadata.resource_version.unwrap_or_default();
        let newest = [("at-least-version", version.as_str()), ("prefer", "wait=1")];
        sidecar.api.send(reqwest::Method::GET, "/v1/todos/milk", &newest, None).await?.expect(504)?;
        wait::until("the silence to be told", SILENCE, || async {
            let part = sidecar.part("cache").await?;
            anyhow::ensure!(part["detail"].to_string().contains("not current"), "{part}");
            Ok(())
        })
        .await?;
        anyhow::ensure!(sidecar.metric("kab_watch_silences_total").await? >= 1.0);
        let read = sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
        let age: u64 = read.header("age").parse()?;
        assert!(age >= 60 && read.body["message"] == "one", "what is known, and how old it is: {age} s, {}", read.body);

        proxy.heal().await?;
        wait::until("the cache to catch up", SILENCE, || async {
            let read = sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
            anyhow::ensure!(read.body["message"] == "meanwhile", "{}", read.body);
            Ok(())
        })
        .await?;
        sidecar.ready().await
    });
}
