//! The broker's guarded side: a listener with mutual TLS, one with TLS and SASL, and access rules that let nobody else in. For tests of
//! what a client does with secrets and refusals. The plain listeners stay, and their users may do everything.

use std::path::PathBuf;

use crate::artifact::Artifact;
use crate::certificates::{Certificates, write};
use crate::cluster::Part;
use crate::error::Error;
use crate::kafka::Kafka;
use crate::ports::Port;
use crate::site::Site;
use crate::spawner::{Launch, spawn, tail};

const ACCESS: &str = include_str!("Access.java");
/// How much of the tool's log an error shows.
const TAIL_LINES: usize = 20;

/// The ports of the guarded listeners.
#[derive(Debug)]
pub(crate) struct Guarded {
    tls: Port,
    sasl: Port,
}

impl Guarded {
    pub(crate) fn reserve(site: &Site) -> Result<Self, Error> {
        Ok(Self { tls: Port::any(&site.environment)?, sasl: Port::any(&site.environment)? })
    }

    /// `,NAME://ADDRESS` of each, to be added to the other listeners.
    pub(crate) fn listeners(&self) -> String {
        format!(",SSL://127.0.0.1:{},SASL_SSL://127.0.0.1:{}", self.tls.number(), self.sasl.number())
    }

    pub(crate) const PROTOCOLS: &str = ",SSL:SSL,SASL_SSL:SASL_SSL";

    /// What makes the listeners guarded.
    pub(crate) fn properties(certificates: &Certificates) -> Result<Vec<String>, Error> {
        // Kafka wants key and certificate in one file.
        let keystore = certificates.path("kafka.pem");
        let pair = format!("{}{}", certificates.read("kafka.key")?, certificates.read("kafka.crt")?);
        write(&PathBuf::from(&keystore), &pair, 0o600)?;
        let security = "org.apache.kafka.common.security";
        Ok(vec![
            "ssl.keystore.type=PEM".to_owned(),
            format!("ssl.keystore.location={keystore}"),
            "ssl.truststore.type=PEM".to_owned(),
            format!("ssl.truststore.location={}", certificates.path("kafka-ca.crt")),
            "listener.name.ssl.ssl.client.auth=required".to_owned(),
            "sasl.enabled.mechanisms=SCRAM-SHA-512,OAUTHBEARER".to_owned(),
            format!(
                "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={security}.scram.ScramLoginModule required;"
            ),
            // Tokens without a signature are believed: what is tested is how a client comes by a token, not who signs it.
            format!(
                "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=\
                 {security}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\";"
            ),
            // A password that was changed ends the connections that were made with the old one.
            "listener.name.sasl_ssl.scram-sha-512.connections.max.reauth.ms=5000".to_owned(),
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
            // Whoever comes by a plain listener.
            "super.users=User:ANONYMOUS".to_owned(),
        ])
    }
}

/// A change of the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Makes a SCRAM-SHA-512 user, or changes its password.
    Password {
        /// Its name.
        user: String,
        /// Its new password.
        password: String,
    },
    /// Lets somebody do something.
    Allow(Right),
    /// Takes a right away again.
    Revoke(Right),
}

/// A right, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Right {
    /// `User:NAME`; for a client certificate `User:CN=NAME`.
    pub principal: String,
    /// `READ`, `WRITE`, `DESCRIBE`, `CREATE`, `DESCRIBE_CONFIGS` …
    pub operation: String,
    /// `TOPIC`, `GROUP`, `TRANSACTIONAL_ID`, `CLUSTER`.
    pub resource: String,
    /// The resource's name; with a `*` at the end all names that begin so.
    pub name: String,
}

impl Access {
    fn argument(&self) -> String {
        let words = |verb: &str, right: &Right| {
            [verb, &right.principal, &right.operation, &right.resource, &right.name].join("\t")
        };
        match self {
            Self::Password { user, password } => ["password", user, password].join("\t"),
            Self::Allow(right) => words("allow", right),
            Self::Revoke(right) => words("revoke", right),
        }
    }
}

/// How to reach the guarded side.
#[derive(Clone, Debug)]
pub struct GuardedKafka {
    /// `bootstrap.servers` with TLS, where the client shows a certificate.
    pub tls: String,
    /// `bootstrap.servers` with TLS and SASL: SCRAM-SHA-512, or OAUTHBEARER with tokens that nobody signed.
    pub sasl: String,
    /// The certificate of the authority that the broker's own is signed by.
    pub ca: PathBuf,
    /// The certificate of a client, `User:CN=kafka-client`.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Kafka {
    pub(crate) fn guarded_side(&self, certificates: &Certificates) -> Option<GuardedKafka> {
        let guarded = self.guarded.as_ref()?;
        let file = |name: &str| PathBuf::from(certificates.path(name));
        Some(GuardedKafka {
            tls: format!("127.0.0.1:{}", guarded.tls.number()),
            sasl: format!("127.0.0.1:{}", guarded.sasl.number()),
            ca: file("kafka-ca.crt"),
            certificate: file("kafka-client.crt"),
            key: file("kafka-client.key"),
        })
    }

    /// Carries out the changes in order, by Kafka's own client in a JVM of its own.
    pub(crate) async fn change_access(&self, site: &Site, changes: &[Access]) -> Result<(), Error> {
        let source = site.directory.join("Access.java");
        write(&source, ACCESS, 0o644)?;
        let libraries = site.toolbox.path(Artifact::Kafka)?.join("libs").join("*");
        let java = site.environment.program("java").unwrap_or_else(|| "java".into());
        let mut arguments = vec![
            "-Xshare:auto".to_owned(),
            "-XX:TieredStopAtLevel=1".to_owned(),
            "-cp".to_owned(),
            libraries.to_string_lossy().into_owned(),
            source.to_string_lossy().into_owned(),
            self.bootstrap(),
        ];
        arguments.extend(changes.iter().map(Access::argument));
        let log = site.directory.join("logs").join("kafka-tools.log");
        let launch = Launch { log: log.clone(), ..site.launch(Part::Kafka, java, arguments) };
        let status = spawn(&launch).await?.wait().await;
        if status.success() {
            return Ok(());
        }
        let action = "change the broker's access rules";
        Err(Error::Tool { action, status: status.to_string(), tail: tail(&log, TAIL_LINES) })
    }
}
