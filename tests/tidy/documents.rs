//! Documents are true as far as a program can tell: links lead somewhere, invariants are tests, nothing tells of a machine.

use crate::tree::{files, none, root, sources};

/// Paths and hosts that belong to somebody's machine, cut so that this file does not hold them itself.
const PRIVATE: [&str; 6] =
    ["/wo|rk/", "/ro|ot/", "proxy.go|lang.org", "index.cra|tes.io", "repo.mav|en", "deb.deb|ian.org"];

#[test]
fn every_link_leads_somewhere() {
    let mut findings = Vec::new();
    for (path, text) in files(".", ".md") {
        let folder = root().join(&path).parent().expect("a file has a folder").to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or(target);
            let elsewhere = target.starts_with("http") || target.starts_with("mailto:");
            if !elsewhere && !file.is_empty() && !folder.join(file).exists() {
                findings.push(format!("{path}: {target}"));
            }
        }
    }
    none("a link in a document leads nowhere", findings);
}

#[test]
fn every_invariant_is_a_test_of_that_name() {
    let architecture =
        std::fs::read_to_string(root().join("docs/architecture.md")).expect("docs/architecture.md exists");
    let section = architecture.split("## Invariants").nth(1).expect("docs/architecture.md has a section Invariants");
    let section = section.split("\n## ").next().unwrap_or(section);
    let names: Vec<&str> = section
        .lines()
        .filter(|line| line.starts_with("- "))
        .map(|line| {
            line.split('`').nth(1).unwrap_or_else(|| panic!("an invariant names its test in backticks: {line}"))
        })
        .collect();
    assert!(names.len() >= 5, "the section lists the invariants, found only {names:?}");
    let sources = sources();
    let missing = names
        .into_iter()
        .filter(|name| !sources.iter().any(|(_, text)| text.contains(&format!("fn {name}("))))
        .map(str::to_owned)
        .collect();
    none("an invariant in docs/architecture.md has no test of its name", missing);
}

#[test]
fn nothing_tells_of_a_machine() {
    let words: Vec<String> = PRIVATE.iter().map(|word| word.replace('|', "")).collect();
    let mut findings = Vec::new();
    for suffix in [".rs", ".md", ".toml", ".yaml", ".xml", ".sh", ".html", "run", ".json", "Dockerfile"] {
        let found = std::panic::catch_unwind(|| files(".", suffix)).unwrap_or_default();
        for (path, text) in found {
            for (number, line) in text.lines().enumerate() {
                if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                    findings.push(format!("{path}:{}: {word}", number + 1));
                }
            }
        }
    }
    none("a file names a path of one machine or a registry's host", findings);
}
