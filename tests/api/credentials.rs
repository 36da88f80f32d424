//! Secrets for Kafka: where they come from, that they can be replaced while the sidecar runs, that a refusal is told and drops nothing,
//! and that no secret is ever told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contract::names::{EXIT_CONFIGURATION, POSITIONS_TOPIC};
use e2e::sidecar::Sidecar;
use e2e::{todos, topic, topics, wait};
use serde_json::json;

use crate::guarded::{allow, guarded, keep, may_create, password, rights, user};
use crate::tail::kab;
use crate::world::{World, run};

/// A refused connection is tried again every few seconds, and librdkafka waits longer each time.
const LONG: Duration = Duration::from_secs(90);

/// Waits until the broadcast says that it is held up by refusals, in readiness and as a metric.
async fn refused(sidecar: &Sidecar, words: &str) -> anyhow::Result<()> {
    wait::until("the refusal to be told", LONG, || async {
        let part = sidecar.part("kafka").await?;
        let detail = part["detail"].as_str().unwrap_or_default().to_lowercase();
        anyhow::ensure!(part["state"] == "down" && detail.contains(words), "{part}");
        let metrics = sidecar.admin.get("/metrics").await?;
        let metrics = metrics.body.as_str().unwrap_or_default();
        let told = metrics.lines().any(|line| {
            line.starts_with("kab_bridge_trouble{") && line.contains("cause=\"denied\"") && line.ends_with(" 1")
        });
        anyhow::ensure!(told, "{metrics}");
        Ok(())
    })
    .await
}

/// Waits until the topic has a record of each of these todos.
async fn arrived(world: &World, names: &[&str]) -> anyhow::Result<()> {
    wait::until("every todo's record", LONG, || async {
        let records = topic::read(guarded().open(), &world.topic).await?;
        let missing = names.iter().find(|name| !records.iter().any(|record| record.key.ends_with(*name)));
        anyhow::ensure!(missing.is_none(), "no record of {missing:?} in {}", topic::summary(&records));
        Ok(())
    })
    .await
}

/// Nothing that the sidecar tells, to its log or at its admin port, has any of these in it.
async fn untold(sidecar: &Sidecar, secrets: &[&str]) -> anyhow::Result<()> {
    let ready = sidecar.admin.get("/readyz").await?.body.to_string();
    let metrics = sidecar.admin.get("/metrics").await?.body.to_string();
    for (place, text) in [("its log", sidecar.program.log()), ("/readyz", ready), ("/metrics", metrics)] {
        for secret in secrets {
            assert!(!text.contains(secret), "a secret stands in {place}");
        }
    }
    Ok(())
}

#[test]
fn a_password_is_replaced_while_the_sidecar_runs_and_never_told() {
    const SECRETS: [&str; 3] = ["first-sesame-8Q", "second-sesame-4K", "third-sesame-7T"];
    run("password", async |world| {
        let (kafka, user) = (guarded(), user(world));
        let file = world.scratch.folder().join("password");
        let mut changes = allow(rights(&user, &world.topic).into_iter().chain(may_create(&user, &world.topic)));
        changes.push(password(&user, SECRETS[0]));
        kafka.change(&changes).await?;
        keep(&file, SECRETS[0])?;
        let mut properties = kafka.sasl("SCRAM-SHA-512", &user);
        properties["debug"] = json!("all");
        // A secret that stands in the configuration itself is one all the same; this one is of no use here.
        properties["ssl.key.password"] = json!(SECRETS[2]);
        let settings = world
            .settings()
            .set("kafka", json!({"properties": properties, "propertyFiles": {"sasl.password": file}}))
            .set("log", json!({"level": "trace", "format": "json"}));
        let sidecar = world.start(&settings).await?;
        todos::create(&world.kube, &world.ns, "before", "one").await?;
        arrived(world, &["before"]).await?;

        kafka.change(&[password(&user, SECRETS[1])]).await?;
        // The broker asks for the password again every five seconds, and a change needs a connection.
        wait::until("the old password to be refused", LONG, || async {
            todos::change(&world.kube, &world.ns, "before", &e2e::program::unique()).await?;
            let part = sidecar.part("kafka").await?;
            anyhow::ensure!(part["state"] == "down", "{part}");
            Ok(())
        })
        .await?;
        refused(&sidecar, "authentication failed").await?;
        todos::create(&world.kube, &world.ns, "meanwhile", "one").await?;
        let todo = json!({"id": "served", "when": "2030-01-01T10:00:00Z", "message": "one"});
        sidecar.api.post("/v1/todos", &todo).await?.expect(201)?;

        keep(&file, SECRETS[1])?;
        arrived(world, &["meanwhile", "served"]).await?;
        wait::until("the refusal to be over", LONG, || async {
            let part = sidecar.part("kafka").await?;
            anyhow::ensure!(part["state"] == "up", "{part}");
            Ok(())
        })
        .await?;
        assert!(sidecar.program.log().contains("SASL"), "librdkafka's own debugging is in the log");

        // `kab tail` goes by the same configuration, and tells a refusal by an exit code of its own.
        let config = world.scratch.file("tail", "yaml");
        std::fs::write(&config, settings.text())?;
        let tail = ["tail", &world.topic, "--from-beginning", "--config", &config.display().to_string()];
        let read = kab(&tail).await?;
        let printed = String::from_utf8_lossy(&read.stdout).into_owned();
        assert!(read.status.success() && printed.contains("/served"), "{read:?}");
        keep(&file, SECRETS[2])?;
        let denied = kab(&tail).await?;
        assert_eq!(denied.status.code(), Some(77), "{denied:?}");
        assert!(SECRETS.iter().all(|secret| !format!("{denied:?}").contains(secret)), "a secret is told");
        untold(&sidecar, &SECRETS).await
    });
}

/// A token that nobody signed, for a principal, good until `end`.
fn token(principal: &str, begin: SystemTime, end: SystemTime) -> anyhow::Result<String> {
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).map(|since| since.as_secs());
    let claims = json!({"sub": principal, "iat": seconds(begin)?, "exp": seconds(end)?, "jti": e2e::program::unique()});
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    Ok(format!("{}.{}.", encoded(r#"{"alg":"none"}"#), encoded(&claims.to_string())))
}

#[test]
fn a_token_comes_from_a_file_and_one_that_has_run_out_is_waited_for() {
    run("token", async |world| {
        let (kafka, user) = (guarded(), user(world));
        kafka.change(&allow(rights(&user, &world.topic))).await?;
        let file = world.scratch.folder().join("token");
        let now = SystemTime::now();
        let hour = Duration::from_secs(3600);
        let old = token(&user, now - 2 * hour, now - hour)?;
        keep(&file, &old)?;
        let mut properties = kafka.sasl("OAUTHBEARER", &user);
        properties["debug"] = json!("all");
        let settings = world
            .settings()
            .set("kafka", json!({"properties": properties, "tokenFile": file}))
            .set("log", json!({"level": "trace", "format": "json"}));
        let sidecar = Sidecar::spawn(&world.scratch, &settings).await?;
        todos::create(&world.kube, &world.ns, "early", "one").await?;
        refused(&sidecar, "token").await?;

        // With a token the sidecar cannot make topics, and says which are missing.
        let new = token(&user, now, now + hour)?;
        keep(&file, &new)?;
        wait::until("the missing topic to be named", LONG, || async {
            let part = sidecar.part("kafka").await?;
            let detail = part["detail"].as_str().unwrap_or_default();
            anyhow::ensure!(detail.contains("is not there") && detail.contains("cleanup.policy=compact"), "{part}");
            Ok(())
        })
        .await?;
        for name in [POSITIONS_TOPIC, &world.topic] {
            // Another test may have made the topic of positions.
            drop(topics::create(kafka.open(), name, 1, &[("cleanup.policy", "compact")]).await);
        }
        arrived(world, &["early"]).await?;
        let config = world.scratch.file("tail", "yaml");
        std::fs::write(&config, settings.text())?;
        let read = kab(&["tail", &world.topic, "-b", "--config", &config.display().to_string()]).await?;
        let printed = String::from_utf8_lossy(&read.stdout).into_owned();
        assert!(read.status.success() && printed.contains("/early"), "kab tail uses the token too: {read:?}");
        untold(&sidecar, &[&old, &new]).await
    });
}

#[test]
fn a_client_certificate_opens_mutual_tls_and_another_authority_is_not_trusted() {
    run("mutual_tls", async |world| {
        let kafka = guarded();
        let principal = "CN=kafka-client";
        kafka
            .change(&allow(rights(principal, &world.topic).into_iter().chain(may_create(principal, &world.topic))))
            .await?;
        let trusted = world.scratch.folder().join("ca.crt");
        // The authority of the Kubernetes part: a good one, for something else.
        std::fs::copy(kafka.side.ca.with_file_name("ca.crt"), &trusted)?;
        let properties = json!({
            "bootstrap.servers": kafka.side.tls, "security.protocol": "ssl", "ssl.ca.location": trusted,
            "ssl.certificate.location": kafka.side.certificate, "ssl.key.location": kafka.side.key,
        });
        let settings = world.settings().set("kafka", json!({"properties": properties}));
        let sidecar = Sidecar::spawn(&world.scratch, &settings).await?;
        todos::create(&world.kube, &world.ns, "early", "one").await?;
        refused(&sidecar, "certificate").await?;
        std::fs::copy(&kafka.side.ca, &trusted)?;
        arrived(world, &["early"]).await?;
        sidecar.ready().await
    });
}

#[test]
fn a_file_that_is_not_there_is_told_with_its_setting() {
    run("no_secret", async |world| {
        let brokers = &world.brokers;
        for (section, key) in [
            (
                json!({"properties": {"bootstrap.servers": brokers}, "propertyFiles": {"sasl.password": "nowhere.txt"}}),
                "kafka.propertyFiles.sasl.password",
            ),
            (
                json!({"properties": {"bootstrap.servers": brokers, "sasl.mechanisms": "OAUTHBEARER"}, "tokenFile": "nowhere.txt"}),
                "kafka.tokenFile",
            ),
            (
                json!({"properties": {"bootstrap.servers": brokers, "ssl.ca.location": "nowhere.txt"}}),
                "kafka.properties.ssl.ca.location",
            ),
        ] {
            let config = world.settings().set("kafka", section).text();
            let program = Sidecar::program(&world.scratch, &config).await?;
            let status = program.ended(Duration::from_secs(20)).await?;
            let log = program.log();
            assert_eq!(status.code(), Some(i32::from(EXIT_CONFIGURATION)), "{log}");
            assert!(log.contains(key) && log.contains("nowhere.txt"), "{key}: {log}");
        }
        Ok(())
    });
}
