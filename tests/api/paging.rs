//! An API server that cannot stream lists: everything is asked for in pages, and then followed all the same.

use devcluster::{Cluster, ClusterOptions};
use e2e::{todos, wait};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::json;

use crate::history::on;

/// More than two pages.
const TODOS: usize = 1_100;

#[test]
fn lists_are_paged_where_the_api_server_cannot_stream_them() {
    let test = "paged-lists";
    let gates = vec!["WatchList=false".to_owned()];
    let options = ClusterOptions { feature_gates: gates, kafka: false, ..ClusterOptions::for_tests(test) };
    on(options, test, async |world, _: &Cluster| {
        stream::iter(0..TODOS)
            .map(|number| async move { todos::create(&world.kube, &world.ns, &format!("todo-{number}"), "one").await })
            .buffer_unordered(16)
            .try_collect::<Vec<_>>()
            .await?;
        let sidecar = world.sidecar().await?;
        let list = sidecar.api.get("/v1/todos").await?.expect(200)?;
        assert_eq!(list.body["items"].as_array().map(Vec::len), Some(TODOS));
        let metrics = sidecar.admin.get("/metrics").await?.body;
        let asked = |request: &str| {
            let lines = metrics.as_str().unwrap_or_default().lines();
            let label = format!("request=\"{request}\"");
            let line =
                lines.filter(|line| line.starts_with("kab_watch_requests_total")).find(|line| line.contains(&label));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<u32>().ok()).unwrap_or_default()
        };
        // A bridge that attaches while the list is under way has it begun again.
        assert!(asked("stream") == 1 && asked("page") >= 3, "{metrics}");

        todos::change(&world.kube, &world.ns, "todo-7", "two").await?;
        wait::until("the change to be followed", wait::LIMIT, || async {
            let read = sidecar.api.get("/v1/todos/todo-7").await?.expect(200)?;
            anyhow::ensure!(read.body["message"] == "two", "{}", read.body);
            Ok(())
        })
        .await?;
        let todo = json!({"id": "milk", "when": "2030-01-01T10:00:00Z", "message": "one"});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
        sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
        Ok(())
    });
}
