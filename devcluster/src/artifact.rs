//! The programs that a cluster is made of, and how each is come by: taken from `KUBEBUILDER_ASSETS`, found in the
//! cache, or built there from the pins. It never starts a part; `cluster` and `proxy` do.

use std::path::PathBuf;

use crate::cache::{Item, Step};
use crate::containers;
use crate::environment::Environment;
use crate::error::Error;
use crate::pins::{ETCD, KAFKA, KUBERNETES, Pins, TOXIPROXY};
use crate::prerequisites::{self, Requirement};

/// A thing to run, or a folder of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Artifact {
    /// The store.
    Etcd,
    /// Asks a running etcd for compactions and snapshots.
    Etcdctl,
    /// Turns a snapshot back into a data directory.
    Etcdutl,
    /// The API server.
    ApiServer,
    /// Namespaces, garbage collection, ServiceAccounts and the other built-in controllers.
    ControllerManager,
    /// The command line.
    Kubectl,
    /// The TCP proxy that delays, cuts and swallows.
    Toxiproxy,
    /// A folder: `libs/*.jar`, and `metadata/`, the metadata log of a freshly formatted broker.
    Kafka,
}

/// Gets hold of artifacts.
#[derive(Clone, Debug)]
pub struct Toolbox {
    environment: Environment,
}

impl Toolbox {
    /// One that goes by these variables.
    pub fn new(environment: Environment) -> Self {
        Self { environment }
    }

    /// Makes sure that all of these exist, building what is missing, after a check that everything needed to build
    /// and run them is installed.
    pub async fn provide(&self, wanted: &[Artifact]) -> Result<(), Error> {
        let mut requirements = vec![Requirement::Setpriv];
        let mut to_build = Vec::new();
        for artifact in wanted {
            if let Some(item) = self.missing(*artifact)? {
                requirements.extend(artifact.builds_with());
                to_build.push((*artifact, item));
            }
            requirements.extend(artifact.runs_with());
        }
        if let Err(missing) = prerequisites::check(&self.environment, &requirements) {
            let docker = containers::are_possible(&self.environment).await;
            return Err(Error::Prerequisites { missing, docker });
        }
        // Maven mostly waits for the network and the Go compiler for the processor, so the two go side by side.
        let (jars, binaries): (Vec<_>, Vec<_>) = to_build.into_iter().partition(|(it, _)| *it == Artifact::Kafka);
        tokio::try_join!(self.build(jars), self.build(binaries))?;
        Ok(())
    }

    async fn build(&self, items: Vec<(Artifact, Item)>) -> Result<(), Error> {
        for (_, item) in items {
            item.provide(&self.environment).await?;
        }
        Ok(())
    }

    /// Where an artifact is once it has been provided.
    pub fn path(&self, artifact: Artifact) -> Result<PathBuf, Error> {
        match self.given(artifact)? {
            Some(path) => Ok(path),
            None => Ok(self.item(artifact)?.path()),
        }
    }

    fn missing(&self, artifact: Artifact) -> Result<Option<Item>, Error> {
        if self.given(artifact)?.is_some() {
            return Ok(None);
        }
        Ok(Some(self.item(artifact)?).filter(|item| !item.path().exists()))
    }

    /// The file in `KUBEBUILDER_ASSETS`, which promises these three and may have more.
    fn given(&self, artifact: Artifact) -> Result<Option<PathBuf>, Error> {
        let Some(directory) = self.environment.path("KUBEBUILDER_ASSETS") else { return Ok(None) };
        let promised = matches!(artifact, Artifact::Etcd | Artifact::ApiServer | Artifact::Kubectl);
        if !promised && artifact != Artifact::ControllerManager {
            return Ok(None);
        }
        // A relative path would change its meaning with the directory that a part runs in.
        let file = std::path::absolute(&directory).map_err(Error::file("find", &directory))?.join(artifact.file());
        match (file.is_file(), promised) {
            (true, _) => Ok(Some(file)),
            (false, false) => Ok(None),
            (false, true) => Err(Error::Assets { directory, missing: artifact.file() }),
        }
    }

    fn item(&self, artifact: Artifact) -> Result<Item, Error> {
        let pins = artifact.pins();
        let mut files: Vec<_> = pins.files.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        let steps = match artifact {
            Artifact::Kafka => {
                files.push(("format.properties", FORMAT_PROPERTIES.to_owned()));
                self.kafka_steps()
            }
            _ => vec![self.go_build(artifact, &pins)],
        };
        Ok(Item {
            title: format!("{} {}", artifact.file(), pins.version()),
            product: artifact.file(),
            home: self.environment.cache_directory()?.join(pins.folder()),
            files,
            steps,
            usually: artifact.usually(),
        })
    }

    fn tool(&self, name: &str) -> PathBuf {
        self.environment.program(name).unwrap_or_else(|| PathBuf::from(name))
    }

    fn go_build(&self, artifact: Artifact, pins: &Pins) -> Step {
        let version = pins.version();
        let stamps = artifact.stamps(version);
        let flags = format!("-s -w {}", stamps.iter().map(|it| format!("-X {it}")).collect::<Vec<_>>().join(" "));
        Step {
            program: self.tool("go"),
            arguments: ["build", "-trimpath", "-buildvcs=false", "-ldflags", &flags, "-o", artifact.file()]
                .into_iter()
                .chain([artifact.package()])
                .map(str::to_owned)
                .collect(),
            variables: vec![
                ("CGO_ENABLED", "0".into()),
                // The committed go.sum decides: a module that it does not know is an error and not an addition.
                ("GOFLAGS", "-mod=readonly".into()),
                ("GOWORK", "off".into()),
            ],
        }
    }

    /// Fetches the jars, then formats a storage folder once: its metadata log, which holds the feature levels and
    /// nothing of the cluster's identity, serves every later broker and saves each of them a start of the JVM.
    fn kafka_steps(&self) -> Vec<Step> {
        let step = |program: &str, arguments: &[&str]| Step {
            program: self.tool(program),
            arguments: arguments.iter().map(|it| (*it).to_owned()).collect(),
            variables: vec![],
        };
        let copy = ["-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=kafka/libs"];
        let format = ["-cp", "kafka/libs/*", "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ"];
        let format = [&format[..], &["-c", "format.properties"]].concat();
        vec![
            step("mvn", &copy),
            step("java", &format),
            step("mv", &["formatted/__cluster_metadata-0", "kafka/metadata"]),
        ]
    }
}

const FORMAT_PROPERTIES: &str = "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n\
    controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\n\
    log.dirs=formatted\n";

impl Artifact {
    /// The name of the file or folder.
    pub fn file(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Etcdctl => "etcdctl",
            Self::Etcdutl => "etcdutl",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Toxiproxy => "toxiproxy-server",
            Self::Kafka => "kafka",
        }
    }

    /// The pinned version, without a leading `v`.
    pub fn version(self) -> &'static str {
        self.pins().version()
    }

    fn pins(self) -> Pins {
        match self {
            Self::Etcd | Self::Etcdctl | Self::Etcdutl => ETCD,
            Self::ApiServer | Self::ControllerManager | Self::Kubectl => KUBERNETES,
            Self::Toxiproxy => TOXIPROXY,
            Self::Kafka => KAFKA,
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::Etcdctl => "go.etcd.io/etcd/etcdctl/v3",
            Self::Etcdutl => "go.etcd.io/etcd/etcdutl/v3",
            Self::ApiServer => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::ControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::Toxiproxy => "github.com/Shopify/toxiproxy/v2/cmd/server",
            Self::Kafka => "org.apache.kafka:kafka_2.13",
        }
    }

    /// Linker assignments that make the binary tell its version; etcd's tools carry theirs in the source.
    fn stamps(self, version: &str) -> Vec<String> {
        let mut numbers = version.split('.');
        let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
        match self {
            Self::ApiServer | Self::ControllerManager | Self::Kubectl => {
                // The second is what the User-Agent says, and with it the audit log.
                ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"]
                    .iter()
                    .flat_map(|package| {
                        [
                            format!("{package}.gitVersion=v{version}"),
                            format!("{package}.gitMajor={major}"),
                            format!("{package}.gitMinor={minor}"),
                        ]
                    })
                    .collect()
            }
            Self::Toxiproxy => vec![format!("github.com/Shopify/toxiproxy/v2.Version={version}")],
            Self::Etcd | Self::Etcdctl | Self::Etcdutl | Self::Kafka => Vec::new(),
        }
    }

    /// Measured on two cores with empty caches; what shares a module with something built before it takes less.
    fn usually(self) -> &'static str {
        match self {
            Self::Etcd | Self::Etcdctl | Self::Etcdutl => "about 20 s",
            Self::ApiServer => "about 3 min",
            Self::ControllerManager | Self::Kubectl => "about 40 s after the API server",
            Self::Toxiproxy | Self::Kafka => "about 10 s",
        }
    }

    fn builds_with(self) -> Vec<Requirement> {
        match self {
            Self::Kafka => vec![Requirement::Maven, Requirement::Java],
            _ => vec![Requirement::Go(self.pins().go_version().unwrap_or((1, 26)))],
        }
    }

    fn runs_with(self) -> Option<Requirement> {
        (self == Self::Kafka).then_some(Requirement::Java)
    }
}
