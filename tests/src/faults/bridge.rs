//! The campaign against the broadcast: two sidecars that own a kind, writers at the API server and through the sidecars, while the sidecars, Kafka, the API
//! server, its store and the ways between them fail.
//!
//! What the topic tells is judged by [`crate::broadcast`], which knows nothing but it and the API server's audit log. In between, after some of the faults, a
//! write has to become a record again; after the others the next fault comes at once.

mod load;
mod outcome;
mod probe;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use devcluster::{ClusterOptions, Part};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use super::report::Report;
use super::script::{End, Pace, Script, Step};
use super::site::{Mishap, Site};
use crate::broadcast::{Moment, Restore};
use crate::dice::Dice;
use crate::program::{Scratch, unique};
use crate::sidecar::{Settings, Sidecar};
use crate::{todos, topics, wait};
use load::{Board, By, Writer};
use probe::Probe;

const NAMESPACE: &str = "faults";
const TOPIC: &str = "faults.todos";
const LEASE: &str = "kab.todos.k8sasbackend.com.0";
const SIDECARS: usize = 2;
/// The ways: each sidecar's to the API server, and both sidecars' to Kafka.
const WAYS: [Part; 3] = [Part::ApiServer, Part::ApiServer, Part::Kafka];
const TO_KAFKA: usize = 2;
/// Of each writer.
const ENTITIES: usize = 8;
/// Until something that has to happen has happened: generous, for machines that are busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);
/// An answer of a sidecar that may stand still.
const ANSWER: Duration = Duration::from_secs(2);
/// So little that changes collapse when Kafka is away for some seconds, and so much that one change of each entity has room.
const QUEUE: &str = "128Ki";
/// Versions between a snapshot and its being restored: more than a restarted cluster makes by itself before a sidecar looks.
const VERSIONS_LOST: usize = 400;
/// The pace of the tests, and of whoever has time.
const SHORT: Pace = Pace {
    calm: (Duration::from_millis(200), Duration::from_millis(800)),
    lasts: (Duration::from_millis(300), Duration::from_millis(1500)),
};
const LONG: Pace = Pace {
    calm: (Duration::from_millis(200), Duration::from_millis(6000)),
    lasts: (Duration::from_millis(200), Duration::from_millis(12000)),
};

/// What can go wrong. Where it concerns one sidecar, it is the one that broadcasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    SidecarKilled,
    SidecarFrozen,
    SidecarRestarted,
    AllSidecarsKilled,
    LeaseDeleted,
    KafkaKilled,
    KafkaFrozen,
    KafkaRestarted,
    KafkaCut,
    KafkaSwallows,
    ApiServerKilled,
    ApiServerFrozen,
    ApiServerCut,
    ApiServerSwallows,
    EtcdKilled,
    EtcdFrozen,
    HistoryForgotten,
    EtcdRestored,
}

/// All of them, each with its name.
const FAULTS: [(Fault, &str); 18] = [
    (Fault::SidecarKilled, "sidecar killed"),
    (Fault::SidecarFrozen, "sidecar frozen until another leads"),
    (Fault::SidecarRestarted, "sidecar restarted"),
    (Fault::AllSidecarsKilled, "all sidecars killed"),
    (Fault::LeaseDeleted, "Lease deleted"),
    (Fault::KafkaKilled, "Kafka killed"),
    (Fault::KafkaFrozen, "Kafka frozen"),
    (Fault::KafkaRestarted, "Kafka restarted"),
    (Fault::KafkaCut, "way to Kafka cut"),
    (Fault::KafkaSwallows, "way to Kafka swallows"),
    (Fault::ApiServerKilled, "API server killed"),
    (Fault::ApiServerFrozen, "API server frozen"),
    (Fault::ApiServerCut, "way to the API server cut"),
    (Fault::ApiServerSwallows, "way to the API server swallows"),
    (Fault::EtcdKilled, "etcd killed"),
    (Fault::EtcdFrozen, "etcd frozen"),
    (Fault::HistoryForgotten, "history compacted while away"),
    (Fault::EtcdRestored, "etcd restored to the past"),
];

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FAULTS.iter().find(|(fault, _)| fault == self).map_or("?", |(_, name)| name);
        out.write_str(name)
    }
}

/// The names of all faults, as the report has them.
pub fn faults() -> impl Iterator<Item = &'static str> {
    FAULTS.into_iter().map(|(_, name)| name)
}

/// Runs the campaign on a cluster of its own. What is wrong stands in the report.
///
/// # Errors
/// When the campaign itself cannot go on, which includes a broadcast that does not recover.
pub async fn run(seed: u64, end: End) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let scratch = Scratch::new(&format!("faults-bridge-{}", unique()))?;
    let group = contract::names::GROUP.to_owned();
    let options = ClusterOptions { audit_writes_of: Some(group), ..ClusterOptions::for_tests("faults-bridge") };
    let site = Site::start(options, &WAYS).await?;
    let outcome = on(&site, &scratch, seed, end).await;
    site.stop().await?;
    let mut report = match outcome {
        Ok(report) => report,
        Err(error) => return Err(error.context(format!("seed {seed}")).context(scratch.dump())),
    };
    report.ran = begun.elapsed();
    if report.wrong.is_empty() {
        scratch.remove();
    } else {
        report.wrong.push(format!("the sidecars' logs and all that was judged are in {}", scratch.folder().display()));
    }
    Ok(report)
}

async fn on(site: &Site, scratch: &Scratch, seed: u64, end: End) -> anyhow::Result<Report> {
    let endpoints = site.cluster.endpoints();
    let brokers = endpoints.kafka.clone().context("the cluster has Kafka")?;
    let kube = todos::client(&endpoints.kubeconfig).await?;
    todos::install(&kube, todos::CRD).await?;
    let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
    Api::<Namespace>::all(kube.clone()).create(&PostParams::default(), &namespace).await?;
    // Made here, so that nothing is compacted away before it is judged.
    let all = [("cleanup.policy", "compact"), ("min.compaction.lag.ms", "604800000")];
    topics::create(&brokers, TOPIC, 3, &all).await?;
    topics::create(&brokers, contract::names::POSITIONS_TOPIC, 1, &all).await?;

    let mut dice = Dice::new(seed);
    let board = Arc::new(Board::default());
    let probe = Probe::start(&kube, &brokers)?;
    let mut campaign =
        Campaign { site, scratch, kube, brokers, board, probe, sidecars: Vec::new(), restores: Vec::new() };
    for sidecar in 0..SIDECARS {
        campaign.start(sidecar).await?;
    }
    let mut actors = JoinSet::new();
    let todos = todos::api(&campaign.kube, NAMESPACE);
    for (name, by) in [("k", By::ApiServer(Box::new(todos.clone()))), ("s", By::Sidecars)] {
        let (board, dice) = (Arc::clone(&campaign.board), dice.another());
        actors.spawn(Writer::new(board, dice, name, ENTITIES, by).act());
    }
    campaign.well_again().await?;

    let pace = if matches!(end, End::Rounds(_)) { SHORT } else { LONG };
    let palette: Vec<Fault> = FAULTS.into_iter().map(|(fault, _)| fault).collect();
    let script = Script::new(dice.number(), &palette, pace).until(end);
    let faults = tokio::select! {
        faults = campaign.go_through(script) => faults?,
        // Actors end only when they are told to, or fail.
        Some(failed) = actors.join_next() => {
            failed??;
            anyhow::bail!("an actor ended too early");
        }
    };
    campaign.board.end();
    while let Some(ended) = actors.join_next().await {
        ended??;
    }
    for name in ["k", "s"] {
        load::last_word(&todos, &mut dice, name, ENTITIES).await?;
    }
    campaign.probe.is_told_as_it_happened(PATIENCE).await.context("at the end")?;
    let mut report = outcome::of(site, scratch, &campaign.brokers, campaign.restores).await?;
    (report.campaign, report.seed, report.faults) = ("bridge", seed, faults);
    Ok(report)
}

fn now() -> Moment {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Moment::try_from(since.as_millis()).unwrap_or(Moment::MAX)
}

struct Campaign<'a> {
    site: &'a Site,
    scratch: &'a Scratch,
    kube: kube::Client,
    brokers: String,
    board: Arc<Board>,
    probe: Probe,
    sidecars: Vec<Sidecar>,
    restores: Vec<Restore>,
}

impl Campaign<'_> {
    /// Starts a sidecar on its ways, for the first time or again.
    async fn start(&mut self, number: usize) -> anyhow::Result<()> {
        let brokers = self.site.way(TO_KAFKA)?.endpoint();
        let kafka = json!({"properties": {"bootstrap.servers": brokers}, "queueBytes": QUEUE});
        let settings = Settings::new(self.site.way(number)?.kubeconfig())
            .owned_todos(NAMESPACE, TOPIC)
            .set("kafka", kafka)
            .set("lease", json!({"durationSeconds": 6, "renewSeconds": 4, "retrySeconds": 1}));
        let started = Sidecar::spawn(self.scratch, &settings).await?;
        self.board.started(number, started.api.clone());
        match self.sidecars.get_mut(number) {
            Some(place) => *place = started,
            None => self.sidecars.push(started),
        }
        Ok(())
    }

    fn sidecar(&self, number: usize) -> anyhow::Result<&Sidecar> {
        let found = self.sidecars.get(number).with_context(|| format!("there is no sidecar {number}"))?;
        ensure!(found.program.is_running(), "sidecar {number} has ended:\n{}", found.program.log());
        Ok(found)
    }

    async fn leads(&self, number: usize) -> bool {
        let Ok(sidecar) = self.sidecar(number) else { return false };
        let asked = tokio::time::timeout(ANSWER, sidecar.metric("kab_lease_leading")).await;
        asked.is_ok_and(|answer| answer.is_ok_and(|leading| leading > 0.0))
    }

    /// Who broadcasts; while nobody does, anyone.
    async fn leader(&self, dice: &mut Dice) -> usize {
        for number in 0..SIDECARS {
            if self.leads(number).await {
                return number;
            }
        }
        dice.throw(SIDECARS)
    }

    /// Goes through the script; each fault, and how long it took from its end until all was well, if that was waited for.
    async fn go_through(
        &mut self,
        script: impl Iterator<Item = Step<Fault>>,
    ) -> anyhow::Result<Vec<(String, Option<Duration>)>> {
        let mut faults = Vec::new();
        for step in script {
            tokio::time::sleep(step.calm).await;
            let (fault, mut dice) = (step.fault, step.dice.clone());
            let told = |faults: &Vec<(String, Option<Duration>)>| format!("{fault}, after {faults:?}");
            let ended = self.befall(step).await.with_context(|| told(&faults))?;
            let waits = dice.throw(2) == 0;
            if waits {
                self.well_again().await.with_context(|| told(&faults))?;
            }
            faults.push((fault.to_string(), waits.then(|| ended.elapsed())));
        }
        Ok(faults)
    }

    /// One fault; when it ended.
    async fn befall(&mut self, step: Step<Fault>) -> anyhow::Result<Instant> {
        let Step { fault, lasts, mut dice, .. } = step;
        let which = self.leader(&mut dice).await;
        match fault {
            Fault::SidecarKilled => self.replace(&[which], Signal::SIGKILL, lasts).await,
            Fault::SidecarRestarted => self.replace(&[which], Signal::SIGTERM, lasts).await,
            Fault::AllSidecarsKilled => self.replace(&[0, 1], Signal::SIGKILL, lasts).await,
            Fault::SidecarFrozen => self.freeze(which, lasts).await,
            Fault::LeaseDeleted => self.delete_lease().await,
            Fault::KafkaKilled => self.mishap(Mishap::Kill(Part::Kafka), lasts).await,
            Fault::KafkaFrozen => self.mishap(Mishap::Freeze(Part::Kafka), lasts).await,
            Fault::KafkaRestarted => {
                self.site.cluster.process(Part::Kafka).restart().await?;
                Ok(Instant::now())
            }
            Fault::KafkaCut => self.mishap(Mishap::Cut(TO_KAFKA), lasts).await,
            Fault::KafkaSwallows => self.mishap(Mishap::Swallow(TO_KAFKA), lasts).await,
            Fault::ApiServerKilled => self.mishap(Mishap::Kill(Part::ApiServer), lasts).await,
            Fault::ApiServerFrozen => self.mishap(Mishap::Freeze(Part::ApiServer), lasts).await,
            Fault::ApiServerCut => self.mishap(Mishap::Cut(which), lasts).await,
            Fault::ApiServerSwallows => self.mishap(Mishap::Swallow(which), lasts).await,
            Fault::EtcdKilled => self.mishap(Mishap::Kill(Part::Etcd), lasts).await,
            Fault::EtcdFrozen => self.mishap(Mishap::Freeze(Part::Etcd), lasts).await,
            Fault::HistoryForgotten => self.forget(which, lasts).await,
            Fault::EtcdRestored => self.restore(lasts).await,
        }
    }

    /// Something befalls the cluster for so long; when it ended.
    async fn mishap(&self, mishap: Mishap, lasts: Duration) -> anyhow::Result<Instant> {
        self.site.begin(mishap).await?;
        tokio::time::sleep(lasts).await;
        let ended = Instant::now();
        self.site.end(mishap).await?;
        Ok(ended)
    }

    /// Ends these sidecars and starts them again, in another process each.
    async fn replace(&mut self, which: &[usize], signal: Signal, lasts: Duration) -> anyhow::Result<Instant> {
        for number in which {
            self.sidecar(*number)?.program.signal(signal)?;
        }
        for number in which {
            let place = self.sidecars.get(*number).with_context(|| format!("there is no sidecar {number}"))?;
            let status = place.program.ended(PATIENCE).await?;
            let fine = signal == Signal::SIGKILL || status.success();
            ensure!(fine, "sidecar {number} ended with {status}:\n{}", place.program.log());
        }
        tokio::time::sleep(lasts).await;
        let ended = Instant::now();
        for number in which {
            self.start(*number).await?;
        }
        Ok(ended)
    }

    /// It stands still until another has its Lease, and longer; then it goes on in the middle of what it did.
    async fn freeze(&self, which: usize, lasts: Duration) -> anyhow::Result<Instant> {
        self.sidecar(which)?.program.signal(Signal::SIGSTOP)?;
        wait::until("another sidecar to lead", PATIENCE, || async {
            for other in (0..SIDECARS).filter(|other| *other != which) {
                if self.leads(other).await {
                    return Ok(());
                }
            }
            anyhow::bail!("none does")
        })
        .await?;
        tokio::time::sleep(lasts).await;
        let ended = Instant::now();
        self.sidecar(which)?.program.signal(Signal::SIGCONT)?;
        Ok(ended)
    }

    /// Whoever led finds its Lease gone, and both want the next one.
    async fn delete_lease(&self) -> anyhow::Result<Instant> {
        let leases: Api<Lease> = Api::namespaced(self.kube.clone(), NAMESPACE);
        // A connection that an earlier fault broke off is made anew.
        wait::until("the Lease to be deleted", PATIENCE, || async {
            match leases.delete(LEASE, &DeleteParams::default()).await {
                // Nobody has one right after a restart.
                Ok(_) | Err(kube::Error::Api(_)) => Ok(Instant::now()),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// The way is cut, and when it is there again, nobody remembers what happened meanwhile.
    async fn forget(&self, which: usize, lasts: Duration) -> anyhow::Result<Instant> {
        self.site.begin(Mishap::Cut(which)).await?;
        tokio::time::sleep(lasts).await;
        self.site.cluster.compact().await?;
        // The API server has a memory of its own.
        self.site.cluster.process(Part::ApiServer).restart().await?;
        let ended = Instant::now();
        self.site.end(Mishap::Cut(which)).await?;
        Ok(ended)
    }

    /// The store goes back to a snapshot. Nobody writes when it is taken, so that a write is in it or not, nor from before it is put back until
    /// everybody knows: else a store that has grown past what a sidecar knows looks as if it had never been put back.
    async fn restore(&mut self, lasts: Duration) -> anyhow::Result<Instant> {
        let snapshot = self.scratch.file("etcd", "snapshot");
        let board = Arc::clone(&self.board);
        let closed = board.gate.write().await;
        self.all_know().await.context("before the snapshot")?;
        let taken = now();
        self.site.cluster.snapshot(&snapshot).await?;
        drop(closed);
        tokio::time::sleep(lasts).await;
        self.lose_versions().await?;
        let _closed = board.gate.write().await;
        self.all_know().await.context("before the store is restored")?;
        self.restores.push(Restore { taken, at: now() });
        self.site.cluster.restore(&snapshot).await?;
        let ended = Instant::now();
        self.all_know().await.context("after the store was restored")?;
        Ok(ended)
    }

    async fn lose_versions(&self) -> anyhow::Result<()> {
        let maps: Api<ConfigMap> = Api::namespaced(self.kube.clone(), NAMESPACE);
        let parameters = PatchParams::apply("kab-test").force();
        for number in 0..VERSIONS_LOST {
            let patch = Patch::Apply(
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "versions"}, "data": {"number": number.to_string()}}),
            );
            wait::until("a version to be made", PATIENCE, || maps.patch("versions", &parameters, &patch)).await?;
        }
        Ok(())
    }

    /// Waits until a write becomes a record.
    async fn well_again(&self) -> anyhow::Result<()> {
        for number in 0..SIDECARS {
            self.sidecar(number)?;
        }
        self.probe.is_told(PATIENCE).await.map(drop)
    }

    /// Waits until a write becomes a record, and each sidecar shows it.
    async fn all_know(&self) -> anyhow::Result<()> {
        let version = self.probe.is_told(PATIENCE).await?.to_string();
        for number in 0..SIDECARS {
            let sidecar = self.sidecar(number)?;
            wait::until(&format!("sidecar {number} to show the probe"), PATIENCE, || async {
                let answer = tokio::time::timeout(ANSWER, sidecar.api.get("/v1/todos/probe")).await??;
                let shown = answer.body.pointer("/meta/version").and_then(|version| version.as_str());
                ensure!(shown == Some(&version), "{} {}, not {version}", answer.status, answer.body);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}
