//! The sample from end to end: third party, todo-app, sidecar, custom resource, topic, todo-table.

use e2e::entity_api::Client;
use e2e::program::Program;
use e2e::{todos, wait};
use serde_json::json;

use crate::world::run;

#[test]
fn a_third_party_and_kubectl_see_one_todo_and_the_consumer_both_their_changes() {
    run("sample", async |world| {
        let sidecar = world.sidecar().await?;
        let app = e2e::sample::todo_app(&world.scratch, sidecar.api.base(), "127.0.0.1:0").await?;
        let table = e2e::sample::todo_table(&world.scratch, &world.brokers, &world.topic, "127.0.0.1:0").await?;

        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "by a third party"});
        app.http.post("/api/todos", &todo).await?.expect(201)?;
        todos::change(&world.kube, &world.ns, "milk", "by kubectl").await?;
        wait::until("the app to answer kubectl's change", wait::LIMIT, || async {
            let read = app.http.get("/api/todos/milk").await?.expect(200)?;
            anyhow::ensure!(read.body["message"] == "by kubectl", "{}", read.body);
            Ok(())
        })
        .await?;
        row(&table.http, &format!("{}/milk", world.ns), Some("by kubectl")).await?;

        let past = json!({"id": "late", "when": "2001-01-01T10:00:00Z", "message": "too late"});
        let refused = app.http.post("/api/todos", &past).await?.expect(422)?;
        assert!(refused.body["detail"].is_string(), "{}", refused.body);
        assert!(todos::api(&world.kube, &world.ns).get_opt("late").await?.is_none());

        app.http.delete("/api/todos/milk").await?.expect(204)?;
        row(&table.http, &format!("{}/milk", world.ns), None).await?;
        let stats = table.http.get("/stats").await?.expect(200)?;
        assert_eq!(stats.body["counts"]["repeats"], 0, "{}", stats.body);
        ends_well([app.program, table.program]).await
    });
}

#[test]
fn the_app_shows_the_sidecar_its_token_also_a_new_one() {
    run("sample_token", async |world| {
        let token = world.scratch.folder().join("token");
        std::fs::write(&token, "first\n")?;
        let settings = world.settings().set("api", json!({"address": "127.0.0.1:0", "tokenFile": token}));
        let sidecar = world.start(&settings).await?;
        sidecar.api.get("/v1/todos").await?.expect(401)?;
        let url = ("KAB_URL", sidecar.api.base().to_owned());
        let told = [url, ("KAB_TOKEN_FILE", token.display().to_string())];
        let app = e2e::sample::todo_app_told(&world.scratch, &told, "127.0.0.1:0").await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "m"});
        app.http.post("/api/todos", &todo).await?.expect(201)?;
        std::fs::write(&token, "second\n")?;
        wait::until("the new token to be taken", wait::LIMIT, || async {
            app.http.get("/api/todos/milk").await?.expect(200)
        })
        .await?;
        let old = [("authorization", "Bearer first")];
        sidecar.api.send(reqwest::Method::GET, "/v1/todos", &old, None).await?.expect(401)?;
        app.http.delete("/api/todos/milk").await?.expect(204)?;
        assert!(app.program.terminate().await?.success());
        Ok(())
    });
}

/// Waits until the consumer's table has the row with this message, or no such row.
async fn row(table: &Client, key: &str, message: Option<&str>) -> anyhow::Result<()> {
    wait::until(&format!("the consumer's row {key}"), wait::LIMIT, || async {
        let body = table.get("/table").await?.expect(200)?.body;
        let text = body.to_string();
        let seen = message.map_or(!text.contains("\"milk\""), |message| text.contains(message));
        anyhow::ensure!(seen, "{text}");
        Ok(())
    })
    .await
}

async fn ends_well(programs: [Program; 2]) -> anyhow::Result<()> {
    for program in programs {
        let status = program.terminate().await?;
        assert!(status.success(), "SIGTERM ends a sample program with exit code 0, not {status}");
    }
    Ok(())
}
