//! A kind's budget at a real API server: how many entities, how many bytes, how many writes in a second.

use anyhow::ensure;
use e2e::sidecar::{Settings, Sidecar};
use e2e::{todos, wait};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, run};

/// A sidecar whose Todos have a budget.
async fn bounded(world: &World, budget: Value) -> anyhow::Result<Sidecar> {
    let kind = json!({
        "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [world.ns], "budget": budget,
    });
    world.start(&Settings::new(&world.kubeconfig).kind(kind)).await
}

fn todo(id: &str, message: &str) -> Value {
    json!({"id": id, "when": "2030-01-01T10:00:00Z", "message": message})
}

fn statuses(results: &Value) -> Vec<u64> {
    results.as_array().into_iter().flatten().filter_map(|result| result["status"].as_u64()).collect()
}

#[test]
fn no_more_entities_are_created_than_the_budget_allows_whoever_made_the_others() {
    run("budget_objects", async |world| {
        let sidecar = bounded(world, json!({"objects": 10})).await?;
        for name in ["other-1", "other-2"] {
            todos::create(&world.kube, &world.ns, name, "by someone else").await?;
        }
        wait::until("the others' to be counted", wait::LIMIT, || async {
            let used = sidecar.metric("kab_budget_used").await?;
            ensure!(used == 2.0, "{used}");
            Ok(())
        })
        .await?;
        // Many at the same time: each counts what is under way.
        let creates: Vec<_> =
            (0..30).map(|n| json!({"op": "create", "kind": "todos", "body": todo(&format!("t-{n}"), "m")})).collect();
        let told = sidecar.api.post("/v1/batch", &json!({"operations": creates})).await?.expect(200)?;
        let statuses = statuses(&told.body["results"]);
        let count = |wanted: u64| statuses.iter().filter(|status| **status == wanted).count();
        assert!(count(201) <= 8 && count(201) + count(507) == 30, "{statuses:?}");
        for n in 30..40 {
            sidecar.api.post("/v1/todos", &todo(&format!("t-{n}"), "m")).await?;
        }
        let there = todos::api(&world.kube, &world.ns).list(&Default::default()).await?.items.len();
        assert_eq!(there, 10, "exactly as many as may be");
        let refused = sidecar.api.put("/v1/todos/new", &todo("new", "m")).await?.expect(507)?;
        assert_eq!(refused.body["type"], "urn:k8sasbackend:problem:over-budget");
        assert!(refused.body["detail"].to_string().contains("there are 10 todos"), "{}", refused.body);
        sidecar.api.put("/v1/todos/other-1", &todo("other-1", "changed")).await?.expect(200)?;
        wait::until("the alarm", wait::LIMIT, || async {
            ensure!(sidecar.metric("kab_budget_alarm").await? == 80.0, "no alarm yet");
            Ok(())
        })
        .await?;
        assert!(sidecar.metric("kab_budget_refusals_total").await? >= 20.0);
        sidecar.api.delete("/v1/todos/other-2").await?.expect(204)?;
        sidecar.api.post("/v1/todos", &todo("new", "m")).await?.expect(201)?;
        sidecar.api.post("/v1/todos", &todo("newer", "m")).await?.expect(507)?;
        Ok(())
    });
}

#[test]
fn a_budget_of_bytes_is_met_to_within_a_write_and_counts_what_a_list_shows() {
    run("budget_bytes", async |world| {
        const LIMIT: usize = 20 << 10;
        let sidecar = bounded(world, json!({"bytes": "20Ki"})).await?;
        let long = "x".repeat(250);
        let mut made = 0;
        loop {
            let answer = sidecar.api.post("/v1/todos", &todo(&format!("t-{made}"), &long)).await?;
            if answer.status == 507 {
                assert!(answer.body["detail"].to_string().contains("the budget is 20480"), "{}", answer.body);
                break;
            }
            answer.expect(201)?;
            made += 1;
            ensure!(made < 100, "no end after {made} todos");
        }
        let list = sidecar.api.get("/v1/todos").await?.expect(200)?;
        let bytes: usize = list.body["items"].as_array().into_iter().flatten().map(|item| item.to_string().len()).sum();
        assert!((LIMIT - 1024..LIMIT + 1024).contains(&bytes), "{bytes} bytes in {made} todos");
        assert_eq!(sidecar.metric("kab_budget_used").await?, bytes as f64);
        // What grows is refused where little is left, what shrinks is not.
        sidecar.api.patch("/v1/todos/t-0", &json!({"message": "short"})).await?.expect(200)?;
        sidecar.api.patch("/v1/todos/t-0", &json!({"message": "y".repeat(200)})).await?.expect(200)?;
        let labels: serde_json::Map<String, Value> = (0..20).map(|n| (format!("l-{n}"), json!(long[..63]))).collect();
        sidecar.api.patch("/v1/todos/t-0", &json!({"meta": {"labels": labels}})).await?.expect(507)?;
        sidecar.api.delete("/v1/todos/t-1").await?.expect(204)?;
        Ok(())
    });
}

#[test]
fn writes_over_the_rate_are_told_when_to_come_back_and_then_pass() {
    run("budget_rate", async |world| {
        let sidecar = bounded(world, json!({"writesPerSecond": 0.5})).await?;
        sidecar.api.post("/v1/todos", &todo("milk", "m")).await?.expect(201)?;
        wait::until("the next write to pass", wait::LIMIT, || {
            let sidecar = &sidecar;
            async move {
                let answer = sidecar.api.patch("/v1/todos/milk", &json!({"message": "n"})).await?;
                if answer.status == 429 {
                    let seconds: u64 = answer.header("retry-after").parse()?;
                    assert!((1..=2).contains(&seconds), "{seconds}");
                    tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
                }
                answer.expect(200)
            }
        })
        .await?;
        sidecar.terminate().await?;

        let sidecar = bounded(world, json!({"writesPerSecond": "10m"})).await?;
        sidecar.api.patch("/v1/todos/milk", &json!({"message": "one"})).await?.expect(200)?;
        let refused = sidecar.api.put("/v1/todos/milk/status", &json!({"phase": "Done"})).await?.expect(429)?;
        let seconds: u64 = refused.header("retry-after").parse()?;
        assert!((2..=100).contains(&seconds), "one in a hundred seconds, not {seconds}");
        // Reads and deletes are not counted.
        sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
        sidecar.api.send(Method::DELETE, "/v1/todos/milk?dryRun=true", &[], None).await?.expect(204)?;
        sidecar.api.delete("/v1/todos/milk").await?.expect(204)?;
        Ok(())
    });
}
