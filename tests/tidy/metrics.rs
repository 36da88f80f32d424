//! `docs/metrics.md` lists every metric that the sidecar registers, and none that it does not.

use std::collections::BTreeSet;

use crate::tree::{none, root, sources};

#[test]
fn every_metric_is_documented_and_every_documented_one_exists() {
    let registered: BTreeSet<String> = sources()
        .iter()
        .filter(|(path, _)| path.starts_with("sidecar/src") && path.ends_with("metrics.rs"))
        .flat_map(|(_, text)| names(text))
        .collect();
    assert!(registered.len() >= 20, "the metrics are found in the sources, found only {registered:?}");
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).expect("docs/metrics.md exists");
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(|name| name.strip_suffix("_total").unwrap_or(name).to_owned())
        .collect();
    let different = registered.symmetric_difference(&documented).cloned().collect();
    none("a metric is only in docs/metrics.md, or only in the sidecar", different);
}

/// The names in a source file, each with its unit; a counter's `_total` is added when it is encoded.
fn names(text: &str) -> Vec<String> {
    let unit = |rest: &str| match rest.split("Unit::").nth(1) {
        Some(unit) if unit.starts_with("Seconds") => "_seconds",
        Some(unit) if unit.starts_with("Bytes") => "_bytes",
        _ => "",
    };
    text.split("\"kab_")
        .skip(1)
        .filter_map(|rest| {
            let (name, rest) = rest.split_once('"')?;
            Some(format!("kab_{name}{}", unit(rest)))
        })
        .collect()
}
