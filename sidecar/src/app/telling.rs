//! What is told of the sidecar: Kubernetes Events, what they are about and that another application owns a kind; and spans.

use std::collections::BTreeMap;
use std::convert::Infallible;

use prometheus_client::registry::Registry;
use runtime::kubernetes::Connection;
use sidecar_core::kind::Kind;
use sidecar_core::lease::{Standing, wire};
use sidecar_core::recorder::{About, Action, Note, Reason};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::discover::Found;
use super::found;
use crate::config::Config;
use crate::events::{self, Events, Metrics, Writer};
use crate::leases::Leadership;
use crate::spans::{self, Exporter};

/// The two ends. In a pod `HOSTNAME` is its name.
pub(super) fn events(
    config: &Config,
    environment: &BTreeMap<String, String>,
    connection: &Connection,
    metrics: Metrics,
) -> (Events, Writer) {
    let pod = config.pod.as_ref();
    let own = pod.map(|pod| About::pod(&connection.namespace, &pod.name, pod.uid.as_deref()));
    events::events(connection.client.clone(), instance(config, environment), own, metrics)
}

/// Turns tracing on where it is wanted; what is to be run where a collector is to be told.
pub(super) fn spans(
    config: &Config,
    environment: &BTreeMap<String, String>,
    registry: &mut Registry,
) -> Option<Exporter> {
    let tracing = config.tracing.as_ref()?;
    spans::turn_on(tracing, instance(config, environment), spans::Metrics::register(registry))
}

fn instance<'a>(config: &'a Config, environment: &'a BTreeMap<String, String>) -> &'a str {
    let host = environment.get("HOSTNAME").filter(|host| !host.is_empty()).map_or("kab-sidecar", String::as_str);
    config.pod.as_ref().map_or(host, |pod| &pod.name)
}

/// The Lease of a kind, which stands for all that concerns the kind as a whole. Absent scope: all namespaces.
pub(super) fn lease(kind: &Kind, scope: Option<&str>, home: &str) -> About {
    About::lease(scope.unwrap_or(home), &wire::name(kind, scope.is_none(), 0))
}

/// Tells that another application owns a kind that is not found yet.
pub(super) struct TellOwner {
    pub(super) events: Events,
    pub(super) leadership: Leadership,
    pub(super) home: String,
    pub(super) place: usize,
}

impl TellOwner {
    pub(super) async fn run(
        mut self,
        finding: watch::Receiver<Option<Found>>,
        stop: CancellationToken,
    ) -> Result<(), Infallible> {
        let Some((kind, view)) = found(finding, self.place, &stop).await else { return Ok(()) };
        let about = lease(&kind, view.namespace().map(|namespace| &**namespace), &self.home);
        let mut owner = None;
        loop {
            let foreign = match self.leadership.standing() {
                Standing::Foreign { app } => Some(app),
                _ => None,
            };
            if foreign != owner
                && let Some(app) = &foreign
            {
                let text = format!("application {app:?} owns {} here: this one only consumes", kind.kind);
                self.events.tell(&about, Note::warning(Reason::OwnedElsewhere, Action::Lead, text));
            }
            owner = foreign;
            match stop.run_until_cancelled(self.leadership.changed()).await {
                Some(Ok(())) => {}
                // The keeper ends with the process.
                Some(Err(_)) | None => {
                    stop.cancelled().await;
                    return Ok(());
                }
            }
        }
    }
}
