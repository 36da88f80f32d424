//! kubectl as the client of these tests: what it says is what a user of the cluster would see.

use std::path::Path;
use std::process::{Command, Output};

use devcluster::Cluster;

/// Runs kubectl against the cluster; `Err` is what it printed on failing.
pub(crate) fn try_kubectl(cluster: &Cluster, kubeconfig: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(cluster.kubectl())
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        // The discovery cache would answer for a server that does not.
        .env("KUBECACHEDIR", cluster.directory().join("kubectl-cache"))
        .output()
        .unwrap();
    said(output)
}

/// Runs kubectl with the admin's rights and expects it to work.
pub(crate) fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let said = try_kubectl(cluster, &cluster.endpoints().kubeconfig, arguments);
    said.unwrap_or_else(|said| panic!("kubectl {arguments:?}: {said}"))
}

/// Runs kubectl with a bearer token and nothing else.
pub(crate) fn with_token(cluster: &Cluster, token: &str, arguments: &[&str]) -> Result<String, String> {
    let server = kubectl(cluster, &["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]);
    let output = Command::new(cluster.kubectl())
        .args(["--server", &server, "--token", token, "--certificate-authority"])
        .arg(cluster.directory().join("pki").join("ca.crt"))
        .args(arguments)
        .env("KUBECONFIG", "/dev/null")
        .output()
        .unwrap();
    said(output)
}

fn said(output: Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// The version of an object, as a number.
pub(crate) fn version(cluster: &Cluster, object: &str) -> u64 {
    let text = kubectl(cluster, &["get", object, "-o", "jsonpath={.metadata.resourceVersion}"]);
    text.parse().unwrap()
}
