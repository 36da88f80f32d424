//! What only etcd can do to a cluster: forget the past, and go back to it.

use crate::cluster;
use crate::kubectl::{kubectl, try_kubectl, version};

#[tokio::test]
async fn after_a_compaction_an_old_watch_is_gone() {
    let cluster = cluster().await;
    kubectl(&cluster, &["create", "configmap", "watched"]);
    let old = version(&cluster, "configmap/watched");
    for number in 0..3 {
        let patch = format!("{{\"data\":{{\"number\":\"{number}\"}}}}");
        kubectl(&cluster, &["patch", "configmap", "watched", "--patch", &patch]);
    }
    let revision = cluster.compact().await.unwrap();
    assert!(revision >= i64::try_from(version(&cluster, "configmap/watched")).unwrap());
    // The API server's own memory of recent changes would still serve the watch.
    cluster.process(devcluster::Part::ApiServer).restart().await.unwrap();
    let path = format!("/api/v1/namespaces/default/configmaps?watch=true&resourceVersion={old}&timeoutSeconds=5");
    let answer = try_kubectl(&cluster, &cluster.endpoints().kubeconfig, &["get", "--raw", &path]);
    let answer = answer.unwrap_or_else(|refused| refused);
    assert!(answer.contains("\"code\":410") || answer.contains("too old resource version"), "{answer}");
}

#[tokio::test]
async fn a_restored_snapshot_brings_back_the_past_and_its_versions() {
    let cluster = cluster().await;
    kubectl(&cluster, &["create", "configmap", "kept"]);
    let file = cluster.directory().join("snapshot.db");
    cluster.snapshot(&file).await.unwrap();
    let before = version(&cluster, "configmap/kept");
    kubectl(&cluster, &["create", "configmap", "undone"]);
    kubectl(&cluster, &["delete", "configmap", "kept"]);
    cluster.restore(&file).await.unwrap();
    let names = kubectl(&cluster, &["get", "configmaps", "-o", "name"]);
    assert!(names.contains("kept") && !names.contains("undone"), "{names}");
    assert_eq!(version(&cluster, "configmap/kept"), before);
    kubectl(&cluster, &["create", "configmap", "after-the-restore"]);
}

#[tokio::test]
async fn a_snapshot_that_is_none_is_refused_and_the_cluster_can_go_on() {
    let cluster = cluster().await;
    let file = cluster.directory().join("nonsense.db");
    std::fs::write(&file, "nonsense").unwrap();
    let message = cluster.restore(&file).await.unwrap_err().to_string();
    assert!(message.contains("restore a snapshot"), "{message}");
    for part in [devcluster::Part::Etcd, devcluster::Part::ApiServer, devcluster::Part::ControllerManager] {
        cluster.process(part).start().await.unwrap();
    }
    kubectl(&cluster, &["get", "--raw", "/readyz"]);
}
