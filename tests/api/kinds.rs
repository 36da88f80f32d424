//! Any definition of a kind can be served: every shape of field, scope, version and name that Kubernetes allows.

use e2e::crd::Definition;
use e2e::sidecar::Settings;
use e2e::{topic, wait};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DeleteParams, PostParams};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, run};

/// A schema with every kind of field.
fn every_field() -> Value {
    json!({
        "type": "object",
        "required": ["color"],
        "x-kubernetes-validations": [{"rule": "self.low <= self.high", "message": "low is over high"}],
        "properties": {
            "color": {"type": "string", "enum": ["red", "green"]},
            "low": {"type": "integer", "format": "int64", "default": 1},
            "high": {"type": "integer", "format": "int64", "default": 9223372036854775807_u64},
            "price": {"type": "number"},
            "port": {"x-kubernetes-int-or-string": true},
            "when": {"type": "string", "format": "date-time"},
            "wait": {"type": "string", "format": "duration"},
            "data": {"type": "string", "format": "byte"},
            "note": {"type": "string", "nullable": true},
            "matrix": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            "shelves": {
                "type": "object",
                "additionalProperties": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
            },
            "parts": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {
                    "type": "object", "required": ["name"],
                    "properties": {"name": {"type": "string"}, "count": {"type": "integer", "default": 1}},
                },
            },
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "extra": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "properties": {"known": {"type": "boolean"}},
            },
            "object": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
        },
    })
}

#[test]
fn every_shape_of_field_goes_there_and_back() {
    run("every_field", async |world| {
        let kind = Definition::new("Box", "boxes").spec(every_field());
        kind.install(&world.kube).await?;
        let sidecar = world.start(&Settings::new(&world.kubeconfig).kind(kind.served(true, &[&world.ns]))).await?;
        let api = &sidecar.api;

        let whole = json!({
            "color": "red", "low": -9007199254740993_i64, "high": 9223372036854775807_i64, "price": 1.5, "port": "http",
            "when": "2030-01-01T10:00:00Z", "wait": "1h30m", "data": "aGVsbG8=", "note": "n",
            "matrix": [[1, 2.5], [], [3]], "shelves": {"a/b": {"c~d": ["x", "y"], "": []}},
            "parts": [{"name": "lid", "count": 2}, {"name": "box", "count": 1}], "tags": ["b", "a"],
            "extra": {"known": true, "any": {"deep": [null, {"er": 1}]}},
            "object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}},
        });
        let created = api.post("/v1/boxes", &with(&whole, "id", json!("one"))).await?.expect(201)?;
        assert_eq!(fields(&created.body), whole);
        assert_eq!(api.get("/v1/boxes/one").await?.expect(200)?.body, created.body);

        let sparse = json!({"color": "green", "parts": [{"name": "lid"}], "port": 8080, "note": null});
        let replaced = api.put("/v1/boxes/one", &sparse).await?.expect(200)?;
        let expected = json!({
            "color": "green", "low": 1, "high": 9223372036854775807_i64, "parts": [{"name": "lid", "count": 1}],
            "port": 8080, "note": null,
        });
        assert_eq!(fields(&replaced.body), expected, "defaults are filled in, a nullable field keeps its null");

        let patch = json!({"shelves": {"a": {"b": ["c"]}, "d": {}}, "extra": {"x": 1}, "note": null});
        api.patch("/v1/boxes/one", &patch).await?.expect(200)?;
        let patch = json!({"shelves": {"d": null}, "extra": {"x": null, "y": 2}});
        let patched = api.patch("/v1/boxes/one", &patch).await?.expect(200)?;
        assert_eq!((&patched.body["shelves"], &patched.body["extra"]), (&json!({"a": {"b": ["c"]}}), &json!({"y": 2})));

        for (filter, found) in [
            ("low == 1 && color in ['green']", 1),
            ("shelves.a.b[0] == 'c' && parts.exists(part, part.count > 1)", 0),
            ("parts.exists(part, part.name == 'lid')", 1),
        ] {
            let list = api.get(&format!("/v1/boxes?filter={}", escape(filter))).await?.expect(200)?;
            assert_eq!(list.body["items"].as_array().map(Vec::len), Some(found), "{filter}: {}", list.body);
        }
        Ok(())
    });
}

#[test]
fn what_the_schema_refuses_is_named_by_its_place() {
    run("schema_refuses", async |world| {
        let kind = Definition::new("Box", "boxes").spec(every_field());
        kind.install(&world.kube).await?;
        let sidecar = world.start(&Settings::new(&world.kubeconfig).kind(kind.served(true, &[&world.ns]))).await?;
        for (change, status, pointer) in [
            (json!({"color": "blue"}), 422, "/color"),
            (json!({"color": null}), 422, "/color"),
            (json!({"port": true}), 422, "/port"),
            (json!({"port": 1.5}), 422, "/port"),
            (json!({"when": "tomorrow"}), 422, "/when"),
            (json!({"data": "***"}), 422, "/data"),
            (json!({"matrix": [[1], ["x"]]}), 422, "/matrix/1/0"),
            (json!({"shelves": {"a": {"b": [1]}}}), 422, "/shelves/a/b/0"),
            (json!({"parts": [{"name": "a"}, {"name": "a"}]}), 422, "/parts/1"),
            (json!({"parts": [{"count": 1}]}), 422, "/parts/0/name"),
            (json!({"tags": ["a", "a"]}), 422, "/tags/1"),
            (json!({"extra": {"known": "yes"}}), 422, "/extra/known"),
            (json!({"low": 2, "high": 1}), 422, ""),
            (json!({"size": 1}), 400, "/size"),
            (json!({"parts": [{"name": "a", "size": 1}]}), 400, "/parts/0/size"),
        ] {
            let mut body = json!({"id": "one", "color": "red"});
            for (name, value) in change.as_object().expect("a change is an object") {
                body[name] = value.clone();
            }
            let refused = sidecar.api.post("/v1/boxes", &body).await?;
            let pointers: Vec<&str> = refused.body["errors"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|it| it["pointer"].as_str())
                .collect();
            assert!(
                refused.status == status && pointers.contains(&pointer),
                "{change}: {} {}",
                refused.status,
                refused.body
            );
            assert!(!refused.body.to_string().contains("spec"), "Kubernetes' paths stay out: {}", refused.body);
        }
        Ok(())
    });
}

#[test]
fn a_kind_that_names_no_field_takes_any() {
    run("any_field", async |world| {
        let kind = Definition::new("Bag", "bags")
            .spec(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}));
        kind.install(&world.kube).await?;
        let sidecar = world.start(&Settings::new(&world.kubeconfig).kind(kind.served(true, &[&world.ns]))).await?;
        let any = json!({"a": {"b": [1, "two", null, {"c": 0.1}]}, "kind": "of", "metadata": {"name": "mine"}, "spec": {"x": 1}});
        let created = sidecar.api.post("/v1/bags", &with(&any, "id", json!("one"))).await?.expect(201)?;
        assert_eq!(fields(&created.body), any);
        let list = sidecar.api.get(&format!("/v1/bags?filter={}", escape("spec.x == 1"))).await?.expect(200)?;
        assert_eq!(list.body["items"], json!([created.body]));

        // What another writer stores under a word that is the sidecar's own cannot take its place.
        let body = json!({
            "apiVersion": kind.api_version(), "kind": "Bag", "metadata": {"name": "two"},
            "spec": {"id": "other", "status": "x", "meta": [], "a": 1},
        });
        kind.objects(&world.kube, Some(&world.ns))
            .create(&PostParams::default(), &serde_json::from_value(body)?)
            .await?;
        let read = wait::until("the other writer's entity", wait::LIMIT, || async {
            sidecar.api.get("/v1/bags/two").await?.expect(200)
        })
        .await?;
        assert_eq!((&read.body["id"], &read.body["a"], &read.body["status"]), (&json!("two"), &json!(1), &Value::Null));
        assert_eq!(read.body["meta"]["namespace"], json!(world.ns));
        Ok(())
    });
}

#[test]
fn the_configured_version_of_several_is_served() {
    run("several_versions", async |world| {
        let field = |name: &str| json!({"type": "object", "properties": {name: {"type": "string"}, "both": {"type": "string"}}});
        let kind = Definition::new("Door", "doors").version("v1", field("old")).version("v2beta1", field("new"));
        kind.install(&world.kube).await?;
        let settings = Settings::new(&world.kubeconfig).kind(kind.served_as("v2beta1", true, &[&world.ns]));
        let newer = world.start(&settings).await?;
        let older =
            world.start(&Settings::new(&world.kubeconfig).kind(kind.served_as("v1", true, &[&world.ns]))).await?;

        let created = newer.api.post("/v1/doors", &json!({"id": "front", "both": "b"})).await?.expect(201)?;
        let version = created.body["meta"]["version"].as_str().unwrap_or_default().to_owned();
        let headers = [("at-least-version", version.as_str())];
        let read = older.api.send(Method::GET, "/v1/doors/front", &headers, None).await?.expect(200)?;
        assert_eq!(read.body, created.body, "one entity, whichever version tells it");
        let refused = newer.api.post("/v1/doors", &json!({"old": "x"})).await?.expect(400)?;
        assert_eq!(refused.body["errors"][0]["pointer"], "/old");
        older.api.post("/v1/doors", &json!({"old": "x"})).await?.expect(201)?;
        let kinds = newer.api.get("/v1").await?.expect(200)?;
        assert_eq!(kinds.body["items"][0]["apiVersion"], json!(format!("{}/v2beta1", kind.group())));
        Ok(())
    });
}

#[test]
fn a_cluster_scoped_kind_is_served_without_a_namespace() {
    run("cluster_scoped", async |world| {
        let kind = Definition::new("Planet", "planets").cluster_scoped();
        kind.install(&world.kube).await?;
        let mut served = kind.served(true, &[]);
        served["topic"] = json!(world.topic);
        let sidecar = world.start(&Settings::new(&world.kubeconfig).kind(served).kafka(&world.brokers)).await?;
        let created = sidecar.api.post("/v1/planets", &json!({"id": "mars", "name": "Mars"})).await?.expect(201)?;
        assert!(created.body["meta"].get("namespace").is_none(), "{}", created.body);
        sidecar.api.get("/v1/planets/mars?namespace=shop").await?.expect(400)?;
        sidecar.api.get("/v1/planets?namespace=shop").await?.expect(400)?;
        sidecar.api.patch("/v1/planets/mars", &json!({"name": "Red"})).await?.expect(200)?;
        sidecar.api.delete("/v1/planets/mars").await?.expect(204)?;
        let records = topic::until(&world.brokers, &world.topic, "four records", |records| records.len() == 4).await?;
        assert!(records.iter().all(|record| record.key == "mars"), "{}", topic::summary(&records));

        let named = Settings::new(&world.kubeconfig).kind(kind.served(false, &[&world.ns]));
        let program = e2e::sidecar::Sidecar::program(&world.scratch, &named.text()).await?;
        let status = program.ended(wait::LIMIT).await?;
        assert_eq!(status.code(), Some(i32::from(contract::names::EXIT_CONFIGURATION)), "{}", program.log());
        assert!(program.log().contains("Planet is cluster-scoped"), "{}", program.log());
        Ok(())
    });
}

#[test]
fn several_namespaces_and_all_of_them_are_served() {
    run("several_namespaces", async |world| {
        let other = format!("{}-b", world.ns);
        let namespaces: Api<Namespace> = Api::all(world.kube.clone());
        let body = serde_json::from_value(json!({"metadata": {"name": other}}))?;
        namespaces.create(&PostParams::default(), &body).await?;
        let outcome = in_two_namespaces(world, &other).await;
        namespaces.delete(&other, &DeleteParams::background()).await?;
        outcome
    });
}

async fn in_two_namespaces(world: &World, other: &str) -> anyhow::Result<()> {
    let kind = Definition::new("Leaf", "leaves");
    kind.install(&world.kube).await?;
    let two = world.start(&Settings::new(&world.kubeconfig).kind(kind.served(true, &[&world.ns, other]))).await?;
    let all = world.start(&Settings::new(&world.kubeconfig).kind(kind.served(true, &["all"]))).await?;
    let leaf = json!({"id": "one", "name": "x"});
    for sidecar in [&two, &all] {
        sidecar.api.post("/v1/leaves", &leaf).await?.expect(400)?;
        sidecar.api.get("/v1/leaves/one").await?.expect(400)?;
    }
    two.api.get("/v1/leaves?namespace=default").await?.expect(400)?;
    let mut versions = Vec::new();
    for (namespace, sidecar) in [(world.ns.as_str(), &two), (other, &all)] {
        let made = sidecar.api.post(&format!("/v1/leaves?namespace={namespace}"), &leaf).await?.expect(201)?;
        assert_eq!(made.body["meta"]["namespace"], json!(namespace));
        assert_eq!(made.header("location"), format!("/v1/leaves/one?namespace={namespace}"));
        versions.push(made.body["meta"]["version"].as_str().unwrap_or_default().to_owned());
    }
    for sidecar in [&two, &all] {
        let list = wait::until("both entities", wait::LIMIT, || async {
            let list = sidecar.api.get("/v1/leaves").await?.expect(200)?;
            anyhow::ensure!(list.body["items"].as_array().is_some_and(|items| items.len() == 2), "{}", list.body);
            Ok(list)
        })
        .await?;
        let places: Vec<&Value> =
            list.body["items"].as_array().into_iter().flatten().map(|it| &it["meta"]["namespace"]).collect();
        assert_eq!(places, [&json!(world.ns), &json!(other)], "in the order of their namespaces");
        let list = sidecar.api.get(&format!("/v1/leaves?namespace={other}")).await?.expect(200)?;
        assert_eq!(list.body["items"].as_array().map(Vec::len), Some(1));
        let headers = [("at-least-version", versions[1].as_str())];
        let path = format!("/v1/leaves/one?namespace={other}");
        let read = sidecar.api.send(Method::GET, &path, &headers, None).await?.expect(200)?;
        assert_eq!(read.body["meta"]["version"], json!(versions[1]));
    }
    Ok(())
}

#[test]
fn one_plural_in_two_groups_is_told_apart() {
    run("same_plural", async |world| {
        let (one, two) = (Definition::new("Key", "keys"), Definition::new("Key", "keys"));
        one.install(&world.kube).await?;
        two.install(&world.kube).await?;
        let settings =
            Settings::new(&world.kubeconfig).kind(one.served(true, &[&world.ns])).kind(two.served(true, &[&world.ns]));
        let sidecar = world.start(&settings).await?;
        let ambiguous = sidecar.api.get("/v1/keys").await?.expect(404)?;
        for kind in [&one, &two] {
            let path = format!("/v1/keys.{}", kind.group());
            assert!(
                ambiguous.body["detail"].as_str().is_some_and(|detail| detail.contains(&path)),
                "{}",
                ambiguous.body
            );
            let made = sidecar.api.post(&path, &json!({"id": "door", "name": kind.group()})).await?.expect(201)?;
            assert_eq!(made.header("location"), format!("{path}/door"));
            assert_eq!(sidecar.api.get(&format!("{path}/door")).await?.expect(200)?.body["name"], json!(kind.group()));
        }
        Ok(())
    });
}

#[test]
fn a_built_in_kind_without_a_spec_is_served() {
    run("config_maps", async |world| {
        let kind =
            |owned: bool| json!({"apiVersion": "v1", "kind": "ConfigMap", "owned": owned, "namespaces": [world.ns]});
        let owner = world.start(&Settings::new(&world.kubeconfig).kind(kind(true))).await?;
        let reader = world.start(&Settings::new(&world.kubeconfig).kind(kind(false))).await?;
        let map = json!({"id": "settings", "data": {"a.txt": "1"}, "binaryData": {"b": "AAE="}});
        let made = owner.api.post("/v1/configmaps", &map).await?.expect(201)?;
        assert_eq!(fields(&made.body), json!({"data": {"a.txt": "1"}, "binaryData": {"b": "AAE="}}));
        let patched = owner.api.patch("/v1/configmaps/settings", &json!({"data": {"c": "2"}})).await?.expect(200)?;
        assert_eq!(patched.body["data"], json!({"a.txt": "1", "c": "2"}));
        let replaced = owner.api.put("/v1/configmaps/settings", &json!({"data": {"d": "3"}})).await?.expect(200)?;
        assert_eq!(fields(&replaced.body), json!({"data": {"d": "3"}}), "what a replace leaves out is gone");
        let refused = owner.api.patch("/v1/configmaps/settings", &json!({"data": {"e": 5}})).await?;
        assert!([400, 422].contains(&refused.status.as_u16()), "{} {}", refused.status, refused.body);
        // Of a built-in kind the API server tells no more than the member.
        assert_eq!(refused.body["errors"][0]["pointer"], "/data", "{}", refused.body);
        owner.api.put("/v1/configmaps/settings/status", &json!({"phase": "x"})).await?.expect(404)?;

        let version = replaced.body["meta"]["version"].as_str().unwrap_or_default().to_owned();
        let headers = [("at-least-version", version.as_str())];
        let read = reader.api.send(Method::GET, "/v1/configmaps/settings", &headers, None).await?.expect(200)?;
        assert_eq!(read.body, replaced.body);
        reader.api.patch("/v1/configmaps/settings", &json!({"data": {}})).await?.expect(405)?;
        owner.api.delete("/v1/configmaps/settings").await?.expect(204)?;
        owner.api.get("/v1/configmaps/settings").await?.expect(404)?;
        Ok(())
    });
}

#[test]
fn a_kind_without_spec_and_status_subresource_is_served() {
    run("plain_kind", async |world| {
        let kind = Definition::new("Note", "notes").plain(json!({
            "type": "object",
            "properties": {
                "text": {"type": "string"}, "lines": {"type": "array", "items": {"type": "string"}},
                "status": {"type": "object", "properties": {"read": {"type": "boolean"}}},
            },
        }));
        kind.install(&world.kube).await?;
        let sidecar = world.start(&Settings::new(&world.kubeconfig).kind(kind.served(true, &[&world.ns]))).await?;
        let made =
            sidecar.api.post("/v1/notes", &json!({"id": "one", "text": "t", "lines": ["a"]})).await?.expect(201)?;
        assert_eq!(fields(&made.body), json!({"text": "t", "lines": ["a"]}));
        // Without the subresource another writer's object may hold a status like any field.
        let status = kube::api::Patch::Merge(json!({"status": {"read": true}}));
        let object = kind.objects(&world.kube, Some(&world.ns)).patch("one", &Default::default(), &status).await?;
        let version = object.metadata.resource_version.unwrap_or_default();
        let headers = [("at-least-version", version.as_str())];
        let read = sidecar.api.send(Method::GET, "/v1/notes/one", &headers, None).await?.expect(200)?;
        assert_eq!(read.body["status"], json!({"read": true}));
        let replaced = sidecar.api.put("/v1/notes/one", &json!({"text": "u"})).await?.expect(200)?;
        assert_eq!(fields(&replaced.body), json!({"text": "u"}));
        assert_eq!(replaced.body["status"], json!({"read": true}), "the status is not the entity's writer's");
        sidecar.api.put("/v1/notes/one/status", &json!({"read": false})).await?.expect(404)?;
        Ok(())
    });
}

#[test]
fn odd_names_of_kinds_are_served() {
    run("odd_names", async |world| {
        for (kind, plural) in [("Sheep", "sheep"), ("shape", "shapes"), ("Odd-One", "odd-ones"), ("V1", "v1")] {
            let definition = Definition::new(kind, plural);
            definition.install(&world.kube).await?;
            let sidecar =
                world.start(&Settings::new(&world.kubeconfig).kind(definition.served(true, &[&world.ns]))).await?;
            let path = format!("/v1/{plural}");
            let kinds = sidecar.api.get("/v1").await?.expect(200)?;
            assert_eq!(kinds.body["items"][0]["path"], json!(path));
            sidecar.api.post(&path, &json!({"id": "status", "name": "x"})).await?.expect(201)?;
            sidecar.api.patch(&format!("{path}/status"), &json!({"name": "y"})).await?.expect(200)?;
            assert_eq!(sidecar.api.get(&format!("{path}/status")).await?.expect(200)?.body["name"], "y");
            sidecar.api.get("/openapi.json").await?.expect(200)?;
            sidecar.terminate().await?;
        }
        Ok(())
    });
}

/// The entity's own fields.
fn fields(entity: &Value) -> Value {
    let own =
        entity.as_object().into_iter().flatten().filter(|(name, _)| !["id", "status", "meta"].contains(&name.as_str()));
    Value::Object(own.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn with(entity: &Value, name: &str, value: Value) -> Value {
    let mut entity = entity.clone();
    entity[name] = value;
    entity
}

/// For a query.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
