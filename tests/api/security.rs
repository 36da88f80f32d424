//! What the entity API keeps to itself, seen from outside of the process.

use anyhow::ensure;
use e2e::events::Events;
use e2e::sidecar::Settings;
use e2e::{todos, wait};
use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::world::run;

/// Stands in entities, in a token and in queries, and nowhere else.
const SECRET: &str = "xyzzy-plugh";

#[test]
fn nothing_of_an_entity_stands_in_logs_or_metrics() {
    run("security_silence", async |world| {
        let token = world.scratch.folder().join("token");
        std::fs::write(&token, format!("{SECRET}-token"))?;
        let settings = world
            .settings()
            .set("log", json!({"level": "trace", "format": "json"}))
            .set("api", json!({"address": "127.0.0.1:0", "tokenFile": token}));
        let sidecar = world.start(&settings).await?;
        let bearer = format!("Bearer {SECRET}-token");
        let authorization = ("authorization", bearer.as_str());
        let send = async |method: Method, path: &str, body: Option<serde_json::Value>| {
            let merge = ("content-type", "application/merge-patch+json");
            let headers = if method == Method::PATCH { vec![authorization, merge] } else { vec![authorization] };
            sidecar.api.send(method, path, &headers, body.map(|body| body.to_string())).await
        };
        let todo =
            json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": SECRET, "meta": {"labels": {"a": SECRET}}});
        sidecar.api.post("/v1/todos", &todo).await?.expect(401)?;
        send(Method::POST, "/v1/todos", Some(todo.clone())).await?.expect(201)?;
        send(Method::POST, "/v1/todos", Some(todo)).await?.expect(409)?;
        let invalid = json!({"id": "bad", "when": SECRET, "message": SECRET});
        send(Method::POST, "/v1/todos", Some(invalid)).await?.expect(422)?;
        send(Method::PATCH, "/v1/todos/milk", Some(json!({"message": format!("{SECRET} again")})))
            .await?
            .expect(200)?;
        let listed = send(Method::GET, &format!("/v1/todos?filter=message.contains(%22{SECRET}%22)"), None)
            .await?
            .expect(200)?;
        assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1));
        send(Method::GET, &format!("/v1/todos?filter={SECRET}"), None).await?.expect(400)?;
        todos::change(&world.kube, &world.ns, "milk", SECRET).await?;
        send(Method::DELETE, "/v1/todos/milk", None).await?.expect(204)?;
        wait::until("the bridge to have told everything", wait::LIMIT, || async {
            let records = sidecar.metric("kab_bridge_records_total").await?;
            ensure!(records >= 4.0, "{records} records");
            Ok(())
        })
        .await?;
        let metrics = sidecar.admin.get("/metrics").await?.expect(200)?;
        assert!(!metrics.body.to_string().contains(SECRET), "{}", metrics.body);
        assert!(!metrics.body.to_string().contains("milk"), "no id is a label");
        let ready = sidecar.admin.get("/readyz").await?;
        assert!(!ready.body.to_string().contains(SECRET), "{}", ready.body);
        let log = sidecar.program.log();
        assert!(log.lines().count() > 20, "it logs at this level");
        let told: Vec<&str> = log.lines().filter(|line| line.contains(SECRET)).take(3).collect();
        assert!(told.is_empty(), "{told:#?}");
        Ok(())
    });
}

#[test]
fn a_token_that_changes_is_taken_without_a_restart_and_the_socket_needs_it_too() {
    run("security_token", async |world| {
        let (token, socket) = (world.scratch.folder().join("token"), world.scratch.folder().join("s"));
        std::fs::write(&token, "one")?;
        let kind = json!({"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "namespaces": [world.ns]});
        let api = json!({"address": "127.0.0.1:0", "tokenFile": token, "socket": socket});
        let settings = Settings::new(&world.kubeconfig).kind(kind).set("api", api);
        let sidecar = world.start(&settings).await?;
        let ask = async |token: &str| {
            let bearer = format!("Bearer {token}");
            let answer = sidecar.api.send(Method::GET, "/v1/todos", &[("authorization", &bearer)], None).await?;
            anyhow::Ok(answer.status.as_u16())
        };
        assert_eq!((ask("one").await?, ask("two").await?), (200, 401));
        assert!(Events::open(sidecar.api.base(), "/v1/todos", "").await.is_err(), "events need it too");
        std::fs::write(&token, "two")?;
        wait::until("the new token to be taken", wait::LIMIT, || async {
            let codes = (ask("one").await?, ask("two").await?);
            ensure!(codes == (401, 200), "{codes:?}");
            Ok(())
        })
        .await?;
        for (header, expected) in [("", "HTTP/1.1 401"), ("authorization: Bearer two\r\n", "HTTP/1.1 200")] {
            let mut stream = UnixStream::connect(&socket).await?;
            let request = format!("GET /v1/todos HTTP/1.1\r\nhost: localhost\r\n{header}connection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            assert!(answer.starts_with(expected), "{answer}");
        }
        assert!(sidecar.terminate().await?.success());
        assert!(!socket.exists(), "it is removed at the end");
        Ok(())
    });
}
