//! The machine, with a real cache and two modelled seats, against a modelled API server that cuts, forgets, refuses and is restored to the past.

use proptest::prelude::*;

use super::*;
use crate::cache::Cache;
use crate::cache::tests::state;

#[derive(Debug, Clone)]
enum Action {
    Write(usize),
    Delete(usize),
    /// The version grows by a write of another kind.
    Elsewhere,
    /// So many steps of whatever is in flight.
    Go(usize),
    Cut,
    /// History up to now is forgotten.
    Compact,
    /// The next request is refused.
    Refuse,
    /// Streaming lists are switched on or off.
    Streams(bool),
    /// The store is restored to the past; then things settle, for nobody could tell later.
    Restore(u64),
    Attach(Seat, From),
    Detach(Seat),
}

const SEATS: [Seat; 2] = [Seat::Bridge, Seat::Notifier];

#[derive(Debug, Clone)]
enum From {
    Nothing,
    /// Where it was.
    There,
    /// A little before, as after a crash.
    Before(u64),
}

const IDS: [&str; 4] = ["a", "b", "c", "d"];

/// What is in flight, and how far it has come.
#[derive(Clone)]
enum Flight {
    Nothing,
    /// Not looked at by the server yet.
    Sent(Request),
    /// Lines of the first part, then the log behind the version.
    Watching(Vec<WatchLine>, u64),
    /// From a version in the future.
    Silent,
}

struct Server {
    version: u64,
    log: Vec<Delta>,
    forgotten: u64,
    streams: bool,
    refuse: bool,
}

fn entities(set: Shelf) -> Vec<Arc<Entity>> {
    set.into_iter().map(|ByKey(entity)| entity).collect()
}

impl Server {
    fn state_at(&self, version: u64) -> Vec<Arc<Entity>> {
        let mut present = Shelf::default();
        for delta in self.log.iter().filter(|delta| delta.entity.version.0 <= version) {
            collect(&mut present, delta.clone());
        }
        entities(present)
    }

    /// Versions of the changes after one version, up to another.
    fn between(&self, after: u64, up_to: u64) -> Vec<u64> {
        let versions = self.log.iter().map(|delta| delta.entity.version.0);
        versions.filter(|version| (after + 1..=up_to).contains(version)).collect()
    }

    fn write(&mut self, id: usize, delete: bool) {
        let id = IDS[id % IDS.len()];
        let here = self.state_at(self.version).into_iter().find(|entity| *entity.key.id == *id);
        let change = match (&here, delete) {
            (None, true) => return,
            (None, false) => Change::Added,
            (Some(_), true) => Change::Deleted,
            (Some(_), false) => Change::Modified,
        };
        self.version += 1;
        let uid = here.map_or_else(|| format!("uid-{}", self.version), |here| here.uid.to_string());
        self.log.push(Delta { change, entity: state(id, &uid, self.version) });
    }
}

/// One with a seat, that notes what it was told.
#[derive(Default)]
struct Told {
    attached: bool,
    /// Absent until it has told something.
    position: Option<u64>,
    present: Shelf,
    /// Whether the store was restored to the past since it was last told everything.
    undone: bool,
}

struct World {
    machine: Machine,
    now: Instant,
    server: Server,
    flight: Flight,
    cache: Cache,
    seats: BTreeMap<Seat, Told>,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            machine: Machine::new(Settings::default(), now),
            now,
            server: Server { version: 1, log: Vec::new(), forgotten: 0, streams: true, refuse: false },
            flight: Flight::Nothing,
            cache: Cache::default(),
            seats: SEATS.map(|seat| (seat, Told::default())).into(),
        }
    }

    fn input(&mut self, input: Input) {
        for effect in self.machine.step(input, self.now, 0.5) {
            match effect {
                Effect::Request(request) => self.flight = Flight::Sent(request),
                Effect::HangUp => self.flight = Flight::Nothing,
                Effect::Fill { version, entities } => self.cache.replace(version, entities),
                Effect::Observe(delta) => {
                    assert!(delta.entity.version > self.cache.version(), "the cache is told nothing twice");
                    self.cache.observe(&delta);
                }
                Effect::Lose(_) => panic!("the kind is always there, and fits"),
                Effect::Bookmark(version) => self.cache.bookmark(version),
                Effect::Tell(seat, feed) => self.tell(seat, feed),
                Effect::Note(_) => {}
            }
        }
    }

    fn tell(&mut self, seat: Seat, feed: Feed) {
        let (server, told) = (&self.server, self.seats.get_mut(&seat).unwrap());
        assert!(told.attached, "nobody is there to be told");
        match feed {
            Feed::Delta(delta) => {
                let version = delta.entity.version.0;
                let position = told.position.expect("one without a position is told everything first");
                assert_eq!(server.between(position, version), [version], "the very next change behind {position}");
                told.position = Some(version);
                collect(&mut told.present, delta);
            }
            Feed::Bookmark(version) => {
                let position = told.position.expect("one without a position is told everything first");
                assert!(version.0 > position && server.between(position, version.0).is_empty());
                told.position = Some(version.0);
            }
            Feed::Relisted { version, entities } => {
                let lost = told.position.is_none_or(|position| position < server.forgotten);
                assert!(lost || told.undone, "everything is told again for no reason");
                told.undone = false;
                assert_eq!(entities, server.state_at(version.0));
                told.position = Some(version.0);
                told.present = entities.into_iter().map(ByKey).collect();
            }
        }
    }

    /// One thing happens to what is in flight, or the time comes.
    fn go(&mut self) {
        match std::mem::replace(&mut self.flight, Flight::Nothing) {
            Flight::Nothing => self.tick(),
            Flight::Silent => {
                self.flight = Flight::Silent;
                self.tick();
            }
            Flight::Sent(_) if std::mem::take(&mut self.server.refuse) => {
                self.input(Input::Refused { status: 500, message: String::new(), retry_after: None });
            }
            Flight::Sent(Request::Probe) => self.input(Input::Page(self.page(self.server.version, 0, 1))),
            Flight::Sent(Request::Page { after, .. }) => self.serve_page(after),
            Flight::Sent(Request::Stream { .. }) if !self.server.streams => {
                self.input(Input::Refused { status: 422, message: String::new(), retry_after: None });
            }
            Flight::Sent(Request::Stream { .. }) => {
                let (mut lines, version) = (Vec::new(), Version(self.server.version));
                for entity in self.server.state_at(version.0) {
                    lines.push(WatchLine::Delta(Delta { change: Change::Added, entity }));
                }
                lines.push(WatchLine::Bookmark { version, initial_events_end: true });
                self.flight = Flight::Watching(lines, version.0);
                self.input(Input::Opened);
            }
            Flight::Sent(Request::Watch { from, .. }) if from.0 < self.server.forgotten => {
                self.input(Input::Line(WatchLine::Error { code: 410, message: String::new(), retry_after: None }));
            }
            Flight::Sent(Request::Watch { from, .. }) => {
                self.flight =
                    if from.0 > self.server.version { Flight::Silent } else { Flight::Watching(Vec::new(), from.0) };
                self.input(Input::Opened);
            }
            Flight::Watching(lines, cursor) => self.serve_line(lines, cursor),
        }
    }

    fn tick(&mut self) {
        self.now = self.machine.deadline();
        self.input(Input::Tick);
    }

    fn page(&self, version: u64, skip: usize, limit: usize) -> ListPage {
        let items: Vec<_> = self.server.state_at(version).into_iter().skip(skip).collect();
        let next = (items.len() > limit).then(|| format!("{version} {}", skip + limit));
        ListPage { version: Version(version), items: items.into_iter().take(limit).collect(), next }
    }

    fn serve_page(&mut self, after: Option<String>) {
        let after =
            after.and_then(|after| after.split_once(' ').map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())));
        let (version, skip) = after.unwrap_or((self.server.version, 0));
        if version < self.server.forgotten || version > self.server.version {
            self.input(Input::Refused { status: 410, message: String::new(), retry_after: None });
        } else {
            self.input(Input::Page(self.page(version, skip, 2)));
        }
    }

    fn serve_line(&mut self, mut lines: Vec<WatchLine>, cursor: u64) {
        let next = self.server.log.iter().find(|delta| delta.entity.version.0 > cursor).cloned();
        let (line, cursor) = if !lines.is_empty() {
            (lines.remove(0), cursor)
        } else if let Some(delta) = next {
            let version = delta.entity.version.0;
            (WatchLine::Delta(delta), version)
        } else {
            let version = self.server.version;
            (WatchLine::Bookmark { version: Version(version), initial_events_end: false }, version)
        };
        self.flight = Flight::Watching(lines, cursor);
        self.now += Duration::from_secs(4);
        self.input(Input::Line(line));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Write(id) => self.server.write(id, false),
            Action::Delete(id) => self.server.write(id, true),
            Action::Elsewhere => self.server.version += 1,
            Action::Go(steps) => (0..steps).for_each(|_| self.go()),
            Action::Cut => self.cut(),
            Action::Compact => self.server.forgotten = self.server.version,
            Action::Refuse => self.server.refuse = true,
            Action::Streams(on) => self.server.streams = on,
            Action::Restore(back) => {
                self.server.version = self.server.version.saturating_sub(back).max(1);
                let version = self.server.version;
                self.server.log.retain(|delta| delta.entity.version.0 <= version);
                self.server.forgotten = self.server.forgotten.min(version);
                self.seats.values_mut().for_each(|told| told.undone = true);
                self.cut();
                for seat in SEATS {
                    if !self.seats[&seat].attached {
                        self.attach(seat, &From::There);
                    }
                }
                self.settle();
                self.seats.values_mut().for_each(|told| told.undone = false);
            }
            Action::Attach(seat, from) => self.attach(seat, &from),
            Action::Detach(seat) => {
                self.seats.get_mut(&seat).unwrap().attached = false;
                self.input(Input::Detach { seat });
            }
        }
    }

    fn attach(&mut self, seat: Seat, from: &From) {
        let (server, told) = (&self.server, self.seats.get_mut(&seat).unwrap());
        // What it told after its position is forgotten with the process, and told again.
        let back = if let From::Before(back) = from { *back } else { 0 };
        told.position = match from {
            From::Nothing => None,
            From::There | From::Before(_) => told.position.map(|position| position.saturating_sub(back).max(1)),
        };
        if let Some(position) = told.position.filter(|position| *position <= server.version) {
            told.present = server.state_at(position).into_iter().map(ByKey).collect();
        }
        told.attached = true;
        let from = told.position.map(Version);
        self.input(Input::Attach { seat, from });
    }

    fn cut(&mut self) {
        if !matches!(self.flight, Flight::Nothing) {
            self.flight = Flight::Nothing;
            self.input(Input::Broken { reason: "cut".into() });
        }
    }

    /// Until the watch has told everything, which must come to pass.
    fn settle(&mut self) {
        let newest = Version(self.server.version);
        for _ in 0..1000 {
            let told = self.cache.version() == newest
                && self.seats.values().all(|told| !told.attached || told.position == Some(newest.0))
                && matches!(&self.flight, Flight::Watching(first, _) if first.is_empty());
            if told {
                return;
            }
            self.go();
        }
        panic!(
            "does not settle: {:?}, cache at {}, seats at {:?}",
            self.machine,
            self.cache.version(),
            self.seats.values().map(|told| told.position).collect::<Vec<_>>()
        );
    }
}

fn action() -> impl Strategy<Value = Action> {
    let from = prop_oneof![
        1 => Just(From::Nothing),
        3 => Just(From::There),
        2 => (1..6u64).prop_map(From::Before),
    ];
    let seat = || prop::sample::select(SEATS.to_vec());
    prop_oneof![
        6 => (0..4usize).prop_map(Action::Write),
        3 => (0..4usize).prop_map(Action::Delete),
        1 => Just(Action::Elsewhere),
        8 => (1..8usize).prop_map(Action::Go),
        2 => Just(Action::Cut),
        1 => Just(Action::Compact),
        1 => Just(Action::Refuse),
        1 => any::<bool>().prop_map(Action::Streams),
        1 => (1..10u64).prop_map(Action::Restore),
        3 => (seat(), from).prop_map(|(seat, from)| Action::Attach(seat, from)),
        1 => seat().prop_map(Action::Detach),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn cache_and_seats_come_to_the_server_s_state_and_no_seat_misses_or_repeats_anything_whatever_the_others_do(
        actions in proptest::collection::vec(action(), 0..60)
    ) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
        }
        for seat in SEATS {
            world.attach(seat, &From::There);
        }
        world.settle();
        let present = world.server.state_at(world.server.version);
        prop_assert_eq!(world.cache.len(), present.len());
        for entity in &present {
            prop_assert_eq!(world.cache.find(&entity.key), Some(entity));
        }
        for told in world.seats.into_values() {
            prop_assert_eq!(&entities(told.present), &present);
        }
    }
}
