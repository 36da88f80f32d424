//! Faults of processes: each part can crash, pause and restart, and nothing that it had promised is gone.

use std::time::Duration;

use devcluster::{Cluster, Part};

use crate::kubectl::{kubectl, try_kubectl};
use crate::{cluster, topic};

/// Kills a part, sees that it is gone, and starts it on the same data and port.
async fn crash(cluster: &Cluster, part: Part) {
    let process = cluster.process(part);
    let before = process.pid().await.unwrap();
    process.kill().await.unwrap();
    assert_eq!(process.pid().await, None);
    assert!(process.kill().await.unwrap_err().to_string().contains("not running"));
    process.restart().await.unwrap();
    assert_ne!(process.pid().await.unwrap(), before);
}

#[tokio::test]
async fn kubernetes_keeps_its_objects_when_any_part_crashes() {
    let cluster = cluster().await;
    for (number, part) in [Part::Etcd, Part::ApiServer, Part::ControllerManager].into_iter().enumerate() {
        let name = format!("before-crash-{number}");
        kubectl(&cluster, &["create", "configmap", &name]);
        crash(&cluster, part).await;
        kubectl(&cluster, &["get", "configmap", &name]);
    }
    // The whole chain works again: the controller manager makes the new namespace's ServiceAccount.
    kubectl(&cluster, &["create", "namespace", "after-crash"]);
    kubectl(&cluster, &["wait", "--namespace=after-crash", "--for=create", "serviceaccount/default", "--timeout=20s"]);
}

#[tokio::test]
async fn kafka_keeps_acknowledged_records_when_it_crashes() {
    let cluster = cluster().await;
    let bootstrap = cluster.endpoints().kafka.clone().unwrap();
    topic::create(&bootstrap, "crash").await;
    topic::write(&bootstrap, "crash", "before", Duration::from_secs(20)).unwrap();
    crash(&cluster, Part::Kafka).await;
    topic::write(&bootstrap, "crash", "after", Duration::from_secs(20)).unwrap();
    assert_eq!(topic::read(&bootstrap, "crash"), ["before", "after"]);
}

#[tokio::test]
async fn a_topic_that_nobody_made_stays_absent() {
    let cluster = cluster().await;
    let bootstrap = cluster.endpoints().kafka.clone().unwrap();
    topic::write(&bootstrap, "nobody-made-it", "x", Duration::from_secs(1)).unwrap_err();
    let missing = topic::metadata(&bootstrap, "nobody-made-it", Duration::from_secs(10)).unwrap_err();
    assert!(missing.contains("UNKNOWN_TOPIC"), "{missing}");
}

#[tokio::test]
async fn a_frozen_api_server_answers_nothing_and_goes_on_when_thawed() {
    let cluster = cluster().await;
    let api_server = cluster.process(Part::ApiServer);
    api_server.freeze().await.unwrap();
    let get = ["get", "--raw", "/readyz", "--request-timeout=500ms"];
    try_kubectl(&cluster, &cluster.endpoints().kubeconfig, &get).unwrap_err();
    api_server.thaw().await.unwrap();
    api_server.ready().await.unwrap();
    kubectl(&cluster, &["get", "--raw", "/readyz"]);
}

#[tokio::test]
async fn a_frozen_broker_answers_nothing_and_goes_on_when_thawed() {
    let cluster = cluster().await;
    let bootstrap = cluster.endpoints().kafka.clone().unwrap();
    topic::create(&bootstrap, "freeze").await;
    let broker = cluster.process(Part::Kafka);
    broker.freeze().await.unwrap();
    topic::metadata(&bootstrap, "freeze", Duration::from_millis(500)).unwrap_err();
    broker.thaw().await.unwrap();
    broker.ready().await.unwrap();
    topic::write(&bootstrap, "freeze", "thawed", Duration::from_secs(20)).unwrap();
}

#[tokio::test]
async fn a_frozen_part_can_be_stopped_and_started() {
    let cluster = cluster().await;
    let process = cluster.process(Part::ControllerManager);
    process.freeze().await.unwrap();
    process.stop().await.unwrap();
    assert_eq!(process.pid().await, None);
    process.start().await.unwrap();
}
