//! Bad input at start: one message that names the key, the file and the remedy, and exit code 64.

use std::net::TcpListener;
use std::time::Duration;

use contract::names::EXIT_CONFIGURATION;
use e2e::sidecar::{Settings, Sidecar};
use e2e::todos;
use serde_json::json;

use crate::world::{World, run};

/// Starts a sidecar that must end with exit code 64; answers what it said.
async fn refused(world: &World, config: &str) -> anyhow::Result<String> {
    let program = Sidecar::program(&world.scratch, config).await?;
    let status = program.ended(Duration::from_secs(20)).await?;
    assert_eq!(status.code(), Some(i32::from(EXIT_CONFIGURATION)), "{}", program.log());
    Ok(program.log())
}

#[test]
fn a_wrong_configuration_is_told_with_its_key_and_file() {
    run("wrong_configuration", async |world| {
        let unknown = refused(world, &world.settings().set("kindz", json!([])).text()).await?;
        assert!(unknown.contains("kindz") && unknown.contains(".yaml"), "{unknown}");
        let wrong = refused(world, &world.settings().set("api", json!({"address": "nowhere"})).text()).await?;
        assert!(wrong.contains("api.address") && wrong.contains("nowhere"), "{wrong}");
        let open = refused(world, &world.settings().set("api", json!({"address": "0.0.0.0:3600"})).text()).await?;
        assert!(open.contains("api.address") && open.contains("loopback"), "{open}");
        let no_file = refused(world, &world.settings().set("kubeconfig", json!("nowhere.conf")).text()).await?;
        assert!(no_file.contains("nowhere.conf"), "{no_file}");
        Ok(())
    });
}

#[test]
fn a_kubeconfig_that_is_none_is_told() {
    run("wrong_kubeconfig", async |world| {
        let file = world.scratch.folder().join("broken.conf");
        std::fs::write(&file, "current-context: nothing\n")?;
        let told = refused(world, &world.settings().set("kubeconfig", json!(file)).text()).await?;
        assert!(told.contains("broken.conf") && told.contains("nothing"), "{told}");
        Ok(())
    });
}

#[test]
fn a_port_in_use_is_named() {
    run("port_in_use", async |world| {
        let taken = TcpListener::bind("127.0.0.1:0")?;
        let address = taken.local_addr()?.to_string();
        let told = refused(world, &world.settings().set("api", json!({"address": address})).text()).await?;
        assert!(told.contains(&address) && told.contains("api.address"), "{told}");
        Ok(())
    });
}

#[test]
fn a_schema_that_clashes_with_the_entity_shape_is_refused_with_the_reason() {
    run("schema_clash", async |world| {
        let group = format!("{}.test.k8sasbackend.com", e2e::program::unique());
        let crd = todos::CRD.replace("k8sasbackend.com", &group).replace("              done:", "              id:");
        let crd =
            crd.replace("self.done", "self.id").replace("oldSelf.done", "oldSelf.id").replace(".spec.done", ".spec.id");
        let crd = crd.replace("fieldPath: .done", "fieldPath: .id");
        todos::install(&world.kube, &crd).await?;
        let kind = json!({"apiVersion": format!("{group}/v1"), "kind": "Todo", "namespaces": [world.ns]});
        let told = refused(world, &Settings::new(&world.kubeconfig).kind(kind).text()).await?;
        assert!(told.contains("id") && told.contains(&group), "{told}");
        Ok(())
    });
}
