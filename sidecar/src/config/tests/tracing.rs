//! Tests of the settings of tracing and of the pod.

use super::super::{Collector, Config, PodConfig, TracingConfig};

fn load(file: &str) -> Result<Config, String> {
    super::load(file, &[], &[])
}

const KINDS: &str = "kinds: [{apiVersion: v1, kind: ConfigMap}]\n";

#[test]
fn tracing_is_off_unless_it_is_turned_on() {
    assert_eq!(load(KINDS).unwrap().tracing, None);
    let on = load(&format!(
        "{KINDS}tracing: {{enabled: true, ratio: 0.25, otlpEndpoint: 'http://collector:4318/'}}\napp: {{name: shop}}"
    ));
    let collector = Some(Collector { authority: "collector:4318".to_owned(), path: "/v1/traces".to_owned() });
    let expected = TracingConfig { collector, ratio: 0.25, service: "shop".to_owned() };
    assert_eq!(on.unwrap().tracing, Some(expected));
    let path = load(&format!("{KINDS}tracing: {{enabled: true, otlpEndpoint: 'http://c/otlp/v1/traces'}}")).unwrap();
    assert_eq!(path.tracing.unwrap().collector.unwrap().path, "/otlp/v1/traces");
}

#[test]
fn what_cannot_be_traced_to_is_told() {
    for (settings, told) in [
        ("otlpEndpoint: collector:4318", "tracing.otlpEndpoint: \"collector:4318\" is not an address"),
        ("otlpEndpoint: 'https://c:4318'", "plain HTTP"),
        ("otlpEndpoint: 'http://c:4318/?x=1'", "is not an address"),
        ("otlpEndpoint: 'http://me:secret@c:4318'", "is not an address"),
        ("ratio: 1.5", "tracing.ratio: \"1.5\" is not from 0 to 1"),
        ("ratio: -1", "is not from 0 to 1"),
    ] {
        let fault = load(&format!("{KINDS}tracing: {{{settings}}}")).unwrap_err();
        assert!(fault.contains(told), "{fault}");
    }
}

#[test]
fn a_pod_is_known_by_its_name() {
    assert_eq!(load(KINDS).unwrap().pod, None);
    let pod = load(&format!("{KINDS}pod: {{name: shop-1, uid: u-1}}")).unwrap().pod;
    assert_eq!(pod, Some(PodConfig { name: "shop-1".to_owned(), uid: Some("u-1".to_owned()) }));
    assert!(load(&format!("{KINDS}pod: {{uid: u-1}}")).unwrap_err().contains("pod.name: is missing"));
}
