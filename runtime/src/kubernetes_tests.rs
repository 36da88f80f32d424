//! Faults in a kubeconfig, each with the file and the key that the message must name.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn kubeconfig(replace: &str, with: &str) -> String {
    "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
     contexts: [{name: here, context: {cluster: c, user: u, namespace: shop}}]\n\
     clusters: [{name: c, cluster: {server: 'https://127.0.0.1:6443'}}]\n\
     users: [{name: u, user: {token: secret}}]\n"
        .replace(replace, with)
}

async fn connect_with(name: &str, text: &str) -> Result<Connection, ConnectError> {
    let file = std::env::temp_dir().join(format!("kab-kubeconfig-{}-{name}", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let result = connect(Some(&file), &BTreeMap::new()).await;
    std::fs::remove_file(&file).unwrap();
    result
}

#[tokio::test]
async fn each_fault_names_the_file_and_the_key() {
    let cases = [
        ("syntax", "users: [", "users: [[[", "file:"),
        ("context", "current-context: here", "current-context: there", "contexts:"),
        ("no-context", "current-context: here\n", "", "current-context:"),
        ("cluster", "cluster: c,", "cluster: d,", "clusters:"),
        ("user", "user: u,", "user: v,", "users: there is no user \"v\""),
        ("server", "server: 'https://127.0.0.1:6443'", "server: 'ht tp://x'", "clusters[].cluster.server:"),
        ("ca", "6443'", "6443', certificate-authority: /nowhere/ca.crt", "/nowhere/ca.crt"),
        ("ca-data", "6443'", "6443', certificate-authority-data: '*'", "clusters[].cluster.certificate-authority:"),
        ("token", "token: secret", "tokenFile: /nowhere/token", "/nowhere/token"),
    ];
    for (name, replace, with, expected) in cases {
        let message = connect_with(name, &kubeconfig(replace, with)).await.err().unwrap().to_string();
        assert!(message.contains(expected) && message.contains(name), "{name}: {message}");
        assert!(!message.contains("secret"), "{name}: {message}");
    }
}

#[tokio::test]
async fn a_good_kubeconfig_gives_the_namespace_of_its_context() {
    let connection = connect_with("good", &kubeconfig("", "")).await.ok().unwrap();
    assert_eq!((connection.namespace.as_str(), connection.server.as_str()), ("shop", "https://127.0.0.1:6443/"));
}

#[test]
fn the_file_given_wins_then_the_environment_then_the_pod() {
    let everything =
        environment(&[("KUBECONFIG", "/a:/b"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("HOME", "/none")]);
    let files = |list: &[&str]| Source::Files(list.iter().map(PathBuf::from).collect());
    assert_eq!(source(Some(Path::new("/given")), &everything).unwrap(), files(&["/given"]));
    assert_eq!(source(None, &everything).unwrap(), files(&["/a", "/b"]));
    let pod = environment(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("HOME", "/none")]);
    assert_eq!(source(None, &pod).unwrap(), Source::Pod);
    let message = source(None, &environment(&[("HOME", "/none")])).unwrap_err().to_string();
    assert!(message.contains("/none/.kube/config") && message.contains("--kubeconfig"), "{message}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let message = connect(Some(Path::new("/nowhere/config")), &BTreeMap::new()).await.err().unwrap().to_string();
    assert!(message.starts_with("failed to use kubeconfig /nowhere/config:"), "{message}");
}
