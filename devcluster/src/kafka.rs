//! Apache Kafka as a part: broker and KRaft controller in one JVM. It has a second listener whose advertised address
//! is that of the fault proxy, because a Kafka client connects to whatever address the broker names: only so do
//! clients that come in through the proxy stay behind it. It never starts the broker; `cluster` does.

mod secure;

use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::artifact::Artifact;
use crate::certificates::{Certificates, write};
use crate::cluster::Part;
use crate::error::Error;
use crate::ports::Port;
use crate::process::Plan;
use crate::readiness::Readiness;
use crate::site::Site;
use crate::spawner::Launch;
use secure::Guarded;
pub use secure::{Access, GuardedKafka, Right};

const LOGGING: &str = include_str!("log4j2.xml");

#[derive(Debug)]
pub(crate) struct Kafka {
    client: Port,
    controller: Port,
    /// Where the broker listens for what the proxy forwards.
    behind_proxy: Port,
    /// Where the proxy listens once there is one.
    pub(crate) proxy: Port,
    guarded: Option<Guarded>,
}

impl Kafka {
    pub(crate) fn reserve(site: &Site, client: Option<u16>, guarded: bool) -> Result<Self, Error> {
        let any = || Port::any(&site.environment);
        Ok(Self {
            client: Port::wanted(&site.environment, client, Part::Kafka)?,
            controller: any()?,
            behind_proxy: any()?,
            proxy: any()?,
            guarded: guarded.then(|| Guarded::reserve(site)).transpose()?,
        })
    }

    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.client.number())
    }

    pub(crate) fn behind_proxy(&self) -> String {
        format!("127.0.0.1:{}", self.behind_proxy.number())
    }

    /// Lays out the broker's directory, if `included`, and says how to run it.
    pub(crate) fn plan(&self, site: &Site, certificates: &Certificates, included: bool) -> Result<Plan, Error> {
        let home = site.directory.join("kafka");
        let installed = site.toolbox.path(Artifact::Kafka)?;
        if included {
            self.lay_out(&home, &installed, certificates)?;
        }
        let java = site.environment.program("java").unwrap_or_else(|| "java".into());
        let arguments = vec![
            "-Xmx512m".into(),
            "-XX:+ExitOnOutOfMemoryError".into(),
            format!("-Dlog4j2.configurationFile={}", home.join("log4j2.xml").display()),
            "-cp".into(),
            installed.join("libs").join("*").to_string_lossy().into_owned(),
            "kafka.Kafka".into(),
            home.join("server.properties").to_string_lossy().into_owned(),
        ];
        Ok(Plan {
            part: Part::Kafka,
            port: self.client.number(),
            launch: Launch { ..site.launch(Part::Kafka, java, arguments) },
            readiness: Readiness::Kafka { address: self.bootstrap() },
            included,
        })
    }

    fn lay_out(&self, home: &Path, installed: &Path, certificates: &Certificates) -> Result<(), Error> {
        let data = home.join("data");
        std::fs::create_dir_all(&data).map_err(Error::file("create", &data))?;
        write(&home.join("log4j2.xml"), LOGGING, 0o644)?;
        write(&home.join("server.properties"), &self.properties(&data, certificates)?, 0o644)?;
        // What formatting would write: the identity, which is this cluster's own, and the feature levels, which are
        // the same for all and come from a broker that was formatted once.
        let identity = format!("version=1\ncluster.id={}\nnode.id=1\ndirectory.id={}\n", random_uuid(), random_uuid());
        write(&data.join("meta.properties"), &identity, 0o644)?;
        let (formatted, metadata) = (installed.join("metadata"), data.join("__cluster_metadata-0"));
        copy_files(&formatted, &metadata).map_err(Error::file("copy", formatted))
    }

    fn properties(&self, data: &Path, certificates: &Certificates) -> Result<String, Error> {
        let (client, controller) = (self.client.number(), self.controller.number());
        let (behind, proxy) = (self.behind_proxy.number(), self.proxy.number());
        let guarded = self.guarded.as_ref().map_or_else(String::new, Guarded::listeners);
        let protocols = if self.guarded.is_some() { Guarded::PROTOCOLS } else { "" };
        let mut lines = vec![
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            "controller.listener.names=CONTROLLER".to_owned(),
            "inter.broker.listener.name=PLAINTEXT".to_owned(),
            format!(
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}"
            ),
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{client},PROXIED://127.0.0.1:{behind},\
                 CONTROLLER://127.0.0.1:{controller}{guarded}"
            ),
            format!("advertised.listeners=PLAINTEXT://127.0.0.1:{client},PROXIED://127.0.0.1:{proxy}{guarded}"),
            format!("log.dirs={}", data.display()),
            // Whoever wants a topic makes it, with the settings that it needs.
            "auto.create.topics.enable=false".to_owned(),
            // One broker can hold one replica.
            "default.replication.factor=1".to_owned(),
            "offsets.topic.replication.factor=1".to_owned(),
            "transaction.state.log.replication.factor=1".to_owned(),
            "transaction.state.log.min.isr=1".to_owned(),
            "share.coordinator.state.topic.replication.factor=1".to_owned(),
            "share.coordinator.state.topic.min.isr=1".to_owned(),
            // The defaults of 50 each only make the first group and the first transaction wait.
            "offsets.topic.num.partitions=4".to_owned(),
            "transaction.state.log.num.partitions=4".to_owned(),
            // A first consumer need not wait for company.
            "group.initial.rebalance.delay.ms=0".to_owned(),
        ];
        if self.guarded.is_some() {
            lines.extend(Guarded::properties(certificates)?);
        }
        Ok(lines.join("\n") + "\n")
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<(), std::io::Error> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Kafka's spelling of a random 128-bit identity: URL-safe base64 without padding.
fn random_uuid() -> String {
    loop {
        let (high, low) = (RandomState::new().hash_one(0), RandomState::new().hash_one(1));
        let text = URL_SAFE_NO_PAD.encode((u128::from(high) << 64 | u128::from(low)).to_be_bytes());
        // As Kafka's own generator does it: a leading dash would look like an option on a command line.
        if !text.starts_with('-') {
            return text;
        }
    }
}
