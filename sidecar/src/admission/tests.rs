//! The webhook's port over real TLS: who asks what is no review learns nothing and changes nothing.

use std::path::PathBuf;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rcgen::{CertificateParams, KeyPair};
use runtime::readiness::{Need, Readiness};
use runtime::tls::Certificate;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};

use super::*;
use crate::config::{AppConfig, AppUrl, GuardConfig, HealthConfig, OnFailure, Writers};
use crate::hooks::{self, Hooks};
use crate::kinds::Kinds;

struct Port {
    address: SocketAddr,
    connector: TlsConnector,
    folder: PathBuf,
    stop: CancellationToken,
}

/// A webhook that guards Todos before an app that is not there.
async fn port(concurrency: usize) -> Port {
    let folder = std::env::temp_dir().join(format!("kab-admission-{}-{concurrency}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let (cert_file, key_file) = (folder.join("tls.crt"), folder.join("tls.key"));
    std::fs::write(&cert_file, &cert).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();

    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let readiness = Readiness::new();
    let certificate = Certificate::new(cert_file, key_file);
    let server = Server::bind(([127, 0, 0, 1], 0).into(), &certificate).await.unwrap();
    let (served, sound) = (readiness.part("admission", Need::Required), readiness.part("certificate", Need::Reported));
    let _renewal = Renewal::new(certificate, served, sound, metrics.clone());
    assert!(readiness.is_ready());
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let app = AppConfig {
        name: None,
        url: AppUrl { authority: "127.0.0.1".to_owned(), addresses: vec![nobody] },
        concurrency: 1,
        health: HealthConfig {
            path: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            threshold: 3,
        },
    };
    let (hooks, _prober) = Hooks::new(app, hooks::Metrics::register(&mut registry));
    let guard = GuardConfig {
        path: "/validate".to_owned(),
        deadline: Duration::from_secs(2),
        on_failure: OnFailure::Refuse,
        writers: Writers::All,
    };
    let guarded = Guarded {
        index: 0,
        group: "k8sasbackend.com".to_owned(),
        version: "v1".to_owned(),
        kind: "Todo".to_owned(),
        validate: Some(guard),
        default: None,
    };
    let kinds = Arc::new(Kinds::new(["Todo of k8sasbackend.com/v1".to_owned()]));
    let reviewer = Arc::new(Reviewer::new(vec![guarded], kinds, hooks, concurrency, metrics));
    let stop = CancellationToken::new();
    let (address, stopping) = (server.address(), stop.clone());
    tokio::spawn(server.run(reviewer, stopping));

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Port { address, connector: TlsConnector::from(Arc::new(config)), folder, stop }
}

impl Port {
    /// Sends these bytes, and answers all that comes back.
    async fn send(&self, bytes: &[u8]) -> String {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = self.connector.connect(name, stream).await.unwrap();
        // It may be turned away before all is sent.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn post(&self, path: &str, body: &str) -> String {
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
        self.send(format!("{head}{body}").as_bytes()).await
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.stop.cancel();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn review(group: &str, kind: &str) -> String {
    serde_json::json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "kind": {"group": group, "version": "v1", "kind": kind}, "operation": "CREATE",
        "object": {"metadata": {"name": "a"}, "spec": {}},
    }})
    .to_string()
}

#[tokio::test]
async fn whoever_asks_what_is_no_review_is_told_so() {
    let port = port(4).await;
    for (method, path, body, status) in [
        ("GET", "/", "", 404),
        ("GET", "/metrics", "", 404),
        ("GET", "/v1/todos", "", 404),
        ("GET", "/admission/validate", "", 405),
        ("POST", "/admission", "{}", 404),
        ("POST", "/admission/validate", "", 400),
        ("POST", "/admission/validate", "garbage", 400),
        ("POST", "/admission/default", r#"{"apiVersion": "v1", "kind": "Pod"}"#, 400),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let answer = port.send(request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    let large = format!("POST /admission/validate HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", 5 << 20);
    assert!(port.send(large.as_bytes()).await.starts_with("HTTP/1.1 413 "));
    assert_eq!(port.send(b"\x16\x03garbage\r\n\r\n").await.get(..12), Some("HTTP/1.1 400"));
    let fields = "a: b\r\n".repeat(100);
    let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
    assert!(port.send(head.as_bytes()).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn only_declared_kinds_are_reviewed_and_what_is_not_found_yet_is_not_decided() {
    let port = port(5).await;
    for (group, kind) in [("", "Pod"), ("apps", "Deployment"), ("other.example", "Todo")] {
        let answer = port.post("/admission/validate", &review(group, kind)).await;
        assert!(answer.contains("\"allowed\":false") && answer.contains("this webhook guards no"), "{answer}");
        assert!(answer.contains("\"uid\":\"u-1\""), "{answer}");
    }
    let answer = port.post("/admission/validate", &review("k8sasbackend.com", "Todo")).await;
    assert!(answer.contains("\"code\":500") && answer.contains("has not found the kind's definition yet"), "{answer}");
    let answer = port.post("/admission/default", &review("k8sasbackend.com", "Todo")).await;
    assert!(answer.contains("\"allowed\":true"), "no hook fills in values: {answer}");
}

#[tokio::test]
async fn more_reviews_than_there_are_places_for_are_turned_away() {
    let port = port(0).await;
    let answer = port.post("/admission/validate", &review("k8sasbackend.com", "Todo")).await;
    assert!(answer.starts_with("HTTP/1.1 429 ") && answer.contains("retry-after: 1"), "{answer}");
}
