//! What is wrong with a topic or with the rights on it: said plainly, and nothing is dropped.

use std::time::Duration;

use devcluster::Access;
use e2e::sidecar::Sidecar;
use e2e::{todos, topic, topics, wait};
use serde_json::{Value, json};

use crate::guarded::{allow, guarded, keep, may_create, password, right, rights, user};
use crate::records::{repeated, story};
use crate::world::{World, run};

/// Longer than the broadcast waits between two tries, also after a record that was too large.
const LONG: Duration = Duration::from_secs(90);

/// Waits until the broadcast is held up, says all these words, and shows the cause as a metric.
async fn told(sidecar: &Sidecar, cause: &str, words: &[&str]) -> anyhow::Result<()> {
    wait::until("the trouble to be told", LONG, || async {
        let part = sidecar.part("kafka").await?;
        let detail = part["detail"].as_str().unwrap_or_default();
        anyhow::ensure!(part["state"] == "down" && words.iter().all(|word| detail.contains(word)), "{part}");
        anyhow::ensure!(trouble(sidecar, cause).await?, "no metric says {cause}");
        Ok(())
    })
    .await
}

/// Whether `kab_bridge_trouble` is 1 for this cause.
async fn trouble(sidecar: &Sidecar, cause: &str) -> anyhow::Result<bool> {
    let metrics = sidecar.admin.get("/metrics").await?;
    let label = format!("cause=\"{cause}\"");
    let is_it = |line: &str| line.starts_with("kab_bridge_trouble{") && line.contains(&label) && line.ends_with(" 1");
    Ok(metrics.body.as_str().unwrap_or_default().lines().any(is_it))
}

/// Waits until all is well again.
async fn well(sidecar: &Sidecar, cause: &str) -> anyhow::Result<Value> {
    wait::until("the broadcast to be up", LONG, || async {
        let part = sidecar.part("kafka").await?;
        anyhow::ensure!(part["state"] == "up", "{part}");
        anyhow::ensure!(cause.is_empty() || !trouble(sidecar, cause).await?, "a metric says {cause}");
        Ok(part)
    })
    .await
}

/// Waits until the topic tells this of a todo.
async fn tells(brokers: &str, world: &World, name: &str, events: &[&str]) -> anyhow::Result<Vec<topic::Record>> {
    let key = format!("{}/{name}", world.ns);
    wait::until(&format!("{events:?} of {name}"), LONG, || async {
        let records = topic::read(brokers, &world.topic).await?;
        anyhow::ensure!(story(&records, &key) == events, "{}", topic::summary(&records));
        Ok(records)
    })
    .await
}

#[test]
fn a_topic_that_is_not_compacted_is_refused_until_it_is() {
    run("wrong_policy", async |world| {
        topics::create(&world.brokers, &world.topic, 1, &[("cleanup.policy", "delete")]).await?;
        let sidecar = Sidecar::spawn(&world.scratch, &world.settings()).await?;
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        told(&sidecar, "topic", &[&world.topic, "cleanup.policy=delete", "cleanup.policy=compact"]).await?;
        assert_eq!(topic::read(&world.brokers, &world.topic).await?, []);
        topics::alter(&world.brokers, &world.topic, &[("cleanup.policy", "compact")]).await?;
        tells(&world.brokers, world, "milk", &["snapshot"]).await?;
        well(&sidecar, "topic").await?;
        Ok(())
    });
}

#[test]
fn fewer_partitions_than_configured_are_said_and_broadcast_to() {
    run("few_partitions", async |world| {
        topics::create(&world.brokers, &world.topic, 1, &[("cleanup.policy", "compact")]).await?;
        let kafka = json!({"properties": {"bootstrap.servers": world.brokers}, "partitions": 3});
        let sidecar = world.start(&world.settings().set("kafka", kafka)).await?;
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        tells(&world.brokers, world, "milk", &["created"]).await?;
        let part = well(&sidecar, "").await?;
        let detail = part["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("1 of the 3") && detail.contains(&world.topic), "{part}");
        assert!(trouble(&sidecar, "partitions").await?);
        Ok(())
    });
}

#[test]
fn a_record_that_is_too_large_holds_up_and_drops_nothing() {
    run("too_large", async |world| {
        let settings = |limit| [("cleanup.policy", "compact"), ("max.message.bytes", limit)];
        topics::create(&world.brokers, &world.topic, 1, &settings("3000")).await?;
        let sidecar = world.sidecar().await?;
        let labels: serde_json::Map<String, Value> =
            (0..60).map(|number| (format!("label-{number}"), json!("x".repeat(60)))).collect();
        let large = json!({
            "id": "large", "when": "2030-01-01T10:00:00Z", "message": "one", "meta": {"labels": labels},
        });
        sidecar.api.post("/v1/todos", &large).await?.expect(201)?;
        told(&sidecar, "too_large", &[&format!("{}/large", world.ns), "max.message.bytes"]).await?;
        todos::create(&world.kube, &world.ns, "small", "one").await?;
        topics::alter(&world.brokers, &world.topic, &settings("1000000")).await?;
        tells(&world.brokers, world, "large", &["created"]).await?;
        let records = tells(&world.brokers, world, "small", &["created"]).await?;
        assert_eq!(repeated(&records), []);
        well(&sidecar, "too_large").await?;
        Ok(())
    });
}

#[test]
fn a_topic_that_is_deleted_while_the_sidecar_runs_is_made_and_filled_anew() {
    run("deleted_topic", async |world| {
        // Else librdkafka hopes for half a minute that the topic is only not known everywhere yet.
        let properties = json!({"bootstrap.servers": world.brokers, "topic.metadata.propagation.max.ms": 1000});
        let sidecar = world.start(&world.settings().set("kafka", json!({"properties": properties}))).await?;
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        tells(&world.brokers, world, "milk", &["created"]).await?;
        topics::delete(&world.brokers, &world.topic).await?;
        todos::create(&world.kube, &world.ns, "eggs", "one").await?;
        let key = |name: &str| format!("{}/{name}", world.ns);
        let records = wait::until("both todos in the new topic", LONG, || async {
            let records = topic::read(&world.brokers, &world.topic).await?;
            let there = ["milk", "eggs"].iter().all(|name| !story(&records, &key(name)).is_empty());
            anyhow::ensure!(there, "{} while {}", topic::summary(&records), sidecar.part("kafka").await?);
            Ok(records)
        })
        .await?;
        assert_eq!(story(&records, &key("milk")), ["snapshot"], "{}", topic::summary(&records));
        well(&sidecar, "topic").await?;
        Ok(())
    });
}

#[test]
fn a_topic_that_is_deleted_while_nothing_happens_is_noticed_all_the_same() {
    run("deleted_idle_topic", async |world| {
        let sidecar = world.start(&world.settings()).await?;
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        tells(&world.brokers, world, "milk", &["created"]).await?;
        topics::delete(&world.brokers, &world.topic).await?;
        tells(&world.brokers, world, "milk", &["snapshot"]).await?;
        well(&sidecar, "topic").await?;
        Ok(())
    });
}

#[test]
fn what_the_sidecar_may_not_do_is_said_and_done_once_it_may() {
    run("no_rights", async |world| {
        let (kafka, user) = (guarded(), user(world));
        let file = world.scratch.folder().join("password");
        keep(&file, "sesame-2M")?;
        kafka.change(&[password(&user, "sesame-2M")]).await?;
        let properties = kafka.sasl("SCRAM-SHA-512", &user);
        let section = json!({"properties": properties, "propertyFiles": {"sasl.password": file}});
        let sidecar = Sidecar::spawn(&world.scratch, &world.settings().set("kafka", section)).await?;
        todos::create(&world.kube, &world.ns, "early", "one").await?;
        told(&sidecar, "denied", &["uthorization", "rights"]).await?;

        // All but making topics. Another test may have made that of positions already.
        kafka.change(&allow(rights(&user, &world.topic))).await?;
        told(&sidecar, "denied", &["is not there", "may not make it", "cleanup.policy=compact"]).await?;
        kafka.change(&allow(may_create(&user, &world.topic))).await?;
        tells(kafka.open(), world, "early", &["snapshot"]).await?;
        well(&sidecar, "denied").await?;

        let write = || right(&user, "WRITE", "TOPIC", &world.topic);
        kafka.change(&[Access::Revoke(write())]).await?;
        todos::create(&world.kube, &world.ns, "late", "one").await?;
        told(&sidecar, "denied", &["uthorization"]).await?;
        kafka.change(&[Access::Allow(write())]).await?;
        let records = tells(kafka.open(), world, "late", &["created"]).await?;
        assert_eq!(repeated(&records), []);
        well(&sidecar, "denied").await?;
        Ok(())
    });
}
