//! What happens when there is more than the cache may hold.

use contract::record::Event;
use e2e::sidecar::Settings;
use e2e::{topic, wait};
use serde_json::json;

use crate::world::run;

/// Longer than it takes until it is tried again whether everything fits.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(90);

#[test]
fn a_cache_that_is_too_small_is_told_and_nothing_is_left_out_in_silence() {
    run("cache_bound", async |world| {
        let kind = json!({
            "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [world.ns],
            "topic": world.topic, "cacheBytes": "64Ki",
        });
        let settings = Settings::new(&world.kubeconfig).kind(kind).kafka(&world.brokers);
        let sidecar = world.start(&settings).await?;
        let message = "x".repeat(250);
        let id = |number: usize| format!("todo-{number}");
        let mut made = 0;
        wait::until("the cache to be full", wait::LIMIT, || {
            made += 1;
            let todo = json!({"id": id(made), "when": "2030-01-01T10:00:00Z", "message": message});
            let sidecar = &sidecar;
            async move {
                sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
                let list = sidecar.api.get("/v1/todos").await?;
                anyhow::ensure!(list.status == 503, "{} todos, {}", made, list.status);
                anyhow::ensure!(list.body["detail"].to_string().contains("cacheBytes"), "{}", list.body);
                list.expect(503)
            }
        })
        .await?;
        sidecar.api.get("/v1/todos/todo-1").await?.expect(503)?;
        let fresh = [("cache-control", "no-cache")];
        let read = sidecar.api.send(reqwest::Method::GET, "/v1/todos", &fresh, None).await?.expect(200)?;
        assert_eq!(read.body["items"].as_array().map(Vec::len), Some(made), "the API server has them all");
        let ready = sidecar.admin.get("/readyz").await?.expect(503)?;
        assert!(ready.body.to_string().contains("cacheBytes"), "{}", ready.body);
        assert!(sidecar.metric("kab_cache_overflows_total").await? >= 1.0);
        assert_eq!(sidecar.metric("kab_cache_entities").await?, 0.0);

        // Writes go on, and room is made.
        for number in 2..=made {
            sidecar.api.delete(&format!("/v1/todos/{}", id(number))).await?.expect(204)?;
        }
        wait::until("what is left to be read", AGAIN, || async {
            let list = sidecar.api.get("/v1/todos").await?.expect(200)?;
            anyhow::ensure!(list.body["items"].as_array().is_some_and(|items| items.len() == 1), "{}", list.body);
            Ok(())
        })
        .await?;
        sidecar.ready().await?;
        let settled = |records: &[topic::Record]| {
            (2..=made).all(|number| {
                let key = format!("{}/{}", world.ns, id(number));
                let last = records
                    .iter()
                    .filter(|record| record.key == key)
                    .max_by_key(|record| (record.partition, record.offset));
                last.is_none_or(|last| last.value.is_none())
            })
        };
        let records = topic::until(&world.brokers, &world.topic, "the deletions", settled).await?;
        assert!(records.iter().any(|record| record.event() == Some(Event::Deleted)), "{}", topic::summary(&records));
        Ok(())
    });
}
