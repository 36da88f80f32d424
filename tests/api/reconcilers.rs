//! Several sidecars reconcile one kind, and everything around them fails: each entity is worked on strictly by one at a time, and nothing is missed.

use std::time::Duration;

use anyhow::ensure;
use e2e::app::{App, Reply};
use e2e::sidecar::Sidecar;
use e2e::wait;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::reconcile::shop;
use crate::world::{World, run};

/// Waits until every order has been dealt with in its present generation, and answers how many there are.
async fn all_observed(sidecar: &Sidecar, orders: usize, limit: Duration) -> anyhow::Result<()> {
    wait::until("every order to be reconciled", limit, || async {
        let page = sidecar.api.get("/v1/orders?limit=1000").await?.expect(200)?;
        let items = page.body["items"].as_array().cloned().unwrap_or_default();
        let behind = |order: &&Value| {
            order["status"]["observedGeneration"] != order["meta"]["generation"] || order["status"]["n"] != order["n"]
        };
        let first = items.iter().find(behind);
        ensure!(items.len() == orders && first.is_none(), "{} orders, such as {first:?}", items.len());
        Ok::<_, anyhow::Error>(())
    })
    .await
}

fn copy(call: &e2e::app::Call) -> Reply {
    let answer = json!({"status": {"n": call.body["entity"]["n"]}});
    Reply::After(Duration::from_millis(20), Box::new(Reply::ok(answer)))
}

#[test]
fn what_changes_while_the_app_is_away_is_there_when_it_returns() {
    run("reconcile_app_away", async |world| {
        const ORDERS: usize = 200;
        let mut app = App::start(copy).await?;
        let shop = shop(world, &app, json!({"reconcile": "/reconcile"})).await?;
        let sidecar = world.start(&shop.settings).await?;
        sidecar.api.put("/v1/orders/first", &json!({"n": 0})).await?.expect(201)?;
        all_observed(&sidecar, 1, wait::LIMIT).await?;
        app.stop().await;
        wait::until("the app to be noticed as away", wait::LIMIT, || async {
            let part = sidecar.part("app").await?;
            ensure!(part["state"] == "down", "{part}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let before = app.calls().len();
        for n in 0..5 {
            for order in 0..ORDERS - 1 {
                sidecar.api.put(&format!("/v1/orders/o-{order}"), &json!({"n": n})).await?;
            }
        }
        app.come_back().await?;
        all_observed(&sidecar, ORDERS, 2 * wait::LIMIT).await?;
        let calls = app.calls().split_off(before);
        assert!(calls.len() < 2 * ORDERS, "{} calls: changes collapse", calls.len());
        assert!(calls.iter().all(|call| call.body["attempt"] == 1), "no attempts were burnt");
        assert!(app.overlap().is_none(), "{:?}", app.overlap());
        Ok(())
    });
}

/// Writes orders through whoever lives.
async fn write(sidecar: &Sidecar, orders: usize, n: u32) -> anyhow::Result<()> {
    for order in 0..orders {
        sidecar.api.put(&format!("/v1/orders/o-{order}"), &json!({"n": n})).await?;
    }
    Ok(())
}

async fn leader(sidecars: &[&Sidecar]) -> anyhow::Result<usize> {
    wait::until("one to lead", 2 * wait::LIMIT, || async {
        let mut leading = Vec::new();
        for (place, sidecar) in sidecars.iter().enumerate() {
            if sidecar.metric("kab_lease_leading").await.unwrap_or(0.0) > 0.0 {
                leading.push(place);
            }
        }
        match leading.as_slice() {
            [one] => Ok(*one),
            other => Err(anyhow::anyhow!("{other:?}")),
        }
    })
    .await
}

async fn three(world: &World, app: &App) -> anyhow::Result<Vec<Sidecar>> {
    let shop = shop(world, app, json!({"reconcile": "/reconcile"})).await?;
    let mut sidecars = Vec::new();
    for _ in 0..3 {
        sidecars.push(world.start(&shop.settings).await?);
    }
    Ok(sidecars)
}

#[test]
fn a_killed_reconciler_is_followed_by_another_and_none_works_beside_it() {
    run("reconcile_killed", async |world| {
        const ORDERS: usize = 60;
        let app = App::start(copy).await?;
        let mut sidecars = three(world, &app).await?;
        for n in 0..2 {
            let lives: Vec<&Sidecar> = sidecars.iter().collect();
            let leads = leader(&lives).await?;
            let other = (leads + 1) % sidecars.len();
            write(&sidecars[other], ORDERS, n).await?;
            sidecars.remove(leads).kill().await?;
        }
        all_observed(&sidecars[0], ORDERS, 2 * wait::LIMIT).await?;
        assert!(app.overlap().is_none(), "{:?}", app.overlap());
        Ok(())
    });
}

#[test]
fn a_reconciler_that_was_frozen_past_its_lease_does_nothing_when_it_thaws() {
    run("reconcile_frozen", async |world| {
        const ORDERS: usize = 60;
        let app = App::start(copy).await?;
        let sidecars = three(world, &app).await?;
        let lives: Vec<&Sidecar> = sidecars.iter().collect();
        let frozen = leader(&lives).await?;
        let others: Vec<&Sidecar> =
            lives.iter().enumerate().filter(|(place, _)| *place != frozen).map(|(_, one)| *one).collect();
        write(others[0], ORDERS, 1).await?;
        sidecars[frozen].program.signal(Signal::SIGSTOP)?;
        write(others[0], ORDERS, 2).await?;
        let next = leader(&others).await?;
        all_observed(others[next], ORDERS, 2 * wait::LIMIT).await?;
        sidecars[frozen].program.signal(Signal::SIGCONT)?;
        write(others[0], ORDERS, 3).await?;
        all_observed(others[next], ORDERS, 2 * wait::LIMIT).await?;
        all_observed(&sidecars[frozen], ORDERS, 2 * wait::LIMIT).await?;
        assert!(app.overlap().is_none(), "{:?}", app.overlap());
        Ok(())
    });
}
