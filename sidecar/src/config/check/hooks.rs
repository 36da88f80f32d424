//! The rules on the settings of the app, of the admission webhook and of hooks. [`super`] calls them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use super::super::KindConfig;
use super::super::hooks::{
    AdmissionConfig, AppConfig, AppUrl, FinalizeConfig, GuardConfig, HealthConfig, HooksConfig, NotifyConfig,
    OnFailure, ReconcileConfig, Reference, Writers,
};
use super::super::raw::hooks::{RawFailurePolicy, RawGuard, RawNotify, RawReconcile, RawReference, RawWriters};
use super::super::raw::{RawApp, RawConfig, RawKind, RawSource};
use super::{ConfigError, Wrong, address, group_version, is_kind, is_name, is_topic};

/// A call at the door has to end before the API server's own patience with a webhook, of at most 30 seconds.
const GUARD_SECONDS: u64 = 29;
/// One hour: who needs longer answers at once and asks to be called again.
const WORK_SECONDS: u64 = 3600;

pub(super) fn app(raw: &RawApp, wrong: Wrong<'_>) -> Result<AppConfig, ConfigError> {
    let name = match &raw.name {
        Some(name) if !is_name(name) => {
            let text = format!("{name:?} is not a name: letters, digits, '.', '_' and '-' only");
            return Err(wrong(&["app", "name"], text));
        }
        name => name.clone(),
    };
    let health = |path: &[&str], text: String| wrong(&[&["app", "health"], path].concat(), text);
    if let Some(probe) = &raw.health.path {
        path(probe, &["path"], &health)?;
    }
    Ok(AppConfig {
        name,
        url: url(&raw.url).map_err(|text| wrong(&["app", "url"], text))?,
        concurrency: within(raw.concurrency, 1, 1024, &["app", "concurrency"], wrong)?,
        health: HealthConfig {
            path: raw.health.path.clone(),
            interval: Duration::from_secs(number(raw.health.interval_seconds, 1, 3600, &["intervalSeconds"], &health)?),
            timeout: Duration::from_millis(number(raw.health.timeout_millis, 10, 60_000, &["timeoutMillis"], &health)?),
            threshold: u32::try_from(number(u64::from(raw.health.threshold), 1, 100, &["threshold"], &health)?)
                .unwrap_or(u32::MAX),
        },
    })
}

/// The app is beside the sidecar in one pod: what is sent to it is no other machine's business.
fn url(text: &str) -> Result<AppUrl, String> {
    let example = "such as http://127.0.0.1:8080";
    let rest = text.strip_prefix("http://").ok_or_else(|| {
        format!("{text:?} is not an http:// URL, {example}: the app is called over loopback without TLS")
    })?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(format!("{text:?} has more than a host and a port, {example}; paths stand with each hook"));
    }
    let not_loopback = || format!("{text:?} is not on loopback: name 127.0.0.1, [::1] or localhost, {example}");
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().ok().filter(|port| *port != 0)),
        _ => (authority, Some(80)),
    };
    let port = port.ok_or_else(|| format!("{text:?} has no port from 1 to 65535, {example}"))?;
    let ips = if host.eq_ignore_ascii_case("localhost") {
        vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
    } else {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        vec![bare.parse::<IpAddr>().ok().filter(IpAddr::is_loopback).ok_or_else(not_loopback)?]
    };
    Ok(AppUrl {
        authority: authority.to_owned(),
        addresses: ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect(),
    })
}

/// Present where some kind has a hook at the door.
pub(super) fn admission(raw: &RawConfig, wrong: Wrong<'_>) -> Result<Option<AdmissionConfig>, ConfigError> {
    let address = address(&raw.admission.address).map_err(|text| wrong(&["admission", "address"], text))?;
    let concurrency = within(raw.admission.concurrency, 1, 1024, &["admission", "concurrency"], wrong)?;
    let Some((index, hook)) = raw.kinds.iter().enumerate().find_map(|(index, kind)| Some((index, guard(kind)?))) else {
        return Ok(None);
    };
    let needed = |key: &str, file: &Option<std::path::PathBuf>| {
        let text = format!(
            "is missing: kinds[{index}].hooks.{hook} is asked through an admission webhook, and the API server calls one by TLS alone"
        );
        file.clone().ok_or_else(|| wrong(&["admission", key], text))
    };
    let cert_file = needed("certFile", &raw.admission.cert_file)?;
    let key_file = needed("keyFile", &raw.admission.key_file)?;
    for (section, other) in [("api", &raw.api.address), ("admin", &raw.admin.address)] {
        let taken = other.parse::<SocketAddr>().is_ok_and(|other| other.port() != 0 && other.port() == address.port());
        if taken {
            return Err(wrong(&["admission", "address"], format!("port {} is that of {section}", address.port())));
        }
    }
    Ok(Some(AdmissionConfig { address, cert_file, key_file, concurrency }))
}

fn guard(kind: &RawKind) -> Option<&'static str> {
    match (&kind.hooks.validate, &kind.hooks.default) {
        (Some(_), _) => Some("validate"),
        (None, Some(_)) => Some("default"),
        (None, None) => None,
    }
}

/// The hooks of one kind; `wrong` names places within the kind.
pub(super) fn hooks(
    raw: &RawKind,
    concurrency: u64,
    kafka: bool,
    wrong: Wrong<'_>,
) -> Result<HooksConfig, ConfigError> {
    let written = [
        ("validate", raw.hooks.validate.is_some()),
        ("default", raw.hooks.default.is_some()),
        ("reconcile", raw.hooks.reconcile.is_some()),
        ("finalize", raw.hooks.finalize.is_some()),
    ];
    if let Some((hook, _)) = written.iter().find(|(_, written)| *written && !raw.owned) {
        let text = "is for owned kinds only; set `owned: true` or leave it out".to_owned();
        return Err(wrong(&["hooks", hook], text));
    }
    let works = written.iter().find(|(hook, written)| *written && matches!(*hook, "reconcile" | "finalize"));
    if let Some((hook, _)) = works.filter(|_| raw.source == RawSource::Kafka) {
        let text = "needs what only the API server tells: set `source: watch`".to_owned();
        return Err(wrong(&["hooks", hook], text));
    }
    let within =
        |hook: &'static str| move |path: &[&str], text: String| wrong(&[&["hooks", hook], path].concat(), text);
    let guarded =
        |hook: &'static str, raw: &Option<RawGuard>| raw.as_ref().map(|raw| guard_hook(raw, &within(hook))).transpose();
    Ok(HooksConfig {
        validate: guarded("validate", &raw.hooks.validate)?,
        default: guarded("default", &raw.hooks.default)?,
        reconcile: match &raw.hooks.reconcile {
            Some(raw) => Some(reconcile(raw, concurrency, &within("reconcile"))?),
            None => None,
        },
        finalize: match &raw.hooks.finalize {
            Some(raw) => {
                let wrong = within("finalize");
                path(&raw.path, &["path"], &wrong)?;
                let deadline = work_deadline(raw.deadline_seconds, &wrong)?;
                Some(FinalizeConfig { path: raw.path.clone(), deadline })
            }
            None => None,
        },
        notify: match &raw.hooks.notify {
            Some(raw) => Some(notify(raw, kafka, &within("notify"))?),
            None => None,
        },
    })
}

fn guard_hook(raw: &RawGuard, wrong: Wrong<'_>) -> Result<GuardConfig, ConfigError> {
    path(&raw.path, &["path"], wrong)?;
    let seconds = number(raw.deadline_seconds, 1, GUARD_SECONDS, &["deadlineSeconds"], wrong)?;
    Ok(GuardConfig {
        path: raw.path.clone(),
        deadline: Duration::from_secs(seconds),
        on_failure: match raw.failure_policy {
            RawFailurePolicy::Fail => OnFailure::Refuse,
            RawFailurePolicy::Ignore => OnFailure::LetThrough,
        },
        writers: match raw.writers {
            RawWriters::All => Writers::All,
            RawWriters::Others => Writers::Others,
        },
    })
}

fn reconcile(raw: &RawReconcile, concurrency: u64, wrong: Wrong<'_>) -> Result<ReconcileConfig, ConfigError> {
    path(&raw.path, &["path"], wrong)?;
    let resync =
        raw.resync_seconds.map(|seconds| number(seconds, 1, 604_800, &["resyncSeconds"], wrong)).transpose()?;
    Ok(ReconcileConfig {
        path: raw.path.clone(),
        deadline: work_deadline(raw.deadline_seconds, wrong)?,
        concurrency: match raw.concurrency {
            Some(own) => within(own, 1, 256, &["concurrency"], wrong)?,
            None => usize::try_from(concurrency).unwrap_or(usize::MAX),
        },
        resync: resync.map(Duration::from_secs),
        related: references(&raw.related, "related", wrong)?,
    })
}

fn notify(raw: &RawNotify, kafka: bool, wrong: Wrong<'_>) -> Result<NotifyConfig, ConfigError> {
    path(&raw.path, &["path"], wrong)?;
    if raw.attempts == Some(0) {
        return Err(wrong(&["attempts"], "0 is less than 1".to_owned()));
    }
    if let Some(topic) = &raw.dead_letter_topic {
        let text = match () {
            () if !is_topic(topic) => format!("{topic:?} cannot be a topic's name"),
            () if raw.attempts.is_none() => "is of no use without `attempts`: nothing is ever given up".to_owned(),
            () if !kafka => "needs Kafka: name its brokers in kafka.properties".to_owned(),
            () => String::new(),
        };
        if !text.is_empty() {
            return Err(wrong(&["deadLetterTopic"], text));
        }
    }
    Ok(NotifyConfig {
        path: raw.path.clone(),
        deadline: work_deadline(raw.deadline_seconds, wrong)?,
        attempts: raw.attempts,
        dead_letter_topic: raw.dead_letter_topic.clone(),
    })
}

/// What the app makes of an entity, and what it is shown with it.
pub(super) fn references(raw: &[RawReference], key: &str, wrong: Wrong<'_>) -> Result<Vec<Reference>, ConfigError> {
    let mut references: Vec<Reference> = Vec::with_capacity(raw.len());
    for (index, reference) in raw.iter().enumerate() {
        let at = index.to_string();
        let Some((group, version)) = group_version(&reference.api_version) else {
            let text =
                format!("{:?} is not GROUP/VERSION, such as apps/v1, nor VERSION, such as v1", reference.api_version);
            return Err(wrong(&[key, &at, "apiVersion"], text));
        };
        if !is_kind(&reference.kind) {
            return Err(wrong(&[key, &at, "kind"], format!("{:?} is not a kind, such as ConfigMap", reference.kind)));
        }
        let reference =
            Reference { group: group.to_owned(), version: version.to_owned(), kind: reference.kind.clone() };
        if references.contains(&reference) {
            return Err(wrong(&[key, &at], format!("{} stands there twice", reference.kind)));
        }
        references.push(reference);
    }
    Ok(references)
}

/// What an entity is shown with is in the cache.
pub(super) fn related(kinds: &[KindConfig], wrong: Wrong<'_>) -> Result<(), ConfigError> {
    for (index, kind) in kinds.iter().enumerate() {
        let related = kind.hooks.reconcile.iter().flat_map(|reconcile| &reconcile.related).enumerate();
        for (place, Reference { group, version, kind }) in related {
            let is_it = |other: &KindConfig| other.group == *group && other.version == *version && other.kind == *kind;
            if !kinds.iter().any(is_it) {
                let (at, place) = (index.to_string(), place.to_string());
                let key = ["kinds", &at, "hooks", "reconcile", "related", &place];
                return Err(wrong(&key, format!("{kind} is not among `kinds`: name it there too")));
            }
        }
    }
    Ok(())
}

/// Of the replicas of an application one notifies it of a kind that it does not own; they find each other by its name.
pub(super) fn notified(kinds: &[KindConfig], named: bool, wrong: Wrong<'_>) -> Result<(), ConfigError> {
    match kinds.iter().position(|kind| !kind.owned && kind.hooks.notify.is_some()) {
        Some(index) if !named => {
            let text = "needs app.name where the kind is not owned: by it the replicas agree which of them notifies";
            Err(wrong(&["kinds", &index.to_string(), "hooks", "notify"], text.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Of children, only for what the app works on.
pub(super) fn children(raw: &RawKind, hooks: &HooksConfig, wrong: Wrong<'_>) -> Result<Vec<Reference>, ConfigError> {
    if !raw.children.is_empty() && !hooks.works() {
        let text = "are what the hooks reconcile and finalize ask for: name one of these, or leave them out".to_owned();
        return Err(wrong(&["children"], text));
    }
    references(&raw.children, "children", wrong)
}

fn work_deadline(seconds: u64, wrong: Wrong<'_>) -> Result<Duration, ConfigError> {
    number(seconds, 1, WORK_SECONDS, &["deadlineSeconds"], wrong).map(Duration::from_secs)
}

/// A path as it goes into a request's first line.
fn path(text: &str, key: &[&str], wrong: Wrong<'_>) -> Result<(), ConfigError> {
    let is_path = text.starts_with('/')
        && !text.starts_with("//")
        && text.len() <= 1024
        && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\'));
    let text = format!("{text:?} is not a path, such as /hooks/todos/validate");
    is_path.then_some(()).ok_or_else(|| wrong(key, text))
}

fn number(value: u64, least: u64, most: u64, key: &[&str], wrong: Wrong<'_>) -> Result<u64, ConfigError> {
    let text = format!("{value} is not from {least} to {most}");
    (least..=most).contains(&value).then_some(value).ok_or_else(|| wrong(key, text))
}

fn within(value: u64, least: u64, most: u64, key: &[&str], wrong: Wrong<'_>) -> Result<usize, ConfigError> {
    number(value, least, most, key, wrong).map(|value| usize::try_from(value).unwrap_or(usize::MAX))
}
