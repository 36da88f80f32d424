//! Rules on the settings of tracing and of the pod.

use hyper::Uri;

use super::super::raw::RawConfig;
use super::super::tracing::{Collector, PodConfig, TracingConfig};
use super::super::{ConfigError, quantity};
use super::Wrong;

pub(super) fn pod(raw: &RawConfig, wrong: Wrong<'_>) -> Result<Option<PodConfig>, ConfigError> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
    match (filled(&raw.pod.name), filled(&raw.pod.uid)) {
        (Some(name), uid) => Ok(Some(PodConfig { name, uid })),
        (None, Some(_)) => Err(wrong(&["pod", "name"], "is missing: pod.uid alone names no pod".to_owned())),
        (None, None) => Ok(None),
    }
}

pub(super) fn tracing(raw: &RawConfig, wrong: Wrong<'_>) -> Result<Option<TracingConfig>, ConfigError> {
    let from = &raw.tracing;
    let collector = from.otlp_endpoint.as_deref().map(collector).transpose();
    let collector = collector.map_err(|text| wrong(&["tracing", "otlpEndpoint"], text))?;
    let ratio = quantity::thousandths(&from.ratio).filter(|thousandths| *thousandths <= 1000).ok_or_else(|| {
        wrong(&["tracing", "ratio"], format!("{:?} is not from 0 to 1, such as 0.1 or 0.005", from.ratio))
    })?;
    let service = from.service_name.clone().or_else(|| raw.app.name.clone());
    Ok(from.enabled.then(|| TracingConfig {
        collector,
        // At most a thousand.
        ratio: ratio as f64 / 1000.0,
        service: service.unwrap_or_else(|| "kab-sidecar".to_owned()),
    }))
}

fn collector(text: &str) -> Result<Collector, String> {
    let uri: Uri = text.parse().map_err(|_| not_an_endpoint(text))?;
    if uri.scheme_str() == Some("https") {
        return Err(format!(
            "{text:?}: the sidecar speaks plain HTTP to a collector: use one in the cluster that passes them on"
        ));
    }
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http") && uri.query().is_none());
    let authority =
        authority.filter(|authority| !authority.as_str().contains('@')).ok_or_else(|| not_an_endpoint(text))?;
    let path = uri.path().trim_end_matches('/');
    let path = if path.ends_with("/v1/traces") { path.to_owned() } else { format!("{path}/v1/traces") };
    Ok(Collector { authority: authority.to_string(), path })
}

fn not_an_endpoint(text: &str) -> String {
    format!("{text:?} is not an address such as http://collector:4318")
}
