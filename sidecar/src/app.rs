//! The composition root: builds every part of a sidecar from its settings, joins them, runs them until shutdown. Nobody else constructs.
//!
//! `build` binds and tells the addresses; it asks the API server and Kafka nothing, so neither has to be there. Each configured kind has a task
//! that finds it, and for each namespace scope an informer and, where it is owned and Kafka is configured, a bridge; they wait until the kind is
//! found. `main` calls it.

mod admission;
mod cache_metrics;
mod discover;
mod expire;
mod fault;
mod lead;
mod notify;
mod reconcile;
mod source;
mod telling;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use runtime::admin::AdminServer;
use runtime::kubernetes::{self, Connection};
use runtime::readiness::{Need, Readiness};
use runtime::shutdown::Shutdown;
use runtime::tasks::{Stage, Tasks};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bridge::{self, BridgeError};
use crate::budget;
use crate::config::{Config, KafkaConfig, KindConfig, Namespace, Namespaces, Source};
use crate::events::{self, Events};
use crate::expirer;
use crate::hooks::Hooks;
use crate::http::{Access, Api, Server, Token};
use crate::informer::{self, Attachments, Informer};
use crate::kinds::Kinds;
use crate::leases::{self, Identity, Leadership};
use crate::notifier;
use crate::reconciler;
use crate::store::{Store, Wanted};
use admission::Webhook;
use cache_metrics::CacheMetrics;
use discover::{Discover, Found, Scope};
pub use fault::AppError;
use lead::{KeepLater, Leading};
use source::{FillLater, WatchWhileLeading};
use telling::TellOwner;

/// For each of the stages of a shutdown; the two that have work to finish stay within a pod's usual 30 seconds of grace.
const DRAIN: Duration = Duration::from_secs(14);

/// A sidecar, bound and ready to run.
pub struct App {
    /// Where the entity API listens.
    pub api: SocketAddr,
    /// Where the admin server listens.
    pub admin: SocketAddr,
    /// Where the admission webhook listens, where there is one.
    pub admission: Option<SocketAddr>,
    tasks: Tasks,
}

/// What the parts share.
struct Parts {
    config: Config,
    connection: Connection,
    store: Store,
    kinds: Arc<Kinds>,
    readiness: Readiness,
    informers: informer::Metrics,
    bridges: bridge::Metrics,
    sources: bridge::source::Metrics,
    leases: leases::Metrics,
    identity: Identity,
    budgets: budget::Metrics,
    events: Events,
    hooks: Hooks,
    reconcilers: reconciler::Metrics,
    expiry: expirer::Metrics,
    notifiers: notifier::Metrics,
}

impl App {
    /// Binds both addresses and builds everything. `environment` is the process's own, or a test's.
    ///
    /// # Errors
    /// When an address cannot be bound, or no Kubernetes client can be made of the configuration.
    pub async fn build(config: Config, environment: &BTreeMap<String, String>) -> Result<Self, AppError> {
        config.kafka.as_ref().map(bridge::check).transpose()?;
        let connection = kubernetes::connect(config.kubeconfig.as_deref(), environment).await?;
        let mut server = Server::bind(config.api.address, config.api.limits).await?;
        if let Some(socket) = &config.api.socket {
            server = server.with_socket(socket)?;
        }
        let token = config.api.token_file.as_deref().map(Token::open).transpose()?;
        let access = Access { token, origins: config.api.allowed_origins.clone() };
        let (api, admin_address, limits) = (server.address(), config.admin, config.api.limits);

        let readiness = Readiness::new();
        let mut registry = Registry::default();
        let store = Store::new(connection.client.clone(), crate::store::Metrics::register(&mut registry));
        let kinds = Arc::new(Kinds::new(config.kinds.iter().map(|kind| {
            let wanted = wanted(kind);
            format!("{} of {}", wanted.kind, wanted.api_version())
        })));
        let exporter = telling::spans(&config, environment, &mut registry);
        let told = events::Metrics::register(&mut registry);
        let (events, writer) = telling::events(&config, environment, &connection, told);
        let (hooks, prober) = Hooks::new(config.app.clone(), crate::hooks::Metrics::register(&mut registry));
        prober.register(&mut registry);
        let webhook = Webhook::build(&config, &kinds, &hooks, &readiness, &mut registry).await?;
        let parts = Parts {
            events: events.clone(),
            hooks,
            reconcilers: reconciler::Metrics::register(&mut registry),
            expiry: expirer::Metrics::register(&mut registry),
            notifiers: notifier::Metrics::register(&mut registry),
            informers: informer::Metrics::register(&mut registry),
            bridges: bridge::Metrics::register(&mut registry),
            sources: bridge::source::Metrics::register(&mut registry),
            leases: leases::Metrics::register(&mut registry),
            identity: identity(&config, environment),
            budgets: budget::Metrics::register(&mut registry, Arc::clone(&kinds)),
            store: store.clone(),
            kinds: Arc::clone(&kinds),
            readiness: readiness.clone(),
            connection,
            config,
        };
        CacheMetrics::register(&mut registry, Arc::clone(&kinds));
        let entity_api =
            Arc::new(Api::new(kinds, store, crate::http::Metrics::register(&mut registry), limits).with_access(access));

        let mut tasks = Tasks::new();
        tasks.spawn(Stage::Intake, "entity API", |stop| server.run(entity_api, stop));
        let admission = webhook.map(|webhook| webhook.spawn(&mut tasks));
        for (index, kind) in parts.config.kinds.iter().enumerate() {
            parts.kind(index, kind, &mut tasks);
        }
        tasks.spawn(Stage::Work, "budgets", |stop| budget::look(Arc::clone(&parts.kinds), events, stop));
        if parts.config.kinds.iter().any(|kind| kind.hooks.works() || kind.hooks.notify.is_some()) {
            let (part, events) = (parts.readiness.part("app", Need::Reported), parts.events.clone());
            tasks.spawn(Stage::Work, "app's health", |stop| prober.run(part, move |note| events.tell_own(note), stop));
        }
        // Its last Events are those of work that ends.
        tasks.spawn(Stage::Plumbing, "Kubernetes Events", |stop| writer.run(stop));
        if let Some(exporter) = exporter {
            tasks.spawn(Stage::Plumbing, "spans", |stop| exporter.run(stop));
        }
        let admin = AdminServer::bind(admin_address, readiness, registry).await?;
        let admin_address = admin.address();
        tasks.spawn(Stage::Plumbing, "admin server", |stop| admin.run(stop));
        let (server, namespace) = (&parts.connection.server, &parts.connection.namespace);
        let webhook = admission.map(tracing::field::display);
        tracing::info!(%api, admin = %admin_address, admission = webhook, apiserver = %server, %namespace, "serving");
        Ok(Self { api, admin: admin_address, admission, tasks })
    }

    /// Serves until `shutdown`: then stops the intake, finishes what is under way, sends what Kafka should still get, and ends.
    ///
    /// # Errors
    /// When a part ended by itself or did not end in time.
    pub async fn run(self, shutdown: &Shutdown) -> Result<(), AppError> {
        self.tasks.run(shutdown, DRAIN).await?;
        tracing::info!("ended in good order");
        Ok(())
    }
}

impl Parts {
    /// All tasks of one configured kind.
    fn kind(&self, index: usize, kind: &KindConfig, tasks: &mut Tasks) {
        let name = &kind.kind;
        let (found, finding) = watch::channel(None);
        let scopes = self.scopes(kind);
        let mut waiting = Vec::new();
        for (place, scope) in scopes.iter().enumerate() {
            let title = title(name, scope, scopes.len());
            let cache = self.readiness.part(format!("cache {title}"), Need::Required);
            waiting.push(cache.clone());
            let (handle, attachments) = informer::attachments();
            let informer = |part| FollowLater {
                connection: self.connection.clone(),
                part,
                metrics: self.informers.clone(),
                attachments,
                cache_bytes: kind.cache_bytes,
                place,
            };
            let broadcast = self.config.kafka.clone().filter(|_| kind.owned);
            let (announcers, Leading { whole: leadership, shards }) = lead::ends(kind.shards);
            let finding_kind = finding.clone();
            match self.config.kafka.clone().filter(|_| kind.source == Source::Kafka) {
                None => {
                    let informer = informer(cache);
                    tasks.spawn(Stage::Work, format!("informer {title}"), |stop| informer.run(finding_kind, stop));
                }
                Some(kafka) => {
                    let (cluster, topic) = (self.config.cluster.clone(), kind.topic.clone());
                    let (metrics, cache_bytes) = (self.sources.clone(), kind.cache_bytes);
                    let source = FillLater { kafka, cluster, topic, part: cache, metrics, cache_bytes, place };
                    tasks.spawn(Stage::Work, format!("source {title}"), |stop| source.run(finding_kind, stop));
                    if broadcast.is_some() {
                        let part = self.readiness.part(format!("watch {title}"), Need::Reported);
                        let watch = WatchWhileLeading { informer: informer(part), leadership: leadership.clone() };
                        let finding_kind = finding.clone();
                        tasks.spawn(Stage::Work, format!("informer {title}"), |stop| watch.run(finding_kind, stop));
                    }
                }
            }
            let purpose = lead::purpose(kind, self.config.app.name.as_deref());
            if let Some(purpose) = purpose {
                let keeper = KeepLater {
                    connection: self.connection.clone(),
                    identity: self.identity.clone(),
                    announcers,
                    purpose,
                    part: self.readiness.part(format!("lease {title}"), Need::Reported),
                    metrics: self.leases.clone(),
                    place,
                };
                let finding_kind = finding.clone();
                // It must outlive the work that rests on it, and hands over when that has ended.
                tasks.spawn(Stage::Plumbing, format!("lease {title}"), |stop| keeper.run(finding_kind, stop));
                let teller = TellOwner {
                    events: self.events.clone(),
                    leadership: leadership.clone(),
                    home: self.connection.namespace.clone(),
                    place,
                };
                let finding_kind = finding.clone();
                tasks.spawn(Stage::Work, format!("owner {title}"), |stop| teller.run(finding_kind, stop));
            }
            self.reconcilers((index, kind), (place, &title), shards, &finding, tasks);
            self.notifier(kind, (place, &title), (&handle, &leadership), &finding, tasks);
            self.expirer(kind, (place, &title), &leadership, &finding, tasks);
            let Some(kafka) = broadcast else { continue };
            let bridge = BroadcastLater {
                kafka,
                cluster: self.config.cluster.clone(),
                topic: kind.topic.clone(),
                informer: handle,
                part: self.readiness.part(format!("kafka {title}"), Need::Reported),
                metrics: self.bridges.clone(),
                place,
                leadership,
                events: self.events.clone(),
                home: self.connection.namespace.clone(),
            };
            let finding_kind = finding.clone();
            tasks.spawn(Stage::Work, format!("bridge {title}"), |stop| bridge.run(finding_kind, stop));
        }
        let discover = Discover {
            store: self.store.clone(),
            wanted: wanted(kind),
            kinds: Arc::clone(&self.kinds),
            index,
            budget: kind.budget,
            reconciled: kind.hooks.reconcile.is_some(),
            budgets: self.budgets.clone(),
            scopes,
            waiting,
            found,
        };
        tasks.spawn(Stage::Work, format!("discovery {name}"), |stop| discover.run(stop));
    }

    /// `own` may be one of the named ones too.
    fn scopes(&self, kind: &KindConfig) -> Vec<Scope> {
        let namespaces = match &kind.namespaces {
            Namespaces::All => return vec![Scope::All],
            Namespaces::These(namespaces) => namespaces,
        };
        let mut scopes: Vec<Scope> = Vec::new();
        for namespace in namespaces {
            let scope = match namespace {
                Namespace::Own => Scope::Own(Arc::from(self.connection.namespace.as_str())),
                Namespace::Named(name) => Scope::Named(Arc::from(name.as_str())),
            };
            if scopes.iter().all(|other| other.namespace() != scope.namespace()) {
                scopes.push(scope);
            }
        }
        scopes
    }
}

fn wanted(kind: &KindConfig) -> Wanted {
    Wanted { group: kind.group.clone(), version: kind.version.clone(), kind: kind.kind.clone(), owned: kind.owned }
}

/// How readiness and tasks name what follows a kind in a scope.
fn title(kind: &str, scope: &Scope, scopes: usize) -> String {
    match scope.namespace() {
        Some(namespace) if scopes > 1 => format!("{kind} in {namespace}"),
        _ => kind.to_owned(),
    }
}

/// An informer of a kind that is not found yet.
struct FollowLater {
    connection: Connection,
    part: runtime::readiness::Part,
    metrics: informer::Metrics,
    attachments: Attachments,
    cache_bytes: usize,
    place: usize,
}

impl FollowLater {
    async fn run(self, finding: watch::Receiver<Option<Found>>, stop: CancellationToken) -> Result<(), AppError> {
        let Some((kind, view)) = found(finding, self.place, &stop).await else { return Ok(()) };
        self.part.down("filling");
        let Self { connection: Connection { client, .. }, part, metrics, attachments, cache_bytes, .. } = self;
        let Ok(()) = Informer { client, kind, view, attachments, cache_bytes, part, metrics }.run(stop).await;
        Ok(())
    }
}

/// A bridge of a kind that is not found yet.
struct BroadcastLater {
    kafka: KafkaConfig,
    cluster: String,
    topic: Option<String>,
    informer: informer::AttachHandle,
    part: runtime::readiness::Part,
    metrics: bridge::Metrics,
    place: usize,
    leadership: Leadership,
    events: Events,
    home: String,
}

impl BroadcastLater {
    async fn run(self, finding: watch::Receiver<Option<Found>>, stop: CancellationToken) -> Result<(), BridgeError> {
        let Some((kind, view)) = found(finding, self.place, &stop).await else { return Ok(()) };
        let topic = self.topic.unwrap_or_else(|| contract::names::topic(&kind.group, &kind.plural));
        let about = telling::lease(&kind, view.namespace().map(|namespace| &**namespace), &self.home);
        let setting = bridge::Setting {
            teller: bridge::Teller::new(self.events, about),
            kafka: self.kafka,
            cluster: self.cluster,
            kind,
            namespace: view.namespace().map(|namespace| namespace.to_string()),
            topic,
            informer: self.informer,
            part: self.part,
            metrics: self.metrics,
        };
        bridge::run(setting, self.leadership, stop).await
    }
}

/// The name of this process among all that take part in elections, unless it is given: the host's, for people, and something that no other has.
fn identity(config: &Config, environment: &BTreeMap<String, String>) -> Identity {
    let host = || environment.get("HOSTNAME").map_or("kab-sidecar", String::as_str);
    let process = config.lease.identity.clone().unwrap_or_else(|| format!("{}_{}", host(), uuid::Uuid::new_v4()));
    Identity { process, app: config.app.name.clone(), durations: config.lease.durations }
}

/// The kind and the scope's view, once discovery has them; `None` when the end comes first.
async fn found(
    mut finding: watch::Receiver<Option<Found>>,
    place: usize,
    stop: &CancellationToken,
) -> Option<(Arc<sidecar_core::kind::Kind>, Arc<crate::view::View>)> {
    let waiting = async { finding.wait_for(Option::is_some).await.ok().and_then(|found| found.clone()) };
    let Some(found) = stop.run_until_cancelled(waiting).await? else {
        // Discovery has failed for good, and with it the process: nothing is left to do but to wait for the end.
        stop.cancelled().await;
        return None;
    };
    let view = found.views.get(place)?;
    Some((found.kind, Arc::clone(view)))
}
