//! Beginning and end: what a fresh cluster can do, what is asked for when something is missing, and that nothing
//! outlives its owner.

use std::io::BufRead as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use devcluster::environment::Environment;
use devcluster::roster::Record;
use devcluster::{Artifact, Cluster, ClusterOptions, Error, Part, Toolbox};

use crate::cluster;
use crate::kubectl::{kubectl, with_token};

#[tokio::test]
async fn a_token_is_issued_and_rbac_denies_what_was_not_granted() {
    let cluster = cluster().await;
    kubectl(&cluster, &["create", "serviceaccount", "stranger"]);
    let token = kubectl(&cluster, &["create", "token", "stranger", "--duration=10m"]);
    let who = with_token(&cluster, token.trim(), &["auth", "whoami"]).unwrap();
    assert!(who.contains("system:serviceaccount:default:stranger"), "{who}");
    let denied = with_token(&cluster, token.trim(), &["get", "configmaps"]).unwrap_err();
    assert!(denied.contains("Forbidden"), "{denied}");

    kubectl(&cluster, &["create", "role", "reader", "--verb=list", "--resource=configmaps"]);
    kubectl(&cluster, &["create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:stranger"]);
    with_token(&cluster, token.trim(), &["get", "configmaps"]).unwrap();
    let refused = with_token(&cluster, "not.a.token", &["get", "configmaps"]).unwrap_err();
    assert!(refused.contains("Unauthorized") || refused.contains("must be logged in"), "{refused}");
}

#[tokio::test]
async fn a_namespace_is_deleted_with_all_that_is_in_it() {
    let cluster = cluster().await;
    kubectl(&cluster, &["create", "namespace", "short-lived"]);
    kubectl(&cluster, &["create", "configmap", "inside", "--namespace=short-lived"]);
    // The controller waits five seconds on purpose, and then works through every kind at its twenty requests a second.
    kubectl(&cluster, &["delete", "namespace", "short-lived", "--timeout=60s"]);
}

#[tokio::test]
async fn two_clusters_live_side_by_side() {
    let first = cluster().await;
    let options = ClusterOptions { audit_log: true, ..ClusterOptions::for_tests("second").without_kafka() };
    let second = Cluster::start(options).await.unwrap();
    kubectl(&second, &["create", "configmap", "only-here"]);
    let names = kubectl(&first, &["get", "configmaps", "-o", "name"]);
    assert!(!names.contains("only-here"), "{names}");
    assert!(second.endpoints().kafka.is_none());
    let started = second.process(Part::Kafka).start().await.unwrap_err();
    assert!(matches!(started, Error::NoSuchPart(Part::Kafka)), "{started}");
    let audit = std::fs::read_to_string(second.directory().join("logs").join("audit.log")).unwrap();
    assert!(audit.contains("only-here"));
    let directory = second.directory().to_path_buf();
    second.stop().await.unwrap();
    assert!(!directory.exists());
}

#[tokio::test]
async fn every_binary_says_the_version_that_was_pinned() {
    let toolbox = Toolbox::new(Environment::of_this_process().without("KUBEBUILDER_ASSETS"));
    let told = [
        (Artifact::Etcd, &["--version"][..]),
        (Artifact::Etcdctl, &["version"]),
        (Artifact::Etcdutl, &["version"]),
        (Artifact::ApiServer, &["--version"]),
        (Artifact::ControllerManager, &["--version"]),
        (Artifact::Kubectl, &["version", "--client"]),
        (Artifact::Toxiproxy, &["-version"]),
    ];
    toolbox.provide(&told.map(|(artifact, _)| artifact)).await.unwrap();
    for (artifact, arguments) in told {
        let output = Command::new(toolbox.path(artifact).unwrap()).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let words: Vec<_> = said.split(|c: char| c.is_whitespace()).map(|it| it.trim_start_matches('v')).collect();
        assert!(words.contains(&artifact.version()), "{artifact:?} says {said}");
    }
    let cluster = cluster().await;
    let log = std::fs::read_to_string(cluster.process(Part::Kafka).log_path()).unwrap();
    assert!(log.contains(&format!("Kafka version: {}", Artifact::Kafka.version())), "{log}");
}

#[tokio::test]
async fn without_any_program_everything_needed_is_named_at_once() {
    let empty = std::env::temp_dir().join(format!("devcluster-empty-{}", std::process::id()));
    let environment =
        Environment::of_this_process().with("PATH", "").with("XDG_CACHE_HOME", &empty).without("KUBEBUILDER_ASSETS");
    let options = ClusterOptions { environment, ..ClusterOptions::for_tests("nothing") };
    let message = Cluster::start(options).await.unwrap_err().to_string();
    for word in ["go ", "java ", "mvn ", "setpriv ", "apt-get install", "default-jdk-headless", "golang-go"] {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
    assert!(!empty.join("k8s-as-backend").join("ports").exists(), "ports were taken before the check");
    let _ = std::fs::remove_dir_all(empty);
}

#[tokio::test]
async fn binaries_in_kubebuilder_assets_are_used_and_missing_ones_named() {
    let toolbox = Toolbox::new(Environment::of_this_process().without("KUBEBUILDER_ASSETS"));
    let given = [Artifact::Etcd, Artifact::ApiServer, Artifact::Kubectl];
    toolbox.provide(&given).await.unwrap();
    let assets = std::env::temp_dir().join(format!("devcluster-assets-{}", std::process::id()));
    std::fs::create_dir_all(&assets).unwrap();
    for artifact in given {
        let link = assets.join(artifact.file());
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(toolbox.path(artifact).unwrap(), link).unwrap();
    }
    let environment = Environment::of_this_process().with("KUBEBUILDER_ASSETS", &assets);
    let options = ClusterOptions { environment, ..ClusterOptions::for_tests("assets").without_kafka() };
    let cluster = Cluster::start(options.clone()).await.unwrap();
    assert_eq!(cluster.kubectl(), assets.join("kubectl"));
    let pid = cluster.process(Part::ApiServer).pid().await.unwrap();
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(Path::new(command.split('\0').next().unwrap()).starts_with(&assets), "{command}");
    cluster.stop().await.unwrap();

    std::fs::remove_file(assets.join("kube-apiserver")).unwrap();
    let message = Cluster::start(options).await.unwrap_err().to_string();
    assert!(message.contains("kube-apiserver") && message.contains("KUBEBUILDER_ASSETS"), "{message}");
    std::fs::remove_dir_all(assets).unwrap();
}

#[tokio::test]
async fn a_port_that_was_asked_for_is_used_or_named_when_taken() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().port();
    let options =
        |port| ClusterOptions { api_server_port: Some(port), ..ClusterOptions::for_tests("port").without_kafka() };
    let message = Cluster::start(options(taken)).await.unwrap_err().to_string();
    assert!(message.contains(&taken.to_string()) && message.contains("kube-apiserver"), "{message}");
    drop(holder);
    let cluster = Cluster::start(options(taken)).await.unwrap();
    assert_eq!(cluster.process(Part::ApiServer).port(), taken);
    kubectl(&cluster, &["get", "--raw", "/readyz"]);
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_that_is_held_is_refused_and_names_its_owner() {
    let cluster = cluster().await;
    let options =
        ClusterOptions { directory: Some(cluster.directory().to_path_buf()), ..ClusterOptions::for_tests("again") };
    let message = Cluster::start(options).await.unwrap_err().to_string();
    assert!(message.contains(&std::process::id().to_string()), "{message}");
}

#[test]
fn an_owner_that_is_killed_leaves_no_process() {
    let mut owner = Command::new(example("hold")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    std::io::BufReader::new(owner.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let directory = PathBuf::from(said["directory"].as_str().unwrap());
    let record = Record::read(&directory).unwrap();
    let members: Vec<_> = record.alive().map(|(member, process)| (member.part, process)).collect();
    assert_eq!(members.iter().map(|(part, _)| *part).collect::<Vec<_>>(), Part::ALL[..4]);

    owner.kill().unwrap();
    owner.wait().unwrap();
    let killed = Instant::now();
    loop {
        let left: Vec<_> = members.iter().filter(|(_, process)| process.is_alive()).collect();
        if left.is_empty() {
            break;
        }
        assert!(killed.elapsed() < Duration::from_secs(10), "still alive: {left:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// Cargo builds the examples of a package before its tests, next to them.
fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: run the tests with `cargo test -p devcluster`", path.display());
    path
}
