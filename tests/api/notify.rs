//! Notify: the app is told every change once and in order per entity, whatever happens to it and to the sidecars.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::ensure;
use e2e::app::{App, Call, Reply};
use e2e::sidecar::{Settings, Sidecar};
use e2e::{todos, wait};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::world::{World, run};

const HOOK: &str = "/hooks/todos/notify";

/// Todos of the test's namespace, owned, of which the app is notified; nothing is broadcast.
fn settings(world: &World, app: &App) -> Settings {
    let kind = json!({
        "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [world.ns],
        "hooks": {"notify": {"path": HOOK, "deadlineSeconds": 2}},
    });
    base(world, app).kind(kind)
}

fn base(world: &World, app: &App) -> Settings {
    Settings::new(&world.kubeconfig)
        .set("app", json!({"name": "shop", "url": app.url(), "health": {"intervalSeconds": 1}}))
        .set("lease", json!({"durationSeconds": 9, "renewSeconds": 6, "retrySeconds": 1}))
}

/// Takes everything.
fn takes(_: &Call) -> Reply {
    Reply::Json(204, Value::Null)
}

/// What a call tells: the change, the entity's name and its message.
fn told(call: &Call) -> String {
    let text = |pointer: &str| call.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    format!("{} {} {}", text("/change"), text("/entity/id"), text("/entity/message"))
}

fn id(call: &Call) -> String {
    call.headers.get("ce-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned()
}

/// The calls about one entity, each event once: where one was called again, the last call.
fn of(app: &App, world: &World, name: &str) -> Vec<String> {
    app.calls_of(&format!("{}/{name}", world.ns)).iter().map(told).collect()
}

/// Waits until the app was told this of the entity.
async fn until_told(app: &App, world: &World, name: &str, last: &str) -> anyhow::Result<()> {
    wait::until(&format!("the app to be told {last:?}"), 2 * wait::LIMIT, || async {
        let calls = of(app, world, name);
        ensure!(calls.last().is_some_and(|call| call == last), "told of it: {calls:?}; {} calls", app.calls().len());
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// Whatever was to be told before this one has been, or is under way.
async fn settled(app: &App, world: &World) -> anyhow::Result<()> {
    let name = format!("settled-{}", e2e::program::unique());
    todos::create(&world.kube, &world.ns, &name, "last").await?;
    wait::until(&format!("the app to be told of {name}"), 2 * wait::LIMIT, || async {
        // As added, or, where the sidecar begins only now, as what it found there.
        ensure!(!of(app, world, &name).is_empty(), "{} calls", app.calls().len());
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn app_is(sidecar: &Sidecar, state: &str) -> anyhow::Result<()> {
    wait::until(&format!("the app to be {state}"), wait::LIMIT, || async {
        let part = sidecar.part("app").await?;
        ensure!(part["state"] == state, "{part}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// The events that the app was called with more than once.
fn repeated(app: &App) -> Vec<String> {
    let mut times = BTreeMap::<String, usize>::new();
    for call in app.calls() {
        *times.entry(id(&call)).or_default() += 1;
    }
    times.into_iter().filter(|(_, times)| *times > 1).map(|(id, _)| id).collect()
}

#[test]
fn every_change_is_told_as_a_cloud_event_and_a_deletion_carries_the_last_entity_and_its_uid() {
    run("notify_told", async |world| {
        let app = App::start(takes).await?;
        let sidecar = world.start(&settings(world, &app)).await?;
        settled(&app, world).await?;
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        todos::change(&world.kube, &world.ns, "milk", "two").await?;
        let last = todos::api(&world.kube, &world.ns).get("milk").await?;
        todos::api(&world.kube, &world.ns).delete("milk", &DeleteParams::default()).await?;
        until_told(&app, world, "milk", "deleted milk two").await?;
        assert_eq!(of(&app, world, "milk"), ["added milk one", "modified milk two", "deleted milk two"]);
        let calls = app.calls_of(&format!("{}/milk", world.ns));
        let uid = last.metadata.uid.unwrap_or_default();
        for (call, kind) in calls.iter().zip(["created", "updated", "deleted"]) {
            let header = |name: &str| call.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            let version = call.body["entity"]["meta"]["version"].as_str().unwrap_or_default();
            assert_eq!(header("ce-id"), format!("{uid}/{version}"));
            assert_eq!(header("ce-type"), format!("com.k8sasbackend.v1.todo.{kind}"));
            assert_eq!(header("ce-subject"), format!("{}/milk", world.ns));
            assert_eq!((header("ce-specversion"), header("content-type")), ("1.0", "application/json"));
            assert_eq!((header("kab-attempt"), call.path.as_str()), ("1", HOOK));
            assert_eq!(call.body["entity"]["meta"]["uid"], uid.as_str());
        }
        assert_eq!(calls[1].body["before"]["message"], "one", "{}", calls[1].body);
        assert_eq!((calls[0].body.get("before"), app.overlap().is_none()), (None, true));
        drop(sidecar);
        Ok(())
    });
}

#[test]
fn an_app_that_is_away_during_a_thousand_changes_is_told_all_of_them_in_order_when_it_returns() {
    run("notify_away", async |world| {
        const TODOS: usize = 50;
        const CHANGES: usize = 20;
        let mut app = App::start(takes).await?;
        let sidecar = world.start(&settings(world, &app)).await?;
        settled(&app, world).await?;
        app.stop().await;
        for round in 0..CHANGES {
            for todo in 0..TODOS {
                let (name, message) = (format!("todo-{todo}"), format!("{round}"));
                match round {
                    0 => todos::create(&world.kube, &world.ns, &name, &message).await?,
                    _ => todos::change(&world.kube, &world.ns, &name, &message).await?,
                };
            }
        }
        app_is(&sidecar, "down").await?;
        // Nothing is tried meanwhile, and the API serves.
        sidecar.api.get("/v1/todos").await?.expect(200)?;
        app.come_back().await?;
        for todo in 0..TODOS {
            let name = format!("todo-{todo}");
            until_told(&app, world, &name, &format!("modified {name} {}", CHANGES - 1)).await?;
            let expected: Vec<String> = (0..CHANGES)
                .map(|round| format!("{} {name} {round}", if round == 0 { "added" } else { "modified" }))
                .collect();
            assert_eq!(of(&app, world, &name), expected, "in order, nothing collapsed");
        }
        assert_eq!((repeated(&app), app.overlap().is_none()), (vec![], true));
        Ok(())
    });
}

#[test]
fn a_restart_tells_nothing_again_and_goes_on_with_what_happened_meanwhile() {
    run("notify_restart", async |world| {
        let app = App::start(takes).await?;
        let sidecar = world.start(&settings(world, &app)).await?;
        settled(&app, world).await?;
        for todo in 0..10 {
            todos::create(&world.kube, &world.ns, &format!("todo-{todo}"), "one").await?;
        }
        settled(&app, world).await?;
        until_told(&app, world, "todo-9", "added todo-9 one").await?;
        let ended = sidecar.terminate().await?;
        assert!(ended.success(), "{ended}");
        let before = app.calls().len();
        todos::change(&world.kube, &world.ns, "todo-0", "two").await?;
        todos::api(&world.kube, &world.ns).delete("todo-1", &DeleteParams::default()).await?;
        let sidecar = world.start(&settings(world, &app)).await?;
        settled(&app, world).await?;
        until_told(&app, world, "todo-1", "deleted todo-1 one").await?;
        until_told(&app, world, "todo-0", "modified todo-0 two").await?;
        assert_eq!(app.calls().len(), before + 3, "{:?}", app.calls().iter().map(told).collect::<Vec<_>>());
        assert_eq!(repeated(&app), Vec::<String>::new());
        drop(sidecar);
        Ok(())
    });
}

#[test]
fn an_app_is_notified_once_of_a_kind_that_it_only_consumes_whoever_of_its_replicas_does() {
    run("notify_consumed", async |world| {
        let app = App::start(takes).await?;
        let other = App::start(takes).await?;
        let kind = json!({
            "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "namespaces": [world.ns], "hooks": {"notify": HOOK},
        });
        let consuming = |app: &App, name: &str| {
            base(world, app)
                .set("app", json!({"name": name, "url": app.url(), "health": {"intervalSeconds": 1}}))
                .kind(kind.clone())
        };
        let name = format!("one-{}", world.ns);
        let others = format!("other-{}", world.ns);
        let first = world.start(&consuming(&app, &name)).await?;
        let _second = world.start(&consuming(&app, &name)).await?;
        let _another = world.start(&consuming(&other, &others)).await?;
        settled(&app, world).await?;
        settled(&other, world).await?;
        first.terminate().await?;
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        until_told(&app, world, "milk", "added milk one").await?;
        until_told(&other, world, "milk", "added milk one").await?;
        assert_eq!((repeated(&app), repeated(&other)), (vec![], vec![]));
        Ok(())
    });
}

#[test]
fn a_kind_that_is_consumed_from_the_topic_is_notified_of_too() {
    run("notify_topic", async |world| {
        let app = App::start(takes).await?;
        let _owner = world.sidecar().await?;
        let kind = json!({
            "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "namespaces": [world.ns], "source": "kafka",
            "topic": world.topic, "hooks": {"notify": HOOK},
        });
        let name = format!("topic-{}", world.ns);
        let settings = base(world, &app)
            .set("app", json!({"name": name, "url": app.url(), "health": {"intervalSeconds": 1}}))
            .kafka(&world.brokers)
            .kind(kind);
        let consumer = world.start(&settings).await?;
        settled(&app, world).await?;
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        until_told(&app, world, "milk", "added milk one").await?;
        todos::change(&world.kube, &world.ns, "milk", "two").await?;
        until_told(&app, world, "milk", "modified milk two").await?;
        let before = app.calls().len();
        consumer.terminate().await?;
        let _consumer = world.start(&settings).await?;
        settled(&app, world).await?;
        assert_eq!((app.calls().len(), repeated(&app)), (before + 1, vec![]), "nothing again");
        todos::api(&world.kube, &world.ns).delete("milk", &DeleteParams::default()).await?;
        until_told(&app, world, "milk", "deleted milk two").await
    });
}

#[test]
fn of_three_replicas_one_notifies_and_another_goes_on_when_it_is_killed_or_frozen() {
    run("notify_replicas", async |world| {
        let app = App::start(takes).await?;
        let mut sidecars = Vec::new();
        for _ in 0..3 {
            sidecars.push(world.start(&settings(world, &app)).await?);
        }
        settled(&app, world).await?;
        todos::create(&world.kube, &world.ns, "one", "one").await?;
        until_told(&app, world, "one", "added one one").await?;
        assert_eq!(repeated(&app), Vec::<String>::new(), "once, and not by each");
        // What was told before it is written down would come again.
        wait::until("the place to be in the Lease", wait::LIMIT, || async {
            let leases: Api<Lease> = Api::namespaced(world.kube.clone(), &world.ns);
            let annotations =
                leases.get("kab.todos.k8sasbackend.com.0").await?.metadata.annotations.unwrap_or_default();
            ensure!(annotations.contains_key("k8sasbackend.com/notified"), "{annotations:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        for (round, signal) in [Signal::SIGKILL, Signal::SIGSTOP].into_iter().enumerate() {
            let leader = leader(&sidecars).await?;
            sidecars[leader].program.signal(signal)?;
            let frozen = sidecars.remove(leader);
            for todo in 0..20 {
                todos::create(&world.kube, &world.ns, &format!("round-{round}-{todo}"), "x").await?;
            }
            settled(&app, world).await?;
            for todo in 0..20 {
                let name = format!("round-{round}-{todo}");
                until_told(&app, world, &name, &format!("added {name} x")).await?;
                let calls = of(&app, world, &name);
                // At least once: a call that was under way when its leader fell, or that the app answered late, comes again.
                assert!(
                    calls.iter().all(|call| *call == calls[0]) && calls.len() <= 2,
                    "round {round}, {name}: {calls:?}"
                );
            }
            if signal == Signal::SIGSTOP {
                // What thaws has nothing to tell: another leads.
                frozen.program.signal(Signal::SIGCONT)?;
                settled(&app, world).await?;
            }
        }
        assert!(app.overlap().is_none());
        Ok(())
    });
}

async fn leader(sidecars: &[Sidecar]) -> anyhow::Result<usize> {
    wait::until("one of them to lead", wait::LIMIT, || async {
        for (place, sidecar) in sidecars.iter().enumerate() {
            if sidecar.metric("kab_lease_leading").await.unwrap_or(0.0) > 0.0 {
                return Ok(place);
            }
        }
        anyhow::bail!("none of {}", sidecars.len())
    })
    .await
}

#[test]
fn a_change_that_the_app_chokes_on_is_tried_again_and_holds_up_no_other_entity() {
    run("notify_poison", async |world| {
        // Each name has its own way to misbehave, until it does not.
        let app = App::start(|call| match call.body["entity"]["id"].as_str().unwrap_or_default() {
            "failing" => Reply::Json(500, json!("not yet")),
            "hanging" => Reply::Hang,
            "raging" => Reply::Large(8 << 20),
            "busy" => Reply::Header(503, "retry-after", "1".to_owned()),
            "refused" => Reply::Json(422, json!({"title": "never"})),
            "slow" => Reply::After(Duration::from_millis(300), Box::new(Reply::Text("what?".to_owned()))),
            _ => Reply::Json(204, Value::Null),
        })
        .await?;
        let sidecar = world.start(&settings(world, &app)).await?;
        settled(&app, world).await?;
        let names = ["failing", "hanging", "raging", "busy", "refused", "slow"];
        for name in names {
            todos::create(&world.kube, &world.ns, name, "one").await?;
            todos::change(&world.kube, &world.ns, name, "two").await?;
        }
        settled(&app, world).await?;
        // What it refuses for good is given up, and the next change of the same entity told; what it takes, slowly, too.
        until_told(&app, world, "refused", "modified refused two").await?;
        until_told(&app, world, "slow", "modified slow two").await?;
        assert_eq!((of(&app, world, "refused").len(), of(&app, world, "slow").len()), (2, 2));
        wait::until("the others to be tried again", wait::LIMIT, || async {
            for name in ["failing", "hanging", "raging", "busy"] {
                let calls = of(&app, world, name);
                let first = format!("added {name} one");
                ensure!(calls.len() > 1 && calls.iter().all(|call| *call == first), "{calls:?}");
            }
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let attempts = app.calls_of(&format!("{}/busy", world.ns));
        let attempt = |call: &Call| call.headers.get("kab-attempt").and_then(|value| value.to_str().ok()?.parse().ok());
        assert_eq!(attempts.iter().take(2).filter_map(attempt).collect::<Vec<u32>>(), [1, 2]);
        app.behave(takes);
        for name in ["failing", "hanging", "raging", "busy"] {
            until_told(&app, world, name, &format!("modified {name} two")).await?;
        }
        assert!(app.overlap().is_none());
        assert!(sidecar.metric("kab_notify_results_total").await? > 0.0);
        Ok(())
    });
}
