//! Random histories of a store, an app that takes, fails and refuses, sidecars that crash or end in order, and history that is forgotten: nothing is
//! lost, every entity's changes come in order, and what was acknowledged comes again only after a crash.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::tests::{now, settings};
use super::*;
use crate::cache::tests::state;

#[derive(Debug, Clone)]
enum Action {
    Write(usize),
    Delete(usize),
    /// The feed brings so many changes.
    Feed(usize),
    /// So many calls, and what becomes of each.
    Call(usize, Ended),
    /// The place is written.
    Keep,
    /// A new sidecar goes on at the place that was written last.
    Crash,
    /// A new sidecar goes on at the place that this one leaves.
    End,
    /// History up to now is forgotten, and the feed begins anew.
    Forget,
}

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Default)]
struct Store {
    version: u64,
    log: Vec<Delta>,
}

impl Store {
    fn present(&self) -> BTreeMap<Key, Arc<Entity>> {
        let mut present = BTreeMap::new();
        for Delta { change, entity } in &self.log {
            match change {
                Change::Deleted => drop(present.remove(&entity.key)),
                _ => drop(present.insert(entity.key.clone(), Arc::clone(entity))),
            }
        }
        present
    }

    fn write(&mut self, id: usize, delete: bool) {
        let id = IDS[id % IDS.len()];
        let here = self.present().into_values().find(|entity| *entity.key.id == *id);
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

struct World {
    now: Instant,
    store: Store,
    notices: Notices,
    /// What the feed has brought to this sidecar.
    fed: Option<u64>,
    forgotten: u64,
    kept: Option<String>,
    /// What the app has acknowledged, or refused for good, of each entity: the last version of each, ever.
    had: HashMap<Key, u64>,
    /// Whether a crash may have things come again.
    crashed: bool,
    /// Whether a deletion may have been missed, and is excused.
    gap: bool,
    /// The app's table.
    table: BTreeMap<Key, Arc<Entity>>,
}

impl World {
    fn new() -> Self {
        let store = Store::default();
        let notices = Notices::new(settings(usize::MAX, None), None, None);
        Self {
            now: now().instant,
            store,
            notices,
            fed: None,
            forgotten: 0,
            kept: None,
            had: HashMap::new(),
            crashed: false,
            gap: false,
            table: BTreeMap::new(),
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Write(id) => self.store.write(id, false),
            Action::Delete(id) => self.store.write(id, true),
            Action::Feed(most) => self.feed(most),
            Action::Call(most, ended) => (0..most).for_each(|_| self.call(ended)),
            Action::Keep => self.kept = self.notices.place().map(|place| place.to_string()).or(self.kept.take()),
            Action::Crash => {
                self.crashed = true;
                // As if there never had been one before.
                self.gap |= self.kept.is_none();
                self.restart();
            }
            Action::End => {
                self.act(Action::Keep);
                // Before the feed has come to where it was, the place stays what it was.
                self.crashed |= self.notices.resumed.is_some();
                self.restart();
            }
            Action::Forget => {
                self.forgotten = self.store.version;
                self.fed = None;
            }
        }
    }

    fn restart(&mut self) {
        let place = self.kept.as_ref().map(|kept| kept.parse().unwrap());
        let known = self.store.present().into_values().collect();
        self.notices = Notices::new(settings(usize::MAX, None), place, Some((Version(self.store.version), known)));
        self.fed = None;
    }

    fn feed(&mut self, most: usize) {
        let begin = match (self.fed, self.notices.from()) {
            (Some(fed), _) => fed,
            (None, Some(from)) if from.0 >= self.forgotten => from.0,
            (None, _) => {
                let gaps = self.notices.gaps();
                let entities = self.store.present().into_values().collect();
                self.notices.fed(Feed::Relisted { version: Version(self.store.version), entities }, now());
                self.gap |= self.notices.gaps() > gaps;
                self.fed = Some(self.store.version);
                return;
            }
        };
        let next: Vec<Delta> =
            self.store.log.iter().filter(|delta| delta.entity.version.0 > begin).take(most).cloned().collect();
        self.fed = Some(next.last().map_or(begin, |delta| delta.entity.version.0));
        for delta in next {
            self.notices.fed(Feed::Delta(delta), now());
        }
        if self.fed == Some(self.store.version) {
            self.notices.fed(Feed::Bookmark(Version(self.store.version)), now());
        }
    }

    fn call(&mut self, ended: Ended) {
        // Late enough for every wait.
        self.now += Duration::from_secs(400);
        let at = self.now;
        let Some(taken) = self.notices.take(at) else { return };
        let Notice { event, entity, version, skipped, .. } = &*taken.notice;
        let (key, had) = (entity.key.clone(), self.had.get(&entity.key).copied());
        if !self.crashed {
            assert!(
                had.is_none_or(|had| had < version.0),
                "{event:?} {key:?} {version} again, or out of order: had {had:?}"
            );
        }
        if *skipped == Skipped::Known(0) && had.is_some_and(|had| had < version.0) && !self.gap {
            // A whole life that began and ended while nobody looked is nobody's to count.
            let same = |delta: &&Delta| delta.entity.key == key && delta.entity.uid == entity.uid;
            let between = self.store.log.iter().filter(same).map(|delta| delta.entity.version.0);
            let missed: Vec<u64> = between.filter(|between| had < Some(*between) && between < &version.0).collect();
            assert_eq!(missed, Vec::<u64>::new(), "{event:?} {key:?} {version}, had {had:?}");
        }
        if ended == Ended::Acknowledged {
            // A deletion that was found out stands for the true one.
            let end = |delta: &&Delta| delta.change == Change::Deleted && delta.entity.uid == entity.uid;
            let end = self.store.log.iter().filter(|_| *event == Event::Deleted).find(end);
            self.had.insert(key.clone(), end.map_or(version.0, |end| end.entity.version.0));
            match event {
                Event::Deleted => drop(self.table.remove(&key)),
                _ => drop(self.table.insert(key, Arc::clone(entity))),
            }
        }
        assert!(!self.notices.done(&taken, ended, at, 0.5));
    }
}

fn action() -> impl Strategy<Value = Action> {
    let ended = prop_oneof![
        4 => Just(Ended::Acknowledged),
        2 => Just(Ended::Failed(None)),
        1 => Just(Ended::Failed(Some(Duration::from_secs(5)))),
        1 => Just(Ended::Untried),
    ];
    prop_oneof![
        6 => (0..5usize).prop_map(Action::Write),
        2 => (0..5usize).prop_map(Action::Delete),
        4 => (1..6usize).prop_map(Action::Feed),
        6 => ((1..6usize), ended).prop_map(|(most, ended)| Action::Call(most, ended)),
        1 => Just(Action::Keep),
        1 => Just(Action::Crash),
        2 => Just(Action::End),
        1 => Just(Action::Forget),
    ]
}

fn run(actions: Vec<Action>) -> World {
    let mut world = World::new();
    for action in actions {
        world.act(action);
    }
    // In the end all is told.
    for _ in 0..3 {
        world.act(Action::Feed(usize::MAX));
    }
    while world.notices.waiting() > 0 {
        world.call(Ended::Acknowledged);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn whatever_happens_the_app_comes_to_know_every_state_and_without_a_crash_nothing_twice(
        actions in proptest::collection::vec(action(), 0..80)
    ) {
        let world = run(actions);
        let present = world.store.present();
        for (key, entity) in &present {
            prop_assert_eq!(world.table.get(key), Some(entity));
        }
        if !world.gap {
            prop_assert_eq!(&world.table, &present);
        }
        prop_assert_eq!(world.notices.place().map(|place| place.to_string()), Some(world.store.version.to_string()));
        prop_assert_eq!(world.notices.bytes(), 0);
    }
}
