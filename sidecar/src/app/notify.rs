//! The notifier of a kind that is not found yet, in one scope.

use std::sync::Arc;

use runtime::readiness::{Need, Part};
use runtime::tasks::{Stage, Tasks};
use sidecar_core::watch::Seat;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::discover::Found;
use super::{Parts, found};
use crate::bridge::letters::Letters;
use crate::config::{KafkaConfig, KindConfig, NotifyConfig, Source as From};
use crate::events::Events;
use crate::hooks::Hooks;
use crate::informer::AttachHandle;
use crate::leases::{self, Leadership};
use crate::notifier::{self, Metrics, Setting, Source};

/// What a notifier is made of, but for what is found.
pub(super) struct NotifyLater {
    hook: NotifyConfig,
    source: Source,
    cluster: String,
    concurrency: usize,
    app: Hooks,
    events: Events,
    metrics: Metrics,
    part: Part,
    place: usize,
    leadership: Leadership,
    letters: Option<notifier::Letters>,
}

/// What sends dead letters, and the way to it. It ends behind the notifier.
fn letters(kafka: KafkaConfig, topic: String, title: &str, tasks: &mut Tasks) -> notifier::Letters {
    let (sender, incoming) = mpsc::channel(1);
    let letters = Letters { kafka, topic, incoming };
    tasks.spawn(Stage::Plumbing, format!("dead letters {title}"), |stop| letters.run(stop));
    sender
}

impl Parts {
    /// The notifier of a kind in one scope, where the app is to be notified.
    pub(super) fn notifier(
        &self,
        kind: &KindConfig,
        (place, title): (usize, &str),
        (informer, leadership): (&AttachHandle, &Leadership),
        finding: &watch::Receiver<Option<Found>>,
        tasks: &mut Tasks,
    ) {
        let Some(hook) = kind.hooks.notify.clone() else { return };
        // Who owns a kind has a watch while it leads, wherever its cache comes from.
        let source = match kind.source {
            From::Kafka if !kind.owned => Source::Cache,
            From::Kafka | From::Watch => Source::Watch(informer.of(Seat::Notifier)),
        };
        let dead = self.config.kafka.clone().zip(hook.dead_letter_topic.clone());
        let letters = dead.map(|(kafka, topic)| letters(kafka, topic, title, tasks));
        let title = format!("notify {title}");
        let later = NotifyLater {
            hook,
            source,
            cluster: self.config.cluster.clone(),
            concurrency: self.config.app.concurrency,
            app: self.hooks.clone(),
            events: self.events.clone(),
            metrics: self.notifiers.clone(),
            part: self.readiness.part(title.clone(), Need::Reported),
            place,
            leadership: leadership.clone(),
            letters,
        };
        let finding = finding.clone();
        tasks.spawn(Stage::Work, title, |stop| later.run(finding, stop));
    }
}

impl NotifyLater {
    async fn run(self, finding: watch::Receiver<Option<Found>>, stop: CancellationToken) -> Result<(), leases::Ended> {
        let Some((kind, view)) = found(finding, self.place, &stop).await else { return Ok(()) };
        let Self { hook, source, cluster, concurrency, app, events, metrics, part, leadership, letters, .. } = self;
        let NotifyConfig { path, deadline, attempts, .. } = hook;
        let path = Arc::from(path);
        let setting = Setting {
            kind,
            cluster,
            view,
            source,
            path,
            deadline,
            attempts,
            concurrency,
            app,
            events,
            letters,
            part,
            metrics,
        };
        notifier::run(setting, leadership, stop).await
    }
}
