//! After an absence that the API server's history does not reach over: everything has changed, and the topic shows what was before.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use std::time::Duration;

use devcluster::Part;

use super::Amount;
use super::catch_up::catch_up;
use super::site::{Place, Site};
use super::{plain, writer};
use crate::figures::{Figure, Goal, median};

/// Goes on with topics that show every todo's first version.
pub(super) async fn measure(
    site: &Site,
    places: &[Place],
    amount: Amount,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<()> {
    let Amount { many, .. } = amount;
    let Some(any) = places.first() else { return Ok(()) };
    println!("{many} changes while no sidecar runs, which takes a minute or two …");
    let written = writer::full(site, any, many, many, Duration::from_secs(600)).await?;
    let last = written.iter().map(|write| write.version).max().unwrap_or_default();
    // Its history begins anew.
    site.cluster.process(Part::ApiServer).restart().await?;
    println!("catching up with them, {} rounds …", places.len());
    let (mut ours, mut theirs, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
    for place in places {
        let from = plain::end(&site.brokers, &place.topic).await?;
        let run = catch_up(site, place, from, last, many).await?;
        ours.push(run.rate);
        theirs.push(run.plain);
        seconds.push(run.seconds);
        println!("  {:.0} records/s in {:.1} s, plain producer {:.0}", run.rate, run.seconds, run.plain);
    }
    let name = format!("after an absence, catching up {many} changed entities: records");
    figures.push(Figure::against(name, &ours, "1/s", "plain producer", &theirs, Goal::AtLeast(0.8)));
    let name = format!("after an absence, catching up {many} changed entities: from start to all told");
    figures.push(Figure::alone(name, median(&seconds), "s", Goal::None));
    Ok(())
}
