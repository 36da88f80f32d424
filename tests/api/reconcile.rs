//! Reconcile and finalize: what the app is asked, what becomes of its answers at the API server, and that nothing is done twice or without need.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::app::{App, Call, Reply};
use e2e::crd::Definition;
use e2e::sidecar::{Settings, Sidecar};
use e2e::wait;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::world::{World, run};

/// A kind of its own, reconciled by an app.
pub(crate) struct Shop {
    pub(crate) definition: Definition,
    pub(crate) settings: Settings,
}

/// Orders of the test's namespace, with these hooks and ConfigMaps as children.
pub(crate) async fn shop(world: &World, app: &App, hooks: Value) -> anyhow::Result<Shop> {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = Definition::new("Order", "orders").spec(schema);
    definition.install(&world.kube).await?;
    let mut kind = definition.served(true, &[world.ns.as_str()]);
    kind["hooks"] = hooks;
    kind["children"] = json!([{"apiVersion": "v1", "kind": "ConfigMap"}]);
    let health = json!({"intervalSeconds": 1});
    let settings = Settings::new(&world.kubeconfig)
        .kind(kind)
        .set("app", json!({"name": "shop", "url": app.url(), "health": health}))
        .set("lease", json!({"durationSeconds": 9, "renewSeconds": 6, "retrySeconds": 1}));
    Ok(Shop { definition, settings })
}

/// Waits for what the entity API shows of an order.
pub(crate) async fn shown<T>(
    sidecar: &Sidecar,
    id: &str,
    what: &str,
    check: impl Fn(&Value) -> Option<T>,
) -> anyhow::Result<T> {
    wait::until(what, wait::LIMIT, || async {
        let order = sidecar.api.get(&format!("/v1/orders/{id}")).await?;
        check(&order.body).with_context(|| format!("{}", order.body))
    })
    .await
}

fn condition<'a>(order: &'a Value, kind: &str) -> Option<&'a Value> {
    order["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn is_reconciled(order: &Value) -> Option<()> {
    (condition(order, "Reconciled")?["status"] == "True"
        && order["status"]["observedGeneration"] == order["meta"]["generation"])
        .then_some(())
}

/// Once this one is reconciled, whatever was due before it has been looked at.
async fn settled(sidecar: &Sidecar) -> anyhow::Result<()> {
    let id = format!("settled-{}", e2e::program::unique());
    sidecar.api.put(&format!("/v1/orders/{id}"), &json!({"n": 0})).await?.expect(201)?;
    shown(sidecar, &id, "a last order to be reconciled", is_reconciled).await?;
    Ok(())
}

fn maps(world: &World) -> Api<ConfigMap> {
    Api::namespaced(world.kube.clone(), &world.ns)
}

async fn map_is(world: &World, name: &str, expected: Option<&str>) -> anyhow::Result<Option<ConfigMap>> {
    wait::until(&format!("the ConfigMap {name} to be {expected:?}"), wait::LIMIT, || async {
        let there = maps(world).get_opt(name).await?;
        let text = there.as_ref().and_then(|map| map.data.as_ref()?.get("text").cloned());
        ensure!(text.as_deref() == expected, "{text:?}");
        Ok::<_, anyhow::Error>(there)
    })
    .await
}

/// One ConfigMap with the order's text, unless there is none.
fn with_map(call: &Call) -> Reply {
    let order = &call.body["entity"];
    let children = match order["text"].as_str() {
        Some(text) => {
            let id = format!("{}-map", order["id"].as_str().unwrap_or_default());
            json!([{"apiVersion": "v1", "kind": "ConfigMap", "id": id, "data": {"text": text}}])
        }
        None => json!([]),
    };
    let seen = call.body["children"].as_array().map_or(0, Vec::len);
    Reply::ok(json!({"status": {"children": seen}, "children": children}))
}

#[test]
fn an_entity_is_reconciled_once_and_its_status_says_so() {
    run("reconcile_once", async |world| {
        let app = App::start(|call| {
            let message = call.body["entity"]["n"].to_string();
            Reply::ok(json!({
                "status": {"phase": "Done"},
                "conditions": [{"type": "Ready", "status": "True", "reason": "Counted", "message": message}],
                "events": [{"reason": "Counted", "message": "by the test"}],
            }))
        })
        .await?;
        let shop = shop(world, &app, json!({"reconcile": "/reconcile"})).await?;
        let sidecar = world.start(&shop.settings).await?;
        settled(&sidecar).await?;
        sidecar.api.put("/v1/orders/a", &json!({"n": 1})).await?.expect(201)?;
        shown(&sidecar, "a", "the order to be reconciled", is_reconciled).await?;
        let order = sidecar.api.get("/v1/orders/a").await?.expect(200)?.body;
        assert_eq!(
            (&order["status"]["phase"], &condition(&order, "Ready").unwrap()["message"]),
            (&json!("Done"), &json!("1"))
        );
        let version = order["meta"]["version"].clone();
        settled(&sidecar).await?;

        let calls = app.calls_of(&format!("{}/a", world.ns));
        assert_eq!(calls.len(), 1, "our own write of the status calls for nothing: {calls:?}");
        let call = &calls[0];
        assert_eq!(
            (call.path.as_str(), &call.body["attempt"], &call.body["children"]),
            ("/reconcile", &json!(1), &json!([]))
        );
        assert_eq!(call.headers["kab-attempt"], "1");
        assert_eq!(sidecar.api.get("/v1/orders/a").await?.body["meta"]["version"], version, "nothing wrote again");

        sidecar.api.patch("/v1/orders/a", &json!({"n": 2})).await?.expect(200)?;
        shown(&sidecar, "a", "the change to be reconciled", |order| {
            is_reconciled(order)?;
            (order["meta"]["generation"] == 2).then_some(())
        })
        .await
    });
}

#[test]
fn children_are_made_kept_and_deleted_as_the_app_wants() {
    run("reconcile_children", async |world| {
        let app = App::start(with_map).await?;
        let shop = shop(world, &app, json!({"reconcile": "/reconcile"})).await?;
        let sidecar = world.start(&shop.settings).await?;
        sidecar.api.put("/v1/orders/a", &json!({"text": "one"})).await?.expect(201)?;
        let map = map_is(world, "a-map", Some("one")).await?.context("it is there")?;
        let owner = map.metadata.owner_references.clone().unwrap_or_default();
        assert_eq!((owner.len(), owner[0].kind.as_str(), owner[0].controller), (1, "Order", Some(true)));
        shown(&sidecar, "a", "the app to have seen its child", |order| {
            (order["status"]["children"] == 1).then_some(())
        })
        .await?;

        sidecar.api.put("/v1/orders/a", &json!({"text": "two"})).await?.expect(200)?;
        map_is(world, "a-map", Some("two")).await?;
        let other = Patch::Merge(json!({"data": {"text": "drifted"}}));
        maps(world).patch("a-map", &PatchParams::default(), &other).await?;
        map_is(world, "a-map", Some("two")).await?;
        maps(world).delete("a-map", &DeleteParams::default()).await?;
        map_is(world, "a-map", Some("two")).await?;

        sidecar.api.put("/v1/orders/a", &json!({})).await?.expect(200)?;
        map_is(world, "a-map", None).await?;
        shown(&sidecar, "a", "it to be reconciled", is_reconciled).await
    });
}

#[test]
fn what_belongs_to_others_is_not_touched() {
    run("reconcile_foreign", async |world| {
        let app = App::start(with_map).await?;
        let shop = shop(world, &app, json!({"reconcile": "/reconcile"})).await?;
        let foreign: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": "a-map"}, "data": {"text": "foreign"}}))?;
        maps(world).create(&PostParams::default(), &foreign).await?;
        let sidecar = world.start(&shop.settings).await?;
        sidecar.api.put("/v1/orders/a", &json!({"text": "mine"})).await?.expect(201)?;
        let uid = shown(&sidecar, "a", "the order to say why it is not reconciled", |order| {
            let reconciled = condition(order, "Reconciled")?;
            let told = reconciled["message"].as_str()?.contains("belongs to nobody");
            (reconciled["status"] == "False" && reconciled["reason"] == "ChildRefused" && told)
                .then(|| order["meta"]["uid"].as_str().unwrap_or_default().to_owned())
        })
        .await?;
        map_is(world, "a-map", Some("foreign")).await?;

        let hand_over = Patch::Merge(json!({"metadata": {"labels": {"k8sasbackend.com/parent": uid}}}));
        maps(world).patch("a-map", &PatchParams::default(), &hand_over).await?;
        map_is(world, "a-map", Some("mine")).await?;
        shown(&sidecar, "a", "the order to be reconciled with what it was given", is_reconciled).await
    });
}

#[test]
fn a_deleted_entity_stays_until_the_app_has_finalized_it() {
    run("reconcile_finalize", async |world| {
        let app = App::start(|call| match call.path.as_str() {
            "/finalize" if call.body["entity"]["stuck"] == true => Reply::ok(json!({})),
            "/finalize" => {
                let again = call.body["entity"]["status"]["cleaned"] == true;
                Reply::ok(json!({"status": {"cleaned": true}, "finalized": again, "requeueAfter": 0.1}))
            }
            _ => Reply::ok(json!({})),
        })
        .await?;
        let shop = shop(world, &app, json!({"reconcile": "/reconcile", "finalize": "/finalize"})).await?;
        let sidecar = world.start(&shop.settings).await?;
        for (id, stuck) in [("a", false), ("b", true)] {
            sidecar.api.put(&format!("/v1/orders/{id}"), &json!({"stuck": stuck})).await?.expect(201)?;
            shown(&sidecar, id, "the order to be reconciled", is_reconciled).await?;
            let deleted = sidecar.api.delete(&format!("/v1/orders/{id}")).await?.expect(202)?;
            assert_eq!(deleted.body["meta"]["deleting"], true);
        }
        let gone = |id: &'static str| {
            let api = sidecar.api.clone();
            async move {
                wait::until("the order to be gone", wait::LIMIT, || async {
                    let answer = api.get(&format!("/v1/orders/{id}")).await?;
                    ensure!(answer.status.as_u16() == 404, "{}", answer.body);
                    Ok::<_, anyhow::Error>(())
                })
                .await
            }
        };
        gone("a").await?;
        let finalized = app.calls_of(&format!("{}/a", world.ns));
        assert!(finalized.iter().filter(|call| call.path == "/finalize").count() >= 2, "{finalized:?}");

        let api = shop.definition.objects(&world.kube, Some(&world.ns));
        wait::until("the stuck order to be finalized in vain", wait::LIMIT, || async {
            let calls = app.calls_of(&format!("{}/b", world.ns));
            ensure!(calls.iter().any(|call| call.path == "/finalize"), "{calls:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let force = Patch::Merge(json!({"metadata": {"annotations": {"k8sasbackend.com/force-finalize": "true"}}}));
        api.patch("b", &PatchParams::default(), &force).await?;
        gone("b").await
    });
}

#[test]
fn what_the_app_refuses_waits_for_a_change() {
    run("reconcile_refused", async |world| {
        let app = App::start(|call| match call.body["entity"]["n"].as_i64() {
            Some(1) => Reply::Json(422, json!({"detail": "one is not enough"})),
            Some(2) => Reply::ok(json!({"children": [{"apiVersion": "v1", "kind": "Secret", "id": "x"}]})),
            _ => Reply::ok(json!({})),
        })
        .await?;
        let shop = shop(world, &app, json!({"reconcile": "/reconcile"})).await?;
        let sidecar = world.start(&shop.settings).await?;
        settled(&sidecar).await?;
        for (n, reason, text) in [
            (1, "HookRejected", "one is not enough"),
            (2, "ChildRefused", "/children/0/kind: Secret of v1 is not among"),
        ] {
            sidecar.api.put("/v1/orders/a", &json!({"n": n})).await?;
            shown(&sidecar, "a", reason, |order| {
                let (reconciled, stalled) = (condition(order, "Reconciled")?, condition(order, "Stalled")?);
                let told = reconciled["message"].as_str()?.contains(text);
                (reconciled["reason"] == reason && stalled["status"] == "True" && told).then_some(())
            })
            .await?;
            settled(&sidecar).await?;
            assert_eq!(app.calls_of(&format!("{}/a", world.ns)).len(), n, "refused for good");
        }
        sidecar.api.put("/v1/orders/a", &json!({"n": 3})).await?.expect(200)?;
        shown(&sidecar, "a", "the order to be reconciled", |order| {
            is_reconciled(order)?;
            condition(order, "Stalled").is_none().then_some(())
        })
        .await
    });
}

#[test]
fn whatever_is_wrong_with_the_app_s_answers_it_is_asked_again_until_it_is_well() {
    run("reconcile_wrong_answers", async |world| {
        let wrong: BTreeMap<&str, Reply> = BTreeMap::from([
            ("broken", Reply::Json(500, json!({}))),
            ("busy", Reply::Header(503, "retry-after", "1".to_owned())),
            ("garbage", Reply::Text("<html>".to_owned())),
            ("hanging", Reply::Hang),
            ("large", Reply::Large(500 << 20)),
            ("list", Reply::ok(json!([]))),
            ("silent", Reply::Text(String::new())),
            ("types", Reply::ok(json!({"status": 7, "children": "no"}))),
        ]);
        let ids: Vec<&str> = wrong.keys().copied().collect();
        let names = ids.clone();
        let app = App::start(move |call| {
            let id = call.body["entity"]["id"].as_str().unwrap_or_default();
            match wrong.get(id) {
                Some(reply) if call.body["attempt"] == 1 => reply.clone(),
                _ => Reply::ok(json!({})),
            }
        })
        .await?;
        let shop = shop(world, &app, json!({"reconcile": {"path": "/reconcile", "deadlineSeconds": 2}})).await?;
        let sidecar = world.start(&shop.settings).await?;
        for id in &names {
            sidecar.api.put(&format!("/v1/orders/{id}"), &json!({"n": 1})).await?.expect(201)?;
        }
        for id in &names {
            shown(&sidecar, id, &format!("{id} to be reconciled"), is_reconciled).await?;
            let calls = app.calls_of(&format!("{}/{id}", world.ns));
            let attempts: Vec<_> = calls.iter().map(|call| call.headers["kab-attempt"].to_str().unwrap()).collect();
            assert!(attempts.starts_with(&["1", "2"]), "{id}: {attempts:?}");
        }
        Ok(())
    });
}

#[test]
fn a_paused_entity_is_left_alone() {
    run("reconcile_paused", async |world| {
        let app = App::start(|_| Reply::ok(json!({}))).await?;
        let shop = shop(world, &app, json!({"reconcile": "/reconcile"})).await?;
        let sidecar = world.start(&shop.settings).await?;
        let api = shop.definition.objects(&world.kube, Some(&world.ns));
        settled(&sidecar).await?;
        sidecar.api.put("/v1/orders/a", &json!({"n": 1})).await?.expect(201)?;
        shown(&sidecar, "a", "the order to be reconciled", is_reconciled).await?;
        let paused =
            |paused: &str| Patch::Merge(json!({"metadata": {"annotations": {"k8sasbackend.com/paused": paused}}}));
        api.patch("a", &PatchParams::default(), &paused("true")).await?;
        sidecar.api.patch("/v1/orders/a", &json!({"n": 2})).await?.expect(200)?;
        settled(&sidecar).await?;
        assert_eq!(app.calls_of(&format!("{}/a", world.ns)).len(), 1);
        api.patch("a", &PatchParams::default(), &paused("false")).await?;
        shown(&sidecar, "a", "the order to be reconciled again", is_reconciled).await
    });
}

#[test]
fn a_look_at_everything_that_finds_all_well_writes_nothing() {
    run("reconcile_resync", async |world| {
        const ORDERS: usize = 200;
        let app = App::start(with_map).await?;
        let hooks = json!({"reconcile": {"path": "/reconcile", "resyncSeconds": 1}});
        let shop = shop(world, &app, hooks).await?;
        let sidecar = world.start(&shop.settings).await?;
        for order in 0..ORDERS {
            // Every tenth has a child.
            let body = if order % 10 == 0 { json!({"text": "x"}) } else { json!({}) };
            sidecar.api.put(&format!("/v1/orders/o-{order}"), &body).await?.expect(201)?;
        }
        let all = async || -> anyhow::Result<Vec<Value>> {
            let page = sidecar.api.get("/v1/orders?limit=1000").await?.expect(200)?;
            Ok(page.body["items"].as_array().cloned().unwrap_or_default())
        };
        wait::until("every order to be reconciled, and its child seen", wait::LIMIT, || async {
            let orders = all().await?;
            let well = |order: &&Value| {
                is_reconciled(order).is_some() && order["status"]["children"] == u64::from(order["text"] == "x")
            };
            let count = orders.iter().filter(well).count();
            ensure!(count == ORDERS, "{count}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        let looks = async |times: usize| {
            let before = app.calls().len();
            wait::until("looks at everything", wait::LIMIT, || async {
                let calls = app.calls().len() - before;
                ensure!(calls > times * ORDERS, "{calls}");
                Ok::<_, anyhow::Error>(())
            })
            .await
        };
        looks(1).await?;
        let versions = async || -> anyhow::Result<Vec<Value>> {
            let children = maps(world).list(&kube::api::ListParams::default()).await?;
            let children = children.items.iter().map(|map| json!([map.metadata.name, map.metadata.resource_version]));
            Ok(all()
                .await?
                .iter()
                .map(|order| json!([order["id"], order["meta"]["version"]]))
                .chain(children)
                .collect())
        };
        let (before, writes) = (versions().await?, sidecar.metric("kab_reconcile_writes_total").await?);
        let requests = patches(&sidecar).await?;
        looks(2).await?;
        assert_eq!(versions().await?, before);
        assert_eq!(sidecar.metric("kab_reconcile_writes_total").await?, writes);
        assert_eq!(patches(&sidecar).await?, requests, "not even a request");
        Ok(())
    });
}

/// How many patches were sent to the API server.
async fn patches(sidecar: &Sidecar) -> anyhow::Result<usize> {
    let text = sidecar.admin.get("/metrics").await?.body.as_str().unwrap_or_default().to_owned();
    let lines =
        text.lines().filter(|line| line.starts_with("kab_apiserver_requests") && line.contains("verb=\"patch\""));
    Ok(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as usize)
}

#[test]
fn one_that_keeps_itself_busy_is_noticed_and_slowed_down() {
    run("reconcile_busy", async |world| {
        let count = std::sync::atomic::AtomicU64::new(0);
        let app = App::start(move |_| {
            let count = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let child =
                json!({"apiVersion": "v1", "kind": "ConfigMap", "id": "clock", "data": {"text": count.to_string()}});
            Reply::ok(json!({"children": [child]}))
        })
        .await?;
        let shop = shop(world, &app, json!({"reconcile": "/reconcile"})).await?;
        let sidecar = world.start(&shop.settings).await?;
        sidecar.api.put("/v1/orders/a", &json!({})).await?.expect(201)?;
        shown(&sidecar, "a", "the order to be told as busy", |order| {
            (condition(order, "Reconciled")?["reason"] == "Busy").then_some(())
        })
        .await?;
        let calls = app.calls().len();
        assert!((20..30).contains(&calls), "{calls}");
        Ok(())
    });
}

#[test]
fn the_app_is_asked_again_when_it_wants_to_be() {
    run("reconcile_again", async |world| {
        let app = App::start(|call| {
            let count = call.body["entity"]["status"]["count"].as_u64().unwrap_or(0);
            let again = (count < 3).then_some(0.2);
            Reply::ok(json!({"status": {"count": count + u64::from(count < 4)}, "requeueAfter": again}))
        })
        .await?;
        let shop = shop(world, &app, json!({"reconcile": "/reconcile"})).await?;
        let sidecar = world.start(&shop.settings).await?;
        sidecar.api.put("/v1/orders/a", &json!({})).await?.expect(201)?;
        shown(&sidecar, "a", "the order to be counted", |order| (order["status"]["count"] == 4).then_some(())).await?;
        let calls = app.calls();
        let waits = calls.windows(2).map(|pair| pair[1].began.duration_since(pair[0].began));
        assert!(waits.clone().all(|wait| wait >= Duration::from_millis(190)), "{:?}", waits.collect::<Vec<_>>());
        Ok(())
    });
}

#[test]
fn related_objects_are_shown_and_a_change_of_them_is_a_reason_to_look() {
    run("reconcile_related", async |world| {
        let app = App::start(|call| {
            let related = call.body["related"].as_array().cloned().unwrap_or_default();
            let rates: Vec<_> =
                related.iter().filter(|map| map["id"] == "rates").map(|map| &map["data"]["rate"]).collect();
            Reply::ok(json!({"status": {"rate": rates.first()}}))
        })
        .await?;
        let related = json!([{"apiVersion": "v1", "kind": "ConfigMap"}]);
        let shop = shop(world, &app, json!({"reconcile": {"path": "/reconcile", "related": related}})).await?;
        let maps_too = json!({"apiVersion": "v1", "kind": "ConfigMap", "namespaces": [world.ns]});
        let sidecar = world.start(&shop.settings.clone().kind(maps_too)).await?;
        let rates: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "rates"}, "data": {"rate": "1"}}))?;
        maps(world).create(&PostParams::default(), &rates).await?;
        sidecar.api.put("/v1/orders/a", &json!({})).await?.expect(201)?;
        shown(&sidecar, "a", "the first rate", |order| (order["status"]["rate"] == "1").then_some(())).await?;
        let dearer = Patch::Merge(json!({"data": {"rate": "2"}}));
        maps(world).patch("rates", &PatchParams::default(), &dearer).await?;
        shown(&sidecar, "a", "the second rate", |order| (order["status"]["rate"] == "2").then_some(())).await
    });
}
