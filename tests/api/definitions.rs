//! What a running sidecar does when the definition of its kind changes, goes away and comes back.

use contract::record::Event;
use e2e::crd::Definition;
use e2e::sidecar::{Settings, Sidecar};
use e2e::{topic, wait};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::{World, run};

/// A sidecar that owns and broadcasts the kind.
async fn owner(world: &World, kind: &Definition) -> anyhow::Result<Sidecar> {
    let mut served = kind.served(true, &[&world.ns]);
    served["topic"] = json!(world.topic);
    world.start(&Settings::new(&world.kubeconfig).kind(served).kafka(&world.brokers)).await
}

/// Waits until reads are refused, and readiness says why.
async fn lost(sidecar: &Sidecar, path: &str) -> anyhow::Result<()> {
    wait::until("reads to be refused", wait::LIMIT, || async {
        let read = sidecar.api.get(path).await?.expect(503)?;
        anyhow::ensure!(
            !read.header("retry-after").is_empty() && read.body["detail"].to_string().contains("removed"),
            "{}",
            read.body
        );
        let ready = sidecar.admin.get("/readyz").await?.expect(503)?;
        anyhow::ensure!(ready.body.to_string().contains("does not serve this kind"), "{}", ready.body);
        Ok(())
    })
    .await
}

#[test]
fn a_field_that_is_added_can_be_written_and_asked_for() {
    run("field_added", async |world| {
        let field = |names: &[&str]| {
            let fields: serde_json::Map<String, Value> =
                names.iter().map(|name| ((*name).to_owned(), json!({"type": "integer"}))).collect();
            json!({"type": "object", "properties": fields})
        };
        let kind = Definition::new("Crate", "crates").spec(field(&["size"]));
        kind.install(&world.kube).await?;
        let sidecar = owner(world, &kind).await?;
        sidecar.api.post("/v1/crates", &json!({"id": "one", "size": 1})).await?.expect(201)?;
        sidecar.api.get("/v1/crates?filter=weight%3D%3D2").await?.expect(400)?;
        sidecar.api.patch("/v1/crates/one", &json!({"weight": 2})).await?.expect(400)?;

        kind.clone().spec(field(&["size", "weight"])).install(&world.kube).await?;
        wait::until("the new field to be taken", wait::LIMIT, || async {
            sidecar.api.patch("/v1/crates/one", &json!({"weight": 2})).await?.expect(200)
        })
        .await?;
        wait::until("the new field to be asked for", wait::LIMIT, || async {
            let found = sidecar.api.get("/v1/crates?filter=weight%3D%3D2").await?.expect(200)?;
            anyhow::ensure!(found.body["items"][0]["id"] == "one", "{}", found.body);
            Ok(())
        })
        .await?;
        let described = sidecar.api.get("/openapi.json").await?.expect(200)?;
        assert!(described.body.to_string().contains("\"weight\""), "the document tells the new field");
        sidecar.ready().await
    });
}

#[test]
fn a_definition_that_is_removed_and_installed_again_is_followed() {
    run("definition_removed", async |world| {
        let kind = Definition::new("Tent", "tents");
        kind.install(&world.kube).await?;
        let sidecar = owner(world, &kind).await?;
        for id in ["one", "two"] {
            sidecar.api.post("/v1/tents", &json!({"id": id, "name": "x"})).await?.expect(201)?;
        }
        kind.remove(&world.kube).await?;
        let records = topic::until(&world.brokers, &world.topic, "the deletions", |records| records.len() == 6).await?;
        let deleted = records.iter().filter(|record| record.event() == Some(Event::Deleted)).count();
        let tombstones = records.iter().filter(|record| record.value.is_none()).count();
        assert_eq!((deleted, tombstones), (2, 2), "{}", topic::summary(&records));
        lost(&sidecar, "/v1/tents").await?;
        lost(&sidecar, "/v1/tents/one").await?;
        let fresh = [("cache-control", "no-cache")];
        sidecar.api.send(reqwest::Method::GET, "/v1/tents/one", &fresh, None).await?.expect(503)?;
        sidecar.api.post("/v1/tents", &json!({"id": "one"})).await?.expect(503)?;

        kind.install(&world.kube).await?;
        sidecar.ready().await?;
        assert_eq!(sidecar.api.get("/v1/tents").await?.expect(200)?.body["items"], json!([]));
        sidecar.api.post("/v1/tents", &json!({"id": "one", "name": "y"})).await?.expect(201)?;
        let records = topic::until(&world.brokers, &world.topic, "the new one", |records| records.len() == 7).await?;
        let last = records.iter().filter(|record| record.key.ends_with("/one")).max_by_key(|record| record.offset);
        assert_eq!(last.and_then(|record| record.event()), Some(Event::Created), "{}", topic::summary(&records));
        Ok(())
    });
}

#[test]
fn nothing_can_be_created_while_a_definition_is_being_removed() {
    run("definition_terminating", async |world| {
        let kind = Definition::new("Lamp", "lamps");
        kind.install(&world.kube).await?;
        let sidecar = owner(world, &kind).await?;
        sidecar.api.post("/v1/lamps", &json!({"id": "held", "name": "x"})).await?.expect(201)?;
        let objects = kind.objects(&world.kube, Some(&world.ns));
        let finalizers = |names: Value| Patch::Merge(json!({"metadata": {"finalizers": names}}));
        objects.patch("held", &PatchParams::default(), &finalizers(json!(["example.com/hold"]))).await?;
        // The finalizer holds the object, and that the definition.
        kind.delete(&world.kube).await?;
        wait::until("creates to be refused", wait::LIMIT, || async {
            let refused = sidecar.api.post("/v1/lamps?dryRun=true", &json!({"id": "new", "name": "x"})).await?;
            let refused = refused.expect(503)?;
            anyhow::ensure!(refused.body["detail"].to_string().contains("is being removed"), "{}", refused.body);
            anyhow::ensure!(!refused.header("retry-after").is_empty(), "it says when to come back");
            Ok(())
        })
        .await?;
        sidecar.api.get("/v1/lamps/held").await?.expect(200)?;
        objects.patch("held", &PatchParams::default(), &finalizers(json!([]))).await?;
        Ok(())
    });
}

#[test]
fn a_version_that_is_withdrawn_is_no_deletion() {
    run("version_withdrawn", async |world| {
        let named = || json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let kind = Definition::new("Boat", "boats").version("v2", named()).version("v1", named());
        kind.install(&world.kube).await?;
        let sidecar = owner(world, &kind).await?;
        let made = sidecar.api.post("/v1/boats", &json!({"id": "one", "name": "x"})).await?.expect(201)?;
        topic::until(&world.brokers, &world.topic, "the creation", |records| records.len() == 1).await?;

        kind.clone().withdrawn("v1").install(&world.kube).await?;
        lost(&sidecar, "/v1/boats/one").await?;
        kind.install(&world.kube).await?;
        sidecar.ready().await?;
        assert_eq!(sidecar.api.get("/v1/boats/one").await?.expect(200)?.body, made.body);
        sidecar.api.patch("/v1/boats/one", &json!({"name": "y"})).await?.expect(200)?;
        let records = topic::until(&world.brokers, &world.topic, "the update", |records| records.len() >= 2).await?;
        let events: Vec<_> = records.iter().map(|record| record.event()).collect();
        assert_eq!(events, [Some(Event::Created), Some(Event::Updated)], "{}", topic::summary(&records));
        Ok(())
    });
}

#[test]
fn a_kind_that_comes_back_in_another_scope_ends_the_sidecar_with_the_reason() {
    run("scope_changed", async |world| {
        let kind = Definition::new("Flag", "flags");
        kind.install(&world.kube).await?;
        let sidecar = owner(world, &kind).await?;
        kind.remove(&world.kube).await?;
        kind.clone().cluster_scoped().install(&world.kube).await?;
        let status = sidecar.program.ended(wait::LIMIT).await?;
        assert_eq!(status.code(), Some(1), "{}", sidecar.program.log());
        let told = format!("the definition of flags.{} is another one now", kind.group());
        assert!(sidecar.program.log().contains(&told), "{}", sidecar.program.log());
        Ok(())
    });
}
