//! Kubernetes Events of a sidecar, as `kubectl` shows them.

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::sidecar::Sidecar;
use e2e::{topics, wait};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::json;

use crate::world::{World, run};

/// Longer than the broadcast waits between two tries.
const LONG: Duration = Duration::from_secs(90);
const LEASE: &str = "kab.todos.k8sasbackend.com.0";

/// The Event with this reason about the kind's Lease, once it is there as wanted.
async fn told(world: &World, reason: &str, wanted: impl Fn(&Event) -> bool) -> anyhow::Result<Event> {
    let events: Api<Event> = Api::namespaced(world.kube.clone(), &world.ns);
    wait::until(&format!("an Event {reason}"), LONG, || async {
        let all = events.list(&ListParams::default()).await?.items;
        let is = |event: &&Event| {
            let about = event.regarding.as_ref();
            let lease = about
                .is_some_and(|about| about.kind.as_deref() == Some("Lease") && about.name.as_deref() == Some(LEASE));
            lease && event.reason.as_deref() == Some(reason) && wanted(event)
        };
        all.iter().find(is).cloned().with_context(|| format!("{all:?}"))
    })
    .await
}

fn count(event: &Event) -> i32 {
    event.series.as_ref().map_or(1, |series| series.count)
}

#[test]
fn what_is_wrong_with_a_topic_is_an_event_that_counts_and_so_is_its_end() {
    run("kubernetes_events_topic", async |world| {
        topics::create(&world.brokers, &world.topic, 1, &[("cleanup.policy", "delete")]).await?;
        let sidecar = Sidecar::spawn(&world.scratch, &world.settings()).await?;
        let event = told(world, "TopicUnfit", |event| count(event) > 1).await?;
        let note = event.note.unwrap_or_default();
        ensure!(note.contains(&world.topic) && note.contains("cleanup.policy=compact"), "{note}");
        ensure!(event.type_.as_deref() == Some("Warning"), "{:?}", event.type_);
        ensure!(event.reporting_controller.as_deref() == Some("k8sasbackend.com/kab-sidecar"));
        ensure!(sidecar.metric("kab_events_total").await? > 0.0, "they are counted");
        topics::alter(&world.brokers, &world.topic, &[("cleanup.policy", "compact")]).await?;
        let end = told(world, "BroadcastRecovered", |_| true).await?;
        ensure!(end.type_.as_deref() == Some("Normal"), "{:?}", end.type_);
        Ok(())
    });
}

#[test]
fn the_second_application_that_owns_a_kind_is_told_by_an_event() {
    run("kubernetes_events_owner", async |world| {
        let app = |name: &str| world.settings().set("app", json!({"name": name}));
        let first = world.start(&app("crm")).await?;
        wait::until("the first to lead", wait::LIMIT, || async {
            let leads = first.metric("kab_lease_leading").await.unwrap_or(0.0);
            ensure!(leads > 0.0, "{}", first.part("lease").await?);
            Ok(())
        })
        .await?;
        let _second = Sidecar::spawn(&world.scratch, &app("shop")).await?;
        let event = told(world, "OwnedElsewhere", |_| true).await?;
        let note = event.note.unwrap_or_default();
        ensure!(note.contains("application \"crm\" owns Todo here"), "{note}");
        Ok(())
    });
}
