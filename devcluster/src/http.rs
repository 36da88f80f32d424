//! One HTTP request to a part of the cluster, over TLS with the cluster's own CA or in the clear. Never reuses a connection, since a
//! pooled one would say nothing about whether the port still accepts.
//!
//! It stands on hyper and not on reqwest, because a TLS feature of reqwest switched on here would be switched on for every program of
//! the workspace.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::certificates::Certificates;
use crate::error::Error;

type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A client for one part.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient {
    inner: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl HttpClient {
    /// A client that trusts the cluster's CA and shows the admin's certificate.
    pub(crate) fn admin(certificates: &Certificates) -> Result<Self, Error> {
        let (ca, chain) = (certificates.read("ca.crt")?, certificates.read("admin.crt")?);
        Self::with(&ca, &chain, &certificates.read("admin.key")?)
    }

    /// A client that trusts one CA and shows one certificate; all three are PEM.
    pub(crate) fn with(ca: &str, chain: &str, key: &str) -> Result<Self, Error> {
        Ok(Self::over(tls(ca, chain, key).map_err(Error::Client)?))
    }

    /// A client for what speaks plain HTTP on loopback; it trusts nobody.
    pub(crate) fn plain() -> Result<Self, Error> {
        let nobody = rustls::RootCertStore::empty();
        Ok(Self::over(builder().map_err(Error::Client)?.with_root_certificates(nobody).with_no_client_auth()))
    }

    fn over(tls: rustls::ClientConfig) -> Self {
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Self { inner: Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector) }
    }

    /// GET: status and text.
    pub(crate) async fn get(&self, url: &str) -> Result<(StatusCode, String), String> {
        self.send(Method::GET, url, None).await
    }

    /// Any request, with a JSON body if one is given: status and text.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, String), String> {
        self.attempt(method, url, body).await.map_err(|error| in_full(&*error))
    }

    async fn attempt(&self, method: Method, url: &str, body: Option<&Value>) -> Result<(StatusCode, String), Fault> {
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::builder().method(method).uri(url);
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let answer = self.inner.request(request.body(Full::from(bytes))?).await?;
        let status = answer.status();
        let text = answer.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
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
