//! From the API server's answer to a write until the change is visible at a consumer that reads committed records, at 200 changes a second.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::Amount;
use super::arrivals::Arrivals;
use super::site::{Place, Site};
use super::watch_and_produce::Loop;
use super::writer::{self, Written};
use crate::figures::{Figure, Goal, median};

/// Changes a second.
pub(super) const RATE: u32 = 200;
/// Todos that change in turns.
pub(super) const ENTITIES: usize = 200;

/// Measures both deliveries and the bare loop in turns.
pub(super) async fn measure(
    site: &Site,
    rounds: usize,
    amount: Amount,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<()> {
    println!("from a write to its visibility at {RATE} changes a second, {rounds} rounds …");
    let (exactly, least, bare) = (site.place("exactly").await?, site.place("least").await?, site.place("bare").await?);
    for place in [&exactly, &least, &bare] {
        site.fill(place, 0, ENTITIES).await?;
    }
    let sidecars = [site.broadcasting(&exactly, "exactlyOnce").await?, site.broadcasting(&least, "atLeastOnce").await?];
    let bare_loop = Loop::start(site, &bare).await?;
    let mut runs: [Vec<Latencies>; 3] = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (place, runs) in [&exactly, &least, &bare].into_iter().zip(&mut runs) {
            // What is idle between two turns has to come back to its pace first.
            writer::steadily(site, place, ENTITIES, RATE, Duration::from_secs(1)).await?;
            runs.push(run(site, place, Duration::from_secs(amount.seconds)).await?);
        }
        let last = |runs: &[Latencies]| runs.last().map_or((0.0, 0.0), |run| (run.at(0.5), run.at(0.99)));
        let [exactly, least, bare] = [&runs[0], &runs[1], &runs[2]].map(|runs| last(runs));
        println!("  p50 and p99 in ms: exactly once {exactly:.2?}, at least once {least:.2?}, bare loop {bare:.2?}");
    }
    let each = |of: usize, quantile: f64| -> Vec<f64> {
        runs.get(of).into_iter().flatten().map(|run| run.at(quantile)).collect()
    };
    let over = |of: usize| -> f64 {
        let pairs: Vec<f64> = each(of, 0.5).iter().zip(each(2, 0.5)).map(|(ours, bare)| ours - bare).collect();
        median(&pairs)
    };
    let mut tell = |name: &str, value: f64, goal: Goal| figures.push(Figure::alone(name, value, "ms", goal));
    tell("exactly once, write to visible: p50", median(&each(0, 0.5)), Goal::AtMost(8.0));
    tell("exactly once, write to visible: p99", median(&each(0, 0.99)), Goal::AtMost(25.0));
    tell("exactly once, p50 above the bare loop's", over(0), Goal::AtMost(4.0));
    tell("at least once, write to visible: p50", median(&each(1, 0.5)), Goal::None);
    tell("at least once, write to visible: p99", median(&each(1, 0.99)), Goal::None);
    tell("at least once, p50 above the bare loop's", over(1), Goal::AtMost(1.0));
    tell("bare watch-and-produce loop, write to visible: p50", median(&each(2, 0.5)), Goal::None);
    tell("bare watch-and-produce loop, write to visible: p99", median(&each(2, 0.99)), Goal::None);
    drop(bare_loop);
    for sidecar in sidecars {
        sidecar.terminate().await?;
    }
    Ok(())
}

async fn run(site: &Site, place: &Place, duration: Duration) -> anyhow::Result<Latencies> {
    let arrivals = Arrivals::of(&site.brokers, &place.topic).await?;
    let written = writer::steadily(site, place, ENTITIES, RATE, duration).await?;
    Latencies::of(&written, &arrivals.end().await?)
}

/// Milliseconds, sorted.
pub(super) struct Latencies(Vec<f64>);

impl Latencies {
    /// Of all changes written; each must have arrived.
    pub(super) fn of(written: &[Written], arrived: &HashMap<u64, Instant>) -> anyhow::Result<Self> {
        let mut all: Vec<f64> = written
            .iter()
            .filter_map(|write| arrived.get(&write.version).map(|at| (write, at)))
            // A change may be visible before the writer has its answer.
            .map(|(write, at)| at.saturating_duration_since(write.at).as_secs_f64() * 1000.0)
            .collect();
        ensure!(all.len() == written.len(), "of {} changes {} arrived", written.len(), all.len());
        all.sort_by(f64::total_cmp);
        Ok(Self(all))
    }

    /// A quantile.
    pub(super) fn at(&self, quantile: f64) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = (self.0.len() as f64 * quantile) as usize;
        self.0.get(index.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}
