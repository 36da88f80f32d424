//! A Kafka that lets in only whom it knows, for the tests of secrets and rights; started with the first of them.

use std::path::Path;
use std::sync::{OnceLock, mpsc};

use devcluster::{Access, Cluster, ClusterOptions, GuardedKafka, Right};
use serde_json::{Value, json};

use crate::world::{World, shared};

/// The broker and how to reach it.
pub(crate) struct Guarded {
    cluster: Cluster,
    /// The guarded listeners.
    pub(crate) side: GuardedKafka,
}

/// The one broker of this test binary; it ends with the process.
pub(crate) fn guarded() -> &'static Guarded {
    static GUARDED: OnceLock<Guarded> = OnceLock::new();
    GUARDED.get_or_init(|| {
        let kubeconfig = shared().endpoints().kubeconfig.clone();
        let (answer, started) = mpsc::channel();
        // It outlives the runtime of the test that happens to come first.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let options = ClusterOptions {
                kubeconfig: Some(kubeconfig),
                guarded_kafka: true,
                ..ClusterOptions::for_tests("guarded")
            };
            answer.send(runtime.block_on(Cluster::start(options))).expect("the first test waits");
            runtime.block_on(std::future::pending::<()>());
        });
        let cluster = started.recv().unwrap().unwrap_or_else(|error| panic!("failed to start the broker: {error:?}"));
        let side = cluster.guarded_kafka().expect("it was asked for");
        Guarded { cluster, side }
    })
}

impl Guarded {
    /// Where whoever comes may do everything.
    pub(crate) fn open(&self) -> &str {
        self.cluster.endpoints().kafka.as_deref().expect("there is a broker")
    }

    /// Changes users and rights.
    pub(crate) async fn change(&self, changes: &[Access]) -> anyhow::Result<()> {
        Ok(self.cluster.change_access(changes).await?)
    }

    /// Properties for SASL over TLS as this user; the password, or the token, comes in other ways.
    pub(crate) fn sasl(&self, mechanism: &str, user: &str) -> Value {
        json!({
            "bootstrap.servers": self.side.sasl, "security.protocol": "sasl_ssl", "ssl.ca.location": self.side.ca,
            "sasl.mechanisms": mechanism, "sasl.username": user,
        })
    }
}

/// A user's name that no other test has.
pub(crate) fn user(world: &World) -> String {
    format!("user-{}", world.ns)
}

pub(crate) fn password(user: &str, password: &str) -> Access {
    Access::Password { user: user.to_owned(), password: password.to_owned() }
}

pub(crate) fn right(principal: &str, operation: &str, resource: &str, name: &str) -> Right {
    Right {
        principal: format!("User:{principal}"),
        operation: operation.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
    }
}

/// What a sidecar needs, as docs/kafka.md lists it, on topics that are there.
pub(crate) fn rights(principal: &str, topic: &str) -> Vec<Right> {
    let on_topics = [topic, contract::names::POSITIONS_TOPIC].into_iter().flat_map(|topic| {
        ["READ", "WRITE", "DESCRIBE_CONFIGS"].map(|operation| right(principal, operation, "TOPIC", topic))
    });
    on_topics.chain([right(principal, "WRITE", "TRANSACTIONAL_ID", "kab.*")]).collect()
}

/// And what it needs to make them.
pub(crate) fn may_create(principal: &str, topic: &str) -> Vec<Right> {
    [topic, contract::names::POSITIONS_TOPIC].map(|topic| right(principal, "CREATE", "TOPIC", topic)).into()
}

pub(crate) fn allow(rights: impl IntoIterator<Item = Right>) -> Vec<Access> {
    rights.into_iter().map(Access::Allow).collect()
}

/// Puts a secret into a file of the test.
pub(crate) fn keep(file: &Path, secret: &str) -> anyhow::Result<()> {
    Ok(std::fs::write(file, format!("{secret}\n"))?)
}
