//! Settings from file, environment and flags: which wins, and what each fault is told as.

mod hooks;
mod tracing;

use super::*;

const TODO: &str = "kinds: [{apiVersion: k8sasbackend.com/v1, kind: Todo, owned: true}]\n";

/// A file of its own per call, so that tests can run side by side.
fn load(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Config, String> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("kab-config-{}-{number}.yaml", std::process::id()));
    std::fs::write(&path, file).unwrap();
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut arguments = vec!["kab-sidecar".to_owned(), "--config".to_owned(), path.display().to_string()];
    arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
    let loaded = Config::load(arguments, &environment).map_err(|error| error.to_string());
    std::fs::remove_file(&path).unwrap();
    loaded.map_err(|message| message.replace(&path.display().to_string(), "FILE"))
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = load(TODO, &[], &[]).unwrap();
    assert_eq!(config.api.address.to_string(), "127.0.0.1:3600");
    assert_eq!((config.api.socket, config.api.token_file, config.api.allowed_origins), (None, None, Vec::new()));
    assert_eq!(config.admin.to_string(), "0.0.0.0:3601");
    assert_eq!(config.cluster, "kubernetes");
    let seconds = std::time::Duration::from_secs;
    let durations = Durations { lease: seconds(10), renew: seconds(6), retry: seconds(2) };
    assert_eq!((config.app.name, config.lease), (None, LeaseConfig { durations, identity: None }));
    assert_eq!((config.log_level.as_str(), config.log_format), ("info", Format::Text));
    assert_eq!((config.kafka, config.kubeconfig), (None, None));
    let kind = KindConfig {
        group: "k8sasbackend.com".to_owned(),
        version: "v1".to_owned(),
        kind: "Todo".to_owned(),
        owned: true,
        namespaces: Namespaces::These(vec![Namespace::Own]),
        source: Source::Watch,
        topic: None,
        cache_bytes: 512 << 20,
        budget: Limits::default(),
        hooks: HooksConfig::default(),
        children: Vec::new(),
        shards: 1,
    };
    assert_eq!(config.kinds, [kind]);
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = format!("{TODO}cluster: from-file\napi: {{address: '127.0.0.1:1'}}\nlog: {{level: warn}}\n");
    let environment = [("KAB_CLUSTER", "from-environment"), ("KAB_API__ADDRESS", "127.0.0.1:2"), ("HOME", "/")];
    let config = load(&file, &environment, &["--api-address", "127.0.0.1:3", "--kubeconfig=/k"]).unwrap();
    assert_eq!(config.cluster, "from-environment");
    assert_eq!(config.api.address.port(), 3);
    assert_eq!(config.log_level, "warn");
    assert_eq!(config.kubeconfig, Some(PathBuf::from("/k")));
}

#[test]
fn a_kind_that_is_only_consumed_may_come_from_a_topic_of_another_name() {
    let kafka = "kafka: {properties: {bootstrap.servers: 'b:1'}}";
    let file = format!("kinds: [{{apiVersion: a.b/v1, kind: Todo, source: kafka, topic: shop.todos}}]\n{kafka}\n");
    let config = load(&file, &[], &[]).unwrap();
    assert_eq!(config.kinds[0].source, Source::Kafka);
    assert_eq!((config.kinds[0].owned, config.kinds[0].topic.as_deref()), (false, Some("shop.todos")));
}

#[test]
fn a_budget_is_read_as_kubernetes_writes_quantities() {
    let file = "kinds: [{apiVersion: a.b/v1, kind: Todo, owned: true, budget: {objects: 10k, bytes: 50Mi, writesPerSecond: 0.5}}]";
    let limits = load(file, &[], &[]).unwrap().kinds[0].budget;
    assert_eq!((limits.objects, limits.bytes), (Some(10_000), Some(50 << 20)));
    assert_eq!(limits.writes_per_second.map(|rate| rate.to_string()), Some("0.5".to_owned()));
}

#[test]
fn librdkafka_properties_keep_their_dots_from_every_source() {
    let file = format!(
        "{TODO}kafka: {{properties: {{bootstrap.servers: 'a:1', linger.ms: 5, enable.ssl.certificate.verification: true}}, queueBytes: 1Mi}}\n"
    );
    let environment = [
        ("KAB_KAFKA__PROPERTIES__BOOTSTRAP_SERVERS", "b:2"),
        ("KAB_KAFKA__PROPERTIES__COMPRESSION_TYPE", "zstd"),
        ("KAB_KAFKA__QUEUE_BYTES", "2048"),
        ("KAB_KAFKA__PARTITIONS", "3"),
        ("KAB_KAFKA", "what a development cluster tells its shell"),
    ];
    let kafka = load(&file, &environment, &["--kafka-delivery", "atLeastOnce"]).unwrap().kafka.unwrap();
    let properties: Vec<(&str, &str)> =
        kafka.properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        properties,
        [
            ("bootstrap.servers", "b:2"),
            ("compression.type", "zstd"),
            ("enable.ssl.certificate.verification", "true"),
            ("linger.ms", "5"),
        ]
    );
    assert_eq!((kafka.delivery, kafka.queue_bytes, kafka.partitions), (Delivery::AtLeastOnce, 2048, Some(3)));
    let from_environment_alone = load(TODO, &[("KAB_KAFKA__PROPERTIES__BOOTSTRAP_SERVERS", "b:2")], &[]).unwrap();
    assert_eq!(from_environment_alone.kafka.unwrap().queue_bytes, 16 << 20);
}

#[test]
fn kinds_come_from_the_environment_as_json() {
    let kinds = r#"[{"apiVersion":"v1","kind":"ConfigMap","namespaces":["own","shop"]},{"apiVersion":"a.b/v1","kind":"X","namespaces":"all"}]"#;
    let config = load("", &[("KAB_KINDS", kinds)], &[]).unwrap();
    let namespaces: Vec<&Namespaces> = config.kinds.iter().map(|kind| &kind.namespaces).collect();
    let listed = Namespaces::These(vec![Namespace::Own, Namespace::Named("shop".to_owned())]);
    assert_eq!(namespaces, [&listed, &Namespaces::All]);
    assert_eq!((config.kinds[0].group.as_str(), config.kinds[0].version.as_str()), ("", "v1"));
}

#[test]
fn each_fault_names_the_key_and_where_it_stands() {
    let kafka = "kafka: {properties: {bootstrap.servers: 'a:1'}";
    let kind = |more: &str| format!("kinds: [{{apiVersion: a.b/v1, kind: Todo, {more}}}]");
    let cases: Vec<(String, &str)> = vec![
        ("clutser: x".to_owned(), "clutser: unknown field `clutser`"),
        (format!("{kafka}, delivry: x}}"), "kafka.delivry: unknown field `delivry`"),
        (
            format!("{kafka}, delivery: twice}}"),
            "kafka.delivery: unknown variant `twice`, expected `exactlyOnce` or `atLeastOnce`",
        ),
        (format!("{kafka}, queueBytes: lots}}"), "kafka.queueBytes: \"lots\" is not a size"),
        (format!("{kafka}, partitions: 0}}"), "kafka.partitions: 0 is less than 1"),
        (format!("{kafka}, partitions: many}}"), "kafka.partitions: invalid type"),
        (
            "kafka: {properties: {bootstrap.servers: a, acks: 1}}".to_owned(),
            "kafka.properties.acks: is set by the sidecar",
        ),
        (
            "kafka: {properties: {bootstrap.servers: [a]}}".to_owned(),
            "kafka.properties.bootstrap.servers: invalid type",
        ),
        ("api: {address: '0.0.0.0:3600'}".to_owned(), "api.address: 0.0.0.0:3600 is not a loopback address"),
        ("api: {address: 3600}".to_owned(), "api.address: invalid type"),
        ("api: {address: localhost}".to_owned(), "api.address: \"localhost\" is not an address"),
        ("api: {allowedOrigins: ['*']}".to_owned(), "api.allowedOrigins[0]: \"*\" is not an origin"),
        ("api: {allowedOrigins: ['https://a', 'https://b/']}".to_owned(), "api.allowedOrigins[1]: \"https://b/\""),
        ("api: {allowedOrigins: ['https://a:443']}".to_owned(), "api.allowedOrigins[0]: \"https://a:443\""),
        ("api: {port: 1}".to_owned(), "api.port: unknown field"),
        ("api: {limits: {connections: 1}}".to_owned(), "api.limits.connections: 1 is not from 16 to 65536"),
        ("api: {limits: {headerBytes: 1Ki}}".to_owned(), "api.limits.headerBytes: 1024 is not from 8192 to 1048576"),
        ("api: {limits: {idleSeconds: 0}}".to_owned(), "api.limits.idleSeconds: 0 is not from 1 to 86400"),
        ("api: {limits: {bodySeconds: -1}}".to_owned(), "api.limits.bodySeconds: invalid value"),
        ("cluster: a/b".to_owned(), "cluster: \"a/b\" is not a name"),
        ("log: {level: verbose}".to_owned(), "log.level: failed to read the log level"),
        ("log: {format: xml}".to_owned(), "log.format: unknown variant `xml`"),
        (kind("hook: {}"), "kinds[0].hook: unknown field `hook`"),
        (kind("namespaces: [all, own]"), "kinds[0].namespaces: `all` stands alone"),
        (kind("namespaces: 1"), "kinds[0].namespaces: invalid type"),
        (kind("topic: t"), "kinds[0].topic: a kind that is neither owned nor read from Kafka has no topic"),
        (kind("source: kafka"), "kinds[0].source: needs Kafka"),
        (kind("source: topic"), "kinds[0].source: unknown variant `topic`, expected `watch` or `kafka`"),
        ("app: {name: 'a b'}".to_owned(), "app.name: \"a b\" is not a name"),
        ("lease: {durationSeconds: 0}".to_owned(), "lease.durationSeconds: 0 is not from 1 to 3600"),
        ("lease: {renewSeconds: 7}".to_owned(), "lease.renewSeconds: 7 is more than two thirds of durationSeconds, 10"),
        ("lease: {retrySeconds: 4}".to_owned(), "lease.retrySeconds: 4 is 0, or more than half of renewSeconds, 6"),
        ("lease: {identity: ''}".to_owned(), "lease.identity: is empty"),
        (kind("owned: true, topic: 'a b'"), "kinds[0].topic: \"a b\" cannot be"),
        (kind("cacheBytes: 1K"), "kinds[0].cacheBytes: \"1K\" is not a size"),
        (kind("budget: {objects: 1}"), "kinds[0].budget: only an owned kind can be written"),
        (kind("owned: true, budget: {objects: 0}"), "kinds[0].budget.objects: \"0\" is not a number of entities"),
        (kind("owned: true, budget: {objects: 1.5}"), "kinds[0].budget.objects: \"1.5\" is not a number of entities"),
        (kind("owned: true, budget: {bytes: 5MB}"), "kinds[0].budget.bytes: \"5MB\" is not a size above 0"),
        (kind("owned: true, budget: {writesPerSecond: -1}"), "kinds[0].budget.writesPerSecond: \"-1\" is not a number"),
        (kind("owned: true, budget: {writes: 1}"), "kinds[0].budget.writes: unknown field `writes`"),
        (kind("owned: yes please"), "kinds[0].owned: invalid type"),
        ("kinds: [{apiVersion: A/B, kind: Todo}]".to_owned(), "kinds[0].apiVersion: \"A/B\" is not"),
        ("kinds: [{kind: Todo}]".to_owned(), "kinds[0]: missing field `apiVersion`"),
        (
            "kinds: [{apiVersion: v1, kind: A}, {apiVersion: v1, kind: A}]".to_owned(),
            "kinds[1].kind: A of v1 stands there twice",
        ),
    ];
    for (text, expected) in cases {
        let file = if text.starts_with("kinds") { text.clone() } else { format!("{TODO}{text}\n") };
        let message = load(&file, &[], &[]).unwrap_err();
        assert!(message.contains(expected) && message.ends_with("(in FILE)"), "{text}\n  {message}");
    }
    let cases: [(&str, &str, &str); 4] = [
        ("KAB_CLUTSER", "x", "KAB_CLUTSER: no setting has this variable"),
        (
            "KAB_KAFKA__PARTITIONS",
            "x",
            "kafka.partitions: \"x\" is not a number (in environment variable KAB_KAFKA__PARTITIONS)",
        ),
        ("KAB_API__ADDRESS", "1.2.3.4:5", "(in environment variable KAB_API__ADDRESS)"),
        ("KAB_KINDS", "Todo", "kinds: not JSON"),
    ];
    for (variable, value, expected) in cases {
        let message = load(TODO, &[(variable, value)], &[]).unwrap_err();
        assert!(message.contains(expected), "{variable}\n  {message}");
    }
    let message = load(TODO, &[], &["--admin-address=nowhere"]).unwrap_err();
    assert!(message.ends_with("(in flag --admin-address)"), "{message}");
    let no_brokers = load(&format!("{TODO}kafka: {{properties: {{}}}}\n"), &[], &[]).unwrap_err();
    assert!(no_brokers.contains("kafka.properties.bootstrap.servers: is missing"), "{no_brokers}");
    assert!(load("", &[], &[]).unwrap_err().contains("kinds: name at least one kind"), "nothing to serve");
    assert!(load("a: [", &[], &[]).unwrap_err().starts_with("failed to read the configuration FILE: "), "no YAML");
}

#[test]
fn a_file_that_is_not_there_is_named_and_every_fault_is_exit_code_64() {
    let error = Config::load(["kab-sidecar", "--config", "/nowhere/x.yaml"], &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().starts_with("failed to read the configuration /nowhere/x.yaml: "), "{error}");
    assert_eq!(error.exit_code(), 64);
    assert_eq!(Config::load(["kab-sidecar", "--what"], &BTreeMap::new()).unwrap_err().exit_code(), 64);
    let help = Config::load(["kab-sidecar", "--help"], &BTreeMap::new()).unwrap_err();
    assert_eq!(help.exit_code(), 0);
    assert!(help.to_string().contains("Address of the entity API; loopback only."), "{help}");
}

#[test]
fn the_reference_lists_every_setting_with_its_default() {
    let page = reference();
    for row in [
        "| `api.address` | `KAB_API__ADDRESS` | `--api-address` | `127.0.0.1:3600` |",
        "| `kafka.queueBytes` | `KAB_KAFKA__QUEUE_BYTES` | `--kafka-queue-bytes` | `16Mi` |",
        "| `kafka.properties` | `KAB_KAFKA__PROPERTIES__NAME` |  |  |",
        "| `api.limits.idleSeconds` | `KAB_API__LIMITS__IDLE_SECONDS` | `--api-limits-idle-seconds` | `75` |",
        "| `kinds[].cacheBytes` |  |  | `512Mi` |",
        "| `kinds[].namespaces` |  |  | `[\"own\"]` |",
        "One of `exactlyOnce`, `atLeastOnce`. |",
    ] {
        assert!(page.contains(row), "{row}\n{page}");
    }
    assert!(!page.contains("|  |\n"), "a setting without a description:\n{page}");
}

#[test]
fn the_entity_api_listens_on_loopback_only() {
    for open in ["0.0.0.0:3600", "[::]:3600", "10.0.0.7:3600", "192.168.1.1:0", "[::ffff:127.0.0.1]:3600"] {
        let message = load(TODO, &[("KAB_API__ADDRESS", open)], &[]).unwrap_err();
        assert!(message.contains("is not a loopback address"), "{open}: {message}");
    }
    for loopback in ["127.0.0.1:0", "127.0.0.2:3600", "[::1]:3600"] {
        assert_eq!(load(TODO, &[("KAB_API__ADDRESS", loopback)], &[]).unwrap().api.address.to_string(), loopback);
    }
}

#[test]
fn secrets_for_kafka_come_from_files_and_are_said_once() {
    let with = |kafka: &str| load(&format!("{TODO}kafka: {kafka}\n"), &[], &[]);
    let brokers = "bootstrap.servers: 'a:1'";
    let files = with(&format!("{{properties: {{{brokers}}}, propertyFiles: {{sasl.password: /secret}}}}")).unwrap();
    let kafka = files.kafka.unwrap();
    assert_eq!(kafka.property_files, BTreeMap::from([("sasl.password".to_owned(), PathBuf::from("/secret"))]));
    let environment = [("KAB_KAFKA__PROPERTY_FILES__SASL_PASSWORD", "/other")];
    let config = load(&format!("{TODO}kafka: {{properties: {{{brokers}}}}}\n"), &environment, &[]).unwrap();
    assert_eq!(config.kafka.unwrap().property_files.get("sasl.password"), Some(&PathBuf::from("/other")));
    for (kafka, words) in [
        (
            "{properties: {BROKERS, sasl.password: x}, propertyFiles: {sasl.password: /secret}}",
            "propertyFiles.sasl.password",
        ),
        ("{properties: {BROKERS}, propertyFiles: {acks: /secret}}", "kafka.propertyFiles.acks"),
        ("{properties: {BROKERS}, tokenFile: /token}", "set sasl.mechanisms to OAUTHBEARER"),
        ("{properties: {BROKERS, sasl.mechanisms: OAUTHBEARER}}", "kafka.tokenFile: is missing"),
        ("{properties: {BROKERS, sasl.oauthbearer.method: oidc}}", "kafka.tokenFile"),
    ] {
        let message = with(&kafka.replace("BROKERS", brokers)).unwrap_err();
        assert!(message.contains(words), "{kafka}: {message}");
    }
}

#[test]
fn no_value_of_a_kafka_property_is_in_debug_output() {
    let file = format!("{TODO}kafka: {{properties: {{bootstrap.servers: 'a:1', sasl.password: sesame}}}}\n");
    let shown = format!("{:?}", load(&file, &[], &[]).unwrap());
    assert!(shown.contains("sasl.password") && !shown.contains("sesame"), "{shown}");
}
