//! The app's rule at the door: put to it is whoever writes, and what it says reaches them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use e2e::admission::{Authority, Registered, address};
use e2e::app::{App, Call, Reply};
use e2e::sidecar::{Settings, Sidecar};
use e2e::{todos, wait};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use reqwest::Method;
use serde_json::{Value, json};
use sidecar_core::admission::configuration::{Guard, Guarded};

use crate::world::{World, run};

const VALIDATE: &str = "/hooks/todos/validate";
const DEFAULT: &str = "/hooks/todos/default";
/// What the API server puts before the app's words.
const DENIED: &str = "admission webhook \"validate.todos.k8sasbackend.com\" denied the request: ";
/// A test's own probe, by which it sees that the API server asks.
const PROBE: &str = "is anybody there";

/// A sidecar with hooks at the door, the app behind it, and the objects that make the API server ask.
struct Door {
    sidecar: Sidecar,
    app: App,
    authority: Authority,
    registered: Registered,
}

/// What the app says in most tests: no `forbidden` message, and what is `locked` stays.
fn rule(call: &Call) -> Reply {
    if call.path == DEFAULT {
        return filled(call);
    }
    let message = |entity: &str| call.body[entity]["message"].as_str().unwrap_or_default().to_owned();
    if message("entity") == PROBE {
        return Reply::ok(json!({"allowed": false, "message": "the app is asked"}));
    }
    if message("entity").contains("forbidden") {
        let errors = json!([{"pointer": "/message", "detail": "is forbidden here"}]);
        return Reply::ok(json!({"allowed": false, "message": "the shop does not do this", "errors": errors}));
    }
    if message("oldEntity").contains("locked") {
        return Reply::ok(json!({"allowed": false, "message": "it is locked"}));
    }
    if message("entity").contains("odd") {
        return Reply::ok(json!({"allowed": true, "warnings": ["this is odd", "very\nodd"]}));
    }
    Reply::ok(json!({"allowed": true}))
}

/// A message without white space around it, and a label that says who wrote.
fn filled(call: &Call) -> Reply {
    let mut entity = call.body["entity"].clone();
    let trimmed = entity["message"].as_str().unwrap_or_default().trim().to_owned();
    entity["message"] = json!(trimmed);
    entity["meta"]["labels"]["seen"] = json!("yes");
    Reply::ok(json!({"entity": entity}))
}

impl Door {
    async fn open(world: &World, hooks: Value, except: Option<&str>) -> anyhow::Result<Self> {
        let authority = Authority::new(&world.scratch)?;
        let app = App::start(rule).await?;
        let kind = json!({
            "apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [world.ns], "hooks": hooks,
        });
        let settings = Settings::new(&world.kubeconfig)
            .kind(kind)
            .set("app", json!({"url": app.url()}))
            .set("admission", authority.settings());
        let sidecar = Sidecar::spawn(&world.scratch, &settings).await?;
        sidecar.ready().await?;
        let guard = |hook: &str| {
            let hook = hooks.get(hook)?;
            let deadline = hook["deadlineSeconds"].as_u64().unwrap_or(2);
            // The sidecar's own policy is what the tests are about; if it cannot be reached at all, that is a fault.
            Some(Guard { deadline: Duration::from_secs(deadline), fails: true, except: except.map(str::to_owned) })
        };
        let guarded = Guarded {
            group: "k8sasbackend.com".to_owned(),
            version: "v1".to_owned(),
            plural: "todos".to_owned(),
            namespaced: true,
            namespaces: vec![world.ns.clone()],
            validate: guard("validate"),
            default: guard("default"),
        };
        let objects = authority.objects(&world.ns, &address(&sidecar).await?, &[guarded]);
        let registered = Registered::write(&world.kube, objects).await?;
        Ok(Self { sidecar, app, authority, registered })
    }

    /// Waits until the API server asks about what this client writes.
    async fn heeded(&self, world: &World, client: &kube::Client) -> anyhow::Result<()> {
        let object = todos::object("probe", PROBE)?;
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        wait::until("the API server to ask the webhook", wait::LIMIT, || async {
            let told = todos::api(client, &world.ns).create(&dry, &object).await;
            ensure!(told.as_ref().is_err_and(|error| error.to_string().contains("the app is asked")), "{told:?}");
            Ok(())
        })
        .await
    }
}

/// Runs a test behind a door, and takes the door away whatever came of it.
fn behind<Body>(test: &str, hooks: Value, body: Body)
where
    Body: AsyncFnOnce(&World, &mut Door) -> anyhow::Result<()>,
{
    run(test, async |world| {
        let mut door = Door::open(world, hooks, None).await?;
        let outcome = match door.heeded(world, &world.kube).await {
            Ok(()) => body(world, &mut door).await,
            Err(error) => Err(error),
        };
        door.registered.remove().await?;
        outcome
    });
}

/// What the API server says of a write that it refuses.
fn refusal<E: Into<anyhow::Error>>(told: Result<DynamicObject, E>) -> anyhow::Result<String> {
    match told.map_err(Into::into) {
        Ok(object) => bail!("it was not refused: {object:?}"),
        Err(error) => match error.downcast_ref() {
            Some(kube::Error::Api(status)) => Ok(status.message.clone()),
            _ => Err(error),
        },
    }
}

fn last(app: &App, message: &str) -> anyhow::Result<Call> {
    let found = app.calls().into_iter().rev().find(|call| call.body["entity"]["message"] == message);
    found.with_context(|| format!("the app was not asked about {message:?}"))
}

#[test]
fn whoever_writes_is_put_to_the_app_s_rule() {
    behind("whoever_writes", json!({"validate": VALIDATE}), async |world, door| {
        let api = todos::api(&world.kube, &world.ns);
        let text = "the shop does not do this; /message: is forbidden here";

        // Through the entity API: a problem with a pointer, and nothing of webhooks.
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "forbidden milk"});
        let refused = door.sidecar.api.post("/v1/todos", &todo).await?.expect(422)?;
        ensure!(refused.body["detail"] == text, "{}", refused.body);
        ensure!(
            refused.body["errors"] == json!([{"pointer": "/message", "detail": "is forbidden here"}]),
            "{}",
            refused.body
        );
        let call = last(&door.app, "forbidden milk")?;
        ensure!(call.body["operation"] == "create" && call.body["oldEntity"].is_null(), "{}", call.body);
        ensure!(call.body["user"]["name"] == "kubernetes-admin" && call.body["dryRun"] == false, "{}", call.body);
        ensure!(
            call.body["entity"]["id"] == "milk" && call.body["entity"]["meta"]["namespace"] == world.ns.as_str(),
            "{}",
            call.body
        );
        ensure!(call.headers.get("kab-attempt").is_some_and(|attempt| attempt == "1"), "{:?}", call.headers);

        // By kubectl: create, apply, and without a name of its own.
        let raw = refusal(todos::create(&world.kube, &world.ns, "tea", "forbidden tea").await)?;
        ensure!(raw == format!("{DENIED}{text}"), "{raw}");
        let object = todos::object("tea", "forbidden too")?;
        let applied = api.patch("tea", &PatchParams::apply("kubectl"), &Patch::Apply(&object)).await;
        ensure!(refusal(applied)?.ends_with(text), "apply");
        let mut nameless = todos::object("", "forbidden name")?;
        nameless.metadata.name = None;
        nameless.metadata.generate_name = Some("tea-".to_owned());
        ensure!(refusal(api.create(&PostParams::default(), &nameless).await)?.ends_with(text), "a generated name");

        // An update and a deletion, with the entity as it is.
        todos::create(&world.kube, &world.ns, "beer", "locked beer").await?;
        let raw = refusal(todos::change(&world.kube, &world.ns, "beer", "free beer").await)?;
        ensure!(raw.ends_with("denied the request: it is locked"), "{raw}");
        let call = last(&door.app, "free beer")?;
        ensure!(
            call.body["operation"] == "update" && call.body["oldEntity"]["message"] == "locked beer",
            "{}",
            call.body
        );
        let refused = door.sidecar.api.delete("/v1/todos/beer").await?.expect(422)?;
        ensure!(refused.body["detail"] == "it is locked", "{}", refused.body);
        let deletion = door.app.calls().into_iter().rev().find(|call| call.body["operation"] == "delete");
        let call = deletion.context("the app was not asked about the deletion")?;
        ensure!(call.body["entity"].is_null() && call.body["oldEntity"]["id"] == "beer", "{}", call.body);

        // What no rule is about passes unasked: a finalizer, somebody's annotation, the status.
        let asked = door.app.calls().len();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"other": "x"}}}));
        api.patch("beer", &PatchParams::default(), &patch).await?;
        let status = json!({"phase": "Due"});
        door.sidecar.api.put("/v1/todos/beer/status", &status).await?.expect(200)?;
        ensure!(door.app.calls().len() == asked, "the app was asked about what it has no rule for");

        // Warnings reach who writes.
        let odd = json!({"id": "odd", "when": "2030-01-01T10:00:00Z", "message": "odd milk"});
        let stored = door.sidecar.api.post("/v1/todos", &odd).await?.expect(201)?;
        let warnings: Vec<&str> =
            stored.headers.get_all("warning").iter().filter_map(|value| value.to_str().ok()).collect();
        ensure!(warnings == ["299 - \"this is odd\"", "299 - \"very odd\""], "{warnings:?}");

        // A dry run is passed on, and stores nothing.
        let dry = json!({"id": "dry", "when": "2030-01-01T10:00:00Z", "message": "dry milk"});
        door.sidecar.api.post("/v1/todos?dryRun=true", &dry).await?.expect(201)?;
        ensure!(last(&door.app, "dry milk")?.body["dryRun"] == true, "dryRun");
        let dry = json!({"id": "dry", "when": "2030-01-01T10:00:00Z", "message": "forbidden dry"});
        door.sidecar.api.post("/v1/todos?dryRun=true", &dry).await?.expect(422)?;
        Ok(())
    });
}

#[test]
fn values_are_filled_in_for_every_writer_before_the_rule_is_asked() {
    let hooks = json!({"validate": VALIDATE, "default": DEFAULT});
    behind("values_are_filled_in", hooks, async |world, door| {
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "  milk  "});
        let stored = wait::until("the API server to ask for defaults", wait::LIMIT, || async {
            let stored = door.sidecar.api.put("/v1/todos/milk", &todo).await?;
            ensure!(stored.body["message"] == "milk", "{}", stored.body);
            Ok(stored)
        })
        .await?;
        ensure!(stored.body["meta"]["labels"]["seen"] == "yes", "{}", stored.body);
        let raw = todos::create(&world.kube, &world.ns, "tea", " tea ").await?;
        ensure!(raw.data["spec"]["message"] == "tea", "{:?}", raw.data);
        let judged = door.app.calls().into_iter().rev().find(|call| call.path == VALIDATE);
        ensure!(
            judged.context("no rule was asked")?.body["entity"]["message"] == "tea",
            "the rule sees what is filled in"
        );
        // Not its to change: that is a fault of the app.
        door.app.behave(|call| match call.path.as_str() {
            DEFAULT => Reply::ok(json!({"entity": {"id": "other"}})),
            _ => rule(call),
        });
        let raw = refusal(todos::create(&world.kube, &world.ns, "beer", "beer").await)?;
        ensure!(raw.contains("hook default") && raw.contains("/entity/id: a hook cannot change this"), "{raw}");
        Ok(())
    });
}

/// Each way in which an app fails, and what is said of it.
fn failures() -> Vec<(Reply, &'static str)> {
    vec![
        (Reply::Hang, "the app did not answer in time"),
        (Reply::Json(500, json!({})), "the app answered 500"),
        (Reply::Json(404, json!({})), "the app answered 404"),
        (Reply::Header(307, "location", "/elsewhere".to_owned()), "the app answered 307"),
        (Reply::Text("<html>".to_owned()), "the app's answer cannot be used: it is not JSON"),
        (Reply::Text(String::new()), "the app's answer cannot be used: it is empty"),
        (Reply::ok(json!({"allowed": "yes"})), "the app's answer cannot be used: /allowed: expected a boolean"),
        (Reply::ok(json!({"allow": true})), "the app's answer cannot be used: missing field `allowed`"),
        (Reply::Large(500 << 20), "the app's answer is larger than 1 MiB"),
    ]
}

#[test]
fn a_write_is_refused_while_the_app_fails() {
    let hooks = json!({"validate": {"path": VALIDATE, "deadlineSeconds": 5}});
    behind("refused_while_the_app_fails", hooks, async |world, door| {
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "milk"});
        for (reply, said) in failures() {
            door.app.behave(move |_| reply.clone());
            let text = format!("the app could not be asked (hook validate): {said}; try again later");
            let raw = refusal(todos::create(&world.kube, &world.ns, "milk", "milk").await)?;
            ensure!(raw == format!("{DENIED}{text}"), "{raw}");
            let refused = door.sidecar.api.post("/v1/todos", &todo).await?.expect(503)?;
            ensure!(refused.body["detail"] == text, "{}", refused.body);
            ensure!(!refused.header("retry-after").is_empty(), "{:?}", refused.headers);
        }
        door.app.stop().await;
        let refused = door.sidecar.api.post("/v1/todos", &todo).await?.expect(503)?;
        let text = "the app could not be asked (hook validate): the app does not take connections; try again later";
        ensure!(refused.body["detail"] == text, "{}", refused.body);
        door.app.behave(rule);
        door.app.come_back().await?;
        door.sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        Ok(())
    });
}

#[test]
fn a_write_is_let_through_while_the_app_fails_where_that_is_configured() {
    let hooks = json!({"validate": {"path": VALIDATE, "deadlineSeconds": 5, "failurePolicy": "Ignore"}});
    behind("let_through_while_the_app_fails", hooks, async |_, door| {
        for (number, (reply, said)) in failures().into_iter().enumerate() {
            door.app.behave(move |_| reply.clone());
            let todo = json!({"id": format!("milk-{number}"), "when": "2030-01-01T10:00:00Z", "message": "milk"});
            let stored = door.sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
            let text = format!("the app was not asked (hook validate): {said}");
            ensure!(stored.header("warning").contains(&text.replace('"', "\\\"")), "{:?}", stored.headers);
        }
        door.app.stop().await;
        let todo = json!({"id": "tea", "when": "2030-01-01T10:00:00Z", "message": "forbidden tea"});
        door.sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        Ok(())
    });
}

#[test]
fn a_certificate_is_replaced_without_a_failed_write() {
    behind("certificate_is_replaced", json!({"validate": VALIDATE}), async |_, door| {
        let until = async || door.sidecar.metric("kab_admission_certificate_until_seconds").await;
        let before = until().await?;
        let replaced = AtomicBool::new(false);
        let writing = async {
            let mut more = 0;
            let mut number = 0;
            // Some writes before, all while it is replaced, and some after.
            while more < 20 {
                let todo = json!({"when": "2030-01-01T10:00:00Z", "message": format!("milk {number}")});
                door.sidecar.api.send(Method::PUT, "/v1/todos/milk", &[], Some(todo.to_string())).await.and_then(
                    |answer| {
                        ensure!(answer.status.is_success(), "{}: {}", answer.status, answer.body);
                        Ok(())
                    },
                )?;
                number += 1;
                more += usize::from(replaced.load(Ordering::Relaxed));
            }
            Ok::<_, anyhow::Error>(())
        };
        let replacing = async {
            door.authority.issue(2101)?;
            let shown = wait::until("the new certificate to be shown", wait::LIMIT, || async {
                let now = until().await?;
                ensure!(now > before, "{now}");
                Ok(())
            });
            let outcome = shown.await;
            replaced.store(true, Ordering::Relaxed);
            outcome
        };
        let (written, shown) = tokio::join!(writing, replacing);
        shown?;
        written
    });
}

#[test]
fn an_app_that_does_one_thing_at_a_time_writes_where_only_others_are_put_to_its_rule() {
    run("writers_others", async |world| {
        let hooks = json!({"validate": {"path": VALIDATE, "writers": "others"}});
        // The sidecar of this test writes as the administrator.
        let door = Door::open(world, hooks, Some("kubernetes-admin")).await?;
        let mut kubeconfig = kube::config::Kubeconfig::read_from(&world.kubeconfig)?;
        for user in &mut kubeconfig.auth_infos {
            if let Some(info) = &mut user.auth_info {
                info.impersonate = Some("jane".to_owned());
                info.impersonate_groups = Some(vec!["system:masters".to_owned()]);
            }
        }
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default()).await?;
        let jane = kube::Client::try_from(config)?;
        let outcome = async {
            door.heeded(world, &jane).await?;
            let raw = refusal(todos::create(&jane, &world.ns, "tea", "forbidden tea").await)?;
            ensure!(raw.contains("the shop does not do this"), "{raw}");
            let call = last(&door.app, "forbidden tea")?;
            ensure!(call.body["user"]["name"] == "jane", "{}", call.body);
            // It is busy with the request that this write is a part of.
            door.app.behave(|_| Reply::Hang);
            let asked = door.app.calls().len();
            let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "forbidden milk"});
            door.sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
            ensure!(door.app.calls().len() == asked, "the app was asked about its own write");
            Ok(())
        }
        .await;
        let raw = todos::api(&world.kube, &world.ns);
        drop(raw.delete("milk", &DeleteParams::default()).await);
        door.registered.remove().await?;
        outcome
    });
}
