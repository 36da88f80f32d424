//! The entity API's single reads against other servers; and the order in which everything of it is measured.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use std::time::Duration;

use crate::figures::{Figure, Goal};
use crate::load::{self, Outcome};
use crate::peers::{self, Peer};
use crate::system::System;
use crate::{lists, writes};

/// How long one load lasts.
pub(crate) const LOAD: Duration = Duration::from_secs(2);
/// Entities in the list that is measured.
pub(crate) const LISTED: usize = 1000;
/// Connections at which a single read is measured; the rates that are wanted are those of the second.
const CONNECTIONS: [usize; 3] = [1, 16, 64];
const GOAL_CONNECTIONS: usize = 16;

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    Reads,
    Lists,
    Writes,
}

/// Measures reads, lists and writes, or only some parts.
pub(crate) async fn measure(rounds: usize, only: &[Part]) -> anyhow::Result<Vec<Figure>> {
    let wanted = |part| only.is_empty() || only.contains(&part);
    println!("starting the cluster and the sidecar …");
    let system = System::start(true).await?;
    system.fill(0, LISTED).await?;
    let mut figures = Vec::new();
    if wanted(Part::Reads) {
        reads(&system, rounds, &mut figures).await?;
    }
    if wanted(Part::Lists) {
        lists::measure(&system, rounds, &mut figures).await?;
    }
    if wanted(Part::Writes) {
        writes::measure(&system, rounds, &mut figures).await?;
    }
    system.stop().await;
    Ok(figures)
}

async fn reads(system: &System, rounds: usize, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let path = "/v1/todos/todo-000007";
    let answer = system.sidecar.api.get(path).await?.expect(200)?;
    let others = [
        (peers::bare_hyper(system, path, &answer).await?, Goal::AtLeast(0.85)),
        (peers::axum(system, path, &answer).await?, Goal::None),
        (peers::kubectl_proxy(system, "/todo-000007").await?, Goal::AtLeast(25.0)),
    ];
    let ours = load::get(path);
    for connections in CONNECTIONS {
        println!("GET one entity, {connections} connections, {rounds} rounds …");
        let mut runs: Vec<(Outcome, Vec<Outcome>)> = Vec::new();
        for _ in 0..rounds {
            let own = load::run(system.address()?, &ours, connections, LOAD).await?;
            let mut theirs = Vec::new();
            for (peer, _) in &others {
                theirs.push(run(peer, connections).await?);
            }
            runs.push((own, theirs));
        }
        for (what, unit, measure) in MEASURES {
            for (index, (peer, goal)) in others.iter().enumerate() {
                let own: Vec<f64> = runs.iter().map(|(own, _)| measure(own)).collect();
                let theirs: Vec<f64> = runs.iter().filter_map(|(_, theirs)| theirs.get(index)).map(measure).collect();
                let goal = match what {
                    "p99" => Goal::AtMost(1.0),
                    _ if connections == GOAL_CONNECTIONS => *goal,
                    _ => Goal::None,
                };
                let name = format!("GET one, {connections} connections: {what}");
                figures.push(Figure::against(name, &own, unit, peer.name, &theirs, goal));
            }
        }
    }
    Ok(())
}

type Measure = fn(&Outcome) -> f64;

/// What is told of a load, in which unit.
const MEASURES: [(&str, &str, Measure); 2] =
    [("rate", "1/s", |run| run.rate), ("p99", "ms", |run| run.milliseconds(0.99))];

/// A load on another server.
pub(crate) async fn run(peer: &Peer, connections: usize) -> anyhow::Result<Outcome> {
    load::run(peer.address(), &peer.request, connections, LOAD).await
}
