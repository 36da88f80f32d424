//! The parts of a kind whose cache comes from Kafka, until the kind is found: what fills the cache, and, for a kind that is broadcast here, the watch that only
//! whoever leads has.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::discover::Found;
use super::{AppError, FollowLater, found};
use crate::bridge::BridgeError;
use crate::bridge::source::{Metrics, Setting, Source};
use crate::config::KafkaConfig;
use crate::informer::Informer;
use crate::leases::Leadership;
use std::sync::Arc;

/// What fills the cache of a kind that is not found yet.
pub(super) struct FillLater {
    pub(super) kafka: KafkaConfig,
    pub(super) cluster: String,
    pub(super) topic: Option<String>,
    pub(super) part: runtime::readiness::Part,
    pub(super) metrics: Metrics,
    pub(super) cache_bytes: usize,
    pub(super) place: usize,
}

impl FillLater {
    pub(super) async fn run(
        self,
        finding: watch::Receiver<Option<Found>>,
        stop: CancellationToken,
    ) -> Result<(), BridgeError> {
        let Some((kind, view)) = found(finding, self.place, &stop).await else { return Ok(()) };
        let topic = self.topic.unwrap_or_else(|| contract::names::topic(&kind.group, &kind.plural));
        let Self { kafka, cluster, part, metrics, cache_bytes, .. } = self;
        let setting = Setting { kafka, cluster, kind, view, topic, cache_bytes, part, metrics };
        Source::new(setting)?.run(stop).await
    }
}

/// The watch of a kind that is not found yet, for as long as this sidecar leads: nobody reads what it tells but the bridge.
pub(super) struct WatchWhileLeading {
    pub(super) informer: FollowLater,
    pub(super) leadership: Leadership,
}

impl WatchWhileLeading {
    pub(super) async fn run(
        self,
        finding: watch::Receiver<Option<Found>>,
        stop: CancellationToken,
    ) -> Result<(), AppError> {
        let Self {
            informer: FollowLater { connection, part, metrics, attachments, cache_bytes, place },
            mut leadership,
        } = self;
        let Some((kind, view)) = found(finding, place, &stop).await else { return Ok(()) };
        loop {
            part.up_with("not needed while another sidecar leads");
            let Some(Ok(term)) = stop.run_until_cancelled(leadership.gained()).await else { return Ok(()) };
            part.down("filling");
            let informer = Informer {
                client: connection.client.clone(),
                kind: Arc::clone(&kind),
                view: Arc::new(view.passing()),
                attachments: attachments.clone(),
                cache_bytes,
                part: part.clone(),
                metrics: metrics.clone(),
            };
            tokio::select! {
                ended = informer.run(stop.clone()) => {
                    let Ok(()) = ended;
                    return Ok(());
                }
                () = leadership.lost(term.number) => {}
            }
        }
    }
}
