//! Composes the admission webhook, where a kind has a hook at the door.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use runtime::readiness::{Need, Readiness};
use runtime::tasks::{Stage, Tasks};
use runtime::tls::Certificate;

use super::AppError;
use crate::admission::{Guarded, Metrics, Renewal, Reviewer, Server};
use crate::config::Config;
use crate::hooks::Hooks;
use crate::kinds::Kinds;

/// The webhook, bound.
pub(super) struct Webhook {
    server: Server,
    reviewer: Reviewer,
    renewal: Renewal,
}

impl Webhook {
    /// Binds it; absent where no kind needs it.
    pub(super) async fn build(
        config: &Config,
        kinds: &Arc<Kinds>,
        hooks: &Hooks,
        readiness: &Readiness,
        registry: &mut Registry,
    ) -> Result<Option<Self>, AppError> {
        let Some(settings) = &config.admission else { return Ok(None) };
        let metrics = Metrics::register(registry);
        let certificate = Certificate::new(settings.cert_file.clone(), settings.key_file.clone());
        let server = Server::bind(settings.address, &certificate).await?;
        let served = readiness.part("admission", Need::Required);
        let sound = readiness.part("admission certificate", Need::Reported);
        let renewal = Renewal::new(certificate, served, sound, metrics.clone());
        let guarded = config.kinds.iter().enumerate().filter(|(_, kind)| kind.hooks.guards());
        let guarded = guarded.map(|(index, kind)| Guarded {
            index,
            group: kind.group.clone(),
            version: kind.version.clone(),
            kind: kind.kind.clone(),
            validate: kind.hooks.validate.clone(),
            default: kind.hooks.default.clone(),
        });
        let reviewer =
            Reviewer::new(guarded.collect(), Arc::clone(kinds), hooks.clone(), settings.concurrency, metrics);
        Ok(Some(Self { server, reviewer, renewal }))
    }

    /// Serves; answers where.
    pub(super) fn spawn(self, tasks: &mut Tasks) -> SocketAddr {
        let Self { server, reviewer, renewal } = self;
        let address = server.address();
        tasks.spawn(Stage::Intake, "admission webhook", |stop| server.run(Arc::new(reviewer), stop));
        tasks.spawn(Stage::Plumbing, "admission certificate", |stop| renewal.run(stop));
        address
    }
}
