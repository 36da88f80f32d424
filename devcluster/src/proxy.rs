//! Faults on the wire: Toxiproxy between a client and the API server or Kafka, which delays, cuts and swallows. It
//! owns the talk with Toxiproxy's control API; the process itself is a part like the others. `Cluster::proxy` makes
//! these. Healing takes every fault back.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::sync::OwnedMutexGuard;

use crate::artifact::Artifact;
use crate::cluster::{Endpoints, Part};
use crate::error::Error;
use crate::http::HttpClient;
use crate::ports::Port;
use crate::process::Plan;
use crate::readiness::Readiness;
use crate::site::Site;

/// The control API answers within milliseconds; this bounds the talk with one that is frozen.
const CONTROL: Duration = Duration::from_secs(10);

/// Toxiproxy's control port.
#[derive(Debug)]
pub(crate) struct Toxiproxy {
    control: Port,
}

impl Toxiproxy {
    pub(crate) fn reserve(site: &Site) -> Result<Self, Error> {
        Ok(Self { control: Port::any(&site.environment)? })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.control.number())
    }

    pub(crate) fn plan(&self, site: &Site) -> Result<Plan, Error> {
        let arguments = vec!["-host=127.0.0.1".into(), format!("-port={}", self.control.number())];
        Ok(Plan {
            part: Part::Toxiproxy,
            port: self.control.number(),
            launch: site.launch(Part::Toxiproxy, site.toolbox.path(Artifact::Toxiproxy)?, arguments),
            readiness: Readiness::Http { client: HttpClient::plain()?, urls: vec![format!("{}/version", self.url())] },
            included: true,
        })
    }
}

/// One way through the proxy, with faults of its own. It stays until the cluster ends.
#[derive(Debug)]
pub struct Proxy {
    pub(crate) part: Part,
    pub(crate) name: String,
    /// Where clients connect.
    pub(crate) listen: String,
    pub(crate) control: String,
    pub(crate) endpoints: Endpoints,
    pub(crate) client: HttpClient,
    /// Keeps the port from being given to anything else, also while the proxy does not listen.
    pub(crate) _port: Option<Port>,
    /// For Kafka, which has one proxied listener: one proxy at a time.
    pub(crate) _turn: Option<OwnedMutexGuard<()>>,
}

impl Proxy {
    /// The address to connect to, `127.0.0.1:PORT`; for Kafka that is the value of `bootstrap.servers`.
    pub fn endpoint(&self) -> &str {
        &self.listen
    }

    /// A kubeconfig: through the proxy if this is the API server's, the direct one otherwise.
    pub fn kubeconfig(&self) -> &Path {
        &self.endpoints.kubeconfig
    }

    /// The value of `bootstrap.servers`: through the proxy if this is Kafka's, the direct one otherwise.
    pub fn bootstrap(&self) -> Option<&str> {
        self.endpoints.kafka.as_deref()
    }

    /// What is behind it.
    pub fn part(&self) -> Part {
        self.part
    }

    /// Delays everything by this much in each direction, on connections that are open as well.
    pub async fn delay(&self, by: Duration) -> Result<(), Error> {
        let attributes = json!({ "latency": u64::try_from(by.as_millis()).unwrap_or(u64::MAX) });
        self.both_ways("latency", &attributes).await
    }

    /// Cuts all connections, and refuses new ones.
    pub async fn cut(&self) -> Result<(), Error> {
        self.enable(false).await
    }

    /// Swallows everything in both directions while connections stay open and new ones are accepted. Healing closes
    /// the connections that lost something.
    pub async fn black_hole(&self) -> Result<(), Error> {
        self.both_ways("timeout", &json!({ "timeout": 0 })).await
    }

    /// Takes all faults back.
    pub async fn heal(&self) -> Result<(), Error> {
        let action = "take the faults back";
        let toxics = self.ask(action, Method::GET, "/toxics", None).await?;
        for toxic in toxics.as_array().into_iter().flatten() {
            let name = toxic.get("name").and_then(Value::as_str).unwrap_or_default();
            self.ask(action, Method::DELETE, &format!("/toxics/{name}"), None).await?;
        }
        self.enable(true).await
    }

    async fn both_ways(&self, kind: &str, attributes: &Value) -> Result<(), Error> {
        for stream in ["upstream", "downstream"] {
            let name = format!("{kind}_{stream}");
            let toxic = json!({ "name": name, "type": kind, "stream": stream, "attributes": attributes });
            // The same fault again changes its strength.
            let known = self.ask("look for a fault", Method::GET, "/toxics", None).await?;
            let known = known.as_array().into_iter().flatten().any(|it| it.get("name") == toxic.get("name"));
            let path = if known { format!("/toxics/{name}") } else { "/toxics".to_owned() };
            self.ask("add a fault", Method::POST, &path, Some(&toxic)).await?;
        }
        Ok(())
    }

    async fn enable(&self, enabled: bool) -> Result<(), Error> {
        let body = json!({ "enabled": enabled });
        self.ask("switch a proxy", Method::POST, "", Some(&body)).await?;
        Ok(())
    }

    /// Makes it exist with nothing but this way through, whatever an earlier user left behind.
    pub(crate) async fn create(&self, upstream: &str) -> Result<(), Error> {
        let url = format!("{}/proxies", self.control);
        let existing = request(&self.client, Method::GET, &url, None).await;
        let existing = existing.map_err(|detail| Error::Proxy { action: "list the proxies", detail })?;
        if existing.get(&self.name).is_some() {
            self.ask("remove an old proxy", Method::DELETE, "", None).await?;
        }
        let body = json!({ "name": self.name, "listen": self.listen, "upstream": upstream, "enabled": true });
        let made = request(&self.client, Method::POST, &url, Some(&body)).await;
        made.map(drop).map_err(|detail| Error::Proxy { action: "add a proxy", detail })
    }

    async fn ask(
        &self,
        action: &'static str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Error> {
        let url = format!("{}/proxies/{}{path}", self.control, self.name);
        request(&self.client, method, &url, body).await.map_err(|detail| Error::Proxy { action, detail })
    }
}

async fn request(client: &HttpClient, method: Method, url: &str, body: Option<&Value>) -> Result<Value, String> {
    let answer = tokio::time::timeout(CONTROL, client.send(method, url, body)).await;
    let (status, text) = answer.map_err(|_| format!("{url} did not answer within {CONTROL:?}"))??;
    if !status.is_success() {
        return Err(format!("{url} answered {status}: {}", text.trim()));
    }
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Where the kubeconfig for a way through the proxy goes.
pub(crate) fn kubeconfig_path(site: &Site, name: &str) -> PathBuf {
    site.directory.join(format!("{name}.kubeconfig"))
}
