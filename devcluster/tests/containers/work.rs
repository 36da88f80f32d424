//! What a user of a cluster does with it: a CustomResourceDefinition and an object, a token, a record there and back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use devcluster::Endpoints;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenReview};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseRecord, Producer as _, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn kubernetes(endpoints: &Endpoints) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(&endpoints.kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Defines a kind, and creates and reads an object of it.
pub(crate) async fn define_a_kind_and_use_it(client: &Client) -> Result<()> {
    let definition = serde_json::from_value(json!({
        "metadata": { "name": "notes.test.k8sasbackend.com" },
        "spec": {
            "group": "test.k8sasbackend.com",
            "names": { "kind": "Note", "plural": "notes", "singular": "note" },
            "scope": "Namespaced",
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": {
                "type": "object", "properties": { "spec": { "type": "object", "properties": {
                    "text": { "type": "string" } } } } } } }],
        },
    }))?;
    Api::<CustomResourceDefinition>::all(client.clone()).create(&PostParams::default(), &definition).await?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("test.k8sasbackend.com", "v1", "Note"));
    let notes = Api::<DynamicObject>::namespaced_with(client.clone(), "default", &kind);
    let note = DynamicObject::new("first", &kind).data(json!({ "spec": { "text": "hello" } }));
    // The API server serves a new kind a moment after it was defined.
    let begun = Instant::now();
    while let Err(error) = notes.create(&PostParams::default(), &note).await {
        ensure!(begun.elapsed() < PATIENCE, "the new kind is not served: {error}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let stored = notes.get("first").await?;
    ensure!(stored.data.pointer("/spec/text") == Some(&json!("hello")), "stored was {:?}", stored.data);
    Ok(())
}

/// Asks for a token of a ServiceAccount, and whether the API server accepts it.
pub(crate) async fn get_a_token(client: &Client) -> Result<()> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), "default");
    let asked = accounts.create_token_request("default", &PostParams::default(), &TokenRequest::default()).await?;
    let token = asked.status.context("the request was not answered")?.token;
    let review = serde_json::from_value(json!({ "metadata": {}, "spec": { "token": token } }))?;
    let reviewed = Api::<TokenReview>::all(client.clone()).create(&PostParams::default(), &review).await?;
    let user = reviewed.status.and_then(|status| status.user).and_then(|user| user.username);
    ensure!(user.as_deref() == Some("system:serviceaccount:default:default"), "the token is of {user:?}");
    Ok(())
}

/// Makes a topic, writes one record in a transaction and reads it back as committed.
pub(crate) async fn send_and_receive(bootstrap: &str) -> Result<()> {
    let config = |settings: &[(&str, &str)]| {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config
    };
    let admin: AdminClient<_> = config(&[]).create()?;
    let topic = NewTopic::new("notes", 1, TopicReplication::Fixed(1)).set("cleanup.policy", "compact");
    for result in admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(PATIENCE))).await? {
        result.map_err(|(topic, error)| anyhow::anyhow!("failed to create {topic}: {error}"))?;
    }
    let bootstrap = config(&[("isolation.level", "read_committed"), ("group.id", "unused")]);
    let producer = config(&[("transactional.id", "devcluster-test")]);
    tokio::task::spawn_blocking(move || {
        let producer: ThreadedProducer<_> = producer.create()?;
        producer.init_transactions(PATIENCE)?;
        producer.begin_transaction()?;
        let record = BaseRecord::to("notes").key("default/first").payload("hello");
        producer.send(record).map_err(|(error, _)| error)?;
        producer.commit_transaction(PATIENCE)?;

        let consumer: BaseConsumer = bootstrap.create()?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset("notes", 0, Offset::Beginning)?;
        consumer.assign(&partitions)?;
        let begun = Instant::now();
        let mut last = None;
        while begun.elapsed() < PATIENCE {
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(record)) => {
                    ensure!(record.key() == Some(b"default/first") && record.payload() == Some(b"hello"), "{record:?}");
                    return Ok(());
                }
                Some(Err(error)) => last = Some(error),
                None => {}
            }
        }
        bail!("no record came within {PATIENCE:?}; last seen: {last:?}")
    })
    .await?
}
