//! `kab tail` as its user sees it: what it prints, how it ends.

use std::process::{Command, Output};

use anyhow::Context as _;
use e2e::program::Program;
use e2e::{binaries, todos, topic};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::world::{World, run};

/// Runs `kab` to its end.
pub(crate) async fn kab(arguments: &[&str]) -> anyhow::Result<Output> {
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        let kab = binaries::path("kab")?;
        Command::new(kab).args(arguments).env_remove("KAB_KAFKA").output().context("failed to run kab")
    })
    .await?
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

fn told(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A topic with the life of one todo, and another todo.
async fn filled(world: &World) -> anyhow::Result<()> {
    let sidecar = world.sidecar().await?;
    for (id, message) in [("milk", "one"), ("eggs", "one")] {
        let todo = json!({"id": id, "when": "2030-01-01T10:00:00Z", "message": message});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;
    }
    sidecar.api.patch("/v1/todos/milk", &json!({"message": "two"})).await?.expect(200)?;
    todos::api(&world.kube, &world.ns).delete("milk", &DeleteParams::default()).await?;
    topic::until(&world.brokers, &world.topic, "five records", |records| records.len() == 5).await?;
    sidecar.terminate().await?;
    Ok(())
}

#[test]
fn tail_tells_what_happened_to_which_entity_and_what_changed() {
    run("tail_text", async |world| {
        filled(world).await?;
        let (topic, brokers) = (world.topic.as_str(), world.brokers.as_str());
        let all = lines(&kab(&["tail", topic, "--brokers", brokers, "--from-beginning"]).await?);
        assert_eq!(all.len(), 5, "{all:#?}");

        let milk = format!("{}/milk", world.ns);
        let one = lines(&kab(&["tail", topic, "--brokers", brokers, "--key", &milk]).await?);
        let words = |index: usize| one[index].split_whitespace().skip(1).collect::<Vec<_>>();
        assert_eq!(one.len(), 4, "{one:#?}");
        assert_eq!(words(0)[..2], ["created", &milk], "{one:#?}");
        assert!(one[0].contains(r#"message="one""#), "{one:#?}");
        assert_eq!(words(1)[..2], ["updated", &milk], "{one:#?}");
        assert!(one[1].ends_with(r#"message: "one" → "two""#), "{one:#?}");
        assert_eq!(words(2)[..2], ["deleted", &milk], "{one:#?}");
        assert_eq!(words(3), ["tombstone", &milk], "{one:#?}");

        let last = lines(&kab(&["tail", topic, "-X", &format!("bootstrap.servers={brokers}"), "-n", "2"]).await?);
        assert_eq!(last.len(), 2, "{last:#?}");
        assert_eq!(last[1], one[3], "the last of all comes last");
        Ok(())
    });
}

#[test]
fn tail_prints_json_for_programs_and_takes_the_sidecars_own_configuration() {
    run("tail_json", async |world| {
        filled(world).await?;
        let file = world.scratch.file("tail", "yaml");
        std::fs::write(&file, world.settings().text())?;
        let file = file.display().to_string();
        let printed = lines(&kab(&["tail", &world.topic, "--config", &file, "-o", "json", "-b"]).await?);
        let records: Vec<Value> = printed.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>()?;
        let milk = format!("{}/milk", world.ns);
        let events: Vec<_> =
            records.iter().filter(|record| record["key"] == milk.as_str()).map(|record| &record["event"]).collect();
        assert_eq!(events, ["created", "updated", "deleted", "tombstone"]);
        let created = &records[0];
        assert_eq!(created["value"]["meta"]["version"], created["version"], "{created}");
        assert_eq!(created["headers"]["ce_specversion"], "1.0", "{created}");
        assert!(records.iter().any(|record| record["value"].is_null()), "a tombstone is shown");
        Ok(())
    });
}

#[test]
fn tail_follows_what_comes() {
    run("tail_follow", async |world| {
        let sidecar = world.sidecar().await?;
        todos::create(&world.kube, &world.ns, "milk", "one").await?;
        topic::until(&world.brokers, &world.topic, "the first record", |records| !records.is_empty()).await?;
        let arguments = ["tail", &world.topic, "--brokers", &world.brokers, "--follow"].map(str::to_owned);
        let tail = Program::spawn(&world.scratch, "kab", &arguments, &[]).await?;
        tail.told("what was there", |log| log.contains(r#"message="one""#).then_some(())).await?;
        todos::change(&world.kube, &world.ns, "milk", "two").await?;
        tail.told("what came", |log| log.contains(r#"message: "one" → "two""#).then_some(())).await?;
        assert!(tail.is_running(), "{}", tail.log());
        tail.kill().await?;
        drop(sidecar);
        Ok(())
    });
}

#[test]
fn tail_says_what_is_wrong_and_ends_with_a_code_of_its_own() {
    run("tail_wrong", async |world| {
        filled(world).await?;
        let (topic, brokers) = (world.topic.as_str(), world.brokers.as_str());
        let slip = topic.replace("test.", "tset.");
        let (code, text) = told(&kab(&["tail", &slip, "--brokers", brokers]).await?);
        assert_eq!(code, Some(66), "{text}");
        assert!(text.contains(&slip) && text.contains(topic), "it names the topic that was meant: {text}");

        // Bound and not listened at: nobody else gets the port, and nobody answers there.
        let held = std::net::TcpListener::bind("127.0.0.1:0")?;
        let away = held.local_addr()?.to_string();
        let (code, text) = told(&kab(&["tail", topic, "--brokers", &away, "--timeout", "2"]).await?);
        assert_eq!(code, Some(69), "{text}");
        assert!(text.contains(&away), "{text}");

        for wrong in [
            &["tail", topic, "--nonsense"][..],
            &["tail", topic],
            &["tail", topic, "--brokers", brokers, "-X", "no.such=1"],
            &["tail", topic, "--config", "nowhere.yaml"],
            &["nonsense"],
        ] {
            let (code, text) = told(&kab(wrong).await?);
            assert_eq!(code, Some(64), "{wrong:?}: {text}");
            assert!(!text.trim().is_empty(), "{wrong:?}");
        }
        Ok(())
    });
}

#[test]
fn completions_are_printed_for_a_shell() {
    run("completions", async |_| {
        let script = lines(&kab(&["completions", "bash"]).await?).join("\n");
        assert!(script.contains("--from-beginning") && script.contains("complete"), "{script}");
        let help = lines(&kab(&["tail", "--help"]).await?).join("\n");
        assert!(help.contains("Exit codes") && help.contains("last 10 records"), "{help}");
        Ok(())
    });
}
