//! History that is lost: 410 Gone, and an etcd restored to the past. Each test has a control plane of its own.

use devcluster::{Cluster, ClusterOptions, Part};
use e2e::topic;
use e2e::{todos, wait};
use kube::api::DeleteParams;
use serde_json::json;

use crate::records::{repeated, story};
use crate::world::{World, shared};

/// Runs a test on its own control plane, with the shared Kafka.
pub(crate) fn on_its_own<Body>(test: &str, body: Body)
where
    Body: AsyncFnOnce(&World, &Cluster) -> anyhow::Result<()>,
{
    on(ClusterOptions { kafka: false, ..ClusterOptions::for_tests(test) }, test, body);
}

/// Runs a test on a control plane of its own choice, with the shared Kafka.
pub(crate) fn on<Body>(options: ClusterOptions, test: &str, body: Body)
where
    Body: AsyncFnOnce(&World, &Cluster) -> anyhow::Result<()>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let brokers = shared().endpoints().kafka.clone().expect("the shared cluster has Kafka");
        let cluster = Cluster::start(options).await.expect("failed to start a control plane");
        let kube = todos::client(&cluster.endpoints().kubeconfig).await.unwrap();
        todos::install(&kube, todos::CRD).await.expect("failed to install the CRD");
        let world = World::new(test, cluster.endpoints().kubeconfig.clone(), brokers).await.unwrap();
        world.judge(async |world| body(world, &cluster).await).await;
        cluster.stop().await.expect("failed to stop the control plane");
    });
}

#[test]
fn deleted_while_disconnected_becomes_a_tombstone() {
    on_its_own("deleted-while-away", async |world, cluster| {
        for name in ["stays", "changes", "goes"] {
            todos::create(&world.kube, &world.ns, name, "one").await?;
        }
        let sidecar = world.sidecar().await?;
        topic::until(&world.brokers, &world.topic, "three records", |records| records.len() == 3).await?;
        sidecar.terminate().await?;

        todos::change(&world.kube, &world.ns, "changes", "two").await?;
        todos::api(&world.kube, &world.ns).delete("goes", &DeleteParams::default()).await?;
        todos::create(&world.kube, &world.ns, "comes", "one").await?;
        // The position is now older than all history: etcd is compacted and the API server's own memory of it is gone.
        cluster.compact().await?;
        cluster.process(Part::ApiServer).restart().await?;

        let sidecar = world.sidecar().await?;
        let records =
            topic::until(&world.brokers, &world.topic, "what happened meanwhile", |records| records.len() >= 7).await?;
        let story = |name: &str| story(&records, &format!("{}/{name}", world.ns));
        assert_eq!(story("stays"), ["snapshot"], "what did not change is not told again");
        assert_eq!(story("changes"), ["snapshot", "snapshot"]);
        assert_eq!(story("goes"), ["snapshot", "deleted", "tombstone"]);
        assert_eq!(story("comes"), ["snapshot"]);
        assert_eq!(repeated(&records), []);
        let gone = records.iter().find(|record| record.event() == Some(contract::record::Event::Deleted)).unwrap();
        assert_eq!(gone.value.as_ref().map(|value| &value["message"]), Some(&json!("one")));

        // And it goes on from there.
        todos::change(&world.kube, &world.ns, "stays", "two").await?;
        let records =
            topic::until(&world.brokers, &world.topic, "the next change", |records| records.len() >= 8).await?;
        assert_eq!(records.last().and_then(|record| record.event()), Some(contract::record::Event::Updated));
        drop(sidecar);
        Ok(())
    });
}

#[test]
fn an_etcd_restored_to_the_past_is_noticed_and_told() {
    on_its_own("etcd-restored", async |world, cluster| {
        let sidecar = world.sidecar().await?;
        todos::create(&world.kube, &world.ns, "kept", "old").await?;
        let snapshot = world.scratch.folder().join("etcd.snapshot");
        cluster.snapshot(&snapshot).await?;
        todos::change(&world.kube, &world.ns, "kept", "new").await?;
        todos::create(&world.kube, &world.ns, "lost", "one").await?;
        for number in 0..20 {
            todos::change(&world.kube, &world.ns, "lost", &format!("{number}")).await?;
        }
        topic::until(&world.brokers, &world.topic, "23 records", |records| records.len() == 23).await?;

        cluster.restore(&snapshot).await?;
        wait::until("the past to be read", wait::LIMIT, || async {
            let lost = sidecar.api.get("/v1/todos/lost").await?;
            anyhow::ensure!(lost.status.as_u16() == 404, "{lost:?}");
            let kept = sidecar.api.get("/v1/todos/kept").await?.expect(200)?;
            anyhow::ensure!(kept.body["message"] == "old", "{}", kept.body);
            Ok(())
        })
        .await?;
        let records =
            topic::until(&world.brokers, &world.topic, "the restored state", |records| records.len() >= 26).await?;
        let story = |name: &str| story(&records, &format!("{}/{name}", world.ns));
        assert_eq!(story("kept").last(), Some(&"snapshot"));
        assert_eq!(story("lost").last(), Some(&"tombstone"));

        // A change after the restore is not mistaken for an old one, although its version may be smaller than one told before.
        todos::change(&world.kube, &world.ns, "kept", "after").await?;
        topic::until(&world.brokers, &world.topic, "the change after the restore", |records| {
            records.iter().any(|record| record.value.as_ref().is_some_and(|value| value["message"] == "after"))
        })
        .await?;
        Ok(())
    });
}
