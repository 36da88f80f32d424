//! Probes the app, and tells drivers whether it is there.
//!
//! Decides nothing: what calls and probes mean is [`sidecar_core::health`]'s. `app` runs the [`Prober`]; drivers hold a [`Health`], and feed
//! the app nothing while it is away. The sidecar's readiness never waits for it.

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{HOST, HeaderValue, USER_AGENT};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use runtime::readiness::Part;
use sidecar_core::health::{self, Input, Settings, Sign, Standing};
use sidecar_core::recorder::{Action, Note, Reason};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::link::Link;
use super::{AGENT, metrics};
use crate::config::{AppConfig, HealthConfig};

/// Signs under way. What does not fit says nothing new.
const SIGNS: usize = 64;

/// What drivers know of the app; clones know the same.
pub type Health = watch::Receiver<Standing>;

/// Where calls say what they have shown.
#[derive(Debug, Clone)]
pub(super) struct Signs(mpsc::Sender<Sign>);

impl Signs {
    /// Never waits.
    pub(super) fn tell(&self, sign: Sign) {
        // Full of the same.
        let _ = self.0.try_send(sign);
    }
}

/// Probes the app, ready to run.
pub struct Prober {
    config: HealthConfig,
    addresses: Vec<SocketAddr>,
    host: HeaderValue,
    signs: mpsc::Receiver<Sign>,
    standing: watch::Sender<Standing>,
    up: Gauge,
}

/// The three ends: for calls, for drivers, and the task between.
pub(super) fn health(app: &AppConfig, host: HeaderValue) -> (Signs, Health, Prober) {
    let (sender, signs) = mpsc::channel(SIGNS);
    let (standing, known) = watch::channel(Standing::Away { since: Instant::now() });
    let (config, addresses) = (app.health.clone(), app.url.addresses.clone());
    let prober = Prober { config, addresses, host, signs, standing, up: Gauge::default() };
    (Signs(sender), known, prober)
}

impl Prober {
    /// Shows whether the app is there.
    pub fn register(&self, registry: &mut Registry) {
        metrics::up(registry, self.up.clone());
    }

    /// Probes until `stop`. `tell` is told when the app goes and when it comes back.
    ///
    /// # Errors
    /// None: an app that is away is probed again.
    pub async fn run(mut self, part: Part, tell: impl Fn(Note), stop: CancellationToken) -> Result<(), Infallible> {
        let settings = Settings { interval: self.config.interval, threshold: self.config.threshold };
        let mut health = health::Health::new(settings, now());
        let (jitter, mut steps) = (RandomState::new(), 0_u64);
        part.down("the app has not answered yet");
        loop {
            let wake = health.wake_at().map(tokio::time::Instant::from_std);
            let input = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                sign = self.signs.recv() => match sign {
                    Some(sign) => Input::Called(sign),
                    // Nobody can call any more: the process is ending.
                    None => {
                        stop.cancelled().await;
                        return Ok(());
                    }
                },
                () = until(wake) => Input::Tick,
            };
            steps += 1;
            let random = (jitter.hash_one(steps) >> 11) as f64 / (1_u64 << 53) as f64;
            if health.step(input, now(), random) {
                let passed = tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    passed = self.probe() => passed,
                };
                let _ = health.step(Input::Probed(passed), now(), random);
            }
            self.announce(health.standing(), &part, &tell);
        }
    }

    fn announce(&self, standing: Standing, part: &Part, tell: &impl Fn(Note)) {
        let before = *self.standing.borrow();
        if before == standing {
            return;
        }
        match (before, standing) {
            (Standing::Away { .. }, Standing::Up) => {
                tracing::info!("the app answers");
                part.up();
                tell(Note::normal(Reason::AppBack, Action::CallApp, "the app answers"));
            }
            (_, Standing::Away { .. }) => {
                tracing::warn!("the app does not answer, nothing is fed to it until it does");
                part.down("the app does not answer; work waits for it");
                tell(Note::warning(Reason::AppAway, Action::CallApp, "the app does not answer; work waits for it"));
            }
            (Standing::Up, Standing::Up) => {}
        }
        self.up.set(i64::from(standing == Standing::Up));
        self.standing.send_replace(standing);
    }

    /// Whether a connection can be made and, where there is a path, a GET of it is answered with 2xx or 3xx.
    async fn probe(&self) -> bool {
        let probing = async {
            let mut link = Link::open(&self.addresses).await.ok()?;
            let Some(path) = &self.config.path else { return Some(()) };
            let request = Request::get(path.as_str())
                .header(HOST, self.host.clone())
                .header(USER_AGENT, AGENT)
                .body(Full::<Bytes>::default())
                .ok()?;
            let status = link.send(request).await.ok()?.status();
            (status.is_success() || status.is_redirection()).then_some(())
        };
        tokio::time::timeout(self.config.timeout, probing).await.is_ok_and(|passed| passed.is_some())
    }
}

/// tokio's clock, which a test can advance.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn until(wake: Option<tokio::time::Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake).await,
        None => std::future::pending().await,
    }
}
