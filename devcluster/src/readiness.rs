//! How a part shows that it serves: an HTTP path that answers 200, or a Kafka broker that answers for itself. One
//! check at a time, each bounded; `process` repeats them. It never interprets anything beyond ready or not.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::certificates::Certificates;
use crate::error::Error;

/// One check may take this long; a frozen process accepts connections and never answers.
const CHECK: Duration = Duration::from_secs(2);

/// What to ask.
#[derive(Clone, Debug)]
pub(crate) enum Readiness {
    /// Every one of the addresses answers 200.
    Http { client: reqwest::Client, urls: Vec<String> },
    /// The broker names at least one broker of its cluster, which it does once it is registered.
    Kafka { address: String },
}

impl Readiness {
    /// `Err` says what was seen instead.
    pub(crate) async fn check(&self) -> Result<(), String> {
        let answer = match self {
            Self::Http { client, urls } => tokio::time::timeout(CHECK, check_http(client, urls)).await,
            Self::Kafka { address } => tokio::time::timeout(CHECK, check_kafka(address)).await,
        };
        answer.unwrap_or_else(|_| Err(format!("no answer within {CHECK:?}")))
    }
}

async fn check_http(client: &reqwest::Client, urls: &[String]) -> Result<(), String> {
    for url in urls {
        let answer = client.get(url).send().await.map_err(|error| in_full(&error))?;
        let status = answer.status();
        if !status.is_success() {
            let body = answer.text().await.unwrap_or_default();
            let failing: Vec<_> = body.lines().filter(|line| line.starts_with("[-]")).collect();
            return Err(format!("{url} answered {status} {}", failing.join(", ")));
        }
    }
    Ok(())
}

/// A Metadata request, version 1, for no topic. Its answer begins with the brokers that are registered and unfenced:
/// a broker that accepts connections but has not joined its own controller yet names none.
async fn check_kafka(address: &str) -> Result<(), String> {
    const REQUEST: [u8; 18] = [
        0, 0, 0, 14, // size of what follows
        0, 3, 0, 1, // api key 3 (Metadata), version 1
        0, 0, 0, 1, // correlation id
        0xff, 0xff, // no client id
        0, 0, 0, 0, // no topic
    ];
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.write_all(&REQUEST).await.map_err(|error| error.to_string())?;
    let mut head = [0_u8; 12];
    stream.read_exact(&mut head).await.map_err(|error| format!("no metadata: {error}"))?;
    let [.., a, b, c, d] = head;
    match i32::from_be_bytes([a, b, c, d]) {
        brokers if brokers > 0 => Ok(()),
        _ => Err("the broker has not joined its cluster yet".into()),
    }
}

/// An error with its causes, which is where a refused connection or a bad certificate shows.
pub(crate) fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// A client that trusts the cluster's CA and shows the admin's certificate.
pub(crate) fn admin_client(certificates: &Certificates) -> Result<reqwest::Client, Error> {
    let (ca, chain) = (certificates.read("ca.crt")?, certificates.read("admin.crt")?);
    let key = certificates.read("admin.key")?;
    client(&ca, &chain, &key)
}

/// A client that trusts one CA and shows one certificate; all three are PEM.
pub(crate) fn client(ca: &str, chain: &str, key: &str) -> Result<reqwest::Client, Error> {
    let tls = tls(ca, chain, key).map_err(Error::Client)?;
    // Every check is a new connection: a pooled one would say nothing about whether the port still accepts.
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()
        .map_err(|error| Error::Client(error.into()))
}

/// A client for what speaks plain HTTP on loopback.
pub(crate) fn plain_client() -> Result<reqwest::Client, Error> {
    // reqwest insists on some TLS set-up as soon as the feature is compiled in; this one trusts nobody.
    let nobody = rustls::RootCertStore::empty();
    let tls = builder().map_err(Error::Client)?.with_root_certificates(nobody).with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .pool_max_idle_per_host(0)
        .no_proxy()
        .build()
        .map_err(|error| Error::Client(error.into()))
}

type Fault = Box<dyn std::error::Error + Send + Sync>;

fn tls(ca: &str, chain: &str, key: &str) -> Result<rustls::ClientConfig, Fault> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
    let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    Ok(builder()?.with_root_certificates(roots).with_client_auth_cert(chain, key)?)
}

fn builder() -> Result<rustls::ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, Fault> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?)
}
