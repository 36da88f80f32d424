//! Faults on the wire: the proxies in front of the API server and of Kafka delay, cut, swallow and heal.

use std::time::{Duration, Instant};

use devcluster::Part;

use crate::kubectl::{kubectl, try_kubectl};
use crate::{cluster, topic};

const DELAY: Duration = Duration::from_millis(300);

#[tokio::test]
async fn the_way_to_the_api_server_delays_cuts_swallows_and_heals() {
    let cluster = cluster().await;
    let proxy = cluster.proxy(Part::ApiServer).await.unwrap();
    let get = |limit: &str| {
        let limit = format!("--request-timeout={limit}");
        try_kubectl(&cluster, proxy.kubeconfig(), &["get", "--raw", "/readyz", &limit])
    };
    get("5s").unwrap();

    proxy.delay(DELAY).await.unwrap();
    let begun = Instant::now();
    get("20s").unwrap();
    // Two handshakes and a request each wait twice.
    assert!(begun.elapsed() > DELAY * 2, "{:?}", begun.elapsed());

    proxy.cut().await.unwrap();
    let refused = get("5s").unwrap_err();
    assert!(refused.contains("refused"), "{refused}");

    proxy.heal().await.unwrap();
    let begun = Instant::now();
    get("5s").unwrap();
    assert!(begun.elapsed() < DELAY * 2, "the delay is still there: {:?}", begun.elapsed());

    proxy.black_hole().await.unwrap();
    let late = get("700ms").unwrap_err();
    assert!(!late.contains("refused"), "{late}");
    proxy.heal().await.unwrap();
    get("5s").unwrap();
    kubectl(&cluster, &["get", "--raw", "/readyz"]);
}

#[tokio::test]
async fn two_ways_to_the_api_server_do_not_disturb_each_other() {
    let cluster = cluster().await;
    let (one, other) = (cluster.proxy(Part::ApiServer).await.unwrap(), cluster.proxy(Part::ApiServer).await.unwrap());
    one.cut().await.unwrap();
    try_kubectl(&cluster, one.kubeconfig(), &["get", "--raw", "/readyz"]).unwrap_err();
    try_kubectl(&cluster, other.kubeconfig(), &["get", "--raw", "/readyz"]).unwrap();
}

#[tokio::test]
async fn the_way_to_kafka_delays_cuts_swallows_and_heals_and_clients_stay_behind_it() {
    let cluster = cluster().await;
    let direct = cluster.endpoints().kafka.clone().unwrap();
    let proxy = cluster.proxy(Part::Kafka).await.unwrap();
    let through = proxy.bootstrap().unwrap();
    assert_eq!(through, proxy.endpoint());
    topic::create(through, "wire").await;
    let limit = Duration::from_secs(20);
    topic::write(through, "wire", "open", limit).unwrap();
    // The broker names the proxy's address to whom it reached through the proxy, and its own to others.
    assert_eq!(topic::metadata(through, "wire", limit).unwrap(), through);
    assert_eq!(topic::metadata(&direct, "wire", limit).unwrap(), direct);

    proxy.delay(DELAY).await.unwrap();
    let begun = Instant::now();
    topic::write(through, "wire", "late", limit).unwrap();
    assert!(begun.elapsed() > DELAY * 2, "{:?}", begun.elapsed());

    proxy.cut().await.unwrap();
    topic::write(through, "wire", "cut", Duration::from_secs(1)).unwrap_err();
    topic::write(&direct, "wire", "beside", limit).unwrap();

    proxy.heal().await.unwrap();
    proxy.black_hole().await.unwrap();
    topic::write(through, "wire", "swallowed", Duration::from_secs(1)).unwrap_err();
    proxy.heal().await.unwrap();
    topic::write(through, "wire", "healed", limit).unwrap();
    assert_eq!(topic::read(&direct, "wire"), ["open", "late", "beside", "healed"]);
}
