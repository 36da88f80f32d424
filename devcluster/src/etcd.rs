//! etcd as a part: one member, TLS with a client certificate required, fsync as in production unless told otherwise.
//! Also what only etcd can do to a cluster: compaction (so that an old watch gets 410), and snapshot and restore (so
//! that time goes back). It never decides when; `cluster` does.

use std::path::{Path, PathBuf};

use crate::artifact::Artifact;
use crate::certificates::Certificates;
use crate::cluster::Part;
use crate::error::Error;
use crate::http::HttpClient;
use crate::ports::Port;
use crate::process::Plan;
use crate::readiness::Readiness;
use crate::site::Site;
use crate::spawner::{Launch, spawn, tail};

const MEMBER: &str = "devcluster";
const TAIL_LINES: usize = 8;

#[derive(Debug)]
pub(crate) struct Etcd {
    client: Port,
    peer: Port,
    /// Plain HTTP, on loopback, with `/health` and `/metrics` only: neither reads nor changes data.
    metrics: Port,
}

impl Etcd {
    pub(crate) fn reserve(site: &Site) -> Result<Self, Error> {
        let any = || Port::any(&site.environment);
        Ok(Self { client: any()?, peer: any()?, metrics: any()? })
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.client.number())
    }

    fn peer_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.peer.number())
    }

    pub(crate) fn plan(&self, site: &Site, certificates: &Certificates, fsync: bool) -> Result<Plan, Error> {
        let metrics = format!("http://127.0.0.1:{}", self.metrics.number());
        let mut arguments = vec![
            format!("--name={MEMBER}"),
            format!("--data-dir={}", data(site).display()),
            format!("--listen-client-urls={}", self.url()),
            format!("--advertise-client-urls={}", self.url()),
            format!("--listen-peer-urls={}", self.peer_url()),
            format!("--initial-advertise-peer-urls={}", self.peer_url()),
            format!("--initial-cluster={MEMBER}={}", self.peer_url()),
            format!("--listen-metrics-urls={metrics}"),
            "--log-level=info".into(),
        ];
        for prefix in ["", "peer-"] {
            arguments.push(format!("--{prefix}client-cert-auth"));
            arguments.push(format!("--{prefix}trusted-ca-file={}", certificates.path("etcd-ca.crt")));
            arguments.push(format!("--{prefix}cert-file={}", certificates.path("etcd.crt")));
            arguments.push(format!("--{prefix}key-file={}", certificates.path("etcd.key")));
        }
        if !fsync {
            arguments.push("--unsafe-no-fsync".into());
        }
        Ok(Plan {
            part: Part::Etcd,
            port: self.client.number(),
            launch: site.launch(Part::Etcd, site.toolbox.path(Artifact::Etcd)?, arguments),
            readiness: Readiness::Http { client: HttpClient::plain()?, urls: vec![format!("{metrics}/health")] },
            included: true,
        })
    }

    /// Drops the history before the present revision, which is returned.
    pub(crate) async fn compact(&self, site: &Site, certificates: &Certificates) -> Result<i64, Error> {
        let action = "read etcd's revision";
        let status = self.etcdctl(site, certificates, action, &["endpoint", "status", "--write-out=json"]).await?;
        let unreadable = || Error::Tool { action, status: "unreadable answer".into(), tail: status.clone() };
        let answer: serde_json::Value = serde_json::from_str(status.trim()).map_err(|_| unreadable())?;
        let revision = answer.pointer("/0/Status/header/revision").and_then(serde_json::Value::as_i64);
        let revision = revision.ok_or_else(unreadable)?;
        // Physically, so that it is done when the command returns and not some time after.
        self.etcdctl(site, certificates, "compact etcd", &["compaction", "--physical", &revision.to_string()]).await?;
        Ok(revision)
    }

    /// Saves everything into a file.
    pub(crate) async fn snapshot(&self, site: &Site, certificates: &Certificates, file: &Path) -> Result<(), Error> {
        let file = file.to_string_lossy();
        self.etcdctl(site, certificates, "take a snapshot of etcd", &["snapshot", "save", &file]).await?;
        Ok(())
    }

    /// Puts the content of a snapshot in place of the data directory of an etcd that is stopped.
    pub(crate) async fn restore(&self, site: &Site, file: &Path) -> Result<(), Error> {
        let action = "restore a snapshot of etcd";
        site.toolbox.provide(&[Artifact::Etcdutl]).await?;
        let aside = site.directory.join("etcd.restored");
        let _ = std::fs::remove_dir_all(&aside);
        let arguments = [
            "snapshot".into(),
            "restore".into(),
            file.to_string_lossy().into_owned(),
            format!("--data-dir={}", aside.display()),
            format!("--name={MEMBER}"),
            format!("--initial-cluster={MEMBER}={}", self.peer_url()),
            format!("--initial-advertise-peer-urls={}", self.peer_url()),
        ];
        run(site, action, site.toolbox.path(Artifact::Etcdutl)?, arguments.to_vec()).await?;
        let data = data(site);
        std::fs::remove_dir_all(&data).map_err(Error::file("remove", &data))?;
        std::fs::rename(&aside, &data).map_err(Error::file("replace", data))
    }

    async fn etcdctl(
        &self,
        site: &Site,
        certificates: &Certificates,
        action: &'static str,
        command: &[&str],
    ) -> Result<String, Error> {
        site.toolbox.provide(&[Artifact::Etcdctl]).await?;
        let connection = [
            format!("--endpoints={}", self.url()),
            format!("--cacert={}", certificates.path("etcd-ca.crt")),
            format!("--cert={}", certificates.path("etcd-client.crt")),
            format!("--key={}", certificates.path("etcd-client.key")),
        ];
        let arguments = connection.into_iter().chain(command.iter().map(|it| (*it).to_owned())).collect();
        run(site, action, site.toolbox.path(Artifact::Etcdctl)?, arguments).await
    }
}

fn data(site: &Site) -> PathBuf {
    site.directory.join("etcd")
}

/// Runs a tool to its end and returns what it printed.
async fn run(site: &Site, action: &'static str, program: PathBuf, arguments: Vec<String>) -> Result<String, Error> {
    let log = site.directory.join("logs").join("etcd-tools.log");
    let before = std::fs::metadata(&log).map_or(0, |it| it.len());
    let launch = Launch { log: log.clone(), ..site.launch(Part::Etcd, program, arguments) };
    let status = spawn(&launch).await?.wait().await;
    if !status.success() {
        return Err(Error::Tool { action, status: status.to_string(), tail: tail(&log, TAIL_LINES) });
    }
    let bytes = std::fs::read(&log).map_err(Error::file("read", &log))?;
    let said = bytes.get(usize::try_from(before).unwrap_or(0)..).unwrap_or_default();
    Ok(String::from_utf8_lossy(said).into_owned())
}
