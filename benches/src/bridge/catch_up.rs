//! An empty topic and a full API server: a sidecar that starts tells everything; against librdkafka's own producer with the same bytes.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use std::time::Instant;

use anyhow::ensure;

use super::Amount;
use super::plain;
use super::site::{self, Place, Site};
use crate::figures::{Figure, Goal, median};
use crate::memory::peak;

/// Measures, and returns the place of each round for whoever goes on with them.
pub(super) async fn measure(
    site: &Site,
    rounds: usize,
    amount: Amount,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<Vec<Place>> {
    let Amount { many, .. } = amount;
    println!("{many} todos, which takes a minute or two …");
    let place = site.place("many").await?;
    site.fill(&place, 0, many).await?;
    println!("catching up with them from an empty topic, {rounds} rounds …");
    let (mut ours, mut theirs, mut seconds, mut peaks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut places = Vec::new();
    for round in 0..rounds {
        let place = Place { topic: format!("bench.many-{round}"), ..place.clone() };
        site.topic(&place.topic).await?;
        let run = catch_up(site, &place, 0, 0, many).await?;
        seconds.push(run.seconds);
        peaks.push(run.peak);
        ours.push(run.rate);
        theirs.push(run.plain);
        println!("  {:.0} records/s in {:.1} s, plain producer {:.0}", run.rate, run.seconds, run.plain);
        places.push(place);
    }
    let name = format!("catching up {many} entities: records");
    figures.push(Figure::against(name, &ours, "1/s", "plain producer", &theirs, Goal::AtLeast(0.8)));
    let name = format!("catching up {many} entities: from start to all told");
    figures.push(Figure::alone(name, median(&seconds), "s", Goal::None));
    let name = format!("peak RSS while catching up {many} entities, with them in the cache");
    figures.push(Figure::alone(name, median(&peaks), "MiB", Goal::None));
    Ok(places)
}

/// One sidecar's run.
pub(super) struct Run {
    /// Records a second.
    pub(super) rate: f64,
    /// The same of the plain producer.
    pub(super) plain: f64,
    pub(super) seconds: f64,
    /// MiB.
    pub(super) peak: f64,
}

/// Starts a sidecar whose cluster is named by the place's topic, and lets it tell `count` records behind `from`, everything up to a version.
pub(super) async fn catch_up(site: &Site, place: &Place, from: i64, version: u64, count: usize) -> anyhow::Result<Run> {
    let start = Instant::now();
    let sidecar = site.in_cluster(&place.topic, place).await?;
    // Where there is no position, its part is up once all is told.
    site::ready(&sidecar).await?;
    site::told(&sidecar, version).await?;
    let seconds = start.elapsed().as_secs_f64();
    let peak = peak(sidecar.program.pid())?;
    sidecar.terminate().await?;
    let records = plain::read(&site.brokers, &place.topic, from).await?;
    ensure!(records.len() == count, "{} records in place of {count}", records.len());
    let rate = plain::rate(&records)?;
    let topic = format!("{}-plain-{from}", place.topic);
    site.topic(&topic).await?;
    plain::send(&site.brokers, &topic, records).await?;
    let plain = plain::rate(&plain::read(&site.brokers, &topic, 0).await?)?;
    Ok(Run { rate, plain, seconds, peak })
}
