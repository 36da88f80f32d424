//! Settings of the app, of the admission webhook and of hooks: what they are by default, and what each fault is told as.

use std::time::Duration;

use super::super::*;
use super::load;

const TLS: &str = "admission: {certFile: /tls/tls.crt, keyFile: /tls/tls.key}\n";

fn kind(rest: &str) -> String {
    format!("kinds: [{{apiVersion: k8sasbackend.com/v1, kind: Todo, {rest}}}]\n{TLS}")
}

#[test]
fn a_hook_is_a_path_or_an_object_with_more() {
    let file = kind(
        "owned: true, shards: 4, children: [{apiVersion: v1, kind: ConfigMap}], hooks: {validate: /v, default: {path: /d, deadlineSeconds: 5, failurePolicy: Ignore, writers: others}, reconcile: /r, finalize: {path: /f, deadlineSeconds: 60}, notify: /n}",
    );
    let config = load(&file, &[("KAB_APP__CONCURRENCY", "7"), ("KAB_APP__HEALTH__PATH", "/health")], &[]).unwrap();
    let seconds = Duration::from_secs;
    let kind = &config.kinds[0];
    let validate =
        GuardConfig { path: "/v".into(), deadline: seconds(2), on_failure: OnFailure::Refuse, writers: Writers::All };
    assert_eq!(kind.hooks.validate, Some(validate));
    let default = GuardConfig {
        path: "/d".into(),
        deadline: seconds(5),
        on_failure: OnFailure::LetThrough,
        writers: Writers::Others,
    };
    assert_eq!(kind.hooks.default, Some(default));
    let reconcile =
        ReconcileConfig { path: "/r".into(), deadline: seconds(10), concurrency: 7, resync: None, related: Vec::new() };
    assert_eq!(kind.hooks.reconcile, Some(reconcile));
    assert_eq!(kind.hooks.finalize, Some(FinalizeConfig { path: "/f".into(), deadline: seconds(60) }));
    let notify = NotifyConfig { path: "/n".into(), deadline: seconds(10), attempts: None, dead_letter_topic: None };
    assert_eq!(kind.hooks.notify, Some(notify));
    assert_eq!(kind.children, [Reference { group: String::new(), version: "v1".into(), kind: "ConfigMap".into() }]);
    assert_eq!(kind.shards, 4);
    let admission = config.admission.unwrap();
    assert_eq!((admission.address.to_string().as_str(), admission.concurrency), ("0.0.0.0:3602", 32));
    let health = HealthConfig {
        path: Some("/health".into()),
        interval: seconds(5),
        timeout: Duration::from_millis(500),
        threshold: 3,
    };
    assert_eq!(config.app.health, health);
    assert_eq!(config.app.url.authority, "127.0.0.1:8080");
}

#[test]
fn without_a_hook_at_the_door_there_is_no_webhook() {
    let config = load(&kind("owned: true, hooks: {reconcile: /r}"), &[], &[]).unwrap();
    assert_eq!(config.admission, None);
    let consumed = load(&kind("hooks: {notify: /n}"), &[("KAB_APP__NAME", "shop")], &[]).unwrap();
    assert!(consumed.kinds[0].hooks.notify.is_some() && !consumed.kinds[0].hooks.guards());
}

#[test]
fn the_app_is_called_over_loopback_only() {
    for (url, addresses) in [
        ("http://127.0.0.1:8080", &["127.0.0.1:8080"] as &[_]),
        ("http://127.0.0.2/", &["127.0.0.2:80"]),
        ("http://[::1]:1", &["[::1]:1"]),
        ("http://localhost:9", &["127.0.0.1:9", "[::1]:9"]),
    ] {
        let config = load(&kind("owned: true"), &[("KAB_APP__URL", url)], &[]).unwrap();
        let read: Vec<String> = config.app.url.addresses.iter().map(ToString::to_string).collect();
        assert_eq!(read, addresses, "{url}");
    }
    for (url, words) in [
        ("http://10.0.0.1:8080", "is not on loopback"),
        ("http://todo-app:8080", "is not on loopback"),
        ("http://127.0.0.1.example.org", "is not on loopback"),
        ("http://[::ffff:127.0.0.1]:1", "is not on loopback"),
        ("https://127.0.0.1", "is not an http:// URL"),
        ("127.0.0.1:8080", "is not an http:// URL"),
        ("http://127.0.0.1:0", "has no port"),
        ("http://127.0.0.1:x", "has no port"),
        ("http://127.0.0.1:1/base", "has more than a host and a port"),
        ("http://a@127.0.0.1:1", "has more than a host and a port"),
    ] {
        let message = load(&kind("owned: true"), &[("KAB_APP__URL", url)], &[]).unwrap_err();
        assert!(message.contains("app.url: ") && message.contains(words), "{url}: {message}");
    }
}

#[test]
fn each_fault_names_its_key() {
    for (rest, expected) in [
        ("hooks: {validate: /v}", "kinds[0].hooks.validate: is for owned kinds only"),
        ("hooks: {finalize: /v}", "kinds[0].hooks.finalize: is for owned kinds only"),
        ("owned: true, hooks: {validate: v}", "kinds[0].hooks.validate.path: \"v\" is not a path"),
        ("owned: true, hooks: {validate: '/a b'}", "kinds[0].hooks.validate.path: \"/a b\" is not a path"),
        ("owned: true, hooks: {validate: '//host/a'}", "kinds[0].hooks.validate.path: \"//host/a\" is not a path"),
        ("owned: true, hooks: {validate: [1]}", "kinds[0].hooks.validate: invalid type"),
        ("owned: true, hooks: {validate: {deadlineSeconds: 1}}", "kinds[0].hooks.validate: missing field `path`"),
        ("owned: true, hooks: {validate: {path: /v, x: 1}}", "kinds[0].hooks.validate.x: unknown field `x`"),
        (
            "owned: true, hooks: {validate: {path: /v, deadlineSeconds: 30}}",
            "kinds[0].hooks.validate.deadlineSeconds: 30 is not from 1 to 29",
        ),
        (
            "owned: true, hooks: {default: {path: /v, failurePolicy: fail}}",
            "kinds[0].hooks.default.failurePolicy: unknown variant `fail`",
        ),
        ("owned: true, hooks: {what: /v}", "kinds[0].hooks.what: unknown field `what`"),
        (
            "owned: true, hooks: {reconcile: {path: /r, concurrency: 0}}",
            "kinds[0].hooks.reconcile.concurrency: 0 is not from 1 to 256",
        ),
        (
            "owned: true, hooks: {reconcile: {path: /r, resyncSeconds: 0}}",
            "kinds[0].hooks.reconcile.resyncSeconds: 0 is not from 1",
        ),
        (
            "owned: true, hooks: {reconcile: {path: /r, related: [{apiVersion: v1, kind: a b}]}}",
            "kinds[0].hooks.reconcile.related[0].kind: \"a b\" is not a kind",
        ),
        (
            "owned: true, hooks: {reconcile: {path: /r, related: [{apiVersion: v1, kind: Secret}]}}",
            "kinds[0].hooks.reconcile.related[0]: Secret is not among `kinds`",
        ),
        (
            "hooks: {notify: {path: /n, deadLetterTopic: t}}",
            "kinds[0].hooks.notify.deadLetterTopic: is of no use without `attempts`",
        ),
        (
            "hooks: {notify: {path: /n, attempts: 3, deadLetterTopic: t}}",
            "kinds[0].hooks.notify.deadLetterTopic: needs Kafka",
        ),
        ("hooks: {notify: /n}", "kinds[0].hooks.notify: needs app.name where the kind is not owned"),
        ("hooks: {notify: {path: /n, attempts: 0}}", "kinds[0].hooks.notify.attempts: 0 is less than 1"),
        ("owned: true, children: [{apiVersion: v1, kind: ConfigMap}]", "kinds[0].children: are what the hooks"),
        (
            "owned: true, hooks: {reconcile: /r}, children: [{apiVersion: V1, kind: ConfigMap}]",
            "kinds[0].children[0].apiVersion: \"V1\" is not",
        ),
        ("owned: true, shards: 65", "kinds[0].shards: 65 is not from 1 to 64"),
        ("owned: true, shards: 0", "kinds[0].shards: 0 is not from 1 to 64"),
        ("shards: 2", "kinds[0].shards: are for owned kinds only"),
    ] {
        let message = load(&kind(rest), &[], &[]).unwrap_err();
        assert!(message.contains(expected), "{rest}\n  {message}");
    }
    let from_topic = kind("owned: true, source: kafka, hooks: {finalize: /r}");
    let from_topic = format!("kafka: {{properties: {{bootstrap.servers: b}}}}\n{from_topic}");
    let message = load(&from_topic, &[], &[]).unwrap_err();
    assert!(message.contains("kinds[0].hooks.finalize: needs what only the API server tells"), "{message}");
    let guarded = "kinds: [{apiVersion: a.b/v1, kind: Todo, owned: true, hooks: {default: /d}}]\n";
    for (rest, expected) in [
        ("", "admission.certFile: is missing: kinds[0].hooks.default is asked"),
        ("admission: {certFile: /c}", "admission.keyFile: is missing"),
        ("admission: {certFile: /c, keyFile: /k, concurrency: 0}", "admission.concurrency: 0 is not from 1 to 1024"),
        ("admission: {certFile: /c, keyFile: /k, address: '127.0.0.1:3600'}", "port 3600 is that of api"),
        ("app: {concurrency: 0}", "app.concurrency: 0 is not from 1 to 1024"),
        ("app: {health: {threshold: 0}}", "app.health.threshold: 0 is not from 1 to 100"),
        ("app: {health: {path: health}}", "app.health.path: \"health\" is not a path"),
    ] {
        let message = load(&format!("{guarded}{rest}\n"), &[], &[]).unwrap_err();
        assert!(message.contains(expected), "{rest}\n  {message}");
    }
}
