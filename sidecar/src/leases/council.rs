//! All Leases of one kind and scope: which of them this sidecar wants, and when work in a shard may begin.
//!
//! Carries out what [`sidecar_core::shard`] decides: an [`Election`] per shard, and the marks by which replicas know of each other where there are
//! several shards. It tells people how things stand.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use futures::future::select_all;
use futures::stream::FuturesUnordered;
use runtime::readiness::Part;
use sidecar_core::lease::{Standing, wire};
use sidecar_core::shard::layout::{Guidance, Known, guide};
use sidecar_core::shard::mark::{self, Mark};
use sidecar_core::shard::roster::Roster;
use sidecar_core::shard::spread::spread;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::election::{Election, Ends, HAND_OVER, Heard, Order};
use super::request::{Requests, Trouble};
use super::{Announcer, Identity, Keeper, Metrics, Purpose, clock, members, metrics};

/// The Leases of a kind and scope, ready to be taken part in.
pub(super) struct Council {
    identity: Identity,
    /// How many shards this sidecar counts.
    own: u32,
    noun: String,
    names: Names,
    part: Part,
    metrics: Metrics,
    labels: metrics::Labels,
    whole: Option<Announcer>,
    shards: BTreeMap<u32, Announcer>,
    seats: BTreeMap<u32, Seat>,
    roster: Roster,
    /// Whether the other replicas' marks were read at least once.
    counted: bool,
    /// Why they cannot be read.
    trouble: Option<String>,
}

/// How to ask for each Lease.
struct Names {
    requests: Requests,
    kind: std::sync::Arc<sidecar_core::kind::Kind>,
    scope: Option<std::sync::Arc<str>>,
    purpose: Purpose,
}

impl Names {
    fn of(&self, shard: u32) -> Requests {
        let name = match &self.purpose {
            Purpose::Own => wire::name(&self.kind, self.scope.is_none(), shard),
            Purpose::Notify(app) => wire::notify_name(&self.kind, app, self.scope.as_deref()),
        };
        Requests { name, ..self.requests.clone() }
    }

    fn of_replicas(&self) -> Requests {
        Requests { name: mark::name(&self.kind, self.scope.is_none()), ..self.requests.clone() }
    }
}

/// One Lease's election, from outside.
struct Seat {
    orders: watch::Sender<Order>,
    heard: watch::Receiver<Heard>,
    stop: CancellationToken,
}

type Running = Pin<Box<dyn Future<Output = (u32, Option<Announcer>, Option<Announcer>)> + Send>>;
type Exchange = Pin<Box<dyn Future<Output = Result<BTreeMap<String, Mark>, Trouble>> + Send>>;

impl Council {
    pub(super) fn new(keeper: Keeper) -> Self {
        let Keeper { client, kind, scope, home, purpose, identity, whole, shards, part, metrics } = keeper;
        let labels = metrics::labels(&kind, scope.as_deref());
        let own = u32::try_from(shards.len()).unwrap_or(u32::MAX).max(1);
        let me = Mark { replica: identity.process.clone(), app: identity.app.clone(), shards: own, beat: 0 };
        let requests = Requests {
            client,
            namespace: match &purpose {
                Purpose::Own => scope.as_deref().map_or(home, str::to_owned),
                Purpose::Notify(_) => home,
            },
            name: String::new(),
            // Half of what a holder has: so one request that hangs leaves time for another.
            limit: identity.durations.renew / 2,
        };
        Self {
            own,
            noun: kind.kind.clone(),
            names: Names { requests, kind, scope, purpose },
            part,
            metrics,
            labels,
            whole: Some(whole),
            shards: (0..).zip(shards).collect(),
            seats: BTreeMap::new(),
            roster: Roster::new(me, identity.durations.lease),
            counted: false,
            trouble: None,
            identity,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut running = FuturesUnordered::new();
        let mut exchange: Option<Exchange> = None;
        let mut beat = interval(self.identity.durations.retry);
        loop {
            self.guide(&mut running);
            self.tell();
            tokio::select! {
                () = stop.cancelled() => break,
                () = changed(&mut self.seats) => {}
                Some(ended) = running.next() => self.unseat(ended),
                told = answered(&mut exchange) => self.count(told),
                _ = beat.tick() => if self.own > 1 && exchange.is_none() {
                    let forgotten = self.roster.forgotten(clock::now());
                    let mark = self.roster.beat().clone();
                    exchange = Some(Box::pin(members::exchange(self.names.of_replicas(), mark, forgotten)));
                },
            }
        }
        self.seats.values().for_each(|seat| seat.stop.cancel());
        while let Some(ended) = running.next().await {
            self.unseat(ended);
        }
        if self.own > 1 {
            let leaving = members::leave(self.names.of_replicas(), self.identity.process.clone());
            let _ = tokio::time::timeout(HAND_OVER, leaving).await;
        }
    }

    /// Gives each election its order, begins those that are missing, and ends those that nobody needs any more.
    fn guide(&mut self, running: &mut FuturesUnordered<Running>) {
        let heard: BTreeMap<u32, Heard> =
            self.seats.iter().map(|(shard, seat)| (*shard, seat.heard.borrow().clone())).collect();
        let first = heard.get(&0);
        let foreign = first.is_some_and(|first| matches!(first.standing, Standing::Foreign { .. }));
        let asked = first.map(|first| first.asked).unwrap_or_default();
        // In a Lease that is another application's, no number of shards is of interest.
        let in_force = first.filter(|_| !foreign).and_then(|first| first.layout);
        let known: Vec<Known> = (0..heard.keys().max().map_or(0, |most| most + 1))
            .map(|shard| {
                let heard = heard.get(&shard);
                Known {
                    holds: heard.is_some_and(|heard| heard.term().is_some()),
                    layout: heard.and_then(|heard| heard.written),
                    read_since: heard.is_some_and(|heard| heard.term().is_some() && asked > heard.since),
                }
            })
            .collect();
        let wanted = self.wanted();
        let guidance = guide(self.own, in_force, &|shard| wanted.contains(&shard), &known);
        for (shard, Guidance { want, work, declare }) in (0..).zip(&guidance) {
            let term = heard.get(&shard).and_then(Heard::term).map(|term| term.number);
            let order = Order { want: *want, work: term.filter(|_| *work), declare: *declare };
            if !self.seats.contains_key(&shard) {
                self.seat(shard, running);
            }
            if let Some(seat) = self.seats.get(&shard) {
                seat.orders.send_if_modified(|before| std::mem::replace(before, order) != order);
            }
        }
        for (_, seat) in self.seats.iter().filter(|(shard, _)| **shard as usize >= guidance.len()) {
            seat.stop.cancel();
        }
    }

    /// The shards that are to be this replica's.
    fn wanted(&self) -> Vec<u32> {
        if self.own == 1 {
            return vec![0];
        }
        if !self.counted {
            // Until it is known who else is there, nothing is taken and nothing given away.
            let held = self.seats.iter().filter(|(_, seat)| seat.heard.borrow().term().is_some());
            return held.map(|(shard, _)| *shard).collect();
        }
        let present = self.roster.present(clock::now());
        let places = spread(self.own, &present);
        let mine = |place: &usize| present.get(*place) == Some(&self.identity.process.as_str());
        (0..).zip(&places).filter(|(_, place)| mine(place)).map(|(shard, _)| shard).collect()
    }

    fn seat(&mut self, shard: u32, running: &mut FuturesUnordered<Running>) {
        let (orders, ordered) = watch::channel(Order::default());
        let (hearing, heard) = watch::channel(Heard::new());
        let stop = CancellationToken::new();
        let whole = if shard == 0 { self.whole.take() } else { None };
        let ends = Ends { orders: ordered, heard: hearing, whole, shard: self.shards.remove(&shard) };
        let election =
            Election::new(&self.identity, self.names.of(shard), ends, self.metrics.clone(), self.labels.clone());
        let stopping = stop.clone();
        running.push(Box::pin(async move {
            let (whole, announcer) = election.run(stopping).await;
            (shard, whole, announcer)
        }));
        self.seats.insert(shard, Seat { orders, heard, stop });
    }

    fn unseat(&mut self, (shard, whole, announcer): (u32, Option<Announcer>, Option<Announcer>)) {
        self.seats.remove(&shard);
        self.whole = whole.or(self.whole.take());
        self.shards.extend(announcer.map(|announcer| (shard, announcer)));
    }

    fn count(&mut self, told: Result<BTreeMap<String, Mark>, Trouble>) {
        match told {
            Ok(marks) => {
                self.roster.observe(marks, clock::now());
                (self.counted, self.trouble) = (true, None);
            }
            Err(trouble) => {
                self.metrics.failed(&self.labels);
                self.trouble = Some(trouble.detail).filter(|detail| !detail.is_empty());
            }
        }
    }

    fn tell(&self) {
        let heard: BTreeMap<u32, Heard> =
            self.seats.iter().map(|(shard, seat)| (*shard, seat.heard.borrow().clone())).collect();
        let Some(first) = heard.get(&0) else { return };
        let trouble = heard.values().find_map(|heard| heard.trouble.as_ref()).or(self.trouble.as_ref());
        let leads = heard.values().filter(|heard| heard.term().is_some()).count();
        if let Standing::Foreign { app } = &first.standing {
            let Requests { namespace, name, .. } = self.names.of(0);
            self.part.down(format!(
                "application {app:?} owns {} here: this sidecar only consumes; if that is over, hand it on with \
                 `kubectl delete lease {name} -n {namespace}`",
                self.noun
            ));
            return;
        }
        match (leads, trouble) {
            (0, Some(trouble)) => self.part.down(trouble.clone()),
            (_, Some(trouble)) => self.part.up_with(trouble.clone()),
            (_, None) if self.own > 1 => self.part.up_with(self.shares(leads, first.layout)),
            (0, None) => match &first.standing {
                Standing::Standby { holder: Some(holder) } => self.part.up_with(format!("standby: {holder} leads")),
                _ => self.part.up_with("standby: nobody leads yet"),
            },
            (_, None) => self.part.up(),
        }
    }

    fn shares(&self, leads: usize, layout: Option<u32>) -> String {
        let replicas = self.roster.present(clock::now()).len();
        match layout {
            Some(layout) if layout != self.own => {
                format!("waiting for all replicas to count {} shards, and not {layout}", self.own)
            }
            _ => format!("leads {leads} of {} shards; replicas that share them: {replicas}", self.own),
        }
    }
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now(), period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Returns when an election has something new to tell.
async fn changed(seats: &mut BTreeMap<u32, Seat>) {
    let changes: Vec<_> = seats.values_mut().map(|seat| Box::pin(seat.heard.changed())).collect();
    if changes.is_empty() {
        return std::future::pending().await;
    }
    // One whose election has ended is taken away as soon as that is looked at.
    if select_all(changes).await.0.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn answered(exchange: &mut Option<Exchange>) -> Result<BTreeMap<String, Mark>, Trouble> {
    match exchange {
        Some(under_way) => {
            let told = under_way.await;
            *exchange = None;
            told
        }
        None => std::future::pending().await,
    }
}
