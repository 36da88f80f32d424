//! How Kafka is reached: properties from a sidecar's file, the environment and the command line, secrets from files; and what
//! librdkafka says on the side, kept to explain a failure. Never prints a property's value.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::Deserialize;

use crate::arguments::Connection;
use crate::failure::Failure;

const BROKERS: &str = "bootstrap.servers";
/// How long to wait for what librdkafka has to say, or to ask, on the side.
pub(crate) const EVENTS: Duration = Duration::from_millis(50);
/// When a token is read again.
const REREAD: Duration = Duration::from_secs(300);

/// The part of a sidecar's configuration that is of use here.
#[derive(Debug, Default, Deserialize)]
struct SidecarFile {
    #[serde(default)]
    kafka: Option<KafkaSection>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct KafkaSection {
    properties: BTreeMap<String, serde_json::Value>,
    property_files: BTreeMap<String, String>,
    token_file: Option<PathBuf>,
}

/// Everything that librdkafka is told.
pub(crate) struct Properties {
    values: BTreeMap<String, String>,
    token: Option<PathBuf>,
    pub(crate) timeout: Duration,
}

impl Properties {
    /// Reads what the command line names.
    pub(crate) fn of(connection: &Connection) -> Result<Self, Failure> {
        let mut values = BTreeMap::new();
        let mut token = connection.token_file.clone();
        if let Some(file) = &connection.config {
            token = token.or(from_sidecar_file(file, &mut values)?);
        }
        if let Some(brokers) = connection.brokers.as_ref().filter(|brokers| !brokers.trim().is_empty()) {
            values.remove("metadata.broker.list");
            values.insert(BROKERS.to_owned(), brokers.clone());
        }
        values.extend(connection.properties.iter().cloned());
        for (name, file) in &connection.property_files {
            values.insert(name.clone(), secret(name, Path::new(file))?);
        }
        if !values.contains_key(BROKERS) && !values.contains_key("metadata.broker.list") {
            return Err(Failure::Usage(
                "no broker is named: use --brokers HOST:PORT, the variable KAB_KAFKA, -X bootstrap.servers=HOST:PORT, \
                 or --config with a sidecar's file"
                    .to_owned(),
            ));
        }
        let mechanism = ["sasl.mechanism", "sasl.mechanisms"].iter().find_map(|name| values.get(*name));
        if token.is_none() && mechanism.is_some_and(|name| name.eq_ignore_ascii_case("OAUTHBEARER")) {
            return Err(Failure::Usage("sasl.mechanisms is OAUTHBEARER, which needs --token-file".to_owned()));
        }
        Ok(Self { values, token, timeout: Duration::from_secs(connection.timeout) })
    }

    /// For messages.
    pub(crate) fn brokers(&self) -> &str {
        [BROKERS, "metadata.broker.list"].iter().find_map(|name| self.values.get(*name)).map_or("?", String::as_str)
    }

    /// A consumer that joins no group and stores nothing.
    pub(crate) fn consumer(&self) -> Result<BaseConsumer<Words>, Failure> {
        let mut config = ClientConfig::new();
        config.set("client.id", "kab").set("log.connection.close", "false");
        config.extend(self.values.iter().map(|(name, value)| (name.clone(), value.clone())));
        config
            // librdkafka wants a name here even of a consumer that joins no group.
            .set("group.id", "kab-tail")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false");
        let words = Words { last: Arc::default(), token: self.token.clone() };
        let consumer: BaseConsumer<Words> = config.create_with_context(words).map_err(|error| match error {
            KafkaError::ClientConfig(_, fault, property, _) => Failure::Usage(format!("property {property}: {fault}")),
            other => Failure::Usage(format!("librdkafka cannot work with these properties: {other}")),
        })?;
        if self.token.is_some() {
            // It is asked for by the way of records, and nothing is answered before.
            drop(consumer.poll(EVENTS));
        }
        Ok(consumer)
    }
}

/// Puts in what the file says of Kafka; answers where the token stands.
fn from_sidecar_file(file: &Path, values: &mut BTreeMap<String, String>) -> Result<Option<PathBuf>, Failure> {
    let wrong = |fault: String| Failure::Usage(format!("--config {}: {fault}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let read: SidecarFile = serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let kafka = read.kafka.ok_or_else(|| wrong("it has no kafka: this sidecar broadcasts nothing".to_owned()))?;
    for (name, value) in kafka.properties {
        let value = match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        values.insert(name, value);
    }
    for (name, path) in kafka.property_files {
        let value = secret(&name, Path::new(&path))?;
        values.insert(name, value);
    }
    Ok(kafka.token_file)
}

/// A value from a file, without the line's end that editors and `echo` add.
fn secret(name: &str, file: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::Usage(format!("the file for property {name}, {}: {error}", file.display())))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

/// What librdkafka says on the side: kept, not printed, since it repeats itself every few seconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Words {
    last: Arc<Mutex<Option<(RDKafkaErrorCode, String)>>>,
    token: Option<PathBuf>,
}

impl Words {
    /// The last error of a connection.
    pub(crate) fn last(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ClientContext for Words {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    /// The file as it is now, and again some minutes later: whether the token is still good is for the broker to say.
    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let file = self.token.as_ref().ok_or("there is no --token-file")?;
        let text =
            std::fs::read_to_string(file).map_err(|error| format!("failed to read {}: {error}", file.display()))?;
        let until = SystemTime::now().duration_since(UNIX_EPOCH)? + REREAD;
        let lifetime_ms = i64::try_from(until.as_millis())?;
        Ok(OAuthToken { token: text.trim().to_owned(), principal_name: "kab".to_owned(), lifetime_ms })
    }

    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}

    fn error(&self, error: KafkaError, reason: &str) {
        let reason = reason.split(" (after ").next().unwrap_or(reason);
        let Some(code) = error.rdkafka_error_code() else { return };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // That all are down says less than why.
        if code != RDKafkaErrorCode::AllBrokersDown || last.is_none() {
            *last = Some((code, reason.to_owned()));
        }
    }
}

impl ConsumerContext for Words {}

/// What a failed call means, with librdkafka's last words on it.
pub(crate) fn failure(doing: &str, brokers: &str, error: &KafkaError, words: &Words) -> Failure {
    use RDKafkaErrorCode as Code;
    let told = words.last();
    let refusal = |code: Code| {
        matches!(
            code,
            Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::SSL
                | Code::TopicAuthorizationFailed
                | Code::ClusterAuthorizationFailed
        )
    };
    let code = error.rdkafka_error_code();
    match (code, told) {
        (Some(code), _) if refusal(code) => Failure::Denied(format!("Kafka refuses to {doing}: {code}")),
        (_, Some((code, why))) if refusal(code) => {
            Failure::Denied(format!("Kafka at {brokers} refuses the connection: {why}"))
        }
        (_, Some((_, why))) => Failure::Unavailable(format!("no broker answers in time at {brokers}: {why}")),
        (Some(code), None) => Failure::Unavailable(format!("failed to {doing} at {brokers}: {code}")),
        (None, None) => Failure::Unavailable(format!("failed to {doing} at {brokers}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection {
            brokers: None,
            config: None,
            properties: Vec::new(),
            property_files: Vec::new(),
            token_file: None,
            timeout: 1,
        }
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn what_stands_nearer_to_the_command_wins() {
        let folder = std::env::temp_dir().join(format!("kab-connection-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let secret = folder.join("secret");
        std::fs::write(&secret, "sesame\n").unwrap();
        let file = folder.join("sidecar.yaml");
        let text = format!(
            "cluster: test\nkafka:\n  properties: {{bootstrap.servers: \"file:1\", socket.timeout.ms: 500}}\n  propertyFiles: {{sasl.password: {}}}\n",
            secret.display()
        );
        std::fs::write(&file, text).unwrap();
        let mut given = Connection { config: Some(file), ..connection() };
        let read = Properties::of(&given).unwrap();
        assert_eq!(read.brokers(), "file:1");
        assert_eq!(read.values.get("socket.timeout.ms").unwrap(), "500");
        assert_eq!(read.values.get("sasl.password").unwrap(), "sesame", "a secret's last line end is none of it");
        given.brokers = Some("named:1".to_owned());
        assert_eq!(Properties::of(&given).unwrap().brokers(), "named:1");
        given.properties = vec![pair(BROKERS, "property:1")];
        assert_eq!(Properties::of(&given).unwrap().brokers(), "property:1");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_token_that_is_nowhere_is_asked_for_before_a_broker_is_waited_for() {
        let mut given = Connection {
            properties: vec![pair(BROKERS, "x:1"), pair("sasl.mechanisms", "OAUTHBEARER")],
            ..connection()
        };
        let Err(Failure::Usage(text)) = Properties::of(&given).map(drop) else { panic!("it needs a token") };
        assert!(text.contains("--token-file"), "{text}");
        given.token_file = Some(PathBuf::from("/token"));
        assert!(Properties::of(&given).is_ok());
    }

    #[test]
    fn without_a_broker_every_way_to_name_one_is_told() {
        let Err(Failure::Usage(text)) = Properties::of(&connection()).map(drop) else { panic!("it needs a broker") };
        for way in ["--brokers", "KAB_KAFKA", "-X", "--config"] {
            assert!(text.contains(way), "{text}");
        }
    }

    #[test]
    fn a_property_that_does_not_exist_is_named_and_a_value_is_not() {
        let given = Connection { properties: vec![pair(BROKERS, "x:1"), pair("no.such", "sesame")], ..connection() };
        let Err(Failure::Usage(text)) = Properties::of(&given).unwrap().consumer() else { panic!("it is unknown") };
        assert!(text.contains("no.such") && !text.contains("sesame"), "{text}");
    }
}
