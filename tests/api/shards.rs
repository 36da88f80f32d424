//! A kind whose keys are divided, several sidecars, and an app that takes its time: work spreads, moves when sidecars come and go, and is never done by two.
//! What rests on the hook (`Prefer: wait`) and on the leader (`meta.expiresAt`) is tried here too, from sidecars that do not do the work themselves.

use std::time::Duration;

use anyhow::ensure;
use e2e::app::{App, Call, Reply};
use e2e::crd::Definition;
use e2e::sidecar::{Settings, Sidecar};
use e2e::wait;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, run};

const ORDERS: usize = 40;

async fn orders(world: &World) -> anyhow::Result<Definition> {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = Definition::new("Order", "orders").spec(schema);
    definition.install(&world.kube).await?;
    Ok(definition)
}

/// Orders in so many shards, reconciled by an app.
fn settings(world: &World, definition: &Definition, app: &App, shards: u32) -> Settings {
    let mut kind = definition.served(true, &[world.ns.as_str()]);
    kind["hooks"] = json!({"reconcile": "/reconcile"});
    kind["shards"] = json!(shards);
    Settings::new(&world.kubeconfig)
        .kind(kind)
        .set("app", json!({"name": "shop", "url": app.url(), "health": {"intervalSeconds": 1}}))
        .set("lease", json!({"durationSeconds": 9, "renewSeconds": 6, "retrySeconds": 1}))
}

fn copy(call: &Call) -> Reply {
    let answer = json!({"status": {"n": call.body["entity"]["n"]}});
    Reply::After(Duration::from_millis(20), Box::new(Reply::ok(answer)))
}

async fn write(sidecar: &Sidecar, n: u32) -> anyhow::Result<()> {
    for order in 0..ORDERS {
        sidecar.api.put(&format!("/v1/orders/o-{order}"), &json!({"n": n})).await?;
    }
    Ok(())
}

/// Waits until every order has been dealt with as it was last written.
async fn all_have(sidecar: &Sidecar, n: u32) -> anyhow::Result<()> {
    wait::until("every order to be reconciled", 2 * wait::LIMIT, || async {
        let page = sidecar.api.get("/v1/orders?limit=1000").await?.expect(200)?;
        let items = page.body["items"].as_array().cloned().unwrap_or_default();
        let behind = items.iter().find(|order| order["status"]["n"] != json!(n));
        ensure!(items.len() == ORDERS && behind.is_none(), "{} orders, such as {behind:?}", items.len());
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// Waits until the sidecars lead so many shards each, in any order.
async fn lead(sidecars: &[&Sidecar], mut counts: Vec<u64>) -> anyhow::Result<()> {
    counts.sort_unstable();
    wait::until("the shards to be spread", 2 * wait::LIMIT, || async {
        let mut led = Vec::new();
        for sidecar in sidecars {
            led.push(sidecar.metric("kab_lease_leading").await.unwrap_or(0.0) as u64);
        }
        led.sort_unstable();
        ensure!(led == counts, "{led:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[test]
fn shards_move_between_sidecars_and_no_entity_is_worked_on_by_two() {
    run("shards", async |world| {
        let app = App::start(copy).await?;
        let settings = settings(world, &orders(world).await?, &app, 4);
        let first = world.start(&settings).await?;
        write(&first, 1).await?;
        all_have(&first, 1).await?;
        let second = world.start(&settings).await?;
        write(&first, 2).await?;
        lead(&[&first, &second], vec![2, 2]).await?;
        let third = world.start(&settings).await?;
        write(&second, 3).await?;
        lead(&[&first, &second, &third], vec![1, 1, 2]).await?;
        all_have(&third, 3).await?;
        first.kill().await?;
        write(&second, 4).await?;
        lead(&[&second, &third], vec![2, 2]).await?;
        all_have(&third, 4).await?;
        second.terminate().await?;
        lead(&[&third], vec![4]).await?;
        write(&third, 5).await?;
        all_have(&third, 5).await?;
        assert!(app.overlap().is_none(), "{:?}", app.overlap());
        Ok(())
    });
}

#[test]
fn another_number_of_shards_comes_into_force_without_two_at_one_entity() {
    run("shards_renumbered", async |world| {
        let app = App::start(copy).await?;
        let definition = orders(world).await?;
        let [one, three] = [1, 3].map(|shards| settings(world, &definition, &app, shards));
        let old = world.start(&one).await?;
        write(&old, 1).await?;
        all_have(&old, 1).await?;
        let new = world.start(&three).await?;
        write(&new, 2).await?;
        all_have(&new, 2).await?;
        lead(&[&old, &new], vec![1, 0]).await?;
        old.terminate().await?;
        lead(&[&new], vec![3]).await?;
        write(&new, 3).await?;
        all_have(&new, 3).await?;
        assert!(app.overlap().is_none(), "{:?}", app.overlap());
        Ok(())
    });
}

#[test]
fn a_write_waits_for_the_app_wherever_it_is_worked_on() {
    run("settled", async |world| {
        let app = App::start(copy).await?;
        let settings = settings(world, &orders(world).await?, &app, 1);
        let leader = world.start(&settings).await?;
        lead(&[&leader], vec![1]).await?;
        let other = world.start(&settings).await?;
        let put = |n: u32, prefer: &'static str| {
            let headers = [("prefer", prefer)];
            let other = &other;
            async move { other.api.send(Method::PUT, "/v1/orders/tea", &headers, Some(json!({"n": n}).to_string())).await }
        };
        let created = put(1, "wait=50").await?.expect(201)?;
        assert_eq!((&created.body["status"]["n"], created.header("preference-applied")), (&json!(1), "wait=50"));
        let replaced = put(2, "wait=50").await?.expect(200)?;
        assert_eq!(replaced.body["status"]["observedGeneration"], replaced.body["meta"]["generation"]);
        let at_once = put(3, "respond-async").await?.expect(202)?;
        assert_eq!((&at_once.body["n"], at_once.header("preference-applied")), (&json!(3), "respond-async"));
        Ok(())
    });
}

#[test]
fn what_expires_is_deleted_once_its_time_has_come() {
    run("expiry", async |world| {
        let app = App::start(copy).await?;
        let settings = settings(world, &orders(world).await?, &app, 1);
        let leader = world.start(&settings).await?;
        let other = world.start(&settings).await?;
        let at = |seconds: i64| (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string();
        let order = |at: Value| json!({"n": 1, "meta": {"expiresAt": at}});
        other.api.put("/v1/orders/past", &order(json!(at(-60)))).await?.expect(201)?;
        other.api.put("/v1/orders/soon", &order(json!(at(2)))).await?.expect(201)?;
        other.api.put("/v1/orders/later", &order(json!(at(3600)))).await?.expect(201)?;
        other.api.put("/v1/orders/saved", &order(json!(at(3600)))).await?.expect(201)?;
        other.api.put("/v1/orders/saved", &order(Value::Null)).await?.expect(200)?;
        wait::until("what has expired to be gone", 2 * wait::LIMIT, || async {
            let page = other.api.get("/v1/orders").await?.expect(200)?;
            let ids: Vec<&Value> =
                page.body["items"].as_array().into_iter().flatten().map(|item| &item["id"]).collect();
            ensure!(ids == ["later", "saved"], "{ids:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let expired = leader.metric("kab_expired_total").await.unwrap_or(0.0)
            + other.metric("kab_expired_total").await.unwrap_or(0.0);
        assert_eq!(expired as u64, 2);
        Ok(())
    });
}
