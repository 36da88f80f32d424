//! The campaign against the entity API: writers, readers and readers of events at two sidecars, while the API server, its store, the ways to it and the sidecars
//! themselves fail.
//!
//! What was answered is judged by [`crate::acknowledged`]: no wrong answer, no acknowledged write lost, reads from the cache whatever happens, and errors that
//! say what they are. Beside it, after each fault: both sidecars write and read again by themselves, and readiness told the truth in between.

mod board;
mod load;
mod outcome;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use devcluster::{ClusterOptions, Part};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::report::Report;
use super::script::{End, Pace, Script, Step};
use super::site::{Mishap, Site};
use crate::acknowledged::replies::{Trouble, Wish};
use crate::acknowledged::{Came, Reflects, Span, State};
use crate::dice::Dice;
use crate::program::{Scratch, unique};
use crate::sidecar::{Settings, Sidecar};
use crate::{todos, wait};
use board::Board;
use load::{Deed, Follower, Known, Reader, Writer};

const SIDECARS: usize = 2;
const WRITERS: usize = 4;
/// Of each writer.
const ENTITIES: usize = 3;
/// From the end of a fault until both sidecars write, read and follow again. They wait up to ten seconds between two tries; the rest is for a loaded machine.
const WELL_AGAIN: Duration = Duration::from_secs(60);
const PACE: Pace = Pace {
    calm: (Duration::from_millis(200), Duration::from_millis(600)),
    lasts: (Duration::from_millis(1000), Duration::from_millis(2000)),
};
/// Each way: a request over a new connection then takes some four times as long.
const SLOW: Duration = Duration::from_millis(60);
/// Versions between a snapshot and its being restored: more than a restarted cluster makes by itself before a sidecar looks. One that has grown past what
/// a sidecar knows cannot be told from one that was never restored.
const VERSIONS_LOST: usize = 400;
/// Sentences of a report; the first ones tell most.
const TOLD: usize = 20;
/// As which the API server itself is seen.
const API_SERVER: usize = usize::MAX - 1;

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    WayCut,
    WaySlow,
    WaySwallows,
    ApiServerKilled,
    ApiServerFrozen,
    EtcdKilled,
    HistoryForgotten,
    EtcdRestored,
    SidecarKilled,
}

/// All of them, each with its name.
const FAULTS: [(Fault, &str); 9] = [
    (Fault::WayCut, "way cut"),
    (Fault::WaySlow, "way slow"),
    (Fault::WaySwallows, "way swallows"),
    (Fault::ApiServerKilled, "API server killed"),
    (Fault::ApiServerFrozen, "API server frozen"),
    (Fault::EtcdKilled, "etcd killed"),
    (Fault::HistoryForgotten, "history compacted while away"),
    (Fault::EtcdRestored, "etcd restored to the past"),
    (Fault::SidecarKilled, "sidecar killed"),
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
/// When the campaign itself cannot go on, which includes a sidecar that does not recover.
pub async fn run(seed: u64, end: End) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let scratch = Scratch::new(&format!("faults-api-{}", unique()))?;
    let options = ClusterOptions::for_tests("faults-api").without_kafka();
    let site = Site::start(options, &[Part::ApiServer; SIDECARS]).await?;
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
        report.wrong.push(format!("the sidecars' logs are in {}", scratch.folder().display()));
    }
    Ok(report)
}

async fn on(site: &Site, scratch: &Scratch, seed: u64, end: End) -> anyhow::Result<Report> {
    let kube = todos::client(&site.cluster.endpoints().kubeconfig).await?;
    todos::install(&kube, todos::CRD).await?;
    let namespace = serde_json::from_value(json!({"metadata": {"name": "faults"}}))?;
    Api::<Namespace>::all(kube.clone()).create(&PostParams::default(), &namespace).await?;

    let mut dice = Dice::new(seed);
    let owned = |writer: usize| (0..ENTITIES).map(move |number| format!("w{writer}-{number}"));
    let entities = (0..WRITERS).flat_map(owned).chain((0..SIDECARS).map(probe)).collect();
    let followers: Vec<usize> = (0..2 * SIDECARS).map(|number| number % SIDECARS).collect();
    let board = Arc::new(Board::new(entities, &followers));
    let mut campaign = Campaign { site, scratch, kube, board, sidecars: Vec::new(), probes: 0 };
    for sidecar in 0..SIDECARS {
        campaign.start(sidecar).await?;
    }
    let mut actors = JoinSet::new();
    for writer in 0..WRITERS {
        let entities = owned(writer).map(|entity| (entity, Known::Absent)).collect();
        let board = Arc::clone(&campaign.board);
        actors.spawn(Writer { board, dice: dice.another(), entities, name: format!("w{writer}") }.act());
    }
    for number in 0..2 * SIDECARS {
        let (board, sidecar) = (Arc::clone(&campaign.board), number % SIDECARS);
        actors.spawn(Reader { board, dice: dice.another(), sidecar, demanding: number >= SIDECARS }.act());
    }
    for (number, sidecar) in followers.into_iter().enumerate() {
        let board = Arc::clone(&campaign.board);
        let comes_back = (number >= SIDECARS).then(|| dice.throw(40) + 10);
        actors.spawn(Follower { board, number, sidecar, comes_back }.act());
    }

    let palette: Vec<Fault> = FAULTS.into_iter().map(|(fault, _)| fault).collect();
    let script = Script::new(dice.number(), &palette, PACE).until(end);
    let faults = tokio::select! {
        faults = campaign.go_through(script) => faults?,
        // Actors end only when they are told to, or fail.
        Some(failed) = actors.join_next() => {
            failed??;
            anyhow::bail!("an actor ended too early");
        }
    };
    campaign.finish(actors, seed, faults).await
}

fn probe(sidecar: usize) -> String {
    format!("probe-{sidecar}")
}

struct Campaign<'a> {
    site: &'a Site,
    scratch: &'a Scratch,
    kube: kube::Client,
    board: Arc<Board>,
    sidecars: Vec<Sidecar>,
    /// Writes of its own so far.
    probes: u64,
}

impl Campaign<'_> {
    /// Starts a sidecar on its way, for the first time or again.
    async fn start(&mut self, sidecar: usize) -> anyhow::Result<()> {
        let kind =
            json!({"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": ["faults"]});
        let settings = Settings::new(self.site.way(sidecar)?.kubeconfig()).kind(kind);
        let started = Sidecar::spawn(self.scratch, &settings).await?;
        started.ready().await?;
        self.board.started(sidecar, started.api.clone());
        match self.sidecars.get_mut(sidecar) {
            Some(place) => *place = started,
            None => self.sidecars.push(started),
        }
        Ok(())
    }

    fn sidecar(&self, number: usize) -> anyhow::Result<&Sidecar> {
        self.sidecars.get(number).with_context(|| format!("there is no sidecar {number}"))
    }

    async fn go_through(
        &mut self,
        script: impl Iterator<Item = Step<Fault>>,
    ) -> anyhow::Result<Vec<(String, Option<Duration>)>> {
        let mut faults = Vec::new();
        for step in script {
            tokio::time::sleep(step.calm).await;
            let fault = step.fault;
            let took = self.befall(step).await.with_context(|| format!("{fault}, after {faults:?}"))?;
            faults.push((fault.to_string(), Some(took)));
        }
        Ok(faults)
    }

    /// One fault; how long it took from its end until all was well again.
    async fn befall(&mut self, step: Step<Fault>) -> anyhow::Result<Duration> {
        let Step { fault, lasts, mut dice, .. } = step;
        let which = dice.throw(SIDECARS);
        let trouble = match fault {
            // What is slow works all the same.
            Fault::WaySlow => None,
            Fault::SidecarKilled => Some(Trouble::Sidecar(which)),
            _ => Some(Trouble::Platform),
        };
        let window = trouble.map(|trouble| self.board.begin(trouble));
        let all: Vec<usize> = (0..SIDECARS).collect();
        let ended = match fault {
            Fault::WayCut => self.mishap(Mishap::Cut(which), lasts, &[which]).await?,
            Fault::WaySlow => self.mishap(Mishap::Slow(which, SLOW), lasts, &[]).await?,
            Fault::WaySwallows => self.mishap(Mishap::Swallow(which), lasts, &[]).await?,
            Fault::ApiServerKilled => self.mishap(Mishap::Kill(Part::ApiServer), lasts, &all).await?,
            Fault::ApiServerFrozen => self.mishap(Mishap::Freeze(Part::ApiServer), lasts, &[]).await?,
            Fault::EtcdKilled => self.mishap(Mishap::Kill(Part::Etcd), lasts, &[]).await?,
            Fault::HistoryForgotten => self.forget(which, lasts).await?,
            Fault::EtcdRestored => self.restore(lasts).await?,
            Fault::SidecarKilled => self.kill(which, lasts).await?,
        };
        self.well_again().await?;
        if let Some(window) = window {
            self.board.well_again(window);
        }
        Ok(ended.elapsed())
    }

    /// Something befalls the cluster, until these sidecars say so, and for so long at least; when it ended.
    async fn mishap(&self, mishap: Mishap, lasts: Duration, noticed_by: &[usize]) -> anyhow::Result<Instant> {
        let begun = Instant::now();
        self.site.begin(mishap).await?;
        for sidecar in noticed_by {
            self.is_told(*sidecar).await?;
        }
        tokio::time::sleep(lasts.saturating_sub(begun.elapsed())).await;
        let ended = Instant::now();
        self.site.end(mishap).await?;
        Ok(ended)
    }

    /// Waits until a sidecar's readiness says that its cache is not current, though it stays ready.
    async fn is_told(&self, sidecar: usize) -> anyhow::Result<()> {
        let found = self.sidecar(sidecar)?;
        wait::until("readiness to say that the cache is not current", WELL_AGAIN, || async {
            let part = found.part("cache").await?;
            let detail = part.get("detail").and_then(Value::as_str).unwrap_or_default();
            ensure!(part.get("state").is_some_and(|state| state == "up") && detail.contains("not current"), "{part}");
            Ok(())
        })
        .await?;
        ensure!(found.metric("kab_watch_failures_total").await? >= 1.0, "the metrics know of no failure");
        Ok(())
    }

    /// The way is cut, and when it is there again, nobody remembers what happened meanwhile.
    async fn forget(&self, which: usize, lasts: Duration) -> anyhow::Result<Instant> {
        self.site.begin(Mishap::Cut(which)).await?;
        self.is_told(which).await?;
        tokio::time::sleep(lasts).await;
        self.site.cluster.compact().await?;
        // The API server has a memory of its own.
        self.site.cluster.process(Part::ApiServer).restart().await?;
        let ended = Instant::now();
        self.site.end(Mishap::Cut(which)).await?;
        Ok(ended)
    }

    async fn kill(&mut self, which: usize, lasts: Duration) -> anyhow::Result<Instant> {
        let place = self.sidecars.get(which).with_context(|| format!("there is no sidecar {which}"))?;
        ensure!(place.program.is_running(), "sidecar {which} has ended:\n{}", place.program.log());
        place.program.signal(nix::sys::signal::Signal::SIGKILL)?;
        tokio::time::sleep(lasts).await;
        let ended = Instant::now();
        self.start(which).await?;
        Ok(ended)
    }

    /// The store goes back to a snapshot. Nobody writes from before until everybody knows: else nobody could say which writes are undone.
    async fn restore(&mut self, lasts: Duration) -> anyhow::Result<Instant> {
        let snapshot = self.scratch.file("etcd", "snapshot");
        self.site.cluster.snapshot(&snapshot).await?;
        tokio::time::sleep(lasts).await;
        self.lose_versions().await?;
        let board = Arc::clone(&self.board);
        let _closed = board.gate.write().await;
        self.agree().await.context("before the store is restored")?;
        board.era_ends();
        self.site.cluster.restore(&snapshot).await?;
        let ended = Instant::now();
        let inherited = self.agree().await.context("after the store was restored")?;
        board.era_begins(inherited);
        Ok(ended)
    }

    async fn lose_versions(&self) -> anyhow::Result<()> {
        let maps: Api<ConfigMap> = Api::namespaced(self.kube.clone(), "faults");
        for number in 0..VERSIONS_LOST {
            let data = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "versions"}, "data": {"number": number.to_string()}});
            maps.patch("versions", &PatchParams::apply("kab-test").force(), &Patch::Apply(data)).await?;
        }
        Ok(())
    }

    /// Waits until each sidecar writes, the others see that, and readiness says that all is well.
    async fn well_again(&mut self) -> anyhow::Result<()> {
        for sidecar in 0..SIDECARS {
            let version = self.writes(sidecar).await?;
            for other in 0..SIDECARS {
                self.reads(other, &probe(sidecar), version).await?;
            }
        }
        for (number, sidecar) in self.sidecars.iter().enumerate() {
            wait::until(&format!("sidecar {number} to be current"), WELL_AGAIN, || async {
                ensure!(sidecar.program.is_running(), "it has ended:\n{}", sidecar.program.log());
                let part = sidecar.part("cache").await?;
                let detail = part.get("detail").map(Value::to_string).unwrap_or_default();
                ensure!(!detail.contains("not current"), "{part}");
                Ok(())
            })
            .await?;
            sidecar.ready().await?;
        }
        Ok(())
    }

    async fn writes(&mut self, sidecar: usize) -> anyhow::Result<u64> {
        let (board, first) = (Arc::clone(&self.board), self.probes + 1);
        let count = std::sync::atomic::AtomicU64::new(first);
        let version = wait::until(&format!("sidecar {sidecar} to write"), WELL_AGAIN, || async {
            let value = format!("p-{}", count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            match load::write(&board, sidecar, &probe(sidecar), Deed::Replace, &value).await? {
                Came::Stored(version) => Ok(version),
                other => Err(anyhow::anyhow!("{other:?}")),
            }
        })
        .await;
        self.probes = count.into_inner();
        version
    }

    async fn reads(&self, sidecar: usize, entity: &str, version: u64) -> anyhow::Result<()> {
        let (path, least) = (format!("/v1/todos/{entity}"), version.to_string());
        let headers = [("at-least-version", least.as_str()), ("prefer", "wait=15")];
        wait::until(&format!("sidecar {sidecar} to read {entity} at {version}"), WELL_AGAIN, || async {
            let era = self.board.era();
            let asked = self.board.ask((sidecar, Wish::Fresh), Method::GET, &path, &headers, None).await?;
            let (span, Some(answer)) = asked else { anyhow::bail!("no answer") };
            let read = self.board.read(entity, sidecar, (span, era), Reflects::AtLeast(version), &answer)?;
            ensure!(read.is_some(), "{} {}", answer.status, answer.body);
            Ok(())
        })
        .await
    }

    /// What the API server has, when both caches and all readers of events have the same. Nobody may write meanwhile.
    async fn agree(&self) -> anyhow::Result<BTreeMap<String, State>> {
        let api = todos::api(&self.kube, "faults");
        wait::until("everybody to know the same", WELL_AGAIN, || async {
            let (call, era) = (self.board.now(), self.board.era());
            let list = api.list(&ListParams::default()).await?;
            let mut expected = BTreeMap::new();
            for object in list.items {
                let version = object.metadata.resource_version.unwrap_or_default().parse()?;
                let value = object.data.pointer("/spec/message").and_then(Value::as_str).unwrap_or_default().to_owned();
                expected.insert(object.metadata.name.unwrap_or_default(), State { version, value });
            }
            let mut spans = vec![(API_SERVER, Span { call, answered: self.board.now() })];
            for sidecar in 0..SIDECARS {
                let (span, answer) =
                    self.board.ask((sidecar, Wish::Cached), Method::GET, "/v1/todos", &[], None).await?;
                let answer = answer.context("no answer")?;
                let listed = self.board.listed(sidecar, (span, era), Reflects::Own, &answer)?;
                ensure!(
                    listed.as_ref() == Some(&expected),
                    "sidecar {sidecar} has {listed:?}, the API server {expected:?}"
                );
                spans.push((sidecar, span));
            }
            for (number, (sidecar, table)) in self.board.record().tables.iter().enumerate() {
                let right = table.synced && table.entities == expected;
                ensure!(right, "reader {number} of events at {sidecar} has {table:?}, the API server {expected:?}");
            }
            // Now that nobody is behind, nobody may have lost anything either.
            for (sidecar, span) in spans {
                for entity in self.board.entities() {
                    self.board.saw(entity, sidecar, (span, era), Reflects::All, expected.get(entity).cloned());
                }
            }
            Ok(expected)
        })
        .await
    }

    async fn finish(
        self,
        mut actors: JoinSet<anyhow::Result<()>>,
        seed: u64,
        faults: Vec<(String, Option<Duration>)>,
    ) -> anyhow::Result<Report> {
        let closed = self.board.gate.write().await;
        let last = self.agree().await.context("at the end")?;
        self.board.end();
        drop(closed);
        while let Some(ended) = actors.join_next().await {
            ended??;
        }
        let mut report = outcome::of(&self.board, TOLD);
        for (number, sidecar) in self.sidecars.iter().enumerate() {
            report.wrong.extend(outcome::metrics(&self.board, number, sidecar, last.len()).await?);
        }
        (report.campaign, report.seed, report.faults) = ("api", seed, faults);
        Ok(report)
    }
}
