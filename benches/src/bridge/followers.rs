//! Caches that come from the topic: how soon a follower's reader has a change, against a sidecar that watches; and the API server's watches.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use e2e::events::Events;
use e2e::sidecar::Sidecar;

use super::Amount;
use super::latency::{ENTITIES, Latencies, RATE};
use super::site::{Place, Site};
use super::writer;
use crate::figures::{Figure, Goal};

/// Sidecars of each source.
const SIDECARS: usize = 5;
/// Until the last event is there.
const REST: Duration = Duration::from_secs(1);

/// Measures both in turns.
pub(super) async fn measure(
    site: &Site,
    rounds: usize,
    amount: Amount,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<()> {
    println!("from a write to a follower's reader at {RATE} changes a second, {rounds} rounds …");
    let place = site.place("followed").await?;
    site.fill(&place, 0, ENTITIES).await?;
    let owner = site.broadcasting(&place, "exactlyOnce").await?;
    let (mut runs, mut watches) = ([Vec::new(), Vec::new()], Vec::new());
    let before = watches_of(site).await?;
    for (source, runs) in ["kafka", "watch"].into_iter().zip(&mut runs) {
        let mut sidecars: Vec<Sidecar> = Vec::new();
        for _ in 0..SIDECARS {
            sidecars.push(site.consuming(&place, source).await?);
        }
        watches.push(watches_of(site).await? - before);
        // One of them has a reader; all follow.
        let reader = sidecars.first().context("no sidecar")?;
        for _ in 0..rounds {
            let run = run(site, &place, reader, Duration::from_secs(amount.seconds)).await?;
            println!("  {source}: p50 {:.2} ms, p99 {:.2} ms", run.at(0.5), run.at(0.99));
            runs.push(run);
        }
        for sidecar in sidecars {
            sidecar.terminate().await?;
        }
    }
    owner.terminate().await?;
    let each = |of: usize, quantile: f64| -> Vec<f64> {
        runs.get(of).into_iter().flatten().map(|run: &Latencies| run.at(quantile)).collect()
    };
    for (quantile, name) in [(0.5, "p50"), (0.99, "p99")] {
        let name = format!("source: kafka, write to a follower's reader: {name}");
        figures.push(Figure::against(name, &each(0, quantile), "ms", "source: watch", &each(1, quantile), Goal::None));
    }
    let [kafka, watch] = [0, 1].map(|of| watches.get(of).copied().unwrap_or_default());
    let name = format!("watches of {SIDECARS} followers at the API server, source: kafka");
    figures.push(Figure::alone(name, kafka, "watches", Goal::AtMost(0.0)));
    let name = format!("watches of {SIDECARS} followers at the API server, source: watch");
    figures.push(Figure::alone(name, watch, "watches", Goal::None));
    Ok(())
}

async fn run(site: &Site, place: &Place, sidecar: &Sidecar, duration: Duration) -> anyhow::Result<Latencies> {
    let mut events = Events::open(sidecar.api.base(), "/v1/todos", "").await?;
    events.until("synced").await?;
    let (over, mut is_over) = tokio::sync::oneshot::channel::<()>();
    let reader = tokio::spawn(async move {
        let mut seen = HashMap::new();
        loop {
            let told = tokio::select! {
                _ = &mut is_over => return anyhow::Ok(seen),
                told = events.next() => told?.context("the stream has ended")?,
            };
            let at = Instant::now();
            let version = told.json()?.pointer("/meta/version").and_then(|version| version.as_str()?.parse().ok());
            seen.insert(version.context("an event without a version")?, at);
        }
    });
    let written = writer::steadily(site, place, ENTITIES, RATE, duration).await?;
    tokio::time::sleep(REST).await;
    let _ = over.send(());
    Latencies::of(&written, &reader.await??)
}

/// Watches of todos that the API server serves.
async fn watches_of(site: &Site) -> anyhow::Result<f64> {
    let request = hyper::Request::get("/metrics").body(Vec::new())?;
    let text = site.kube.request_text(request).await?;
    Ok(text
        .lines()
        .filter(|line| line.starts_with("apiserver_longrunning_requests{"))
        .filter(|line| line.contains("resource=\"todos\"") && line.contains("verb=\"WATCH\""))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum())
}
