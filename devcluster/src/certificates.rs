//! The cluster's keys and certificates: one CA for Kubernetes, another for etcd and a third for Kafka, so that a client
//! certificate of the one opens nothing at the other. Made anew for each cluster; private keys are readable by the owner only.
//! It never renews anything: a devcluster is thrown away long before.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::error::Error;

/// Names under which the API server may be called, inside a cluster and from this machine.
const API_SERVER_NAMES: [&str; 7] = [
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.96.0.1",
];

/// The files, all below one folder.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    directory: PathBuf,
}

/// A certificate and its key, as PEM.
struct Pair {
    certificate: String,
    key: String,
}

struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Certificates {
    /// Makes everything and writes it into a new folder.
    pub(crate) fn create(directory: PathBuf) -> Result<Self, Error> {
        std::fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
        let made = Self { directory };
        let cluster = Authority::new("kubernetes-ca")?;
        let store = Authority::new("etcd-ca")?;
        made.public("ca.crt", &cluster.certificate)?;
        // The controller manager signs with it what CertificateSigningRequests ask for.
        made.private("ca.key", &cluster.issuer.key().serialize_pem())?;
        made.public("etcd-ca.crt", &store.certificate)?;
        made.pair("apiserver", &cluster.issue("kube-apiserver", None, &API_SERVER_NAMES)?)?;
        made.pair("admin", &cluster.issue("kubernetes-admin", Some("system:masters"), &[])?)?;
        let loopback = ["127.0.0.1", "localhost"];
        made.pair("controller-manager", &cluster.issue("system:kube-controller-manager", None, &loopback)?)?;
        made.pair("etcd", &store.issue("etcd", None, &loopback)?)?;
        made.pair("etcd-client", &store.issue("kube-apiserver-etcd-client", None, &[])?)?;
        let broker = Authority::new("kafka-ca")?;
        made.public("kafka-ca.crt", &broker.certificate)?;
        made.pair("kafka", &broker.issue("kafka", None, &loopback)?)?;
        made.pair("kafka-client", &broker.issue("kafka-client", None, &[])?)?;
        let tokens = KeyPair::generate()?;
        made.private("service-account.key", &tokens.serialize_pem())?;
        made.public("service-account.pub", &tokens.public_key_pem())?;
        Ok(made)
    }

    /// The path of one of the files.
    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }

    pub(crate) fn read(&self, name: &str) -> Result<String, Error> {
        let path = self.directory.join(name);
        std::fs::read_to_string(&path).map_err(Error::file("read", path))
    }

    /// Writes a kubeconfig that holds all it needs, for one of the client certificates. It carries a private key and
    /// is readable by the owner only.
    pub(crate) fn write_kubeconfig(&self, file: &Path, user: &str, server: &str) -> Result<(), Error> {
        let encoded = |name: &str| self.read(name).map(|pem| STANDARD.encode(pem));
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: devcluster\n  cluster:\n    server: {server}\n    \
             certificate-authority-data: {ca}\nusers:\n- name: {user}\n  user:\n    client-certificate-data: \
             {certificate}\n    client-key-data: {key}\ncontexts:\n- name: devcluster\n  context:\n    cluster: \
             devcluster\n    namespace: default\n    user: {user}\ncurrent-context: devcluster\n",
            ca = encoded("ca.crt")?,
            certificate = encoded(&format!("{user}.crt"))?,
            key = encoded(&format!("{user}.key"))?,
        );
        write(file, &text, 0o600)
    }

    fn pair(&self, name: &str, pair: &Pair) -> Result<(), Error> {
        self.public(&format!("{name}.crt"), &pair.certificate)?;
        self.private(&format!("{name}.key"), &pair.key)
    }

    fn public(&self, name: &str, pem: &str) -> Result<(), Error> {
        write(&self.directory.join(name), pem, 0o644)
    }

    fn private(&self, name: &str, pem: &str) -> Result<(), Error> {
        write(&self.directory.join(name), pem, 0o600)
    }
}

impl Authority {
    fn new(name: &str) -> Result<Self, Error> {
        let mut parameters = CertificateParams::new(Vec::new())?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages =
            vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(parameters, key) })
    }

    /// A certificate for a client, and for a server if it has names. Kubernetes reads the organization as the group.
    fn issue(&self, name: &str, organization: Option<&str>, servers: &[&str]) -> Result<Pair, Error> {
        let names: Vec<String> = servers.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names)?;
        parameters.distinguished_name.push(DnType::CommonName, name);
        if let Some(organization) = organization {
            parameters.distinguished_name.push(DnType::OrganizationName, organization);
        }
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !servers.is_empty() {
            parameters.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?.pem();
        Ok(Pair { certificate, key: key.serialize_pem() })
    }
}

/// Replaces a file's content; the mode holds from its first byte on.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), Error> {
    let _ = std::fs::remove_file(path);
    let opened = File::options().create_new(true).write(true).mode(mode).open(path);
    opened.and_then(|mut file| file.write_all(text.as_bytes())).map_err(Error::file("write", path))
}
