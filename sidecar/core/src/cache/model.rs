//! The cache against a model of one API server: several writers, answers in any order, a watch that lags, lists made anew.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::tests::{key, state};
use super::*;

#[derive(Debug, Clone)]
enum Action {
    /// Another client writes or deletes.
    Write(usize),
    Delete(usize),
    /// We write or delete; the answer is on its way.
    OwnWrite(usize),
    OwnDelete(usize),
    /// We delete what we know to be the present version.
    OwnDeleteOf(usize),
    /// One of the answers on its way arrives.
    Answer(usize),
    /// The watch tells so many changes.
    Watch(usize),
    Bookmark,
    /// The watch is opened again from an earlier version, for the bridge.
    Replay(usize),
    /// A list is made; the watch stands still until it arrives.
    ListMade,
    ListArrives,
}

enum Answer {
    Written(Arc<Entity>),
    Deleted(Key, Box<str>, Option<Version>),
}

const IDS: [&str; 3] = ["a", "b", "c"];

/// The server, and what is on its way from it.
#[derive(Default)]
struct Model {
    version: u64,
    log: Vec<Delta>,
    present: BTreeMap<Key, Arc<Entity>>,
    answers: VecDeque<Answer>,
    /// How much of the log the watch has told.
    told: usize,
    list: Option<(u64, usize, Vec<Arc<Entity>>)>,
    /// For each key, a version that the reader knows to be reached.
    floor: BTreeMap<Key, u64>,
}

impl Model {
    fn write(&mut self, id: usize) -> Arc<Entity> {
        self.version += 1;
        let id = IDS[id % IDS.len()];
        let before = self.present.get(&key(id));
        let uid = before.map_or_else(|| format!("uid-{}", self.version), |before| before.uid.to_string());
        let change = if before.is_some() { Change::Modified } else { Change::Added };
        let entity = state(id, &uid, self.version);
        self.present.insert(key(id), Arc::clone(&entity));
        self.log.push(Delta { change, entity: Arc::clone(&entity) });
        entity
    }

    fn delete(&mut self, id: usize) -> Option<Arc<Entity>> {
        let id = IDS[id % IDS.len()];
        let before = self.present.remove(&key(id))?;
        self.version += 1;
        let entity = state(id, &before.uid, self.version);
        self.log.push(Delta { change: Change::Deleted, entity: Arc::clone(&entity) });
        Some(entity)
    }

    /// Whether an earlier entity of this name may still be told, or answered: the answer to the delete of its successor, whatever version that had, says
    /// nothing that would tell the one from the other, see the module's words on it.
    fn predecessor_untold(&self, id: usize) -> bool {
        let key = key(IDS[id % IDS.len()]);
        let present = self.present.get(&key);
        let is_earlier =
            |entity: &Entity| entity.key == key && present.is_some_and(|present| present.uid != entity.uid);
        let told = self.list.as_ref().map_or(self.told, |(_, told, _)| self.told.min(*told));
        let unanswered = self.answers.iter().any(|answer| match answer {
            Answer::Written(entity) => is_earlier(entity),
            Answer::Deleted(..) => false,
        });
        unanswered || self.log.iter().skip(told).any(|delta| is_earlier(&delta.entity))
    }

    fn act(&mut self, action: &Action, cache: &mut Cache) {
        match action {
            Action::Write(id) => drop(self.write(*id)),
            Action::Delete(id) => drop(self.delete(*id)),
            Action::OwnWrite(id) => {
                let entity = self.write(*id);
                self.answers.push_back(Answer::Written(entity));
            }
            Action::OwnDelete(id) => {
                if !self.predecessor_untold(*id)
                    && let Some(entity) = self.delete(*id)
                {
                    self.answers.push_back(Answer::Deleted(entity.key.clone(), entity.uid.clone(), None));
                }
            }
            Action::OwnDeleteOf(id) => {
                let version = self.present.get(&key(IDS[id % IDS.len()])).map(|present| present.version);
                if let Some(entity) = self.delete(*id) {
                    self.answers.push_back(Answer::Deleted(entity.key.clone(), entity.uid.clone(), version));
                }
            }
            Action::Answer(which) => self.answer(*which, cache),
            Action::Watch(count) if self.list.is_none() => {
                for delta in self.log.iter().skip(self.told).take(*count) {
                    cache.observe(delta);
                    self.told += 1;
                }
            }
            Action::Bookmark if self.list.is_none() && self.told == self.log.len() => {
                self.version += 1;
                cache.bookmark(Version(self.version));
            }
            Action::Replay(back) if self.list.is_none() => self.told = self.told.saturating_sub(*back),
            Action::ListMade => {
                self.list = Some((self.version, self.log.len(), self.present.values().cloned().collect()));
            }
            Action::ListArrives => {
                if let Some((version, told, entities)) = self.list.take() {
                    cache.replace(Version(version), entities);
                    self.told = told;
                }
            }
            Action::Watch(_) | Action::Bookmark | Action::Replay(_) => {}
        }
    }

    fn answer(&mut self, which: usize, cache: &mut Cache) {
        let index = which % self.answers.len().max(1);
        match self.answers.remove(index) {
            Some(Answer::Written(entity)) => {
                // From its answer on, the writer relies on it.
                let floor = self.floor.entry(entity.key.clone()).or_default();
                *floor = entity.version.0.max(*floor);
                cache.written(entity);
            }
            Some(Answer::Deleted(key, uid, version)) => {
                let gone = self.log.iter().find(|delta| delta.change == Change::Deleted && delta.entity.uid == uid);
                let floor = self.floor.entry(key.clone()).or_default();
                *floor = gone.map_or(0, |delta| delta.entity.version.0).max(*floor);
                cache.deleted(&key, &uid, version, Instant::now());
            }
            None => {}
        }
    }

    /// What is shown happened, and not before what was shown or answered already.
    fn check(&mut self, cache: &Cache) {
        for id in IDS {
            let key = key(id);
            let floor = self.floor.entry(key.clone()).or_default();
            let of_key = || self.log.iter().filter(|delta| delta.entity.key == key);
            let shown = match cache.find(&key) {
                Some(entity) => {
                    assert!(of_key().any(|delta| delta.entity == *entity && delta.change != Change::Deleted));
                    Some(entity.version.0)
                }
                None => of_key()
                    .filter(|delta| delta.change == Change::Deleted)
                    .map(|delta| delta.entity.version.0)
                    .chain([0])
                    .filter(|version| *version >= *floor)
                    .min(),
            };
            let shown = shown.unwrap_or_else(|| panic!("{id} is not shown, but was known to exist at {floor}"));
            assert!(shown >= *floor, "{id} is shown at {shown}, but was known at {floor}");
            *floor = shown;
        }
        let mut fresh = Cache::default();
        fresh.replace(cache.version(), held(cache));
        assert_eq!((cache.bytes(), cache.len()), (fresh.bytes(), fresh.len()), "the bytes are counted exactly");
    }

    fn same(&self, cache: &Cache) {
        assert_eq!(held(cache), self.present.values().cloned().collect::<Vec<_>>());
        assert_eq!(cache.len(), self.present.len());
    }
}

fn held(cache: &Cache) -> Vec<Arc<Entity>> {
    IDS.iter().filter_map(|id| cache.find(&key(id)).cloned()).collect()
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        2 => (0..3usize).prop_map(Action::Write),
        1 => (0..3usize).prop_map(Action::Delete),
        3 => (0..3usize).prop_map(Action::OwnWrite),
        2 => (0..3usize).prop_map(Action::OwnDelete),
        3 => (0..3usize).prop_map(Action::OwnDeleteOf),
        5 => (0..5usize).prop_map(Action::Answer),
        3 => (1..4usize).prop_map(Action::Watch),
        1 => Just(Action::Bookmark),
        1 => (1..5usize).prop_map(Action::Replay),
        1 => Just(Action::ListMade),
        1 => Just(Action::ListArrives),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn reads_never_go_back_own_writes_show_and_all_agree_in_the_end(actions in proptest::collection::vec(action(), 0..60), rest in any::<usize>()) {
        let (mut model, mut cache) = (Model::default(), Cache::default());
        for action in actions {
            model.act(&action, &mut cache);
            model.check(&cache);
        }
        model.act(&Action::ListArrives, &mut cache);
        model.act(&Action::Watch(usize::MAX), &mut cache);
        model.check(&cache);
        model.same(&cache);
        // Answers that come even later change nothing.
        while !model.answers.is_empty() {
            model.act(&Action::Answer(rest), &mut cache);
            model.same(&cache);
        }
    }
}
