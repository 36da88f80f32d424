//! The entity API over real custom resources.

use anyhow::ensure;
use e2e::{todos, wait};
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::world::run;

#[test]
fn a_created_entity_is_read_back_at_once_and_seen_by_everybody() {
    run("created_read_back", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "buy milk"});
        let created = sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        assert_eq!(created.header("location"), format!("/v1/todos/milk"));
        assert_eq!(created.body["message"], "buy milk");
        assert_eq!(created.body["meta"]["namespace"], json!(world.ns));

        let read = sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
        assert_eq!(read.body, created.body, "the answer to the write and the next read are the same");
        assert_eq!(read.header("etag"), created.header("etag"));
        let version = created.body["meta"]["version"].as_str().unwrap_or_default().to_owned();
        assert_eq!(read.header("etag"), format!("\"{version}\""));

        let seen = todos::api(&world.kube, &world.ns).get("milk").await?;
        assert_eq!(seen.data["spec"], json!({"when": "2030-01-01T10:00:00Z", "message": "buy milk", "done": false}));
        let managers = seen.metadata.managed_fields.unwrap_or_default();
        assert!(managers.iter().any(|found| found.manager.as_deref() == Some("kab-sidecar")), "{managers:?}");

        sidecar.api.post("/v1/todos", &todo).await?.expect(409)?;
        Ok(())
    });
}

#[test]
fn an_id_is_generated_when_none_is_given() {
    run("generated_id", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = json!({"when": "2030-01-01T10:00:00Z", "message": "x"});
        let created = sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        let id = created.body["id"].as_str().unwrap_or_default();
        assert!(!id.is_empty());
        sidecar.api.get(&format!("/v1/todos/{id}")).await?.expect(200)?;
        Ok(())
    });
}

#[test]
fn a_change_by_another_writer_is_seen_once_its_version_is_waited_for() {
    run("other_writer", async |world| {
        let sidecar = world.sidecar().await?;
        let made = todos::create(&world.kube, &world.ns, "milk", "by kubectl").await?;
        let version = made.metadata.resource_version.unwrap_or_default();
        let headers = [("at-least-version", version.as_str())];
        let read = sidecar.api.send(reqwest::Method::GET, "/v1/todos/milk", &headers, None).await?.expect(200)?;
        assert_eq!(read.body["message"], "by kubectl");

        let future = [("at-least-version", "99999999"), ("prefer", "wait=1")];
        sidecar.api.send(reqwest::Method::GET, "/v1/todos/milk", &future, None).await?.expect(504)?;
        Ok(())
    });
}

#[test]
fn preconditions_hold_or_the_write_is_refused() {
    run("preconditions", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        let created = sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        let first = created.header("etag").to_owned();
        let api = &sidecar.api;

        let unchanged = api.send(reqwest::Method::GET, "/v1/todos/milk", &[("if-none-match", &first)], None).await?;
        unchanged.expect(304)?;

        let changed = json!({"when": "2030-01-01T10:00:00Z", "message": "two"}).to_string();
        let put = |etag: String, body: String| async move {
            api.send(reqwest::Method::PUT, "/v1/todos/milk", &[("if-match", &etag)], Some(body)).await
        };
        let replaced = put(first.clone(), changed.clone()).await?.expect(200)?;
        assert_eq!(replaced.body["message"], "two");
        put(first.clone(), changed.clone()).await?.expect(412)?;

        let patch = [("if-match", first.as_str()), ("content-type", "application/merge-patch+json")];
        let refused =
            api.send(reqwest::Method::PATCH, "/v1/todos/milk", &patch, Some("{\"message\":\"x\"}".into())).await?;
        refused.expect(412)?;
        api.send(reqwest::Method::DELETE, "/v1/todos/milk", &[("if-match", &first)], None).await?.expect(412)?;

        let only_new = [("if-none-match", "*")];
        api.send(reqwest::Method::PUT, "/v1/todos/milk", &only_new, Some(changed.clone())).await?.expect(412)?;
        api.send(reqwest::Method::PUT, "/v1/todos/bread", &only_new, Some(changed)).await?.expect(201)?;
        Ok(())
    });
}

#[test]
fn a_stale_cache_does_not_weaken_a_precondition() {
    run("stale_precondition", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        let etag = sidecar.api.post("/v1/todos", &todo).await?.expect(201)?.header("etag").to_owned();
        // At once after another writer's change, whether the watch has told it or not, the old ETag must not pass.
        todos::change(&world.kube, &world.ns, "milk", "by kubectl").await?;
        let body = json!({"when": "2030-01-01T10:00:00Z", "message": "lost update"}).to_string();
        let put = sidecar.api.send(reqwest::Method::PUT, "/v1/todos/milk", &[("if-match", &etag)], Some(body)).await?;
        put.expect(412)?;
        assert_eq!(todos::api(&world.kube, &world.ns).get("milk").await?.data["spec"]["message"], "by kubectl");
        Ok(())
    });
}

#[test]
fn a_replace_keeps_what_others_wrote_beside_the_entity() {
    run("replace_keeps", async |world| {
        let sidecar = world.sidecar().await?;
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        let foreign = Patch::Merge(json!({"metadata": {"annotations": {"example.com/note": "keep me"}}}));
        let api = todos::api(&world.kube, &world.ns);
        let noted = api.patch("milk", &PatchParams::default(), &foreign).await?;
        let version = noted.metadata.resource_version.unwrap_or_default();
        let headers = [("at-least-version", version.as_str())];
        sidecar.api.send(reqwest::Method::GET, "/v1/todos/milk", &headers, None).await?.expect(200)?;

        let body = json!({"when": "2031-01-01T10:00:00Z", "message": "two", "meta": {"labels": {"shop": "corner"}}});
        let replaced = sidecar.api.put("/v1/todos/milk", &body).await?.expect(200)?;
        assert_eq!(replaced.body["meta"]["labels"], json!({"shop": "corner"}));
        let seen = api.get("milk").await?;
        assert_eq!(seen.data["spec"]["message"], "two");
        let annotations = seen.metadata.annotations.unwrap_or_default();
        assert_eq!(annotations.get("example.com/note").map(String::as_str), Some("keep me"));

        // Labels that are not spoken of stay; labels that are given are all there are.
        let body = json!({"when": "2031-01-01T10:00:00Z", "message": "three"});
        let replaced = sidecar.api.put("/v1/todos/milk", &body).await?.expect(200)?;
        assert_eq!(replaced.body["meta"]["labels"], json!({"shop": "corner"}));
        let body = json!({"when": "2031-01-01T10:00:00Z", "message": "three", "meta": {"labels": {}}});
        let replaced = sidecar.api.put("/v1/todos/milk", &body).await?.expect(200)?;
        assert_eq!(replaced.body["meta"]["labels"], json!({}));
        Ok(())
    });
}

#[test]
fn a_merge_patch_changes_only_what_it_names() {
    run("merge_patch", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one", "meta": {"labels": {"a": "1", "b": "2"}}});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        let patch = json!({"message": "two", "meta": {"labels": {"a": null}, "expiresAt": "2031-01-01T00:00:00Z"}});
        let patched = sidecar.api.patch("/v1/todos/milk", &patch).await?.expect(200)?;
        assert_eq!(patched.body["message"], "two");
        assert_eq!(patched.body["when"], "2030-01-01T10:00:00Z");
        assert_eq!(patched.body["meta"]["labels"], json!({"b": "2"}));
        assert_eq!(patched.body["meta"]["expiresAt"], "2031-01-01T00:00:00Z");
        sidecar.api.patch("/v1/todos/nothing", &json!({"message": "x"})).await?.expect(404)?;
        Ok(())
    });
}

#[test]
fn a_deleted_entity_is_gone_at_once_and_a_held_one_says_so() {
    run("delete", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        sidecar.api.delete("/v1/todos/milk").await?.expect(204)?;
        sidecar.api.get("/v1/todos/milk").await?.expect(404)?;
        sidecar.api.delete("/v1/todos/milk").await?.expect(404)?;

        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        let api = todos::api(&world.kube, &world.ns);
        let hold = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold"]}}));
        api.patch("milk", &PatchParams::default(), &hold).await?;
        let held = sidecar.api.delete("/v1/todos/milk").await?.expect(202)?;
        assert_eq!(held.body["meta"]["deleting"], true);
        assert_eq!(sidecar.api.get("/v1/todos/milk").await?.expect(200)?.body["meta"]["deleting"], true);
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        api.patch("milk", &PatchParams::default(), &free).await?;
        wait::until("the entity to be gone", wait::LIMIT, || async {
            let read = sidecar.api.get("/v1/todos/milk").await?;
            ensure!(read.status.as_u16() == 404, "{read:?}");
            Ok(())
        })
        .await
    });
}

#[test]
fn a_refusal_names_the_place_in_the_apps_own_words() {
    run("refusal", async |world| {
        let sidecar = world.sidecar().await?;
        let post = async |body: serde_json::Value| sidecar.api.post("/v1/todos", &body).await;

        let unknown = post(json!({"id": "a", "when": "2030-01-01T10:00:00Z", "message": "x", "colour": "red"}))
            .await?
            .expect(400)?;
        assert_eq!(unknown.header("content-type"), "application/problem+json");
        assert_eq!(unknown.body["errors"][0]["pointer"], "/colour", "{}", unknown.body);

        let invalid = post(json!({"id": "a", "when": "tomorrow", "message": "x"})).await?.expect(422)?;
        assert_eq!(invalid.body["errors"][0]["pointer"], "/when", "{}", invalid.body);
        assert!(!invalid.body.to_string().contains("spec"), "{}", invalid.body);

        let missing = post(json!({"id": "a", "message": "x"})).await?.expect(422)?;
        assert_eq!(missing.body["errors"][0]["pointer"], "/when", "{}", missing.body);

        let name = post(json!({"id": "Not A Name", "when": "2030-01-01T10:00:00Z", "message": "x"})).await?;
        assert!(matches!(name.status.as_u16(), 400 | 422), "{name:?}");
        assert_eq!(name.body["errors"][0]["pointer"], "/id", "{}", name.body);

        let twice =
            sidecar.api.send(reqwest::Method::POST, "/v1/todos", &[], Some(r#"{"id":"a","id":"b"}"#.into())).await?;
        twice.expect(400)?;
        let large = json!({"id": "a", "when": "2030-01-01T10:00:00Z", "message": "x".repeat(1 << 20)});
        let large = post(large).await?.expect(413)?;
        assert!(large.body["detail"].as_str().unwrap_or_default().contains("1048"), "the real size: {}", large.body);
        Ok(())
    });
}

#[test]
fn lists_come_in_pages_that_are_stable_while_entities_come_and_go() {
    run("pages", async |world| {
        let sidecar = world.sidecar().await?;
        for number in 0..10 {
            let todo = json!({"id": format!("todo-{number}"), "when": "2030-01-01T10:00:00Z", "message": "x",
                "meta": {"labels": {"even": (number % 2 == 0).to_string()}}});
            sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        }
        let mut seen = Vec::new();
        let mut path = "/v1/todos?limit=3".to_owned();
        loop {
            let page = sidecar.api.get(&path).await?.expect(200)?;
            let items = page.body["items"].as_array().cloned().unwrap_or_default();
            assert!(items.len() <= 3);
            seen.extend(items.iter().map(|item| item["id"].as_str().unwrap_or_default().to_owned()));
            if seen.len() == 3 {
                sidecar.api.delete("/v1/todos/todo-0").await?.expect(204)?;
            }
            match page.body["nextPageToken"].as_str() {
                Some(token) => path = format!("/v1/todos?limit=3&pageToken={token}"),
                None => break,
            }
        }
        assert_eq!(seen, (0..10).map(|number| format!("todo-{number}")).collect::<Vec<_>>());

        let even = sidecar.api.get("/v1/todos?labelSelector=even%3Dtrue").await?.expect(200)?;
        assert_eq!(even.body["items"].as_array().map(Vec::len), Some(4));
        let unknown = sidecar.api.get("/v1/todos?colour=red").await?.expect(400)?;
        assert!(unknown.body["detail"].as_str().unwrap_or_default().contains("colour"), "{}", unknown.body);
        Ok(())
    });
}

#[test]
fn only_loopback_names_and_no_foreign_pages_are_answered() {
    run("hosts", async |world| {
        let sidecar = world.sidecar().await?;
        let get = async |headers: &[(&str, &str)]| sidecar.api.send(reqwest::Method::GET, "/v1", headers, None).await;
        get(&[]).await?.expect(200)?;
        get(&[("host", "localhost:3600")]).await?.expect(200)?;
        get(&[("host", "evil.example.com")]).await?.expect(403)?;
        get(&[("origin", "https://evil.example.com")]).await?.expect(403)?;
        Ok(())
    });
}

#[test]
fn a_dry_run_checks_everything_and_stores_nothing() {
    run("dry_run", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "x"});
        sidecar.api.post("/v1/todos?dryRun=true", &todo).await?.expect(201)?;
        sidecar.api.get("/v1/todos/milk").await?.expect(404)?;
        let bad = json!({"id": "milk", "when": "never", "message": "x"});
        sidecar.api.post("/v1/todos?dryRun=true", &bad).await?.expect(422)?;
        assert!(todos::api(&world.kube, &world.ns).get_opt("milk").await?.is_none());

        let stored = sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        let put = json!({"when": "2031-01-01T10:00:00Z", "message": "y"});
        sidecar.api.put("/v1/todos/milk?dryRun=true", &put).await?.expect(200)?;
        sidecar.api.put("/v1/todos/bread?dryRun=true", &put).await?.expect(201)?;
        sidecar.api.patch("/v1/todos/milk?dryRun=true", &json!({"message": "y"})).await?.expect(200)?;
        sidecar.api.put("/v1/todos/milk/status?dryRun=true", &json!({"phase": "Done"})).await?.expect(200)?;
        sidecar.api.delete("/v1/todos/milk?dryRun=true").await?.expect(204)?;
        let batch = json!({"operations": [{"op": "delete", "kind": "todos", "id": "milk", "dryRun": true}]});
        let told = sidecar.api.post("/v1/batch", &batch).await?.expect(200)?;
        assert_eq!(told.body["results"][0]["status"], 204);
        let fresh = [("cache-control", "no-cache")];
        for headers in [&[][..], &fresh[..]] {
            let read = sidecar.api.send(reqwest::Method::GET, "/v1/todos", headers, None).await?.expect(200)?;
            assert_eq!(read.body["items"], json!([stored.body]), "{headers:?}");
        }
        Ok(())
    });
}
