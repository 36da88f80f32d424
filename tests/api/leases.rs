//! Several sidecars that own the same kind: one broadcasts, the others stand by, and whatever happens to the first a consumer sees one story.

use std::collections::BTreeMap;

use anyhow::ensure;
use e2e::sidecar::{Settings, Sidecar};
use e2e::topic::{self, Record};
use e2e::{todos, wait};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::records::{repeated, story};
use crate::world::{World, run};

const LEASE: &str = "kab.todos.k8sasbackend.com.0";

/// Short enough to be waited for, and so long that also on a busy machine the leader renews it in time.
fn short() -> Value {
    json!({"durationSeconds": 9, "renewSeconds": 6, "retrySeconds": 1})
}

/// So long that nobody would wait for a Lease to run out.
fn long() -> Value {
    json!({"durationSeconds": 600, "renewSeconds": 300, "retrySeconds": 1})
}

fn settings(world: &World, lease: Value) -> Settings {
    world.settings().set("lease", lease)
}

async fn leading(sidecar: &Sidecar) -> anyhow::Result<()> {
    wait::until("the sidecar to lead", wait::LIMIT, || async {
        let leads = sidecar.metric("kab_lease_leading").await.unwrap_or(0.0);
        ensure!(leads > 0.0, "{}", sidecar.part("lease").await?);
        Ok(())
    })
    .await
}

async fn standing_by(sidecar: &Sidecar) -> anyhow::Result<()> {
    wait::until("the sidecar to stand by", wait::LIMIT, || async {
        let part = sidecar.part("lease").await?;
        let detail = part["detail"].as_str().unwrap_or_default();
        ensure!(part["state"] == "up" && detail.starts_with("standby: "), "{part}");
        sidecar.admin.get("/readyz").await?.expect(200).map(drop)
    })
    .await
}

/// Changes five Todos, one after the other; answers how many writes that were.
async fn write(world: &World, round: &str) -> anyhow::Result<usize> {
    for number in 0..30 {
        let name = format!("todo-{}", number % 5);
        let message = format!("{round}-{number}");
        if round == "first" && number < 5 {
            todos::create(&world.kube, &world.ns, &name, &message).await?;
        } else {
            todos::change(&world.kube, &world.ns, &name, &message).await?;
        }
    }
    todos::api(&world.kube, &world.ns).delete("todo-0", &DeleteParams::default()).await?;
    todos::create(&world.kube, &world.ns, "todo-0", round).await?;
    Ok(32)
}

/// The topic once the last Todo is in it; every version must be there once and in order.
async fn one_story(world: &World, writes: usize) -> anyhow::Result<()> {
    todos::create(&world.kube, &world.ns, "last", "last").await?;
    let last = format!("{}/last", world.ns);
    let records =
        topic::until(&world.brokers, &world.topic, "the last record", |records| !story(records, &last).is_empty())
            .await?;
    assert_eq!(repeated(&records), [], "{}", topic::summary(&records));
    let versions = versions(&records)?;
    assert_eq!(versions, writes + 1, "{}", topic::summary(&records));
    Ok(())
}

/// How many states were told; each must be newer than the one before of its key.
fn versions(records: &[Record]) -> anyhow::Result<usize> {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let mut count = 0;
    for record in records {
        let Some(value) = &record.value else { continue };
        let version = value["meta"]["version"].as_str().unwrap_or_default().parse()?;
        let before = last.insert(&record.key, version);
        assert!(before < Some(version), "{} goes back from {before:?}: {}", record.key, topic::summary(records));
        count += 1;
    }
    Ok(count)
}

/// Waits until the broadcast of a round has begun.
async fn begun(world: &World, round: &str) -> anyhow::Result<()> {
    topic::until(&world.brokers, &world.topic, "the first record of the round", |records| {
        records
            .iter()
            .filter_map(|record| record.value.as_ref()?["message"].as_str())
            .any(|text| text.starts_with(round))
    })
    .await
    .map(drop)
}

#[test]
fn a_killed_leader_is_followed_by_another_that_loses_and_repeats_nothing() {
    run("lease_killed", async |world| {
        let first = world.start(&settings(world, short())).await?;
        leading(&first).await?;
        let second = world.start(&settings(world, short())).await?;
        standing_by(&second).await?;
        let killer = async {
            begun(world, "first").await?;
            first.kill().await
        };
        let (mut writes, ()) = tokio::try_join!(write(world, "first"), killer)?;
        writes += write(world, "second").await?;
        leading(&second).await?;
        writes += write(world, "third").await?;
        one_story(world, writes).await
    });
}

#[test]
fn a_leader_that_was_frozen_past_its_lease_repeats_nothing_when_it_thaws() {
    run("lease_frozen", async |world| {
        let first = world.start(&settings(world, short())).await?;
        leading(&first).await?;
        let second = world.start(&settings(world, short())).await?;
        standing_by(&second).await?;
        let freezer = async {
            begun(world, "first").await?;
            first.program.signal(Signal::SIGSTOP)
        };
        let (mut writes, ()) = tokio::try_join!(write(world, "first"), freezer)?;
        leading(&second).await?;
        writes += write(world, "second").await?;
        first.program.signal(Signal::SIGCONT)?;
        writes += write(world, "third").await?;
        standing_by(&first).await?;
        one_story(world, writes).await
    });
}

#[test]
fn a_graceful_end_hands_the_lease_over_at_once() {
    run("lease_handed_over", async |world| {
        let first = world.start(&settings(world, long())).await?;
        leading(&first).await?;
        let second = world.start(&settings(world, long())).await?;
        standing_by(&second).await?;
        let writes = write(world, "first").await?;
        assert!(first.terminate().await?.success());
        leading(&second).await?;
        one_story(world, writes).await
    });
}

#[test]
fn a_process_that_comes_back_under_its_name_need_not_wait_for_its_own_lease() {
    run("lease_identity", async |world| {
        let mut lease = long();
        lease["identity"] = json!("pod-1");
        let first = world.start(&settings(world, lease.clone())).await?;
        leading(&first).await?;
        let writes = write(world, "first").await?;
        first.kill().await?;
        let again = world.start(&settings(world, lease)).await?;
        leading(&again).await?;
        one_story(world, writes).await
    });
}

#[test]
fn of_two_applications_that_own_a_kind_the_second_only_consumes_and_is_told_so() {
    run("lease_applications", async |world| {
        let app = |name: &str| settings(world, short()).set("app", json!({"name": name}));
        let first = world.start(&app("crm")).await?;
        leading(&first).await?;
        let second = Sidecar::spawn(&world.scratch, &app("shop")).await?;
        wait::until("the second to be told", wait::LIMIT, || async {
            let part = second.part("lease").await?;
            let detail = part["detail"].as_str().unwrap_or_default();
            ensure!(part["state"] == "down" && detail.starts_with("application \"crm\" owns Todo here"), "{part}");
            Ok(())
        })
        .await?;
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        wait::until("the second to serve it", wait::LIMIT, || async {
            second.api.get("/v1/todos/milk").await?.expect(200).map(drop)
        })
        .await?;
        second.admin.get("/readyz").await?.expect(200)?;

        // Also with the first one gone the kind stays its own, until somebody says otherwise.
        assert!(first.terminate().await?.success());
        let leases: Api<Lease> = Api::namespaced(world.kube.clone(), &world.ns);
        let left = leases.get(LEASE).await?;
        let spec = left.spec.clone().unwrap_or_default();
        assert_eq!((spec.holder_identity, spec.lease_transitions), (None, Some(0)));
        assert_eq!(left.metadata.annotations.unwrap_or_default().get("k8sasbackend.com/app"), Some(&"crm".to_owned()));
        let part = second.part("lease").await?;
        assert_eq!(part["state"], "down", "{part}");
        leases.delete(LEASE, &DeleteParams::default()).await?;
        leading(&second).await?;
        one_story(world, 1).await
    });
}
