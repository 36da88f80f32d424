//! An API server that is there and says no: 429 and 5xx to lists, watches and writes.

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::front::{Front, Refusal, What};
use e2e::sidecar::{Settings, Sidecar};
use e2e::{todos, wait};
use serde_json::json;

use crate::world::{World, run};

async fn behind(world: &World, front: &Front) -> anyhow::Result<Sidecar> {
    let kind = json!({"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [world.ns]});
    Sidecar::spawn(&world.scratch, &Settings::new(front.kubeconfig()).kind(kind)).await
}

/// Waits until so many requests were refused.
async fn refused(front: &Front, many: usize) -> anyhow::Result<Vec<Instant>> {
    wait::until(&format!("{many} refusals"), 2 * wait::LIMIT, || async {
        let refused = front.refused();
        ensure!(refused.len() >= many, "{}", refused.len());
        Ok(refused)
    })
    .await
}

#[test]
fn reads_and_writes_go_on_while_lists_and_watches_are_refused() {
    run("lists_refused", async |world| {
        let front = Front::start(world.kube.clone(), &world.scratch).await?;
        let sidecar = behind(world, &front).await?;
        sidecar.ready().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        todos::create(&world.kube, &world.ns, "tea", "before").await?;

        for (number, (status, retry_after)) in
            [(429, Some(2)), (503, Some(2)), (429, None), (500, None)].into_iter().enumerate()
        {
            front.refuse(Refusal { what: What::Lists("todos"), status, retry_after, times: usize::MAX });
            front.break_off();
            let often = refused(&front, 3).await?;
            if let Some(seconds) = retry_after {
                for pair in often.windows(2) {
                    let waited = pair[1].duration_since(pair[0]);
                    // Both ends round to milliseconds.
                    ensure!(
                        waited + Duration::from_millis(50) >= Duration::from_secs(seconds),
                        "asked again after {waited:?}"
                    );
                }
            }
            let part = sidecar.part("cache").await?;
            let detail = part["detail"].to_string();
            ensure!(
                part["state"] == "up" && detail.contains("not current") && detail.contains(&status.to_string()),
                "{part}"
            );
            sidecar.admin.get("/readyz").await?.expect(200)?;

            // What is written here is read here, and what others write is not known yet.
            let (mine, other) = (format!("mine {number}"), format!("other {number}"));
            todos::change(&world.kube, &world.ns, "tea", &other).await?;
            sidecar.api.patch("/v1/todos/milk", &json!({"message": mine})).await?.expect(200)?;
            let read = sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
            ensure!(read.body["message"] == *mine && !read.header("age").is_empty(), "{read:?}");
            let list = sidecar.api.get("/v1/todos").await?.expect(200)?;
            let tea =
                list.body["items"].as_array().and_then(|items| items.iter().find(|item| item["id"] == "tea").cloned());
            ensure!(tea.is_none_or(|tea| tea["message"] != *other), "{}", list.body);

            front.allow();
            wait::until("the cache to catch up", wait::LIMIT, || async {
                let read = sidecar.api.get("/v1/todos/tea").await?.expect(200)?;
                ensure!(read.body["message"] == *other, "{}", read.body);
                Ok(())
            })
            .await?;
            let read = sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
            ensure!(read.body["message"] == *mine, "{}", read.body);
            wait::until("readiness to say that all is well", wait::LIMIT, || async {
                let part = sidecar.part("cache").await?;
                ensure!(!part["detail"].to_string().contains("not current"), "{part}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    });
}

#[test]
fn a_first_list_that_is_refused_is_waited_for() {
    run("first_list_refused", async |world| {
        let front = Front::start(world.kube.clone(), &world.scratch).await?;
        front.refuse(Refusal { what: What::Lists("todos"), status: 429, retry_after: Some(1), times: usize::MAX });
        let sidecar = behind(world, &front).await?;
        refused(&front, 2).await?;
        let ready = sidecar.admin.get("/readyz").await?.expect(503)?;
        ensure!(ready.body.to_string().contains("429"), "{}", ready.body);
        for path in ["/v1/todos", "/v1/todos/milk"] {
            let read = sidecar.api.get(path).await?.expect(503)?;
            ensure!(!read.header("retry-after").is_empty(), "{read:?}");
        }
        front.allow();
        sidecar.ready().await?;
        sidecar.api.get("/v1/todos").await?.expect(200)?;
        Ok(())
    });
}

#[test]
fn a_write_that_is_turned_away_is_sent_again_when_the_api_server_says_so() {
    run("writes_refused", async |world| {
        let front = Front::start(world.kube.clone(), &world.scratch).await?;
        let sidecar = behind(world, &front).await?;
        sidecar.ready().await?;
        let refuse = |status, seconds, times| {
            front.refuse(Refusal { what: What::Writes, status, retry_after: Some(seconds), times });
        };
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        refuse(429, 1, 1);
        let begun = Instant::now();
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        ensure!(begun.elapsed() >= Duration::from_millis(950) && front.refused().len() == 1, "{:?}", begun.elapsed());

        // Longer than a caller is kept waiting: the caller is told.
        refuse(429, 30, usize::MAX);
        let told = sidecar.api.patch("/v1/todos/milk", &json!({"message": "two"})).await?.expect(429)?;
        ensure!(told.header("retry-after") == "30" && front.refused().len() == 1, "{told:?}");

        // One that may have been carried out is not sent again without a condition.
        refuse(500, 0, usize::MAX);
        sidecar.api.patch("/v1/todos/milk", &json!({"message": "two"})).await?.expect(503)?;
        ensure!(front.refused().len() == 1, "{}", front.refused().len());
        front.allow();
        let read = sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
        ensure!(read.body["message"] == "one", "{}", read.body);
        Ok(())
    });
}
