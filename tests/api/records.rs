//! The broadcast, as a consumer sees it.

use std::collections::BTreeMap;

use contract::record::{Event, header};
use e2e::topic::{self, Record};
use e2e::{todos, wait};
use kube::api::DeleteParams;
use serde_json::json;

use crate::world::run;

/// The events of one key in order, `tombstone` for a null value.
pub(crate) fn story(records: &[Record], key: &str) -> Vec<&'static str> {
    records
        .iter()
        .filter(|record| record.key == key)
        .map(|record| record.event().map_or("tombstone", Event::name))
        .collect()
}

/// How often each `ce_id` occurs more than once: empty when nothing was repeated.
pub(crate) fn repeated(records: &[Record]) -> Vec<(String, usize)> {
    let mut counts = BTreeMap::new();
    for record in records.iter().filter(|record| record.value.is_some()) {
        *counts.entry(record.id().to_owned()).or_insert(0) += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1).collect()
}

#[test]
fn every_change_is_a_record_whoever_made_it() {
    run("every_change", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        let created = sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        todos::change(&world.kube, &world.ns, "milk", "two").await?;
        sidecar.api.patch("/v1/todos/milk", &json!({"message": "three"})).await?.expect(200)?;
        todos::api(&world.kube, &world.ns).delete("milk", &DeleteParams::default()).await?;

        let key = format!("{}/milk", world.ns);
        let records = topic::until(&world.brokers, &world.topic, "a tombstone", |records| {
            records.last().is_some_and(|record| record.value.is_none())
        })
        .await?;
        assert_eq!(story(&records, &key), ["created", "updated", "updated", "deleted", "tombstone"]);

        let first = &records[0];
        assert_eq!(first.value.as_ref(), Some(&created.body), "the record's value is the entity as the API answers it");
        let expected = [
            (header::SPEC_VERSION, "1.0".to_owned()),
            (header::TYPE, "com.k8sasbackend.v1.todo.created".to_owned()),
            (header::SOURCE, "/clusters/test/apis/k8sasbackend.com/v1/todos".to_owned()),
            (header::SUBJECT, key.clone()),
            (header::CONTENT_TYPE, "application/json".to_owned()),
            (header::ID, format!("{}/{}", str_of(&created.body, "uid"), str_of(&created.body, "version"))),
        ];
        for (name, value) in expected {
            assert_eq!(first.headers.get(name), Some(&value), "{name}");
        }
        assert!(first.headers.get(header::TIME).is_some_and(|time| time.ends_with('Z')), "{:?}", first.headers);
        assert!(!first.headers.contains_key(header::SKIPPED), "{:?}", first.headers);

        let messages: Vec<_> =
            records.iter().filter_map(|record| record.value.as_ref()).map(|value| &value["message"]).collect();
        assert_eq!(messages, ["one", "two", "three", "three"], "a deletion carries the last known entity");
        let partitions: Vec<_> = records.iter().map(|record| record.partition).collect();
        assert!(partitions.iter().all(|partition| *partition == partitions[0]), "one key, one partition");
        Ok(())
    });
}

/// Whether the API server said 404.
fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 404)
}

fn str_of<'a>(entity: &'a serde_json::Value, name: &str) -> &'a str {
    entity["meta"][name].as_str().unwrap_or_default()
}

#[test]
fn what_exists_before_the_first_start_is_a_snapshot() {
    run("first_start", async |world| {
        todos::create(&world.kube, &world.ns, "before", "one").await?;
        let sidecar = world.sidecar().await?;
        topic::until(&world.brokers, &world.topic, "what was there", |records| records.len() == 1).await?;
        todos::create(&world.kube, &world.ns, "after", "one").await?;
        let records = topic::until(&world.brokers, &world.topic, "both", |records| records.len() >= 2).await?;
        assert_eq!(story(&records, &format!("{}/before", world.ns)), ["snapshot"]);
        assert_eq!(story(&records, &format!("{}/after", world.ns)), ["created"]);
        drop(sidecar);
        Ok(())
    });
}

#[test]
fn a_restart_without_a_change_broadcasts_nothing() {
    run("idle_restart", async |world| {
        let sidecar = world.sidecar().await?;
        for name in ["a", "b", "c"] {
            todos::create(&world.kube, &world.ns, name, "one").await?;
        }
        topic::until(&world.brokers, &world.topic, "three records", |records| records.len() == 3).await?;
        assert!(sidecar.terminate().await?.success(), "a graceful end is exit code 0");
        for _ in 0..3 {
            let sidecar = world.sidecar().await?;
            assert!(sidecar.terminate().await?.success());
        }
        // A change is the proof that what would have come before it has come.
        let sidecar = world.sidecar().await?;
        todos::create(&world.kube, &world.ns, "d", "one").await?;
        let records = topic::until(&world.brokers, &world.topic, "d", |records| {
            story(records, &format!("{}/d", world.ns)).len() == 1
        })
        .await?;
        assert_eq!(records.len(), 4, "{}", topic::summary(&records));
        drop(sidecar);
        Ok(())
    });
}

#[test]
fn a_killed_sidecar_loses_and_repeats_nothing() {
    const ROUNDS: usize = 6;
    const WRITES: usize = 30;
    run("killed", async |world| {
        // As a container that is restarted in its pod: nobody else can have the Lease meanwhile.
        let settings = world.settings().set("lease", json!({"identity": "pod-1"}));
        let mut sidecar = world.start(&settings).await?;
        for round in 0..ROUNDS {
            // Writers go on while the sidecar is killed and while it is away; where in its work it is hit is chance.
            let writer = async {
                for number in 0..WRITES {
                    let name = format!("todo-{}", number % 5);
                    let message = format!("{round}-{number}");
                    match todos::change(&world.kube, &world.ns, &name, &message).await {
                        Ok(_) => {}
                        Err(error) if is_missing(&error) => {
                            todos::create(&world.kube, &world.ns, &name, &message).await?;
                        }
                        Err(error) => return Err(error),
                    }
                    if number == WRITES - 1 {
                        todos::api(&world.kube, &world.ns).delete("todo-0", &DeleteParams::default()).await?;
                    }
                }
                Ok::<(), anyhow::Error>(())
            };
            let killer = async {
                let broadcast = wait::until("the broadcast of this round", wait::LIMIT, || async {
                    let records = topic::read(&world.brokers, &world.topic).await?;
                    let begun = records.iter().any(|record| {
                        record.value.as_ref().is_some_and(|value| {
                            value["message"].as_str().is_some_and(|message| message.starts_with(&format!("{round}-")))
                        })
                    });
                    anyhow::ensure!(begun, "{} records", records.len());
                    Ok(())
                });
                broadcast.await?;
                sidecar.kill().await
            };
            tokio::try_join!(writer, killer)?;
            sidecar = world.start(&settings).await?;
        }
        todos::create(&world.kube, &world.ns, "last", "last").await?;
        let records = topic::until(&world.brokers, &world.topic, "the last record", |records| {
            !story(records, &format!("{}/last", world.ns)).is_empty()
        })
        .await?;
        assert_eq!(repeated(&records), [], "{}", topic::summary(&records));
        let mut last_version = BTreeMap::new();
        let mut versions = 0;
        for record in &records {
            let Some(value) = &record.value else { continue };
            let version: u64 = str_of(value, "version").parse()?;
            let before = last_version.insert(record.key.clone(), version);
            assert!(before < Some(version), "{} goes back from {before:?} to {version}", record.key);
            versions += 1;
        }
        // Everything happened within the watch's history, so every version is there: the changes, the deletions, the last.
        assert_eq!(versions, ROUNDS * WRITES + ROUNDS + 1, "{}", topic::summary(&records));
        drop(sidecar);
        Ok(())
    });
}

#[test]
fn kafka_away_at_start_does_not_keep_the_api_from_serving() {
    run("kafka_away", async |world| {
        let Some(cluster) = crate::world::shared().cluster() else {
            anyhow::bail!("this test cuts the way to Kafka: run it without KAB_KAFKA, so that it starts its own");
        };
        let proxy = cluster.proxy(devcluster::Part::Kafka).await?;
        proxy.cut().await?;
        let settings = world.settings().kafka(proxy.endpoint());
        let sidecar = e2e::sidecar::Sidecar::spawn(&world.scratch, &settings).await?;
        wait::until("the sidecar to serve without Kafka", wait::LIMIT, || async {
            sidecar.admin.get("/readyz").await?.expect(200).map(drop)
        })
        .await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        let part = sidecar.part("kafka").await?;
        assert_eq!(part["state"], "down", "{part}");
        assert_eq!(topic::read(&world.brokers, &world.topic).await?, []);

        proxy.heal().await?;
        let records = topic::until(&world.brokers, &world.topic, "the record", |records| !records.is_empty()).await?;
        assert_eq!(records.len(), 1);
        sidecar.ready().await
    });
}
