//! What came of the campaign: what is wrong, and what was counted.

use std::collections::BTreeMap;

use super::SIDECARS;
use super::board::Board;
use crate::acknowledged::replies::{Trouble, Wish};
use crate::acknowledged::{self, Came, replies};
use crate::faults::report::Report;
use crate::sidecar::Sidecar;

/// Judges everything.
pub(super) fn of(board: &Board, most: usize) -> Report {
    let record = board.record();
    let mut wrong = replies::wrong(&record.replies, &record.windows, most);
    wrong.extend(acknowledged::wrong(&record.history, most));
    wrong.extend(record.wrong.iter().take(most).cloned());
    for (number, (sidecar, table)) in record.tables.iter().enumerate() {
        let killed = record.windows.iter().filter(|window| window.trouble == Trouble::Sidecar(*sidecar)).count();
        // After the store was restored, an id of before cannot be told from one of after until the versions have passed it.
        if record.eras.0 == 0 && table.resets > killed {
            let found = table.resets;
            wrong.push(format!("reader {number} of events had to start over {found} times, for {killed} restarts"));
        }
    }
    let writes = |wanted: fn(&Came) -> bool| record.history.writes.iter().filter(|write| wanted(&write.came)).count();
    let troubled = |reply: &&replies::Reply| {
        let within = |window: &replies::Window| {
            window.span.call <= reply.span.call && reply.span.answered <= window.span.answered
        };
        record.windows.iter().any(|window| window.trouble == Trouble::Platform && within(window))
    };
    let cached =
        || record.replies.iter().filter(|reply| reply.wish == Wish::Cached && matches!(reply.status, Some(200 | 404)));
    let failed = |wish: Wish| {
        record
            .replies
            .iter()
            .filter(|reply| reply.wish == wish && reply.status.is_none_or(|status| status >= 500))
            .count()
    };
    let counts = [
        ("writes acknowledged", writes(|came| matches!(came, Came::Stored(_) | Came::Deleted))),
        ("writes refused", writes(|came| matches!(came, Came::Refused(_)))),
        ("writes without an answer that tells", writes(|came| *came == Came::Unknown)),
        ("reads from a cache", cached().count()),
        ("reads from a cache while the platform was away", cached().filter(troubled).count()),
        ("fresh reads that failed", failed(Wish::Fresh)),
        ("states seen", record.history.seen.len()),
        ("events told", record.tables.iter().map(|(_, table)| table.changes).sum()),
        ("times that a reader of events had to start over", record.tables.iter().map(|(_, table)| table.resets).sum()),
    ];
    let counts = counts.map(|(name, count)| (name.to_owned(), u64::try_from(count).unwrap_or(u64::MAX)));
    Report { counts: counts.into(), wrong, ..Report::default() }
}

/// Whether a sidecar's metrics say what its callers know: nobody asks it any more.
pub(super) async fn metrics(
    board: &Board,
    number: usize,
    sidecar: &Sidecar,
    entities: usize,
) -> anyhow::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let held = sidecar.metric("kab_cache_entities").await?;
    if held != entities as f64 {
        wrong.push(format!("sidecar {number} counts {held} entities, there are {entities}"));
    }
    let answer = sidecar.admin.get("/metrics").await?;
    let told = requests(answer.body.as_str().unwrap_or_default());
    let (_, life) = board.api(number)?;
    let record = board.record();
    let of_this_life = record.tally.iter().filter(|((sidecar, lived, _), _)| (*sidecar, *lived) == (number, life));
    let answered: BTreeMap<u16, u64> = of_this_life.map(|((_, _, status), count)| (*status, *count)).collect();
    if told != answered {
        wrong.push(format!("sidecar {number} of {SIDECARS} counts {told:?} answers, its callers {answered:?}"));
    }
    Ok(wrong)
}

/// How often each status was answered, but for readers of events.
fn requests(metrics: &str) -> BTreeMap<u16, u64> {
    let mut found = BTreeMap::new();
    for line in
        metrics.lines().filter(|line| line.starts_with("kab_api_requests_total{") && !line.contains("verb=\"watch\""))
    {
        let status = line.split("code=\"").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok());
        let count = line.rsplit(' ').next().and_then(|count| count.parse::<f64>().ok());
        if let (Some(status), Some(count)) = (status, count) {
            *found.entry(status).or_default() += count as u64;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_status() {
        let metrics = concat!(
            "# TYPE kab_api_requests counter\n",
            "kab_api_requests_total{kind=\"todos\",verb=\"get\",code=\"200\"} 3\n",
            "kab_api_requests_total{kind=\"todos\",verb=\"list\",code=\"200\"} 4\n",
            "kab_api_requests_total{kind=\"todos\",verb=\"get\",code=\"404\"} 1\n",
            "kab_api_requests_total{kind=\"todos\",verb=\"watch\",code=\"200\"} 9\n",
        );
        assert_eq!(requests(metrics), BTreeMap::from([(200, 7), (404, 1)]));
    }
}
