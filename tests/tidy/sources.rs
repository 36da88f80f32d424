//! Rules for source files: headers, length, names, and which file may name which library.

use crate::tree::{before_tests, files, none, sources};

#[test]
fn every_source_says_what_it_owns() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path).collect();
    none("a source file opens with `//!`: what it owns, what it never does, who calls it", silent);
}

#[test]
fn no_source_is_longer_than_600_lines_before_its_tests() {
    let long = sources()
        .into_iter()
        .map(|(path, text)| (path, before_tests(&text).lines().count()))
        .filter(|(_, lines)| *lines > 600)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    none("split by concept before 600 lines", long);
}

#[test]
fn a_file_is_a_noun_of_the_domain() {
    const EMPTY_NAMES: [&str; 7] = ["mod", "util", "utils", "common", "helper", "helpers", "misc"];
    let vague = sources()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| {
            let name = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
            EMPTY_NAMES.contains(&name)
        })
        .collect();
    none("a file's name says what is in it (`foo.rs` + `foo/`, never `mod.rs`)", vague);
}

/// Files below sidecar/src outside `allowed` (path prefixes) that mention `word` as a path.
fn strangers(word: &str, allowed: &[&str]) -> Vec<String> {
    files("sidecar/src", ".rs")
        .into_iter()
        .filter(|(path, _)| !allowed.iter().any(|prefix| path.starts_with(prefix)))
        .flat_map(|(path, text)| {
            let hits: Vec<String> = text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim_start().starts_with("//") && line.contains(&format!("{word}::")))
                .map(|(number, line)| format!("{path}:{}: {}", number + 1, line.trim()))
                .collect();
            hits
        })
        .collect()
}

#[test]
fn only_the_bridge_names_rdkafka() {
    none("rdkafka belongs to sidecar/src/bridge", strangers("rdkafka", &["sidecar/src/bridge"]));
}

#[test]
fn only_the_gateways_name_the_kubernetes_api() {
    // The last one is the fake API server that the tests of gateways and drivers put beneath them.
    let gateways = [
        "sidecar/src/store",
        "sidecar/src/informer",
        "sidecar/src/leases",
        "sidecar/src/events",
        "sidecar/src/fake.rs",
    ];
    for library in ["kube", "k8s_openapi"] {
        none("the Kubernetes API is named by the gateways alone", strangers(library, &gateways));
    }
}

#[test]
fn drivers_and_gateways_keep_apart() {
    let drivers = ["http", "bridge", "admission", "reconciler", "notifier"];
    let gateways = ["store", "informer", "hooks", "leases", "events"];
    let mut findings = Vec::new();
    for (path, text) in files("sidecar/src", ".rs") {
        let module = path.trim_start_matches("sidecar/src/").trim_end_matches(".rs").split('/').next().unwrap_or("");
        let forbidden: Vec<&str> = match module {
            driver if drivers.contains(&driver) => drivers.into_iter().filter(|other| *other != driver).collect(),
            gateway if gateways.contains(&gateway) => {
                drivers.into_iter().chain(gateways).filter(|other| *other != gateway).collect()
            }
            _ => continue,
        };
        for (number, line) in before_tests(&text).lines().enumerate() {
            if forbidden.iter().any(|other| line.contains(&format!("crate::{other}::"))) {
                findings.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none("drivers never import drivers; gateways never import gateways or drivers", findings);
}
