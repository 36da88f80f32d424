//! A server's certificate from files that may be replaced while it runs.
//!
//! Owns what is shown in a handshake: the last pair of certificate and key that belonged together. Knows nothing of whom it is shown to. Whoever serves
//! TLS takes the [`Certificate`]'s configuration and has [`Certificate::look`] called now and then.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Larger files are neither.
const LARGEST: u64 = 1 << 20;

/// Why a pair of files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One cannot be read.
    #[error("failed to read {file}")]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// One holds something else.
    #[error("{file} holds no {what} in PEM")]
    Content {
        /// Which.
        file: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// They do not belong together, or are of a kind that is not known.
    #[error("certificate and key cannot be used together")]
    Pair(#[from] rustls::Error),
}

/// The certificate of a server.
#[derive(Debug)]
pub struct Certificate {
    cert_file: PathBuf,
    key_file: PathBuf,
    shown: Arc<Shown>,
    /// What was read last, whatever came of it.
    last: Option<(Vec<u8>, Vec<u8>)>,
}

/// What a look at the files came to.
#[derive(Debug)]
pub enum Look {
    /// They are what they were.
    Same,
    /// They are shown from now on.
    New(Validity),
    /// They cannot be used; what was shown before still is.
    Unusable(TlsError),
}

/// From when to when a certificate may be shown, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub from: i64,
    /// Its last second.
    pub until: i64,
}

#[derive(Debug, Default)]
struct Shown(RwLock<Option<Arc<CertifiedKey>>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Certificate {
    /// Of these files, which need not be there yet: until they are, every handshake fails.
    pub fn new(cert_file: PathBuf, key_file: PathBuf) -> Self {
        Self { cert_file, key_file, shown: Arc::default(), last: None }
    }

    /// For a server that speaks HTTP/1.1: each handshake shows the certificate that is there then.
    ///
    /// # Errors
    /// Never with the built-in algorithms.
    pub fn server_config(&self) -> Result<ServerConfig, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let resolver: Arc<dyn ResolvesServerCert> = Arc::clone(&self.shown) as _;
        let mut config =
            builder.with_safe_default_protocol_versions()?.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Reads the files again, and shows what they hold when they belong together. While they are being replaced they may not.
    pub fn look(&mut self) -> Look {
        let (cert, key) = match (read(&self.cert_file), read(&self.key_file)) {
            (Ok(cert), Ok(key)) => (cert, key),
            (Err(error), _) | (_, Err(error)) => {
                self.last = None;
                return Look::Unusable(error);
            }
        };
        if self.last.as_ref().is_some_and(|last| last.0 == cert && last.1 == key) {
            return Look::Same;
        }
        let pair = self.pair(&cert, &key);
        self.last = Some((cert, key));
        match pair {
            Ok((certified, validity)) => {
                *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(certified));
                Look::New(validity)
            }
            Err(error) => Look::Unusable(error),
        }
    }

    fn pair(&self, cert: &[u8], key: &[u8]) -> Result<(CertifiedKey, Validity), TlsError> {
        let no_cert = || TlsError::Content { file: self.cert_file.clone(), what: "certificate" };
        let no_key = || TlsError::Content { file: self.key_file.clone(), what: "private key" };
        let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(cert).collect();
        let chain = chain.map_err(|_| no_cert())?;
        let leaf = chain.first().ok_or_else(no_cert)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| no_cert())?;
        let validity = parsed.validity();
        let validity = Validity { from: validity.not_before.timestamp(), until: validity.not_after.timestamp() };
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| no_key())?;
        Ok((CertifiedKey::from_der(chain, key, &ring::default_provider())?, validity))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::File { file: file.to_owned(), source };
    if fs::metadata(file).map_err(failed)?.len() > LARGEST {
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB")));
    }
    fs::read(file).map_err(failed)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn pair(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn shown(certificate: &Certificate) -> Option<Vec<u8>> {
        let shown = certificate.shown.0.read().unwrap().clone()?;
        Some(shown.cert.first().unwrap().to_vec())
    }

    #[test]
    fn a_pair_that_belongs_together_is_shown_and_one_that_does_not_changes_nothing() {
        let folder = std::env::temp_dir().join(format!("kab-tls-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (cert_file, key_file) = (folder.join("tls.crt"), folder.join("tls.key"));
        let mut certificate = Certificate::new(cert_file.clone(), key_file.clone());
        assert!(matches!(certificate.look(), Look::Unusable(TlsError::File { .. })));
        assert_eq!(shown(&certificate), None);

        let (first, second) = (pair("a"), pair("b"));
        fs::write(&cert_file, &first.0).unwrap();
        fs::write(&key_file, "no key").unwrap();
        assert!(matches!(certificate.look(), Look::Unusable(TlsError::Content { what: "private key", .. })));
        fs::write(&key_file, &first.1).unwrap();
        let Look::New(validity) = certificate.look() else { panic!("the first pair is not shown") };
        assert_eq!(validity, Validity { from: 1_767_225_600, until: 1_798_761_600 });
        assert!(matches!(certificate.look(), Look::Same));
        let before = shown(&certificate);
        assert!(before.is_some());

        fs::write(&cert_file, &second.0).unwrap();
        assert!(matches!(certificate.look(), Look::Unusable(TlsError::Pair(_))), "half of the next pair");
        assert_eq!(shown(&certificate), before);
        fs::write(&key_file, &second.1).unwrap();
        assert!(matches!(certificate.look(), Look::New(_)));
        assert_ne!(shown(&certificate), before);

        fs::remove_file(&key_file).unwrap();
        let kept = shown(&certificate);
        assert!(matches!(certificate.look(), Look::Unusable(TlsError::File { .. })));
        assert_eq!(shown(&certificate), kept);
        certificate.server_config().unwrap();
        fs::remove_dir_all(&folder).unwrap();
    }
}
