//! Figures: what was measured, against what, and whether the goal is met. A table for people, JSON for programs.

use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// How a figure's ratio (or value, where there is no reference) must lie to its goal.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "is", content = "goal")]
pub(crate) enum Goal {
    /// At least so much.
    AtLeast(f64),
    /// At most so much.
    AtMost(f64),
    /// Only told.
    None,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) name: String,
    /// The median of the runs.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What it is compared with, measured in the same run.
    pub(crate) reference: Option<String>,
    /// Value by reference: the median of the ratios run by run.
    pub(crate) ratio: Option<f64>,
    /// What is wanted of the ratio, or of the value where there is none.
    pub(crate) goal: Option<String>,
    /// Whether it is reached.
    pub(crate) met: Option<bool>,
}

impl Figure {
    /// A figure by itself.
    pub(crate) fn alone(name: impl Into<String>, value: f64, unit: &'static str, goal: Goal) -> Self {
        Self { name: name.into(), value, unit, reference: None, ratio: None, goal: text(goal), met: met(goal, value) }
    }

    /// Values of ours and of a reference, run by run in pairs.
    pub(crate) fn against(
        name: impl Into<String>,
        ours: &[f64],
        unit: &'static str,
        reference: &str,
        theirs: &[f64],
        goal: Goal,
    ) -> Self {
        let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
        let ratio = median(&ratios);
        Self {
            name: name.into(),
            value: median(ours),
            unit,
            reference: Some(format!("{reference}: {}", short(median(theirs)))),
            ratio: Some(ratio),
            goal: text(goal),
            met: met(goal, ratio),
        }
    }
}

fn met(goal: Goal, value: f64) -> Option<bool> {
    match goal {
        Goal::AtLeast(least) => Some(value >= least),
        Goal::AtMost(most) => Some(value <= most),
        Goal::None => None,
    }
}

fn text(goal: Goal) -> Option<String> {
    match goal {
        Goal::AtLeast(least) => Some(format!("≥ {least}")),
        Goal::AtMost(most) => Some(format!("≤ {most}")),
        Goal::None => None,
    }
}

/// The middle of the values; of none, 0.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn short(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// The figures as a Markdown table.
pub(crate) fn table(figures: &[Figure]) -> String {
    let mut text = String::from("| figure | value | reference | ratio | goal | met |\n|---|---|---|---|---|---|\n");
    for figure in figures {
        text.push_str(&format!(
            "| {} | {} {} | {} | {} | {} | {} |\n",
            figure.name,
            short(figure.value),
            figure.unit,
            figure.reference.as_deref().unwrap_or(""),
            figure.ratio.map(short).unwrap_or_default(),
            figure.goal.as_deref().unwrap_or(""),
            figure.met.map_or("", |met| if met { "yes" } else { "**no**" }),
        ));
    }
    text
}

/// What becomes of a section of docs/benchmarks.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Write {
    /// It stays.
    No,
    /// It becomes these figures.
    All,
    /// Rows of the same figures are replaced, others stay, new ones follow.
    Part,
}

/// Writes `target/bench/NAME.json`, and the section NAME of docs/benchmarks.md as is wanted.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn keep(root: &Path, name: &str, figures: &[Figure], write: Write) -> anyhow::Result<()> {
    let folder = root.join("target/bench");
    std::fs::create_dir_all(&folder)?;
    let json = serde_json::to_string_pretty(&serde_json::json!({"figures": figures}))?;
    std::fs::write(folder.join(format!("{name}.json")), json)?;
    if write == Write::No {
        return Ok(());
    }
    let file = root.join("docs/benchmarks.md");
    let page = std::fs::read_to_string(&file).with_context(|| format!("failed to read {}", file.display()))?;
    let (begin, end) = (format!("<!-- begin {name} -->"), format!("<!-- end {name} -->"));
    let (before, rest) = page.split_once(&begin).with_context(|| format!("{} has no {begin}", file.display()))?;
    let (section, after) = rest.split_once(&end).with_context(|| format!("{} has no {end}", file.display()))?;
    let now = table(figures);
    let now = if write == Write::Part { merged(section.trim_start(), &now) } else { now };
    std::fs::write(&file, format!("{before}{begin}\n{now}{end}{after}"))?;
    Ok(())
}

/// The table `old` with the rows of `new` in their places.
fn merged(old: &str, new: &str) -> String {
    let mut rows: Vec<&str> = old.lines().collect();
    for row in new.lines() {
        match rows.iter_mut().find(|old| what(old) == what(row)) {
            Some(old) => *old = row,
            None => rows.push(row),
        }
    }
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// What a row is of: its figure, and what that is held against.
fn what(row: &str) -> (&str, &str) {
    let cell = |number| row.split('|').nth(number).unwrap_or_default().trim();
    (cell(1), cell(3).split(':').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_figures_takes_the_place_of_the_same_ones() {
        let first = [
            Figure::alone("one", 1.0, "ms", Goal::None),
            Figure::against("two", &[1.0], "1/s", "a", &[2.0], Goal::None),
            Figure::against("two", &[1.0], "1/s", "b", &[2.0], Goal::None),
        ];
        let second = [
            Figure::against("two", &[3.0], "1/s", "b", &[4.0], Goal::None),
            Figure::alone("three", 5.0, "ms", Goal::None),
        ];
        let whole = [first[0].clone(), first[1].clone(), second[0].clone(), second[1].clone()];
        assert_eq!(merged(&table(&first), &table(&second)), table(&whole));
        assert_eq!(merged("", &table(&first)), table(&first));
    }
}
