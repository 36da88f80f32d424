//! What a list promises (`docs/spec/lists.md`), over real custom resources.

use e2e::entity_api::Client;
use e2e::sidecar::Sidecar;
use e2e::{todos, wait};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, run};

/// A sidecar with five Todos: `id`, day of `when`, `message`, `done`, the label `shop`.
async fn with_five(world: &World) -> anyhow::Result<Sidecar> {
    let sidecar = world.sidecar().await?;
    for (id, day, message, done, shop) in [
        ("bread", 3, "buy bread", false, "corner"),
        ("cheese", 1, "buy cheese", true, "market"),
        ("jam", 5, "make jam", false, "market"),
        ("milk", 2, "buy milk", true, "corner"),
        ("tea", 4, "brew tea", false, "corner"),
    ] {
        let todo = json!({"id": id, "when": format!("2030-01-0{day}T10:00:00Z"), "message": message, "done": done,
            "meta": {"labels": {"shop": shop}}});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
    }
    Ok(sidecar)
}

/// Percent-encodes a query's value.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn listed(api: &Client, parameter: &str, value: &str) -> anyhow::Result<Vec<String>> {
    let answer = api.get(&format!("/v1/todos?{parameter}={}", encoded(value))).await?.expect(200)?;
    Ok(ids(&answer.body))
}

#[test]
fn a_filter_leaves_what_it_is_true_of() {
    run("list_filter", async |world| {
        let sidecar = with_five(world).await?;
        for (filter, expected) in [
            ("!done", &["bread", "jam", "tea"][..]),
            ("message.startsWith('buy') && !done", &["bread"]),
            ("when < timestamp('2030-01-03T00:00:00Z')", &["cheese", "milk"]),
            ("meta.labels['shop'] == 'market' || id == 'tea'", &["cheese", "jam", "tea"]),
            ("has(self.status) && status.phase == 'Due'", &[]),
            ("id in ['tea', 'milk', 'nothing']", &["milk", "tea"]),
        ] {
            assert_eq!(listed(&sidecar.api, "filter", filter).await?, expected, "{filter}");
            let through = [("cache-control", "no-cache")];
            let path = format!("/v1/todos?filter={}", encoded(filter));
            let through = sidecar.api.send(Method::GET, &path, &through, None).await?.expect(200)?;
            assert_eq!(ids(&through.body), expected, "{filter}, read through");
        }
        // What another writer changes comes into the filter, and what is changed here leaves it.
        todos::change(&world.kube, &world.ns, "jam", "buy jam").await?;
        let buys = "message.startsWith('buy') && !done";
        wait::until("the other writer's change in the list", wait::LIMIT, || async {
            let found = listed(&sidecar.api, "filter", buys).await?;
            anyhow::ensure!(found == ["bread", "jam"], "{found:?}");
            Ok(())
        })
        .await?;
        sidecar.api.patch("/v1/todos/bread", &json!({"done": true})).await?.expect(200)?;
        assert_eq!(listed(&sidecar.api, "filter", buys).await?, ["jam"]);
        Ok(())
    });
}

#[test]
fn a_list_is_in_the_order_that_was_asked_for() {
    run("list_order", async |world| {
        let sidecar = with_five(world).await?;
        for (order, expected) in [
            ("id desc", ["tea", "milk", "jam", "cheese", "bread"]),
            ("when", ["cheese", "milk", "bread", "tea", "jam"]),
            ("when desc", ["jam", "tea", "bread", "milk", "cheese"]),
            ("done,when desc", ["jam", "tea", "bread", "milk", "cheese"]),
            ("meta.labels[\"shop\"] desc,message", ["cheese", "jam", "tea", "bread", "milk"]),
            ("status.phase", ["bread", "cheese", "jam", "milk", "tea"]),
        ] {
            assert_eq!(listed(&sidecar.api, "orderBy", order).await?, expected, "{order}");
        }
        sidecar.api.put("/v1/todos/milk/status", &json!({"phase": "Due"})).await?.expect(200)?;
        let by_phase = listed(&sidecar.api, "orderBy", "status.phase desc").await?;
        assert_eq!(by_phase, ["milk", "bread", "cheese", "jam", "tea"], "what has no such value stands last");
        Ok(())
    });
}

#[test]
fn only_the_fields_asked_for_are_sent() {
    run("list_fields", async |world| {
        let sidecar = with_five(world).await?;
        let list = sidecar.api.get("/v1/todos?fields=when,meta.labels&limit=1").await?.expect(200)?;
        let bread = json!({"id": "bread", "when": "2030-01-03T10:00:00Z", "meta": {"labels": {"shop": "corner"}}});
        assert_eq!(list.body["items"], json!([bread]));
        assert!(list.body["meta"]["version"].is_string() && list.body["nextPageToken"].is_string(), "{}", list.body);
        // A page may show other fields than the one before.
        let token = list.body["nextPageToken"].as_str().unwrap_or_default().to_owned();
        let next = sidecar.api.get(&format!("/v1/todos?fields=id&limit=2&pageToken={token}")).await?.expect(200)?;
        assert_eq!(next.body["items"], json!([{"id": "cheese"}, {"id": "jam"}]));
        let unset = sidecar.api.get("/v1/todos?fields=status&limit=1").await?.expect(200)?;
        assert_eq!(unset.body["items"], json!([{"id": "bread"}]), "what an entity lacks is left out");
        Ok(())
    });
}

#[test]
fn a_list_that_did_not_change_is_not_sent_again() {
    run("list_etag", async |world| {
        let sidecar = with_five(world).await?;
        let path = "/v1/todos?labelSelector=shop%3Dcorner";
        let first = sidecar.api.get(path).await?.expect(200)?;
        let tag = first.header("etag").to_owned();
        assert!(tag.starts_with("W/\""), "{tag}");
        let again =
            async |path: &str, tag: &str| sidecar.api.send(Method::GET, path, &[("if-none-match", tag)], None).await;
        let unchanged = again(path, &format!("\"else\", {tag}")).await?.expect(304)?;
        assert_eq!((unchanged.header("etag"), &unchanged.body), (tag.as_str(), &Value::Null));
        // Something elsewhere in the cluster moves the version of all lists, and no item of this one.
        let elsewhere = format!("{}-elsewhere", world.ns);
        let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(world.kube.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": elsewhere}}))?;
        namespaces.create(&Default::default(), &namespace).await?;
        again(path, &tag).await?.expect(304)?;
        namespaces.delete(&elsewhere, &Default::default()).await?;

        assert_eq!(again("/v1/todos", &tag).await?.expect(200)?.body["items"].as_array().map(Vec::len), Some(5));
        sidecar.api.patch("/v1/todos/bread", &json!({"message": "bake bread"})).await?.expect(200)?;
        let changed = again(path, &tag).await?.expect(200)?;
        assert_ne!(changed.header("etag"), tag);
        assert_eq!(changed.body["items"][0]["message"], "bake bread");
        sidecar.api.delete("/v1/todos/tea").await?.expect(204)?;
        again(path, changed.header("etag")).await?.expect(200)?;
        Ok(())
    });
}

#[test]
fn pages_in_any_order_hold_while_entities_change() {
    run("ordered_pages", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = |number: usize, minute: usize| json!({"id": format!("todo-{number:02}"), "when": format!("2030-01-01T10:{minute:02}:00Z"), "message": "x"});
        for number in 0..20 {
            sidecar.api.post("/v1/todos", &todo(number, 59 - number)).await?.expect(201)?;
        }
        // The newest `when` first is the lowest number first. Between the pages: one that was sent goes, one that is ahead moves behind the place where
        // the page ended, one that was sent moves ahead, new ones come on both sides.
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = sidecar.api.get(&format!("/v1/todos?orderBy=when%20desc&limit=4{token}")).await?.expect(200)?;
            seen.extend(ids(&page.body));
            pages += 1;
            if pages == 1 {
                sidecar.api.delete("/v1/todos/todo-01").await?.expect(204)?;
                sidecar.api.patch("/v1/todos/todo-10", &json!({"when": "2031-01-01T10:00:00Z"})).await?.expect(200)?;
                sidecar.api.patch("/v1/todos/todo-02", &json!({"when": "2029-01-01T10:00:00Z"})).await?.expect(200)?;
                sidecar.api.post("/v1/todos", &todo(90, 59)).await?.expect(201)?;
                sidecar.api.post("/v1/todos", &todo(91, 0)).await?.expect(201)?;
            }
            match page.body["nextPageToken"].as_str() {
                Some(next) => token = format!("&pageToken={next}"),
                None => break,
            }
        }
        let unchanged = (0..20).filter(|number| ![1, 2, 10].contains(number));
        for number in unchanged {
            let id = format!("todo-{number:02}");
            assert_eq!(seen.iter().filter(|found| **found == id).count(), 1, "{id} in {seen:?}");
        }
        assert_eq!(seen.get(..4), Some(&["todo-00", "todo-01", "todo-02", "todo-03"].map(str::to_owned)[..]));
        assert_eq!(seen.last().map(String::as_str), Some("todo-02"), "it moved ahead, and is met again there");
        assert!(seen.contains(&"todo-91".to_owned()), "it came ahead of the place");
        assert!(!seen.contains(&"todo-90".to_owned()) && !seen.contains(&"todo-10".to_owned()), "they are behind it");
        let other = sidecar.api.get(&format!("/v1/todos?orderBy=id&limit=4{token}")).await?;
        assert_eq!(other.status, 400, "a token holds for its own order: {}", other.body);
        Ok(())
    });
}
