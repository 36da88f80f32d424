//! What came of a campaign: for people, and for a test to decide by.

use std::fmt;
use std::time::Duration;

/// The outcome.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Which campaign.
    pub campaign: &'static str,
    /// With which the same script comes again.
    pub seed: u64,
    /// How long it took.
    pub ran: Duration,
    /// Each fault that came, and how long it took from its end until all was well again, where that was waited for.
    pub faults: Vec<(String, Option<Duration>)>,
    /// What was counted: a name, and how often.
    pub counts: Vec<(String, u64)>,
    /// What is wrong, one sentence each.
    pub wrong: Vec<String>,
}

impl Report {
    /// A count, 0 if it was not counted.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.iter().find(|(counted, _)| counted == name).map_or(0, |(_, count)| *count)
    }

    /// Faults and counts as Markdown.
    pub fn tables(&self) -> String {
        let mut text = String::from("| fault | times | well again after (median) | (longest) |\n|---|---|---|---|\n");
        let mut names: Vec<&String> = self.faults.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        for name in names {
            let of_name = || self.faults.iter().filter(|(fault, _)| fault == name);
            let mut times: Vec<f64> = of_name().filter_map(|(_, time)| Some((*time)?.as_secs_f64())).collect();
            times.sort_by(f64::total_cmp);
            let seconds = |time: Option<&f64>| time.map_or(String::new(), |time| format!("{time:.1} s"));
            let (median, longest) = (seconds(times.get(times.len() / 2)), seconds(times.last()));
            text.push_str(&format!("| {name} | {} | {median} | {longest} |\n", of_name().count()));
        }
        text.push_str("\n| counted | |\n|---|---|\n");
        for (name, count) in &self.counts {
            text.push_str(&format!("| {name} | {count} |\n"));
        }
        text
    }

    /// How often this fault came.
    pub fn came(&self, fault: &str) -> usize {
        self.faults.iter().filter(|(name, _)| name == fault).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "faults {}: seed {}, {} s\n", self.campaign, self.seed, self.ran.as_secs())?;
        write!(out, "{}", self.tables())?;
        writeln!(out, "\nwrong: {}", self.wrong.len())?;
        self.wrong.iter().try_for_each(|wrong| writeln!(out, "- {wrong}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_shows_each_fault_each_count_and_what_is_wrong() {
        let report = Report {
            campaign: "api",
            seed: 7,
            ran: Duration::from_secs(61),
            faults: [("cut", Some(1)), ("kill", Some(9)), ("cut", Some(3)), ("cut", None), ("fire", None)]
                .map(|(name, time)| (name.to_owned(), time.map(Duration::from_secs)))
                .into(),
            counts: vec![("writes".to_owned(), 12)],
            wrong: vec!["milk went back".to_owned()],
        };
        let text = report.to_string();
        for line in [
            "faults api: seed 7, 61 s",
            "| cut | 3 | 3.0 s | 3.0 s |",
            "| fire | 1 |  |  |",
            "| kill | 1 | 9.0 s | 9.0 s |",
            "| writes | 12 |",
            "wrong: 1",
            "- milk went back",
        ] {
            assert!(text.lines().any(|found| found == line), "{line:?} is not in:\n{text}");
        }
        assert_eq!((report.count("writes"), report.count("reads"), report.came("cut")), (12, 0, 3));
    }
}
