//! The entity API's reads and lists, against bare hyper and `kubectl proxy`; then writes and memory.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use std::net::SocketAddr;
use std::time::Duration;

use crate::figures::{Figure, Goal, median};
use crate::load::{self, Outcome};
use crate::system::{NAMESPACE, System};
use crate::{memory, writes};

/// How long one load lasts.
const LOAD: Duration = Duration::from_secs(2);
/// Entities in the list that is measured.
const LISTED: usize = 1000;
/// Connections at which a single read's latency is compared.
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// Measures everything.
pub(crate) async fn measure(rounds: usize, with_memory: bool) -> anyhow::Result<Vec<Figure>> {
    println!("starting the cluster and the sidecar …");
    let system = System::start(true).await?;
    let idle = memory::resident(system.sidecar.program.pid())?;
    system.fill(0, LISTED).await?;
    let mut figures = Vec::new();
    reads(&system, rounds, &mut figures).await?;
    lists(&system, rounds, &mut figures).await?;
    writes::measure(&system, rounds, &mut figures).await?;
    if with_memory {
        memory::measure(&system, idle, LISTED, &mut figures).await?;
    }
    system.stop().await;
    Ok(figures)
}

async fn reads(system: &System, rounds: usize, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let path = "/v1/todos/todo-000007";
    let answer = system.sidecar.api.get(path).await?.expect(200)?;
    let (bare, proxy) = (system.reference(&answer).await?, system.kubectl_proxy().await?);
    let object = load::get(&format!("/apis/k8sasbackend.com/v1/namespaces/{NAMESPACE}/todos/todo-000007"));
    let ours = load::get(path);
    for connections in CONNECTIONS {
        println!("GET one entity, {connections} connections, {rounds} rounds …");
        let mut runs = Runs::default();
        for _ in 0..rounds {
            runs.ours.push(load::run(system.address()?, &ours, connections, LOAD).await?);
            runs.bare.push(load::run(bare.address, &ours, connections, LOAD).await?);
            runs.proxy.push(load::run(proxy.address, &object, connections, LOAD).await?);
        }
        let name = |what: &str| format!("GET one, {connections} connections: {what}");
        let bare_goal = if connections == 16 { Goal::AtLeast(0.85) } else { Goal::None };
        let proxy_goal = if connections == 16 { Goal::AtLeast(25.0) } else { Goal::None };
        figures.push(Figure::against(
            name("rate"),
            &rates(&runs.ours),
            "1/s",
            "bare hyper",
            &rates(&runs.bare),
            bare_goal,
        ));
        figures.push(Figure::against(
            name("rate"),
            &rates(&runs.ours),
            "1/s",
            "kubectl proxy",
            &rates(&runs.proxy),
            proxy_goal,
        ));
        let p99 = |runs: &[Outcome]| runs.iter().map(|run| run.milliseconds(0.99)).collect::<Vec<_>>();
        figures.push(Figure::against(name("p99"), &p99(&runs.ours), "ms", "bare hyper", &p99(&runs.bare), Goal::None));
        figures.push(Figure::against(
            name("p99"),
            &p99(&runs.ours),
            "ms",
            "kubectl proxy",
            &p99(&runs.proxy),
            Goal::AtMost(1.0),
        ));
    }
    Ok(())
}

async fn lists(system: &System, rounds: usize, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let answer = system.sidecar.api.get("/v1/todos").await?.expect(200)?;
    let (bare, proxy) = (system.reference(&answer).await?, system.kubectl_proxy().await?);
    let objects = load::get(&format!("/apis/k8sasbackend.com/v1/namespaces/{NAMESPACE}/todos"));
    let ours = load::get("/v1/todos");
    println!("LIST of {LISTED}, 16 connections, {rounds} rounds …");
    let mut runs = Runs::default();
    for _ in 0..rounds {
        runs.ours.push(sixteen(system.address()?, &ours).await?);
        runs.bare.push(sixteen(bare.address, &ours).await?);
        runs.proxy.push(sixteen(proxy.address, &objects).await?);
    }
    let name = format!("LIST of {LISTED} ({} kB), 16 connections: rate", answer.body.to_string().len() / 1000);
    figures.push(Figure::against(
        &name,
        &rates(&runs.ours),
        "1/s",
        "bare hyper",
        &rates(&runs.bare),
        Goal::AtLeast(0.4),
    ));
    figures.push(Figure::against(
        &name,
        &rates(&runs.ours),
        "1/s",
        "kubectl proxy",
        &rates(&runs.proxy),
        Goal::AtLeast(40.0),
    ));
    println!("  {:.0}/s", median(&rates(&runs.ours)));
    Ok(())
}

async fn sixteen(server: SocketAddr, request: &[u8]) -> anyhow::Result<Outcome> {
    load::run(server, request, 16, LOAD).await
}

#[derive(Default)]
struct Runs {
    ours: Vec<Outcome>,
    bare: Vec<Outcome>,
    proxy: Vec<Outcome>,
}

fn rates(runs: &[Outcome]) -> Vec<f64> {
    runs.iter().map(|run| run.rate).collect()
}
