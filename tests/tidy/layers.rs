//! Which package may depend on which, and what must never be in a package's dependency tree.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

use crate::tree::{none, root};

/// The product's and the test packages' layers: a package and those of ours that it may depend on.
const LAYERS: [(&str, &[&str]); 7] = [
    ("sample-app", &[]),
    ("contract", &[]),
    ("runtime", &[]),
    ("devcluster", &[]),
    ("sidecar-core", &["contract"]),
    ("sidecar", &["sidecar-core", "contract", "runtime"]),
    ("cli", &["contract", "runtime"]),
];

/// Packages that hold the product together from outside and may see everything.
const FREE: [&str; 3] = ["e2e", "benches", "xtask"];

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).exec().expect("cargo metadata answers")
}

/// Names of all packages that `package` needs to be built and run, itself left out.
fn tree(metadata: &Metadata, package: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("cargo metadata resolves the dependencies");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let start = metadata.packages.iter().find(|found| found.name == package).expect("the package is in the workspace");
    let mut seen = BTreeSet::from([&start.id]);
    let mut open = vec![&start.id];
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let needed = dependency.dep_kinds.iter().any(|kind| kind.kind != DependencyKind::Development);
            if needed && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    seen.remove(&start.id);
    seen.into_iter().map(|id| metadata[id].name.to_string()).collect()
}

#[test]
fn packages_depend_one_way() {
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.workspace_packages().iter().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in metadata.workspace_packages() {
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package.name.as_str()) else {
            if !FREE.contains(&package.name.as_str()) {
                findings.push(format!("{} is in no layer: add it to the table", package.name));
            }
            continue;
        };
        for dependency in package.dependencies.iter().filter(|found| ours.contains(found.name.as_str())) {
            if !allowed.contains(&dependency.name.as_str()) {
                findings.push(format!("{} depends on {}", package.name, dependency.name));
            }
        }
    }
    none("dependencies point one way", findings);
}

#[test]
fn the_sample_apps_dependency_tree_has_no_kube_crate() {
    let tree = tree(&metadata(), "sample-app");
    let found = tree.into_iter().filter(|name| name.starts_with("kube") || name == "k8s-openapi").collect();
    none("an app needs no Kubernetes library", found);
}

#[test]
fn sidecar_core_builds_without_tokio_hyper_kube_rdkafka() {
    let tree = tree(&metadata(), "sidecar-core");
    let io = ["tokio", "hyper", "kube", "kube-client", "rdkafka", "rdkafka-sys"];
    let found = tree.into_iter().filter(|name| io.contains(&name.as_str())).collect();
    none("decisions do no IO", found);
}

#[test]
fn versions_stand_in_the_workspace_alone() {
    let findings = crate::tree::files(".", "Cargo.toml")
        .into_iter()
        .filter(|(path, _)| path != "Cargo.toml")
        .flat_map(|(path, text)| {
            let section = text.split_once("[dependencies]").map_or("", |(_, rest)| rest).to_owned();
            section
                .lines()
                .filter(|line| line.contains("version = \"") || line.contains(" = \""))
                .filter(|line| !line.starts_with("name = ") && !line.starts_with("path = "))
                .map(|line| format!("{path}: {line}"))
                .collect::<Vec<_>>()
        })
        .collect();
    none("a dependency's version stands in the root Cargo.toml", findings);
}
