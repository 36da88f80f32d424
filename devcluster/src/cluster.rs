//! A whole cluster: brings its parts up in order, waits until they serve, hands out the way to reach it and the
//! faults, and takes it down. It owns the order of things; what each part is like stands in `etcd`, `kubernetes` and
//! `kafka`. Tests, the demo and `cargo xtask cluster` call it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;
use crate::certificates::Certificates;
use crate::environment::Environment;
use crate::error::Error;
use crate::etcd::Etcd;
use crate::http::HttpClient;
use crate::kafka::{Access, GuardedKafka, Kafka};
use crate::kubernetes::{self, Kubernetes};
use crate::ports::Port;
use crate::process::{Plan, Process};
use crate::proxy::{Proxy, Toxiproxy, kubeconfig_path};
use crate::roster::Roster;
use crate::site::Site;

/// How often a start is tried with other ports after one was snatched away.
const ATTEMPTS: usize = 3;

/// A part of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The store.
    Etcd,
    /// kube-apiserver.
    #[serde(rename = "kube-apiserver")]
    ApiServer,
    /// kube-controller-manager.
    #[serde(rename = "kube-controller-manager")]
    ControllerManager,
    /// The broker.
    Kafka,
    /// The fault proxy, which runs from the first call of [`Cluster::proxy`] on.
    Toxiproxy,
}

impl Part {
    /// All of them, in the order in which they are listed.
    pub const ALL: [Self; 5] = [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Kafka, Self::Toxiproxy];

    /// Its name, which is also that of its log file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Kafka => "kafka",
            Self::Toxiproxy => "toxiproxy",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What kind of cluster is wanted.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// Lower-case letters, digits and dashes; for people, and for the directory's name.
    pub name: String,
    /// Whether there is a Kafka broker. Default: yes.
    pub kafka: bool,
    /// Whether the broker also has listeners with TLS and SASL, and access rules. Default: no.
    pub guarded_kafka: bool,
    /// A Kubernetes that is there already: then only Kafka is started. Default: none.
    pub kubeconfig: Option<PathBuf>,
    /// Whether etcd waits for the disk, as in production. Default: yes. Without, writes are faster and a crash of
    /// the machine, not one of the process, may lose some.
    pub fsync: bool,
    /// Whether every request is written to `logs/audit.log`. Default: no.
    pub audit_log: bool,
    /// An API group: the audit log then has the writes to its resources, each when it is received, and again with what was sent and answered when it is
    /// done. Default: none.
    pub audit_writes_of: Option<String>,
    /// Feature gates of the API server that are to be other than the release has them, as `NAME=BOOL`. Default: none.
    pub feature_gates: Vec<String>,
    /// Where data and logs go. Default: a temporary directory that is removed in the end.
    pub directory: Option<PathBuf>,
    /// The API server's port. Default: a free one.
    pub api_server_port: Option<u16>,
    /// The broker's port. Default: a free one.
    pub kafka_port: Option<u16>,
    /// The variables to go by. Default: those of this process.
    pub environment: Environment,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            name: "default".into(),
            kafka: true,
            guarded_kafka: false,
            kubeconfig: None,
            fsync: true,
            audit_log: false,
            audit_writes_of: None,
            feature_gates: Vec::new(),
            directory: None,
            api_server_port: None,
            kafka_port: None,
            environment: Environment::of_this_process(),
        }
    }
}

impl ClusterOptions {
    /// A throw-away cluster for tests: a temporary directory, and etcd does not wait for the disk.
    pub fn for_tests(name: &str) -> Self {
        Self { name: name.into(), fsync: false, ..Self::default() }
    }

    /// A cluster that others find by its name, in the user's state directory.
    pub fn named(name: &str) -> Result<Self, Error> {
        let directory = Some(named_directory(name, &Environment::of_this_process())?);
        Ok(Self { name: name.into(), directory, ..Self::default() })
    }

    /// The same without a broker.
    pub fn without_kafka(self) -> Self {
        Self { kafka: false, ..self }
    }
}

/// Where the cluster of this name lives: `$XDG_STATE_HOME/k8s-as-backend/clusters/NAME`, or below `~/.local/state`.
pub fn named_directory(name: &str, environment: &Environment) -> Result<PathBuf, Error> {
    check_name(name)?;
    Ok(environment.state_directory()?.join("clusters").join(name))
}

pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let fits = (1..=40).contains(&name.len())
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if fits { Ok(()) } else { Err(Error::Name(name.to_owned())) }
}

/// How to reach what was provided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// An admin's kubeconfig.
    pub kubeconfig: PathBuf,
    /// The value for `bootstrap.servers`; `None` if there is no Kafka.
    pub kafka: Option<String>,
}

/// A running cluster. Dropping it kills every process; [`Cluster::stop`] ends them in order.
#[derive(Debug)]
pub struct Cluster {
    // Declared in the order in which they must be dropped: processes before the site that removes their directory.
    pub(crate) parts: Parts,
    pub(crate) certificates: Certificates,
    /// Counts the ways through the proxy, for their names.
    proxies: AtomicUsize,
    /// Held by the one that uses Kafka's proxied listener.
    kafka_proxy: Arc<tokio::sync::Mutex<()>>,
    endpoints: Endpoints,
    kubectl: PathBuf,
    started_in: Duration,
    pub(crate) site: Site,
}

/// The processes with their reserved ports.
#[derive(Debug)]
pub(crate) struct Parts {
    etcd: Process,
    api_server: Process,
    controller_manager: Process,
    kafka: Process,
    toxiproxy: Process,
    pub(crate) store: Etcd,
    pub(crate) kubernetes: Kubernetes,
    pub(crate) broker: Kafka,
    faults: Toxiproxy,
}

impl Cluster {
    /// Builds what is missing, starts everything, and returns when all of it serves.
    pub async fn start(options: ClusterOptions) -> Result<Self, Error> {
        check_name(&options.name)?;
        let mut site = match &options.directory {
            Some(directory) => Site::at(directory, &options.name, &options.environment)?,
            None => Site::temporary(&options.name, &options.environment)?,
        };
        site.empty()?;
        let mut wanted = Vec::new();
        if options.kubeconfig.is_none() {
            wanted.extend([Artifact::Etcd, Artifact::ApiServer, Artifact::ControllerManager, Artifact::Kubectl]);
        }
        wanted.extend(options.kafka.then_some(Artifact::Kafka));
        site.toolbox.provide(&wanted).await?;
        let begun = Instant::now();
        let kubectl = site.toolbox.path(Artifact::Kubectl)?;
        let mut attempt = 1;
        loop {
            let roster = Arc::new(Roster::new(&site.directory, options.name.clone(), kubectl.clone())?);
            let certificates = Certificates::create(site.directory.join("pki"))?;
            let parts = Parts::lay_out(&site, &certificates, &options, &roster)?;
            match parts.start(&options).await {
                Ok(()) => {
                    let endpoints = parts.endpoints(&site, &certificates, &options)?;
                    let started_in = begun.elapsed();
                    roster.ready(&endpoints, started_in)?;
                    let (proxies, kafka_proxy) = (AtomicUsize::new(0), Arc::default());
                    return Ok(Self {
                        parts,
                        certificates,
                        proxies,
                        kafka_proxy,
                        endpoints,
                        kubectl,
                        started_in,
                        site,
                    });
                }
                Err(error @ Error::PortTaken { .. }) if attempt < ATTEMPTS => {
                    tracing::info!(%error, "trying again with other ports");
                    parts.end().await?;
                    site.empty()?;
                    attempt += 1;
                }
                Err(error) => {
                    // The message names a log; a temporary directory that were removed now would take it along.
                    site.keep();
                    return Err(error);
                }
            }
        }
    }

    /// How to reach it.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// Where its data and logs are.
    pub fn directory(&self) -> &Path {
        &self.site.directory
    }

    /// A kubectl of the cluster's version.
    pub fn kubectl(&self) -> &Path {
        &self.kubectl
    }

    /// Where the audit log is, if there is one.
    pub fn audit_log(&self) -> PathBuf {
        kubernetes::audit_log(&self.site)
    }

    /// How long it took from having all binaries to everything being ready.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// One of its processes. A part that does not belong to this cluster cannot be started and says so.
    pub fn process(&self, part: Part) -> &Process {
        match part {
            Part::Etcd => &self.parts.etcd,
            Part::ApiServer => &self.parts.api_server,
            Part::ControllerManager => &self.parts.controller_manager,
            Part::Kafka => &self.parts.kafka,
            Part::Toxiproxy => &self.parts.toxiproxy,
        }
    }

    /// A way through the fault proxy to the API server or to Kafka.
    ///
    /// Each call for the API server makes one of its own, so that tests on one cluster do not disturb each other.
    /// Kafka has one proxied listener, because a broker must name the address under which it is reached: a second
    /// caller waits here until the first has dropped its proxy.
    pub async fn proxy(&self, part: Part) -> Result<Proxy, Error> {
        let mut endpoints = self.endpoints.clone();
        let (upstream, listen, port, turn) = match part {
            Part::ApiServer if self.parts.api_server.is_included() => {
                let port = Port::any(&self.site.environment)?;
                (self.parts.kubernetes.address(), port.number(), Some(port), None)
            }
            Part::Kafka if self.parts.kafka.is_included() => {
                let turn = Arc::clone(&self.kafka_proxy).lock_owned().await;
                (self.parts.broker.behind_proxy(), self.parts.broker.proxy.number(), None, Some(turn))
            }
            other => return Err(Error::NoSuchPart(other)),
        };
        self.site.toolbox.provide(&[Artifact::Toxiproxy]).await?;
        self.parts.toxiproxy.start().await?;
        let name = match part {
            Part::Kafka => "kafka".to_owned(),
            _ => format!("kube-apiserver-{}", self.proxies.fetch_add(1, Ordering::Relaxed) + 1),
        };
        let listen = format!("127.0.0.1:{listen}");
        if part == Part::Kafka {
            endpoints.kafka = Some(listen.clone());
        } else {
            endpoints.kubeconfig = kubeconfig_path(&self.site, &name);
            self.certificates.write_kubeconfig(&endpoints.kubeconfig, "admin", &format!("https://{listen}"))?;
        }
        let (client, control) = (HttpClient::plain()?, self.parts.faults.url());
        let proxy = Proxy { part, name, listen, control, endpoints, client, _port: port, _turn: turn };
        proxy.create(&upstream).await?;
        Ok(proxy)
    }

    /// Kafka's guarded side, if there is one.
    pub fn guarded_kafka(&self) -> Option<GuardedKafka> {
        self.parts.broker.guarded_side(&self.certificates)
    }

    /// Changes the users and rules of Kafka's guarded side, in order. Takes some seconds.
    pub async fn change_access(&self, changes: &[Access]) -> Result<(), Error> {
        self.parts.broker.change_access(&self.site, changes).await
    }

    /// Compacts etcd up to now and returns that revision: a watch from before it gets 410 Gone.
    ///
    /// The API server also answers from its own watch cache, which remembers longer; restart it to make it forget.
    pub async fn compact(&self) -> Result<i64, Error> {
        self.parts.store.compact(&self.site, &self.certificates).await
    }

    /// Saves the state of all objects into a file.
    pub async fn snapshot(&self, file: &Path) -> Result<(), Error> {
        self.parts.store.snapshot(&self.site, &self.certificates, file).await
    }

    /// Goes back to a snapshot: stops the API server, the controller manager and etcd, puts the data back, starts
    /// them and waits. Versions go back too, as they do after a real disaster. Kafka keeps running and forgets nothing.
    pub async fn restore(&self, file: &Path) -> Result<(), Error> {
        let parts = &self.parts;
        parts.controller_manager.stop().await?;
        parts.api_server.stop().await?;
        parts.etcd.stop().await?;
        parts.store.restore(&self.site, file).await?;
        parts.start_kubernetes().await
    }

    /// Ends every process in order and removes a temporary directory.
    pub async fn stop(self) -> Result<(), Error> {
        self.parts.end().await
    }
}

impl Parts {
    fn lay_out(
        site: &Site,
        certificates: &Certificates,
        options: &ClusterOptions,
        roster: &Arc<Roster>,
    ) -> Result<Self, Error> {
        let store = Etcd::reserve(site)?;
        let kubernetes = Kubernetes::reserve(site, options.api_server_port)?;
        let broker = Kafka::reserve(site, options.kafka_port, options.guarded_kafka)?;
        let faults = Toxiproxy::reserve(site)?;
        let here = options.kubeconfig.is_none();
        let process = |plan| Process::new(plan, Arc::clone(roster));
        let kubernetes_part = |plan: Plan| process(Plan { included: here, ..plan });
        Ok(Self {
            etcd: kubernetes_part(store.plan(site, certificates, options.fsync)?),
            api_server: kubernetes_part(kubernetes.api_server(site, certificates, &store.url(), options)?),
            controller_manager: kubernetes_part(kubernetes.controller_manager(site, certificates)?),
            kafka: process(broker.plan(site, certificates, options.kafka)?),
            toxiproxy: process(faults.plan(site)?),
            store,
            kubernetes,
            broker,
            faults,
        })
    }

    async fn start(&self, options: &ClusterOptions) -> Result<(), Error> {
        let kubernetes = async { if options.kubeconfig.is_none() { self.start_kubernetes().await } else { Ok(()) } };
        let broker = async { if options.kafka { self.kafka.start().await } else { Ok(()) } };
        tokio::try_join!(kubernetes, broker)?;
        Ok(())
    }

    fn endpoints(
        &self,
        site: &Site,
        certificates: &Certificates,
        options: &ClusterOptions,
    ) -> Result<Endpoints, Error> {
        let kafka = options.kafka.then(|| self.broker.bootstrap());
        if let Some(kubeconfig) = options.kubeconfig.clone() {
            return Ok(Endpoints { kubeconfig, kafka });
        }
        let kubeconfig = site.directory.join("kubeconfig");
        certificates.write_kubeconfig(&kubeconfig, "admin", &self.kubernetes.url())?;
        Ok(Endpoints { kubeconfig, kafka })
    }

    async fn start_kubernetes(&self) -> Result<(), Error> {
        self.etcd.start().await?;
        self.api_server.start().await?;
        self.controller_manager.start().await
    }

    async fn end(&self) -> Result<(), Error> {
        let kubernetes = async {
            self.controller_manager.stop().await?;
            self.api_server.stop().await?;
            self.etcd.stop().await
        };
        tokio::try_join!(self.toxiproxy.stop(), kubernetes, self.kafka.stop())?;
        Ok(())
    }
}
