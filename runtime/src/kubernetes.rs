//! The Kubernetes client: which cluster, as whom, and a message that names the file and the key when that cannot be told.
//!
//! Looks where people expect it: the file given, else `KUBECONFIG`, else the pod's service account, else `~/.kube/config`. Never asks
//! the API server anything: one that is away is not an error of the configuration. The composition root calls it once.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError};
use kube::{Client, Config};

/// An API server that does not even accept a connection is away.
const CONNECT_TIME: Duration = Duration::from_secs(5);
const SERVICE_HOST: &str = "KUBERNETES_SERVICE_HOST";
const KUBECONFIG: &str = "KUBECONFIG";

/// A client and what the configuration says beside.
#[derive(Clone)]
pub struct Connection {
    /// The client. It retries nothing by itself.
    pub client: Client,
    /// The namespace of the service account or of the kubeconfig's context.
    pub namespace: String,
    /// The API server's URL, for logs.
    pub server: String,
}

/// Why no client can be made. The message names the file and the key.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig has a fault.
    #[error("failed to use kubeconfig {file}: {key}: {fault}")]
    Kubeconfig {
        /// The file, or the list of files that `KUBECONFIG` names.
        file: String,
        /// Where in it.
        key: String,
        /// What is wrong.
        fault: String,
    },
    /// The pod's service account cannot be used.
    #[error("failed to use the pod's service account (/var/run/secrets/kubernetes.io/serviceaccount): {0}")]
    InCluster(String),
    /// Nothing says which cluster.
    #[error(
        "found no cluster: not in a pod, KUBECONFIG is not set and {home} does not exist; give `kubeconfig`, --kubeconfig or KUBECONFIG"
    )]
    Nowhere {
        /// The default file.
        home: String,
    },
}

/// Where the configuration comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    Files(Vec<PathBuf>),
    Pod,
}

/// Makes the client. `kubeconfig` is the file that the configuration names, if it does; `environment` is the process's.
///
/// # Errors
/// When the configuration cannot be used.
pub async fn connect(
    kubeconfig: Option<&Path>,
    environment: &BTreeMap<String, String>,
) -> Result<Connection, ConnectError> {
    let mut config = match source(kubeconfig, environment)? {
        Source::Pod => Config::incluster().map_err(|error| ConnectError::InCluster(chain(&error)))?,
        Source::Files(files) => from_files(&files).await?,
    };
    config.connect_timeout = Some(CONNECT_TIME);
    // Answers 429 and 503 are passed on with their Retry-After; who asked decides.
    config.default_retry = false;
    // Go's clients never take a proxy to loopback; kube takes any that HTTPS_PROXY names.
    if config.cluster_url.host().is_some_and(is_loopback) {
        config.proxy_url = None;
    }
    // Another crate of a binary may bring a second provider, and then rustls would not choose by itself.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (namespace, server) = (config.default_namespace.clone(), config.cluster_url.to_string());
    let client = Client::try_from(config).map_err(|error| ConnectError::Kubeconfig {
        file: kubeconfig.map_or_else(|| "in use".to_owned(), |file| file.display().to_string()),
        key: "users[].user or clusters[].cluster".to_owned(),
        fault: chain(&error),
    })?;
    Ok(Connection { client, namespace, server })
}

fn source(kubeconfig: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Source, ConnectError> {
    if let Some(file) = kubeconfig {
        return Ok(Source::Files(vec![file.to_owned()]));
    }
    if let Some(list) = environment.get(KUBECONFIG).filter(|list| !list.is_empty()) {
        return Ok(Source::Files(std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()).collect()));
    }
    if environment.contains_key(SERVICE_HOST) {
        return Ok(Source::Pod);
    }
    let home = environment.get("HOME").map_or_else(PathBuf::new, PathBuf::from).join(".kube/config");
    if home.is_file() {
        return Ok(Source::Files(vec![home]));
    }
    Err(ConnectError::Nowhere { home: home.display().to_string() })
}

async fn from_files(files: &[PathBuf]) -> Result<Config, ConnectError> {
    let mut merged: Option<Kubeconfig> = None;
    for file in files {
        let read = Kubeconfig::read_from(file).map_err(|error| fault(std::slice::from_ref(file), &error))?;
        merged = Some(match merged {
            None => read,
            Some(before) => before.merge(read).map_err(|error| fault(std::slice::from_ref(file), &error))?,
        });
    }
    let config = merged.unwrap_or_default();
    check_user(&config, files)?;
    Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.map_err(|error| fault(files, &error))
}

/// kube takes a context's user that is not there for no user at all: every request would then be refused as anonymous.
fn check_user(config: &Kubeconfig, files: &[PathBuf]) -> Result<(), ConnectError> {
    let context = config.contexts.iter().find(|named| Some(&named.name) == config.current_context.as_ref());
    let user = context.and_then(|named| named.context.as_ref()).and_then(|context| context.user.as_ref());
    match user {
        Some(user) if !config.auth_infos.iter().any(|named| named.name == *user) => Err(ConnectError::Kubeconfig {
            file: shown(files),
            key: "users".to_owned(),
            fault: format!("there is no user {user:?}, which the current context names"),
        }),
        _ => Ok(()),
    }
}

fn fault(files: &[PathBuf], error: &KubeconfigError) -> ConnectError {
    let key = match error {
        KubeconfigError::CurrentContextNotSet => "current-context",
        KubeconfigError::LoadContext(_) => "contexts",
        KubeconfigError::LoadClusterOfContext(_) => "clusters",
        KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => "clusters[].cluster.server",
        KubeconfigError::ParseProxyUrl(_) => "clusters[].cluster.proxy-url",
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            "clusters[].cluster.certificate-authority"
        }
        KubeconfigError::LoadClientCertificate(_) => "users[].user.client-certificate",
        KubeconfigError::LoadClientKey(_) => "users[].user.client-key",
        _ => "file",
    };
    let text = match error {
        KubeconfigError::ReadConfig(source, _) => source.to_string(),
        KubeconfigError::LoadCertificateAuthority(source)
        | KubeconfigError::LoadClientCertificate(source)
        | KubeconfigError::LoadClientKey(source) => load_fault(source),
        KubeconfigError::Parse(source) => without_excerpt(&source.to_string()),
        other => other.to_string(),
    };
    ConnectError::Kubeconfig { file: shown(files), key: key.to_owned(), fault: text }
}

/// The parser shows the lines around the fault, and in a kubeconfig these may hold a token or a key: only what and where is kept.
fn without_excerpt(message: &str) -> String {
    let what = message.lines().next().unwrap_or_default();
    let place = message.lines().find_map(|line| line.trim_start().strip_prefix("--> <input>:"));
    place.map_or_else(|| what.to_owned(), |place| format!("{what} (line:column {place})"))
}

fn load_fault(error: &LoadDataError) -> String {
    match error {
        LoadDataError::DecodeBase64(source) => format!("the …-data value is not base64: {source}"),
        LoadDataError::ReadFile(source, path) => format!("failed to read {}: {source}", path.display()),
        LoadDataError::NoBase64DataOrFile => "neither data nor a file is given".to_owned(),
    }
}

fn shown(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// kube prints most sources inside its messages already; only what is not there yet is added.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}

#[cfg(test)]
#[path = "kubernetes_tests.rs"]
mod tests;
