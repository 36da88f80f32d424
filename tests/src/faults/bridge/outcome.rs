//! What came of the campaign: reads the audit log and the topic, and has them judged.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use contract::names::POSITIONS_TOPIC;

use super::TOPIC;
use crate::broadcast::{self, FAULTS, Findings, History, Restore, audit};
use crate::faults::report::Report;
use crate::faults::site::Site;
use crate::program::Scratch;
use crate::topic;

/// To read a topic of hours on a busy machine.
const READ: Duration = Duration::from_secs(300);
/// Sentences of a report; the first ones tell most.
const TOLD: usize = 20;

/// Judges everything.
pub(super) async fn of(
    site: &Site,
    scratch: &Scratch,
    brokers: &str,
    restores: Vec<Restore>,
) -> anyhow::Result<Report> {
    let told = topic::read_as(brokers, TOPIC, READ, |record| broadcast::topic::told(&record)).await?;
    let positions = topic::read_as(brokers, POSITIONS_TOPIC, READ, Ok).await?;
    let gaps = broadcast::topic::gaps(&positions)?;
    let log = site.cluster.audit_log();
    let log = tokio::fs::read_to_string(&log).await.with_context(|| format!("failed to read {}", log.display()))?;
    let writes = audit::writes(&log, "todos")?;
    let compared = gaps.len();
    let history = History { writes, told, gaps, restores };
    let findings = broadcast::judge(&history);
    if !findings.wrong.is_empty() {
        keep(&scratch.folder().join("history.txt"), &history, &findings)?;
    }
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let wrong = FAULTS.iter().map(|(fault, name)| (*name, count(findings.count(*fault))));
    let counted = [
        ("writes acknowledged", findings.acknowledged),
        ("writes of which nobody knows what became of them", findings.maybe),
        ("of these told", findings.shown),
        ("events told", findings.events),
        ("deletions told", findings.deletions),
        ("versions passed over and counted in `kab_skipped`", findings.counted),
        ("times that the whole state was compared with the topic", count(compared)),
        ("versions passed over and told as `unknown` or with a `snapshot`", findings.unknown),
        ("lives that began and ended while the history was lost", findings.unseen),
    ];
    let counts = wrong.chain(counted).map(|(name, count)| (name.to_owned(), count)).collect();
    let sentences = findings.wrong.iter().take(TOLD).map(|(fault, what)| format!("{fault}: {what}")).collect();
    Ok(Report { counts, wrong: sentences, ..Report::default() })
}

/// For whoever looks for the reason: everything that was judged, one line each.
fn keep(file: &Path, history: &History, findings: &Findings) -> anyhow::Result<()> {
    let mut text = String::new();
    for (fault, what) in &findings.wrong {
        writeln!(text, "wrong: {fault}: {what}")?;
    }
    writeln!(text, "gaps: {:?}\nrestores: {:?}", history.gaps, history.restores)?;
    for write in &history.writes {
        writeln!(text, "{write:?}")?;
    }
    for told in &history.told {
        writeln!(text, "{told:?}")?;
    }
    std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
}
