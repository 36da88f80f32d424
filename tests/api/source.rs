//! `source: kafka`: a cache that comes from the compacted topic, beside one that watches.

use e2e::crd::Definition;
use e2e::events::Events;
use e2e::sidecar::{Settings, Sidecar};
use e2e::{todos, topics, wait};
use futures::future::try_join_all;
use hyper::Method;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::world::{World, run, shared};

/// Several partitions: a cache has to put together again what is spread over them.
fn kafka(brokers: &str) -> Value {
    json!({"properties": {"bootstrap.servers": brokers}, "partitions": 3})
}

/// Owns and broadcasts the Todos of the test's namespace.
fn owner(world: &World) -> Settings {
    Settings::new(&world.kubeconfig).owned_todos(&world.ns, &world.topic).set("kafka", kafka(&world.brokers))
}

/// Consumes them from the topic.
fn consumer(world: &World, brokers: &str) -> Settings {
    consuming(world, &world.topic, brokers)
}

fn consuming(world: &World, topic: &str, brokers: &str) -> Settings {
    let kind = json!({
        "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "namespaces": [world.ns], "source": "kafka", "topic": topic,
    });
    Settings::new(&world.kubeconfig).kind(kind).set("kafka", kafka(brokers))
}

fn todo(id: &str, message: &str) -> Value {
    json!({"id": id, "when": "2030-01-01T10:00:00Z", "message": message})
}

fn version(entity: &Value) -> String {
    entity["meta"]["version"].as_str().unwrap_or_default().to_owned()
}

/// Waits until a read of the cache has come to a version.
async fn at_least(sidecar: &Sidecar, path: &str, version: &str, status: u16) -> anyhow::Result<Value> {
    let headers = [("at-least-version", version), ("prefer", "wait=60")];
    Ok(sidecar.api.send(Method::GET, path, &headers, None).await?.expect(status)?.body)
}

/// Waits until readiness says all these words of the cache.
async fn says(sidecar: &Sidecar, state: &str, words: &[&str]) -> anyhow::Result<()> {
    wait::until(&format!("the cache to be {state} and to say {words:?}"), wait::LIMIT, || async {
        let part = sidecar.part("cache").await?;
        let detail = part["detail"].as_str().unwrap_or_default();
        anyhow::ensure!(part["state"] == state && words.iter().all(|word| detail.contains(word)), "{part}");
        Ok(())
    })
    .await
}

#[test]
fn a_cache_from_the_topic_shows_what_one_that_watches_shows() {
    run("source_kafka", async |world| {
        let owner = world.start(&owner(world)).await?;
        try_join_all((0..30).map(|number| async move {
            todos::create(&world.kube, &world.ns, &format!("old-{number:02}"), "before").await
        }))
        .await?;
        let reader = world.start(&consumer(world, &world.brokers)).await?;
        reader.api.post("/v1/todos", &todo("x", "no")).await?.expect(405)?;

        let created = owner.api.post("/v1/todos", &todo("milk", "one")).await?.expect(201)?.body;
        assert_eq!(at_least(&reader, "/v1/todos/milk", &version(&created), 200).await?, created);
        let changed = owner.api.patch("/v1/todos/milk", &json!({"message": "two"})).await?.expect(200)?.body;
        assert_eq!(at_least(&reader, "/v1/todos/milk", &version(&changed), 200).await?["message"], "two");
        let other = todos::change(&world.kube, &world.ns, "old-07", "by somebody else").await?;
        let other = other.metadata.resource_version.unwrap_or_default();
        assert_eq!(at_least(&reader, "/v1/todos/old-07", &other, 200).await?["message"], "by somebody else");
        owner.api.delete("/v1/todos/milk").await?.expect(204)?;
        let last = owner.api.patch("/v1/todos/old-01", &json!({"message": "last"})).await?.expect(200)?.body;
        at_least(&reader, "/v1/todos/milk", &version(&last), 404).await?;

        let path = "/v1/todos?orderBy=id&limit=1000";
        assert_eq!(
            at_least(&reader, path, &version(&last), 200).await?["items"],
            at_least(&owner, path, &version(&last), 200).await?["items"]
        );
        let cached = reader.api.get("/v1/todos/old-01").await?.expect(200)?;
        assert!(cached.header("age").parse::<u64>()? <= 75, "age {}", cached.header("age"));
        todos::change(&world.kube, &world.ns, "old-02", "read through").await?;
        let headers = [("cache-control", "no-cache")];
        let fresh = reader.api.send(Method::GET, "/v1/todos/old-02", &headers, None).await?.expect(200)?;
        assert_eq!(fresh.body["message"], "read through");
        Ok(())
    });
}

#[test]
fn a_reader_of_events_goes_on_at_another_sidecar_whatever_its_cache_comes_from() {
    run("source_events", async |world| {
        let owner = world.start(&owner(world)).await?;
        let reader = world.start(&consumer(world, &world.brokers)).await?;
        owner.api.post("/v1/todos", &todo("milk", "0")).await?.expect(201)?;
        let mut watched = Events::open(owner.api.base(), "/v1/todos", "").await?;
        watched.until("synced").await?;
        // Its history begins with its first reader.
        let mut followed = Events::open(reader.api.base(), "/v1/todos", "").await?;
        followed.until("synced").await?;
        for number in 1..=20 {
            owner.api.patch("/v1/todos/milk", &json!({"message": number.to_string()})).await?.expect(200)?;
        }
        owner.api.delete("/v1/todos/milk").await?.expect(204)?;
        let mut both = Vec::new();
        for events in [&mut watched, &mut followed] {
            let told = events.until("deleted").await?;
            let changes: Vec<_> = told.into_iter().filter(|told| told.name != "added").collect();
            both.push(changes);
        }
        assert_eq!(both[0], both[1], "the same events with the same ids");
        let tenth = both[0][9].id.clone().unwrap_or_default();
        for base in [owner.api.base(), reader.api.base()] {
            let rest = Events::open(base, "/v1/todos", &tenth).await?.until("deleted").await?;
            assert_eq!(rest, both[0][10..], "{base}");
        }
        Ok(())
    });
}

#[test]
fn nothing_is_served_before_everything_is_there() {
    const COUNT: usize = 1_500;
    run("source_filling", async |world| {
        let owner = world.start(&owner(world)).await?;
        for tens in 0..COUNT / 50 {
            let operations: Vec<Value> = (0..50)
                .map(|one| json!({"op": "create", "kind": "todos", "body": todo(&format!("todo-{tens}-{one}"), "x")}))
                .collect();
            let answer = owner.api.post("/v1/batch", &json!({"operations": operations})).await?.expect(200)?;
            let fine = answer.body["results"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|one| one["status"] == 201).count());
            anyhow::ensure!(fine == 50, "{}", answer.body);
        }
        let all = owner.api.get("/v1/todos?limit=1").await?.expect(200)?.body;
        let last: f64 = version(&all).parse()?;
        wait::until("the broadcast to have told everything", wait::LIMIT, || async {
            let position = owner.metric("kab_bridge_position").await?;
            anyhow::ensure!(position >= last, "{position} of {last}");
            Ok(())
        })
        .await?;
        let reader = Sidecar::spawn(&world.scratch, &consumer(world, &world.brokers)).await?;
        let list = wait::until("a list", wait::LIMIT, || async {
            reader.api.get("/v1/todos?limit=1000&fields=id").await?.expect(200)
        })
        .await?;
        assert_eq!(list.body["items"].as_array().map(Vec::len), Some(1_000));
        let rest = list.body["nextPageToken"].as_str().unwrap_or_default().to_owned();
        let rest = reader.api.get(&format!("/v1/todos?limit=1000&fields=id&pageToken={rest}")).await?.expect(200)?;
        assert_eq!(rest.body["items"].as_array().map(Vec::len), Some(COUNT - 1_000), "the first list was whole");
        Ok(())
    });
}

/// Watches on the kind in one namespace that the API server serves: its controllers' own are on all of them.
async fn watches(world: &World, group: &str) -> anyhow::Result<u64> {
    let request = hyper::Request::get("/metrics").body(Vec::new())?;
    let text = world.kube.request_text(request).await?;
    let of_kind = |line: &&str| {
        line.starts_with("apiserver_longrunning_requests{")
            && line.contains(&format!("group=\"{group}\""))
            && line.contains("scope=\"namespace\"")
            && line.contains("verb=\"WATCH\"")
    };
    let counts = text.lines().filter(of_kind).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(counts.sum::<f64>() as u64)
}

#[test]
fn however_many_sidecars_own_a_kind_the_api_server_has_one_watch() {
    run("source_watches", async |world| {
        let kind = Definition::new("Boat", "boats");
        kind.install(&world.kube).await?;
        let mut served = kind.served(true, &[&world.ns]);
        served["topic"] = json!(world.topic);
        let watching = Settings::new(&world.kubeconfig).set("kafka", kafka(&world.brokers)).kind(served.clone());
        served["source"] = json!("kafka");
        let following = Settings::new(&world.kubeconfig).set("kafka", kafka(&world.brokers)).kind(served);

        let first = world.start(&watching).await?;
        let second = world.start(&watching).await?;
        let counted = async |expected: u64| {
            wait::until(&format!("{expected} watches"), wait::LIMIT, || async {
                let count = watches(world, kind.group()).await?;
                anyhow::ensure!(count == expected, "{count}");
                Ok(())
            })
            .await
        };
        counted(2).await?;
        first.terminate().await?;
        second.terminate().await?;

        let mut sidecars = try_join_all((0..4).map(|_| world.start(&following))).await?;
        counted(1).await?;
        let created = sidecars[0].api.post("/v1/boats", &json!({"id": "one", "name": "a"})).await?.expect(201)?.body;
        let own = sidecars[0].api.get("/v1/boats/one").await?.expect(200)?;
        assert_eq!(own.body, created, "own writes are read at once");
        for sidecar in &sidecars {
            assert_eq!(at_least(sidecar, "/v1/boats/one", &version(&created), 200).await?, created);
        }
        // Whoever leads is killed: another one takes the watch over, and all go on.
        let leader = wait::until("one to lead", wait::LIMIT, || async {
            for (index, sidecar) in sidecars.iter().enumerate() {
                if sidecar.metric("kab_lease_leading").await.unwrap_or(0.0) > 0.0 {
                    return Ok(index);
                }
            }
            anyhow::bail!("none does")
        })
        .await?;
        sidecars.remove(leader).kill().await?;
        let labels = json!({"name": "b", "meta": {"labels": {"x": "y"}, "expiresAt": "2040-01-01T00:00:00Z"}});
        let changed = sidecars[1].api.put("/v1/boats/one", &labels).await?.expect(200)?.body;
        for sidecar in &sidecars {
            assert_eq!(at_least(sidecar, "/v1/boats/one", &version(&changed), 200).await?, changed);
        }
        counted(1).await?;
        kind.remove(&world.kube).await
    });
}

#[test]
fn a_topic_that_is_not_the_one_is_refused_in_words_that_help() {
    run("source_refused", async |world| {
        let reader = Sidecar::spawn(&world.scratch, &consumer(world, &world.brokers)).await?;
        says(&reader, "down", &["there is no topic", "the sidecar that broadcasts the kind makes it"]).await?;
        reader.api.get("/v1/todos").await?.expect(503)?;
        topics::create(&world.brokers, &world.topic, 1, &[("cleanup.policy", "delete")]).await?;
        says(&reader, "down", &["cleanup.policy=delete"]).await?;
        topics::alter(&world.brokers, &world.topic, &[("cleanup.policy", "compact")]).await?;
        says(&reader, "down", &["nobody has broadcast todos of namespace", &world.ns]).await?;

        let owner = world.start(&owner(world)).await?;
        owner.api.post("/v1/todos", &todo("milk", "one")).await?.expect(201)?;
        reader.ready().await?;
        let stranger = consumer(world, &world.brokers).set("cluster", json!("other"));
        let stranger = Sidecar::spawn(&world.scratch, &stranger).await?;
        says(&stranger, "down", &["the topic tells of /clusters/test/apis/", "is it the right topic and cluster?"])
            .await?;
        let other = format!("{}.other", world.topic);
        topics::create(&world.brokers, &other, 1, &[("cleanup.policy", "compact")]).await?;
        let elsewhere = Sidecar::spawn(&world.scratch, &consuming(world, &other, &world.brokers)).await?;
        says(&elsewhere, "down", &["is broadcast to the topic", &world.topic]).await?;
        topics::delete(&world.brokers, &other).await
    });
}

#[test]
fn reads_go_on_while_kafka_is_away_and_say_so() {
    run("source_away", async |world| {
        let Some(cluster) = shared().cluster() else {
            anyhow::bail!("this test cuts the way to Kafka: run it without KAB_KAFKA, so that it starts its own");
        };
        let proxy = cluster.proxy(devcluster::Part::Kafka).await?;
        let owner = world.start(&owner(world)).await?;
        owner.api.post("/v1/todos", &todo("milk", "one")).await?.expect(201)?;
        let reader = world.start(&consumer(world, proxy.endpoint())).await?;
        proxy.cut().await?;
        let changed = owner.api.patch("/v1/todos/milk", &json!({"message": "two"})).await?.expect(200)?.body;
        says(&reader, "up", &["not current", "no broker answers in time"]).await?;
        assert_eq!(reader.api.get("/v1/todos/milk").await?.expect(200)?.body["message"], "one");
        proxy.heal().await?;
        assert_eq!(at_least(&reader, "/v1/todos/milk", &version(&changed), 200).await?["message"], "two");
        says(&reader, "up", &[]).await
    });
}

#[test]
fn a_topic_that_is_deleted_and_made_anew_is_read_anew() {
    run("source_recreated", async |world| {
        let first = world.start(&owner(world)).await?;
        for id in ["milk", "bread", "eggs"] {
            first.api.post("/v1/todos", &todo(id, "one")).await?.expect(201)?;
        }
        let reader = world.start(&consumer(world, &world.brokers)).await?;
        first.terminate().await?;
        topics::delete(&world.brokers, &world.topic).await?;
        says(&reader, "up", &["not current", "there is no topic"]).await?;
        todos::api(&world.kube, &world.ns).delete("bread", &DeleteParams::default()).await?;
        reader.api.get("/v1/todos/bread").await?.expect(200)?;

        let second = world.start(&owner(world)).await?;
        let changed = second.api.patch("/v1/todos/milk", &json!({"message": "two"})).await?.expect(200)?.body;
        assert_eq!(at_least(&reader, "/v1/todos/milk", &version(&changed), 200).await?["message"], "two");
        reader.api.get("/v1/todos/bread").await?.expect(404)?;
        reader.api.get("/v1/todos/eggs").await?.expect(200)?;
        reader.ready().await
    });
}
