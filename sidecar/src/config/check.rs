//! From what is written to what can be used: every rule on a setting's value stands here.

mod hooks;
mod tracing;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use runtime::telemetry::{self, Format};
use serde_path_to_error::Segment;
use sidecar_core::budget::{Limits, Rate};
use sidecar_core::lease::Durations;

use super::quantity;
use super::raw::{
    RawApi, RawBudget, RawConfig, RawDelivery, RawFormat, RawKafka, RawKind, RawLease, RawLimits, RawSource,
};
use super::sources::Merged;
use super::{
    ApiConfig, ApiLimits, Config, ConfigError, Delivery, KafkaConfig, KindConfig, LeaseConfig, Namespace, Namespaces,
    Source,
};

/// Properties on which exactly-once, order and the meaning of a position rest: the bridge sets them.
const OWN_PROPERTIES: [&str; 9] = [
    "transactional.id",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "partitioner",
    "group.id",
    "isolation.level",
    "enable.auto.commit",
    "auto.offset.reset",
];

pub(super) fn check(merged: Merged) -> Result<Config, ConfigError> {
    let raw: RawConfig = serde_path_to_error::deserialize(merged.json()).map_err(|error| {
        let path: Vec<String> = error.path().iter().filter_map(step).collect();
        fault(&merged, &path, error.inner().to_string())
    })?;
    let wrong = |path: &[&str], text: String| {
        fault(&merged, &path.iter().map(|step| (*step).to_owned()).collect::<Vec<_>>(), text)
    };

    let api = check_api(&raw.api, &wrong)?;
    let admin = address(&raw.admin.address).map_err(|text| wrong(&["admin", "address"], text))?;
    if admin.port() != 0 && admin.port() == api.address.port() {
        return Err(wrong(&["admin", "address"], format!("port {} is the entity API's", admin.port())));
    }
    if !is_name(&raw.cluster) {
        return Err(wrong(
            &["cluster"],
            format!("{:?} is not a name: letters, digits, '.', '_' and '-' only", raw.cluster),
        ));
    }
    telemetry::check_level(&raw.log.level).map_err(|error| wrong(&["log", "level"], error.to_string()))?;
    let kafka = raw.kafka.as_ref().map(|kafka| check_kafka(kafka, &wrong)).transpose()?;
    Ok(Config {
        app: hooks::app(&raw.app, &wrong)?,
        api,
        admin,
        admission: hooks::admission(&raw, &wrong)?,
        cluster: raw.cluster.clone(),
        log_level: raw.log.level.clone(),
        log_format: match raw.log.format {
            RawFormat::Text => Format::Text,
            RawFormat::Json => Format::Json,
        },
        kubeconfig: raw.kubeconfig.clone(),
        kafka,
        lease: check_lease(&raw.lease, &wrong)?,
        pod: tracing::pod(&raw, &wrong)?,
        tracing: tracing::tracing(&raw, &wrong)?,
        kinds: check_kinds(&raw, &wrong)?,
    })
}

fn step(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

fn fault(merged: &Merged, path: &[String], text: String) -> ConfigError {
    let key = path.iter().fold(String::new(), |key, step| match (key.is_empty(), step.parse::<usize>()) {
        (_, Ok(index)) => format!("{key}[{index}]"),
        (true, Err(_)) => step.clone(),
        (false, Err(_)) => format!("{key}.{step}"),
    });
    ConfigError::Key {
        key: if key.is_empty() { "file".to_owned() } else { key },
        fault: text,
        origin: merged.origin(path),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not an address with a port, such as 127.0.0.1:3600"))
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 100
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-".contains(letter))
}

type Wrong<'a> = &'a dyn Fn(&[&str], String) -> ConfigError;

fn check_api(raw: &RawApi, wrong: Wrong<'_>) -> Result<ApiConfig, ConfigError> {
    let address = address(&raw.address).map_err(|text| wrong(&["api", "address"], text))?;
    if !address.ip().is_loopback() {
        let text = format!(
            "{address} is not a loopback address; the entity API is open to whoever can reach it, so only 127.0.0.1 or [::1] is allowed"
        );
        return Err(wrong(&["api", "address"], text));
    }
    for (index, origin) in raw.allowed_origins.iter().enumerate() {
        if !is_origin(origin) {
            let text = format!("{origin:?} is not an origin as browsers write it, such as https://shop.example");
            return Err(wrong(&["api", "allowedOrigins", &index.to_string()], text));
        }
    }
    Ok(ApiConfig {
        address,
        socket: raw.socket.clone(),
        token_file: raw.token_file.clone(),
        allowed_origins: raw.allowed_origins.clone(),
        limits: check_limits(&raw.limits, wrong)?,
    })
}

fn check_limits(raw: &RawLimits, wrong: Wrong<'_>) -> Result<ApiLimits, ConfigError> {
    let within = |key: &str, value: u64, least: u64, most: u64| {
        let text = format!("{value} is not from {least} to {most}");
        (least..=most).contains(&value).then_some(value).ok_or_else(|| wrong(&["api", "limits", key], text))
    };
    let seconds = |key: &str, value: u64, most: u64| within(key, value, 1, most).map(Duration::from_secs);
    let header_bytes = bytes(&raw.header_bytes).map_err(|text| wrong(&["api", "limits", "headerBytes"], text))?;
    // The one who reads heads takes no less.
    within("headerBytes", header_bytes as u64, 8 << 10, 1 << 20)?;
    Ok(ApiLimits {
        connections: within("connections", raw.connections, 16, 65_536)?,
        header_fields: usize::try_from(within("headerFields", raw.header_fields, 16, 1024)?).unwrap_or(usize::MAX),
        header_bytes,
        header_time: seconds("headerSeconds", raw.header_seconds, 600)?,
        body_time: seconds("bodySeconds", raw.body_seconds, 600)?,
        stall_time: seconds("stallSeconds", raw.stall_seconds, 600)?,
        idle_time: seconds("idleSeconds", raw.idle_seconds, 86_400)?,
    })
}

/// Scheme, host, and a port that is not the scheme's own.
fn is_origin(text: &str) -> bool {
    let (rest, usual) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, 443),
        (_, Some(rest)) => (rest, 80),
        _ => return false,
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let port_fits = port.is_none_or(|port| {
        port.parse::<u16>().is_ok_and(|number| number != usual && number != 0 && number.to_string() == port)
    });
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = inner.map_or_else(|| is_dns(host, true), |inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    port_fits && host_fits
}

fn check_kafka(raw: &RawKafka, wrong: Wrong<'_>) -> Result<KafkaConfig, ConfigError> {
    for (section, names) in [("properties", &raw.properties), ("propertyFiles", &raw.property_files)] {
        if let Some(name) = OWN_PROPERTIES.iter().find(|name| names.contains_key(**name)) {
            return Err(wrong(&["kafka", section, name], "is set by the sidecar itself; leave it out".to_owned()));
        }
    }
    if let Some(name) = raw.property_files.keys().find(|name| raw.properties.contains_key(*name)) {
        let text = "stands in kafka.properties too: say it once".to_owned();
        return Err(wrong(&["kafka", "propertyFiles", name], text));
    }
    let brokers = ["bootstrap.servers", "metadata.broker.list"];
    if !brokers.iter().any(|name| raw.properties.get(*name).is_some_and(|value| !value.trim().is_empty())) {
        return Err(wrong(
            &["kafka", "properties", "bootstrap.servers"],
            "is missing: name a broker, e.g. kafka:9092".to_owned(),
        ));
    }
    check_token(raw, wrong)?;
    let positive = |key: &str, value: Option<i32>| match value {
        Some(number) if number < 1 => Err(wrong(&["kafka", key], format!("{number} is less than 1"))),
        other => Ok(other),
    };
    Ok(KafkaConfig {
        properties: raw.properties.clone(),
        property_files: raw.property_files.iter().map(|(name, path)| (name.clone(), path.into())).collect(),
        token_file: raw.token_file.clone(),
        delivery: match raw.delivery {
            RawDelivery::ExactlyOnce => Delivery::ExactlyOnce,
            RawDelivery::AtLeastOnce => Delivery::AtLeastOnce,
        },
        queue_bytes: bytes(&raw.queue_bytes).map_err(|text| wrong(&["kafka", "queueBytes"], text))?,
        partitions: positive("partitions", raw.partitions)?,
        replication_factor: positive("replicationFactor", raw.replication_factor)?,
    })
}

/// Tokens come from a file and in no other way: librdkafka's own ways to come by one are not built in, or are for toys.
fn check_token(raw: &RawKafka, wrong: Wrong<'_>) -> Result<(), ConfigError> {
    for name in ["sasl.oauthbearer.method", "enable.sasl.oauthbearer.unsecure.jwt"] {
        if raw.properties.contains_key(name) {
            let text = "cannot be used here: put the token into a file and name it in kafka.tokenFile".to_owned();
            return Err(wrong(&["kafka", "properties", name], text));
        }
    }
    let mechanism = ["sasl.mechanism", "sasl.mechanisms"].iter().find_map(|name| raw.properties.get(*name));
    match (mechanism.is_some_and(|name| name.eq_ignore_ascii_case("OAUTHBEARER")), &raw.token_file) {
        (true, None) => Err(wrong(
            &["kafka", "tokenFile"],
            "is missing: sasl.mechanisms is OAUTHBEARER, which needs a token".to_owned(),
        )),
        (false, Some(_)) => Err(wrong(
            &["kafka", "tokenFile"],
            "is of no use: set sasl.mechanisms to OAUTHBEARER in kafka.properties, or leave it out".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// What is left between the last moment of work and the first of another's covers clocks that run apart, and the end of what is under way.
fn check_lease(raw: &RawLease, wrong: Wrong<'_>) -> Result<LeaseConfig, ConfigError> {
    let RawLease { duration_seconds: duration, renew_seconds: renew, retry_seconds: retry, identity } = raw;
    let (duration, renew, retry) = (*duration, *renew, *retry);
    if !(1..=3600).contains(&duration) {
        return Err(wrong(&["lease", "durationSeconds"], format!("{duration} is not from 1 to 3600")));
    }
    if u64::from(renew) * 3 > u64::from(duration) * 2 {
        let text = format!("{renew} is more than two thirds of durationSeconds, {duration}");
        return Err(wrong(&["lease", "renewSeconds"], text));
    }
    if retry == 0 || u64::from(retry) * 2 > u64::from(renew) {
        let text = format!("{retry} is 0, or more than half of renewSeconds, {renew}");
        return Err(wrong(&["lease", "retrySeconds"], text));
    }
    if identity.as_ref().is_some_and(|name| name.trim().is_empty() || name.len() > 200) {
        return Err(wrong(&["lease", "identity"], "is empty, or longer than 200 letters".to_owned()));
    }
    let seconds = |count: u32| Duration::from_secs(u64::from(count));
    let durations = Durations { lease: seconds(duration), renew: seconds(renew), retry: seconds(retry) };
    Ok(LeaseConfig { durations, identity: identity.clone() })
}

fn bytes(text: &str) -> Result<usize, String> {
    let size = quantity::whole(text).and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
    size.ok_or_else(|| format!("{text:?} is not a size above 0, such as 16Mi, 512Ki or 1048576"))
}

fn check_budget(raw: &RawBudget, owned: bool, wrong: Wrong<'_>) -> Result<Limits, ConfigError> {
    if !owned && (raw.objects.is_some() || raw.bytes.is_some() || raw.writes_per_second.is_some()) {
        let text = "only an owned kind can be written; set `owned: true` or leave the budget out".to_owned();
        return Err(wrong(&["budget"], text));
    }
    let whole = |key: &str, value: &Option<String>, what: &str| {
        let read = |text: &String| {
            let number = quantity::whole(text).filter(|number| *number > 0);
            number.ok_or_else(|| wrong(&["budget", key], format!("{text:?} is not {what}")))
        };
        value.as_ref().map(read).transpose()
    };
    let rate = |text: &String| {
        let rate = quantity::thousandths(text).and_then(Rate::new);
        let text = format!("{text:?} is not a number of writes from 0.001 to 1M, such as 50 or 0.5");
        rate.ok_or_else(|| wrong(&["budget", "writesPerSecond"], text))
    };
    Ok(Limits {
        objects: whole("objects", &raw.objects, "a number of entities above 0, such as 10000 or 10k")?,
        bytes: whole("bytes", &raw.bytes, "a size above 0, such as 50Mi")?,
        writes_per_second: raw.writes_per_second.as_ref().map(rate).transpose()?,
    })
}

fn check_kinds(raw: &RawConfig, wrong: Wrong<'_>) -> Result<Vec<KindConfig>, ConfigError> {
    let kafka = raw.kafka.is_some();
    if raw.kinds.is_empty() {
        let text = format!(
            "name at least one kind to serve, in --config FILE, {} or KAB_KINDS",
            contract::names::DEFAULT_CONFIG
        );
        return Err(wrong(&["kinds"], text));
    }
    let mut kinds: Vec<KindConfig> = Vec::with_capacity(raw.kinds.len());
    let concurrency = raw.app.concurrency;
    for (index, raw) in raw.kinds.iter().enumerate() {
        let at = index.to_string();
        let kind = check_kind(raw, concurrency, kafka, &|path, text| wrong(&[&["kinds", &at], path].concat(), text))?;
        if kind.source == Source::Kafka && !kafka {
            let text =
                "needs Kafka: name its brokers in kafka.properties, or leave it out for a watch on the API server";
            return Err(wrong(&["kinds", &at, "source"], text.to_owned()));
        }
        if kinds.iter().any(|other| other.group == kind.group && other.kind == kind.kind) {
            return Err(wrong(
                &["kinds", &at, "kind"],
                format!("{} of {} stands there twice", raw.kind, raw.api_version),
            ));
        }
        let same_topic = |other: &KindConfig| kind.topic.is_some() && other.topic == kind.topic;
        if kinds.iter().any(same_topic) {
            let topic = raw.topic.as_deref().unwrap_or_default();
            return Err(wrong(&["kinds", &at, "topic"], format!("{topic:?} is another kind's topic")));
        }
        kinds.push(kind);
    }
    hooks::related(&kinds, wrong)?;
    hooks::notified(&kinds, raw.app.name.is_some(), wrong)?;
    Ok(kinds)
}

fn check_kind(raw: &RawKind, concurrency: u64, kafka: bool, wrong: Wrong<'_>) -> Result<KindConfig, ConfigError> {
    let Some((group, version)) = group_version(&raw.api_version) else {
        return Err(wrong(
            &["apiVersion"],
            format!("{:?} is not GROUP/VERSION, such as k8sasbackend.com/v1, nor VERSION", raw.api_version),
        ));
    };
    if !is_kind(&raw.kind) {
        return Err(wrong(&["kind"], format!("{:?} is not a kind, such as Todo", raw.kind)));
    }
    if let Some(topic) = &raw.topic {
        if !raw.owned && raw.source == RawSource::Watch {
            let text = "a kind that is neither owned nor read from Kafka has no topic; set `owned: true` or `source: kafka`, or leave it out";
            return Err(wrong(&["topic"], text.to_owned()));
        }
        if !is_topic(topic) {
            return Err(wrong(&["topic"], format!("{topic:?} cannot be a topic's name")));
        }
    }
    if !(1..=64).contains(&raw.shards) {
        return Err(wrong(&["shards"], format!("{} is not from 1 to 64", raw.shards)));
    }
    if raw.shards > 1 && !raw.owned {
        return Err(wrong(&["shards"], "are for owned kinds only; set `owned: true` or leave them out".to_owned()));
    }
    let hooks = hooks::hooks(raw, concurrency, kafka, wrong)?;
    Ok(KindConfig {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: raw.kind.clone(),
        owned: raw.owned,
        namespaces: namespaces(&raw.namespaces).map_err(|text| wrong(&["namespaces"], text))?,
        source: match raw.source {
            RawSource::Watch => Source::Watch,
            RawSource::Kafka => Source::Kafka,
        },
        topic: raw.topic.clone(),
        cache_bytes: bytes(&raw.cache_bytes).map_err(|text| wrong(&["cacheBytes"], text))?,
        budget: check_budget(&raw.budget, raw.owned, wrong)?,
        children: hooks::children(raw, &hooks, wrong)?,
        hooks,
        shards: raw.shards,
    })
}

fn namespaces(raw: &[String]) -> Result<Namespaces, String> {
    match raw {
        [] => Err("the list is empty; leave it out for the sidecar's own namespace".to_owned()),
        [one] if one == "all" => Ok(Namespaces::All),
        many if many.iter().any(|one| one == "all") => Err("`all` stands alone or not at all".to_owned()),
        many => {
            if let Some(bad) = many.iter().find(|one| !is_dns(one, false)) {
                return Err(format!("{bad:?} is not a namespace's name"));
            }
            let set: BTreeSet<&String> = many.iter().collect();
            if set.len() < many.len() {
                return Err("a namespace stands there twice".to_owned());
            }
            let named = |one: &String| if one == "own" { Namespace::Own } else { Namespace::Named(one.clone()) };
            Ok(Namespaces::These(many.iter().map(named).collect()))
        }
    }
}

/// The parts of `GROUP/VERSION`, or of `VERSION` in the core group.
fn group_version(text: &str) -> Option<(&str, &str)> {
    let (group, version) = text.split_once('/').unwrap_or(("", text));
    let fits = is_dns(version, false) && (group.is_empty() || is_dns(group, true)) && !text.starts_with('/');
    fits.then_some((group, version))
}

/// What Kubernetes takes: a label that begins with a letter, in any case.
fn is_kind(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_ascii_alphabetic()) && is_dns(&text.to_ascii_lowercase(), false)
}

fn is_topic(text: &str) -> bool {
    is_name(text) && text.len() <= 249 && !matches!(text, "." | "..") && text != contract::names::POSITIONS_TOPIC
}

/// A DNS label, or with `dots` several of them.
fn is_dns(text: &str, dots: bool) -> bool {
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
    };
    if dots { text.split('.').all(label) } else { label(text) }
}
