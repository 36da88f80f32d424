//! Notifies the app of the changes of one kind and scope: every change once, in order per entity, again until the app has it.
//!
//! One task per term of a leader owns the [`Notices`]: it feeds them, has up to `concurrency` calls under way, and keeps how far the app has acknowledged in
//! the Lease, so that who leads next goes on there. It decides nothing: what is told next and what a restart goes on from is
//! [`sidecar_core::notices`]'s. `app` constructs and runs it.

mod call;
mod inlet;
mod metrics;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::stream::{FuturesUnordered, StreamExt};
use runtime::readiness::Part;
use sidecar_core::envelope::Envelope;
use sidecar_core::health::Standing;
use sidecar_core::kind::Kind;
use sidecar_core::notices::place::Place;
use sidecar_core::notices::{Notices, Now, Settings};
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::hooks::Hooks;
use crate::hooks::health::Health;
use crate::leases::{self, Leadership, Term};
use crate::view::View;
pub use call::Letters;
use call::{Caller, Done};
use inlet::Inlet;
pub use inlet::Source;
pub use metrics::Metrics;

/// Bytes of changes that wait for the app, about; more than a usual entity's ten thousand changes. What is beyond is fetched when there is room.
const WAITING_BYTES: usize = 64 << 20;
/// How often what was acknowledged is noted, and figures are shown.
const LOOK: Duration = Duration::from_millis(500);
/// What is under way when the process ends may take so long.
const DRAIN: Duration = Duration::from_secs(8);
/// How long the cache may take to come to where the app was notified, before it is done without the states before changes.
const CATCH_UP: Duration = Duration::from_secs(5);

/// What a notifier is made of.
#[derive(Clone)]
pub struct Setting {
    /// The kind.
    pub kind: Arc<Kind>,
    /// The cluster's name in `ce-source`.
    pub cluster: String,
    /// Its entities.
    pub view: Arc<View>,
    /// Where changes come from.
    pub source: Source,
    /// Where at the app.
    pub path: Arc<str>,
    /// For one call.
    pub deadline: Duration,
    /// Failed attempts at one change until it is given up; absent: no limit.
    pub attempts: Option<u32>,
    /// Calls at the same time.
    pub concurrency: usize,
    /// The way to the app.
    pub app: Hooks,
    /// Where to tell what people look for.
    pub events: Events,
    /// Where changes go that are given up; absent: nowhere.
    pub letters: Option<Letters>,
    /// `notify PLURAL`.
    pub part: Part,
    /// Shared by all notifiers.
    pub metrics: Metrics,
}

/// Notifies whenever this sidecar leads, until `stop`.
///
/// # Errors
/// When the keeper of the Lease has ended.
pub async fn run(setting: Setting, mut leadership: Leadership, stop: CancellationToken) -> Result<(), leases::Ended> {
    loop {
        setting.part.up_with("standby: another sidecar notifies");
        let Some(term) = stop.run_until_cancelled(leadership.gained()).await else { return Ok(()) };
        let term = term?;
        // While calls are under way the Lease is not handed on.
        let engaged = leadership.engage();
        if let Some(session) = stop.run_until_cancelled(Session::begin(&setting, &leadership, term)).await {
            setting.part.up();
            session.run(stop.clone()).await;
        }
        drop(engaged);
        if stop.is_cancelled() {
            return Ok(());
        }
    }
}

/// One term.
struct Session {
    notices: Notices,
    caller: Arc<Caller>,
    source: Source,
    view: Arc<View>,
    concurrency: usize,
    health: Health,
    leadership: Leadership,
    term: Term,
    kept: Option<Place>,
    metrics: Metrics,
    gaps: u64,
    jitter: RandomState,
    steps: u64,
}

impl Session {
    async fn begin(setting: &Setting, leadership: &Leadership, term: Term) -> Self {
        let Setting {
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
            metrics,
            ..
        } = setting.clone();
        let kept = leadership.notified(&term);
        let place = kept.as_ref().and_then(|kept| match kept.parse::<Place>() {
            Ok(place) => Some(place),
            Err(error) => {
                tracing::warn!(kind = %kind.full_name(), kept, %error, "what the Lease says of what was notified cannot be read, beginning anew");
                None
            }
        });
        let version = place.as_ref().map(|place| place.version);
        tracing::info!(kind = %kind.full_name(), from = version.map(|version| version.0), "notifying");
        let known = async {
            inlet::filled(&view).await;
            if let Some(version) = version {
                view.reached(version, None).await;
            }
            let (entities, cursor) = view.follow();
            (cursor.position.version, entities)
        };
        let known = tokio::time::timeout(CATCH_UP, known).await.ok();
        let settings = Settings { bytes: WAITING_BYTES, attempts };
        let (health, envelope) = (app.health(), Envelope::new(&cluster, &kind));
        let name = Arc::from(kind.full_name());
        let caller = Caller { name, kind, envelope, path, deadline, app, events, attempts, letters };
        Self {
            notices: Notices::new(settings, place.clone(), known),
            caller: Arc::new(caller),
            source,
            view,
            concurrency,
            health,
            leadership: leadership.clone(),
            term,
            kept: place,
            metrics,
            gaps: 0,
            jitter: RandomState::new(),
            steps: 0,
        }
    }

    /// Until `stop`, or until the Lease is to be handed on; then what is under way is finished, as long as the Lease is held.
    async fn run(mut self, stop: CancellationToken) {
        let mut calls = FuturesUnordered::new();
        let mut inlet: Option<Inlet> = None;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut lead = self.leadership.clone();
        let mut deadline = None;
        let standing = *self.health.borrow_and_update();
        self.heed(standing);
        loop {
            let ending = deadline.is_some();
            if ending && (calls.is_empty() || !self.leads()) {
                break;
            }
            while !ending && calls.len() < self.concurrency && self.leads() {
                let Some(taken) = self.notices.take(Instant::now()) else { break };
                calls.push(call::call(Arc::clone(&self.caller), taken));
            }
            match (self.notices.has_room(inlet.is_some()), inlet.is_some()) {
                (true, false) if !ending => inlet = Some(self.source.open(&self.view, self.notices.from())),
                // What comes is found again later; the informer does not wait for us.
                (false, true) => inlet = None,
                _ => {}
            }
            let free = !ending && calls.len() < self.concurrency;
            let wake = free.then(|| self.notices.wake_at(Instant::now())).flatten();
            tokio::select! {
                biased;
                () = stop.cancelled(), if !ending => deadline = Some(tokio::time::Instant::now() + DRAIN),
                () = lead.lost(self.term.number), if !ending => deadline = Some(tokio::time::Instant::now() + DRAIN),
                () = at(deadline) => break,
                _ = look.tick() => self.look(),
                Some(done) = calls.next() => self.done(done),
                feed = inlet::next(&mut inlet), if !ending => match feed {
                    Some(feed) => self.notices.fed(feed, Now { instant: Instant::now(), wall: SystemTime::now() }),
                    // Let go: attached again where this one has come to.
                    None => inlet = None,
                },
                () = at(wake.map(Into::into)) => {}
                standing = changed(&mut self.health) => self.heed(standing),
            }
        }
        self.look();
        if let Some(place) = &self.kept {
            let waiting = self.notices.waiting();
            tracing::info!(kind = %self.caller.name, %place, waiting, "notifying ends; who leads next goes on there");
        }
        self.metrics.ended(&self.caller.name);
    }

    fn leads(&self) -> bool {
        self.leadership.holds(self.term.number)
    }

    fn done(&mut self, done: Done) {
        let Done { taken, ended } = done;
        self.steps += 1;
        let jitter = (self.jitter.hash_one(self.steps) >> 11) as f64 / (1_u64 << 53) as f64;
        let given_up = self.notices.done(&taken, ended, Instant::now(), jitter);
        if given_up {
            self.caller.given_up(&taken);
        }
        let age = taken.notice.learned.elapsed().unwrap_or_default();
        self.metrics.done(&self.caller.name, ended, given_up, age);
    }

    fn look(&mut self) {
        let place = self.notices.place();
        if let Some(place) = place.filter(|place| self.kept.as_ref() != Some(place)) {
            self.leadership.keep_notified(&self.term, place.to_string());
            self.kept = Some(place);
        }
        let gaps = self.notices.gaps();
        if gaps > self.gaps {
            self.gaps = gaps;
            self.metrics.gap(&self.caller.name);
            tracing::warn!(
                kind = %self.caller.name,
                "history does not reach back to what the app was notified of last: states are told, deletions since may be missing"
            );
        }
        self.metrics.waiting(&self.caller.name, &self.notices, Instant::now());
    }

    /// What is fed while the app is away would only fail.
    fn heed(&mut self, standing: Standing) {
        match standing {
            Standing::Up => self.notices.resume(),
            Standing::Away { .. } => self.notices.pause(),
        }
    }
}

async fn changed(health: &mut Health) -> Standing {
    // Who looks after the app ends with the process.
    if health.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    *health.borrow_and_update()
}

async fn at(moment: Option<tokio::time::Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
