//! The sidecar's highest memory while it catches up with many changes of few entities: after an absence of its own, and of Kafka's.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use std::time::Duration;

use anyhow::Context;
use devcluster::Part;

use super::site::{self, Place, Site};
use super::{Amount, plain, writer};
use crate::figures::{Figure, Goal};
use crate::memory::{forget_peak, peak};

/// Todos that change in turns.
const ENTITIES: usize = 1000;
/// For the changes.
const LIMIT: Duration = Duration::from_secs(600);

/// Measures once each.
pub(super) async fn measure(site: &Site, amount: Amount, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let Amount { many, .. } = amount;
    let place = site.place("few").await?;
    site.fill(&place, 0, ENTITIES).await?;
    println!("{many} changes while the sidecar is away …");
    // Its position, from which it will go on.
    site.broadcasting(&place, "exactlyOnce").await?.terminate().await?;
    let from = plain::end(&site.brokers, &place.topic).await?;
    let last = changes(site, &place, many).await?;
    let sidecar = site.broadcasting(&place, "exactlyOnce").await?;
    site::told(&sidecar, last).await?;
    let records = plain::read(&site.brokers, &place.topic, from).await?.len();
    println!("  {records} records");
    let name = format!("peak RSS while {many} changes of {ENTITIES} entities are caught up");
    figures.push(Figure::alone(name, peak(sidecar.program.pid())?, "MiB", Goal::AtMost(40.0)));

    println!("{many} changes while Kafka stands still …");
    let kafka = site.cluster.process(Part::Kafka);
    forget_peak(sidecar.program.pid())?;
    let from = plain::end(&site.brokers, &place.topic).await?;
    kafka.freeze().await?;
    let last = changes(site, &place, many).await;
    kafka.thaw().await?;
    site::told(&sidecar, last?).await?;
    let records = plain::read(&site.brokers, &place.topic, from).await?.len();
    println!("  {records} records");
    let name = format!("peak RSS while Kafka stands still during {many} changes, and behind it");
    figures.push(Figure::alone(name, peak(sidecar.program.pid())?, "MiB", Goal::AtMost(40.0)));
    sidecar.terminate().await?;
    Ok(())
}

/// The version of the last one.
async fn changes(site: &Site, place: &Place, count: usize) -> anyhow::Result<u64> {
    let written = writer::full(site, place, ENTITIES, count, LIMIT).await?;
    written.iter().map(|write| write.version).max().context("nothing was written")
}
