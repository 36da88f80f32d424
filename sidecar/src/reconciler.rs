//! Reconciles and finalizes the entities of one kind, scope and shard, for one term of its leader.
//!
//! One task owns the queue and what is remembered; it hears of changes of entities and of their children, and has up to `concurrency` looks at entities under way
//! ([`work`]), never two at one entity. At the start of a term, and where it cannot know what it missed, it looks at everything; that is fed to the queue bit by
//! bit, so that a change is not behind ten thousand others. What is left of the work when the term ends, the next leader finds by itself.
//!
//! It never decides what an entity needs ([`sidecar_core::reconcile`]) nor when to try again ([`sidecar_core::queue`]). `app` constructs and runs it.

mod children;
mod metrics;
mod work;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use sidecar_core::entity::Key;
use sidecar_core::health::Standing;
use sidecar_core::kind::Kind;
use sidecar_core::queue::{BACKOFF, Limits, Queue};
use sidecar_core::reconcile::Hooks as Has;
use sidecar_core::reconcile::pace::Pace;
use sidecar_core::shard::Shard;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::events::Events;
use crate::hooks::Hooks;
use crate::kinds::{Description, Kinds, Slot};
use crate::leases::Leadership;
use crate::store::Store;
use crate::view::{Follower, KindView, View};
pub use children::Children;
use children::Followers;
pub use metrics::Metrics;
use work::{Done, Memory};

/// Keys that are due before a change is let pass and everything is looked at again instead: with some 200 bytes each, two megabytes. Those that wait for a
/// time of their own do not count, and can be as many as there are entities.
const MOST: usize = 10_000;
/// How many keys of a look at everything are put in the queue at a time, when it has fewer.
const PORTION: usize = 128;
/// What is under way when the process ends may take so long.
const DRAIN: Duration = Duration::from_secs(8);

/// One of the app's hooks.
#[derive(Debug, Clone)]
pub struct Hook {
    /// At the app.
    pub path: Arc<str>,
    /// For one call.
    pub deadline: Duration,
}

/// What a reconciler is made of.
#[derive(Clone)]
pub struct Setting {
    /// The kind.
    pub kind: Arc<Kind>,
    /// Its entities.
    pub view: Arc<View>,
    /// Which of them.
    pub shard: Shard,
    /// Where its schema is found.
    pub kinds: Arc<Kinds>,
    /// Its place among them.
    pub index: usize,
    /// Kinds whose objects the app is shown with an entity.
    pub related: Vec<(Arc<Kind>, KindView)>,
    /// To bring the world in step with an entity.
    pub reconcile: Option<Hook>,
    /// To clean up before an entity goes.
    pub finalize: Option<Hook>,
    /// Looks at the same time.
    pub concurrency: usize,
    /// How often everything is looked at.
    pub resync: Option<Duration>,
    /// The way to the app.
    pub app: Hooks,
    /// Whether it is there.
    pub health: watch::Receiver<Standing>,
    /// The way to the API server.
    pub store: Store,
    /// Where to tell what people look for.
    pub events: Events,
    /// Shared by all reconcilers.
    pub metrics: Metrics,
}

/// What all looks of a term share.
struct Context {
    kind: Arc<Kind>,
    /// `PLURAL.GROUP`.
    name: Arc<str>,
    view: Arc<View>,
    kinds: Arc<Kinds>,
    index: usize,
    related: Vec<(Arc<Kind>, KindView)>,
    reconcile: Option<Hook>,
    finalize: Option<Hook>,
    children: Children,
    app: Hooks,
    health: watch::Receiver<Standing>,
    store: Store,
    events: Events,
    metrics: Metrics,
    pace: Mutex<Pace>,
    leadership: Leadership,
    term: u64,
}

impl Context {
    fn hooks(&self) -> Has {
        Has { reconcile: self.reconcile.is_some(), finalize: self.finalize.is_some() }
    }

    fn leads(&self) -> bool {
        self.leadership.holds(self.term)
    }

    fn app_is_away(&self) -> bool {
        matches!(*self.health.borrow(), Standing::Away { .. })
    }

    fn schema(&self) -> Option<Arc<Description>> {
        self.kinds.slot(self.index).and_then(Slot::served).map(|served| served.description())
    }
}

/// Works until `stop`, and then ends what is under way; whoever runs it drops it when the term is over. `children` are filled by somebody else meanwhile.
pub async fn term(setting: &Setting, children: Children, leadership: Leadership, term: u64, stop: CancellationToken) {
    let Setting { kind, view, shard, concurrency, resync, health, .. } = setting.clone();
    let entities = Follower::new(Arc::clone(&view));
    let context = Context {
        name: Arc::from(kind.full_name()),
        kind,
        view,
        kinds: Arc::clone(&setting.kinds),
        index: setting.index,
        related: setting.related.clone(),
        reconcile: setting.reconcile.clone(),
        finalize: setting.finalize.clone(),
        children,
        app: setting.app.clone(),
        health: health.clone(),
        store: setting.store.clone(),
        events: setting.events.clone(),
        metrics: setting.metrics.clone(),
        pace: Mutex::default(),
        leadership,
        term,
    };
    let session = Session {
        context: Arc::new(context),
        shard,
        queue: Queue::new(Limits { backoff: BACKOFF, rate: None, most: MOST }),
        memories: HashMap::new(),
        parents: HashMap::new(),
        sweep: Some(None),
        sweep_again: false,
        jitter: RandomState::new(),
        steps: 0,
    };
    session.run(entities, concurrency, resync, health, stop).await;
}

struct Session {
    context: Arc<Context>,
    shard: Shard,
    queue: Queue<Key>,
    /// Of entities that there is something to remember of.
    memories: HashMap<Key, Memory>,
    /// Of the same entities: whose children changed is told by uid.
    parents: HashMap<Box<str>, Key>,
    /// A look at everything has come as far as this key.
    sweep: Option<Option<Key>>,
    /// There is a reason for another one behind it.
    sweep_again: bool,
    jitter: RandomState,
    steps: u64,
}

impl Session {
    async fn run(
        mut self,
        mut entities: Follower,
        concurrency: usize,
        resync: Option<Duration>,
        mut health: watch::Receiver<Standing>,
        stop: CancellationToken,
    ) {
        let mut children = Followers::new(&self.context.children.views);
        let related: Vec<_> = self.context.related.iter().flat_map(|(_, view)| view.views().to_vec()).collect();
        let mut related = Followers::new(&related);
        let mut looks = FuturesUnordered::new();
        let mut again = resync.map(|resync| tokio::time::interval_at(tokio::time::Instant::now() + resync, resync));
        let mut deadline = None;
        self.notice(*health.borrow_and_update());
        loop {
            let stopping = deadline.is_some();
            if !stopping {
                self.feed();
                while looks.len() < concurrency && self.context.children.are_known() {
                    let Some(taken) = self.queue.take(Instant::now()) else { break };
                    self.context.metrics.taken(&self.context.name, self.shard.index, taken.waited);
                    let memory = self.memories.remove(&taken.key).unwrap_or_default();
                    if let Some(entity) = self.context.view.find(&taken.key) {
                        // Before there are children: the watch may tell of the first one before the look is done.
                        self.parents.insert(entity.uid.clone(), taken.key.clone());
                    }
                    looks.push(work::look(Arc::clone(&self.context), taken, memory));
                }
            } else if looks.is_empty() {
                return;
            }
            let now = Instant::now();
            self.context.metrics.queue(&self.context.name, self.shard.index, &self.queue.numbers(now));
            let free = !stopping && looks.len() < concurrency && self.context.children.are_known();
            let wake = free.then(|| self.queue.wake_at(now)).flatten();
            tokio::select! {
                Some(done) = looks.next() => self.done(done),
                () = entities.changed() => self.hear(&mut entities),
                () = children.changed() => match children.hear() {
                    Some(parents) => self.children_changed(&parents),
                    None => self.look_at_all(),
                },
                () = related.changed() => {
                    related.pass();
                    self.look_at_all();
                }
                () = until(wake) => {}
                () = tick(&mut again) => self.look_at_all(),
                () = changed(&mut health) => self.notice(*health.borrow_and_update()),
                () = stop.cancelled(), if !stopping => deadline = Some(tokio::time::Instant::now() + DRAIN),
                () = at(deadline) => return,
            }
        }
    }

    /// What is fed while the app is away would only fail.
    fn notice(&mut self, standing: Standing) {
        match standing {
            Standing::Up => self.queue.resume(),
            Standing::Away { .. } => self.queue.pause(),
        }
    }

    /// A look at everything begins, behind the one that is under way: one that always began anew would never come to the last keys.
    fn look_at_all(&mut self) {
        match self.sweep {
            Some(Some(_)) => self.sweep_again = true,
            Some(None) | None => self.sweep = Some(None),
        }
    }

    /// The next portion of a look at everything, where the queue has little to do.
    fn feed(&mut self) {
        let now = Instant::now();
        while let Some(behind) = self.sweep.clone() {
            if self.queue.numbers(now).due >= PORTION {
                return;
            }
            // Until there is anything to read, the watch has to bring it, and wakes us.
            let Some(keys) = self.context.view.keys(behind, PORTION) else { return };
            self.sweep = (keys.len() == PORTION).then(|| keys.last().cloned());
            if self.sweep.is_none() && std::mem::take(&mut self.sweep_again) {
                self.sweep = Some(None);
            }
            for key in keys.into_iter().filter(|key| self.shard.holds(key)) {
                // There is room: a portion is far less than the queue takes, and little is due.
                self.queue.add(key, now);
            }
        }
    }

    fn hear(&mut self, entities: &mut Follower) {
        let (queue, shard, now) = (&mut self.queue, self.shard, Instant::now());
        let mut missed = false;
        let whole = entities.each(|event| {
            let entity = &event.entity;
            if shard.holds(&entity.key)
                && sidecar_core::reconcile::matters(event.before.as_deref(), entity, event.deleted)
            {
                missed |= !queue.add(entity.key.clone(), now);
            }
        });
        if missed || !whole {
            self.look_at_all();
        }
    }

    fn children_changed(&mut self, parents: &[Box<str>]) {
        let (now, mut missed) = (Instant::now(), false);
        for uid in parents {
            // One that is not known here has not been looked at in this term, and will be.
            let Some(key) = self.parents.get(uid) else { continue };
            missed |= !self.queue.add(key.clone(), now);
        }
        if missed {
            self.look_at_all();
        }
    }

    fn done(&mut self, done: Done) {
        let Done { key, uid, outcome, ended, memory } = done;
        self.context.metrics.ended(&self.context.name, ended);
        self.steps += 1;
        let jitter = (self.jitter.hash_one(self.steps) >> 11) as f64 / (1_u64 << 53) as f64;
        self.queue.done(&key, outcome, Instant::now(), jitter);
        match uid {
            Some(uid) if !memory.is_empty() => {
                self.parents.insert(uid, key.clone());
                self.memories.insert(key, memory);
            }
            Some(uid) => {
                self.parents.remove(&uid);
            }
            // The uid of one that is gone is not known any more; a few of them do no harm.
            None if self.parents.len() > 2 * self.memories.len() + 1000 => {
                self.parents.retain(|_, key| self.memories.contains_key(key));
            }
            None => {}
        }
    }
}

async fn changed(health: &mut watch::Receiver<Standing>) {
    // Who looks after the app ends with the process.
    if health.changed().await.is_err() {
        std::future::pending().await
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn tick(again: &mut Option<tokio::time::Interval>) {
    match again {
        Some(again) => drop(again.tick().await),
        None => std::future::pending().await,
    }
}
