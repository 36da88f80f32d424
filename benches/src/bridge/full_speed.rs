//! The API server's full write speed, with and without a sidecar that broadcasts; and whether the broadcast keeps up with it.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use std::collections::HashMap;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, ensure};

use super::site::{self, Site};
use super::writer::{self, Written};
use super::{Amount, plain};
use crate::figures::{Figure, Goal};

/// Todos that change in turns.
const ENTITIES: usize = 1000;

/// Measures both in turns.
pub(super) async fn measure(
    site: &Site,
    rounds: usize,
    amount: Amount,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<()> {
    println!("the API server's full write speed, {rounds} rounds …");
    let place = site.place("full").await?;
    site.fill(&place, 0, ENTITIES).await?;
    let duration = Duration::from_secs(amount.seconds);
    let (mut with, mut without, mut early, mut late) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        without.push(run(site, &place, duration).await?.0);
        let sidecar = site.broadcasting(&place, "exactlyOnce").await?;
        let from = plain::end(&site.brokers, &place.topic).await?;
        let (rate, written) = run(site, &place, duration).await?;
        site::told(&sidecar, written.iter().map(|write| write.version).max().context("no writes")?).await?;
        sidecar.terminate().await?;
        let records = plain::read(&site.brokers, &place.topic, from).await?;
        let appended = records.iter().filter_map(|record| Some((record.version?, record.appended))).collect();
        let (first, last) = lags(&written, &appended)?;
        println!("  with {rate:.0}/s, without {:.0?}/s; lag {first:.1} ms, then {last:.1} ms", without.last());
        with.push(rate);
        early.push(first);
        late.push(last);
    }
    let name = format!("writes at the API server, {} in flight, with a broadcast", site::AT_ONCE);
    figures.push(Figure::against(name, &with, "1/s", "without", &without, Goal::AtLeast(0.95)));
    let name = "lag at that speed, mean of the last third";
    figures.push(Figure::against(name, &late, "ms", "of the first third", &early, Goal::AtMost(1.25)));
    Ok(())
}

/// Writes a second, and the writes.
async fn run(site: &Site, place: &site::Place, duration: Duration) -> anyhow::Result<(f64, Vec<Written>)> {
    let start = Instant::now();
    let written = writer::full(site, place, ENTITIES, usize::MAX, duration).await?;
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let rate = written.len() as f64 / start.elapsed().as_secs_f64();
    Ok((rate, written))
}

/// Mean milliseconds from a write's answer to its record in the topic, of the first and of the last third of the writes.
fn lags(written: &[Written], appended: &HashMap<u64, i64>) -> anyhow::Result<(f64, f64)> {
    let mut sorted = written.to_vec();
    sorted.sort_by_key(|write| write.version);
    let lag = |write: &Written| -> anyhow::Result<f64> {
        let at = appended.get(&write.version).with_context(|| format!("{} is not in the topic", write.version))?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact")]
        let at = *at as f64;
        Ok(at - write.wall.duration_since(UNIX_EPOCH)?.as_secs_f64() * 1000.0)
    };
    let third = sorted.len() / 3;
    ensure!(third > 0, "hardly any writes");
    let mean = |writes: &[Written]| -> anyhow::Result<f64> {
        let all: Vec<f64> = writes.iter().map(lag).collect::<anyhow::Result<_>>()?;
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        Ok(all.iter().sum::<f64>() / all.len() as f64)
    };
    let (first, last) = (sorted.get(..third).unwrap_or_default(), sorted.get(2 * third..).unwrap_or_default());
    Ok((mean(first)?, mean(last)?))
}
