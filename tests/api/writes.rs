//! What the entity API's writes come to at a real API server.

use e2e::todos;
use reqwest::Method;
use serde_json::json;

use crate::world::run;

const JSON_PATCH: (&str, &str) = ("content-type", "application/json-patch+json");
const MERGE_PATCH: (&str, &str) = ("content-type", "application/merge-patch+json");

#[test]
fn a_json_patch_changes_fields_labels_and_expiry_or_nothing() {
    run("json_patch", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        let first = sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        let api = &sidecar.api;
        let patch = async |patch: serde_json::Value, more: &[(&str, &str)]| {
            let headers = [&[JSON_PATCH][..], more].concat();
            api.send(Method::PATCH, "/v1/todos/milk", &headers, Some(patch.to_string())).await
        };
        let changed = patch(
            json!([
                {"op": "test", "path": "/message", "value": "one"},
                {"op": "test", "path": "/meta/version", "value": first.body["meta"]["version"]},
                {"op": "replace", "path": "/message", "value": "two"},
                {"op": "add", "path": "/meta/labels/example.com~1shop", "value": "corner"},
                {"op": "add", "path": "/meta/expiresAt", "value": "2031-01-01T00:00:00Z"},
            ]),
            &[("if-match", first.header("etag"))],
        )
        .await?
        .expect(200)?;
        assert_eq!(changed.body["message"], "two");
        assert_eq!(changed.body["meta"]["labels"], json!({"example.com/shop": "corner"}));
        assert_eq!(changed.body["meta"]["expiresAt"], "2031-01-01T00:00:00Z");
        assert_eq!(api.get("/v1/todos/milk").await?.expect(200)?.body, changed.body);

        for unfit in [
            json!([{"op": "replace", "path": "/message", "value": "x"}, {"op": "test", "path": "/done", "value": true}]),
            json!([{"op": "remove", "path": "/nothing"}]),
            json!([{"op": "test", "path": "/meta/expiresAt", "value": null}]),
        ] {
            patch(unfit, &[]).await?.expect(409)?;
        }
        let stale = json!([{"op": "replace", "path": "/message", "value": "x"}]);
        patch(stale, &[("if-match", first.header("etag"))]).await?.expect(412)?;
        let invalid = patch(json!([{"op": "replace", "path": "/message", "value": 5}]), &[]).await?;
        assert!([400, 422].contains(&invalid.status.as_u16()), "{invalid:?}");
        assert_eq!(invalid.body["errors"][0]["pointer"], "/message");
        let unknown = patch(json!([{"op": "add", "path": "/colour", "value": "red"}]), &[]).await?;
        assert_eq!(unknown.body["errors"][0]["pointer"], "/colour", "{unknown:?}");
        assert_eq!(api.get("/v1/todos/milk").await?.expect(200)?.body, changed.body, "nothing of it changed anything");

        let cleared =
            patch(json!([{"op": "remove", "path": "/meta/expiresAt"}, {"op": "remove", "path": "/meta/labels"}]), &[]);
        let cleared = cleared.await?.expect(200)?;
        assert_eq!((&cleared.body["meta"]["expiresAt"], &cleared.body["meta"]["labels"]), (&json!(null), &json!({})));
        api.send(Method::PATCH, "/v1/todos/none", &[JSON_PATCH], Some("[]".to_owned())).await?.expect(404)?;
        Ok(())
    });
}

#[test]
fn a_status_is_written_beside_the_fields() {
    run("status_writes", async |world| {
        let sidecar = world.sidecar().await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        let api = &sidecar.api;
        let path = "/v1/todos/milk/status";
        let patched = api.send(
            Method::PATCH,
            path,
            &[JSON_PATCH],
            Some(json!([{"op": "add", "path": "/phase", "value": "Due"}]).to_string()),
        );
        let patched = patched.await?.expect(200)?;
        assert_eq!(
            (&patched.body["status"], &patched.body["meta"]["generation"]),
            (&json!({"phase": "Due"}), &json!(1))
        );
        let replaced = api.put(path, &json!({"phase": "Done"})).await?.expect(200)?;
        assert_eq!((&replaced.body["status"]["phase"], &replaced.body["message"]), (&json!("Done"), &json!("one")));
        let stale = [MERGE_PATCH, ("if-match", patched.header("etag"))];
        api.send(Method::PATCH, path, &stale, Some(json!({"phase": "Due"}).to_string())).await?.expect(412)?;
        let merged = api.send(Method::PATCH, path, &[MERGE_PATCH], Some(json!({"phase": null}).to_string())).await?;
        assert!(merged.expect(200)?.body["status"]["phase"].is_null());

        let invalid = api.put(path, &json!({"phase": "Lost"})).await?.expect(422)?;
        assert_eq!(invalid.body["errors"][0]["pointer"], "/status/phase");
        api.put("/v1/todos/none/status", &json!({"phase": "Done"})).await?.expect(404)?;
        assert_eq!(api.send(Method::GET, path, &[], None).await?.expect(405)?.header("allow"), "PUT, PATCH");
        let seen = todos::api(&world.kube, &world.ns).get("milk").await?;
        assert_eq!(seen.data["spec"]["message"], "one");
        Ok(())
    });
}

#[test]
fn a_create_with_a_key_is_done_once_also_across_a_restart_of_the_sidecar() {
    run("idempotency_key", async |world| {
        let body = json!({"when": "2030-01-01T10:00:00Z", "message": "one"}).to_string();
        let key = [("idempotency-key", "8e03978e-40d5-43dd-bc93-6894a57f9324")];
        let first = world.sidecar().await?;
        let created = first.api.send(Method::POST, "/v1/todos", &key, Some(body.clone())).await?.expect(201)?;
        first.kill().await?;

        let second = world.sidecar().await?;
        let again = second.api.send(Method::POST, "/v1/todos", &key, Some(body.clone())).await?.expect(201)?;
        assert_eq!((&again.body, again.header("location")), (&created.body, created.header("location")));
        assert_eq!(todos::api(&world.kube, &world.ns).list(&Default::default()).await?.items.len(), 1);

        let other = json!({"when": "2030-01-01T10:00:00Z", "message": "two"}).to_string();
        let refused = second.api.send(Method::POST, "/v1/todos", &key, Some(other)).await?.expect(422)?;
        assert_eq!(refused.body["type"], "urn:k8sasbackend:problem:idempotency-key-reused");

        // What changed since shows; what was deleted is made anew.
        let put = json!({"when": "2030-01-01T10:00:00Z", "message": "changed"});
        let path = created.header("location");
        second.api.put(path, &put).await?.expect(200)?;
        let again = second.api.send(Method::POST, "/v1/todos", &key, Some(body.clone())).await?.expect(201)?;
        assert_eq!(again.body["message"], "changed");
        second.api.send(Method::DELETE, path, &[], None).await?.expect(204)?;
        let anew = second.api.send(Method::POST, "/v1/todos", &key, Some(body)).await?.expect(201)?;
        assert_eq!((&anew.body["id"], &anew.body["message"]), (&created.body["id"], &json!("one")));
        assert_ne!(anew.body["meta"]["uid"], created.body["meta"]["uid"]);

        let named = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        let once = second.api.send(Method::POST, "/v1/todos", &key, Some(named.to_string())).await?.expect(201)?;
        let twice = second.api.send(Method::POST, "/v1/todos", &key, Some(named.to_string())).await?.expect(201)?;
        assert_eq!((&once.body, &once.body["id"]), (&twice.body, &json!("milk")));
        second.api.post("/v1/todos", &named).await?.expect(409)?;
        Ok(())
    });
}

#[test]
fn a_batch_writes_many_entities_and_tells_each_result() {
    run("batch", async |world| {
        let sidecar = world.sidecar().await?;
        let when = "2030-01-01T10:00:00Z";
        let creates: Vec<_> = (0..500)
            .map(|n| json!({"op": "create", "kind": "todos", "body": {"id": format!("t-{n}"), "when": when, "message": "m"}}))
            .collect();
        let told = sidecar.api.post("/v1/batch", &json!({"operations": creates})).await?.expect(200)?;
        let results = told.body["results"].as_array().cloned().unwrap_or_default();
        assert_eq!(results.len(), 500);
        for (n, result) in results.iter().enumerate() {
            assert_eq!(
                (&result["status"], &result["entity"]["id"]),
                (&json!(201), &json!(format!("t-{n}"))),
                "{result}"
            );
        }
        let list = sidecar.api.get("/v1/todos").await?.expect(200)?;
        assert_eq!(list.body["items"].as_array().map(Vec::len), Some(500), "read your own writes");

        let mixed = json!({"ordered": true, "operations": [
            {"op": "patchStatus", "kind": "todos", "id": "t-0", "body": {"phase": "Due"}},
            {"op": "replace", "kind": "todos", "id": "t-1", "ifMatch": results[1]["etag"], "body": {"when": when, "message": "two"}},
            {"op": "delete", "kind": "todos", "id": "t-2"},
            {"op": "replace", "kind": "todos", "id": "t-1", "ifMatch": results[1]["etag"], "body": {"when": when, "message": "lost"}},
            {"op": "delete", "kind": "todos", "id": "t-3"},
        ]});
        let told = sidecar.api.post("/v1/batch", &mixed).await?.expect(200)?;
        let statuses: Vec<_> =
            told.body["results"].as_array().into_iter().flatten().map(|result| result["status"].clone()).collect();
        assert_eq!(statuses, [200, 200, 204, 412, 424], "{}", told.body);
        sidecar.api.get("/v1/todos/t-3").await?.expect(200)?;
        Ok(())
    });
}
