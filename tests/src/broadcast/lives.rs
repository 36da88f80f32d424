//! What there was, by the API server's word: lives of entities, one after the other under the same key, and how they ended.

use std::collections::{BTreeMap, BTreeSet};

use contract::record::Event;

use super::story::End;
use super::{Came, Fault, Findings, History, Moment, Restore, Skipped, State, Told, What, Write};

/// From a creation to a deletion, as far as it is known.
#[derive(Debug)]
struct Life<'a> {
    uid: &'a str,
    first: &'a State,
    last: &'a State,
    begun: Moment,
    /// When its deletion was received, or else the first write of the next life.
    ended: Option<Moment>,
}

/// What the audit log says.
pub(super) struct Truth<'a> {
    restores: &'a [Restore],
    /// Every state that was acknowledged, also those that a restore took back, and when it was received. After a restore a version is given out a second time.
    states: BTreeMap<(&'a str, u64), Vec<(Moment, &'a State)>>,
    /// When each deletion was received that was acknowledged, the first one.
    deleted: BTreeMap<&'a str, Moment>,
    /// What no restore took back.
    lives: BTreeMap<&'a str, Vec<Life<'a>>>,
    /// Writes without an answer: of a key, or of an unknown one.
    maybes: BTreeMap<Option<&'a str>, u64>,
    /// All that were written to.
    keys: BTreeSet<&'a str>,
}

impl<'a> Truth<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let mut truth = Self {
            restores: &history.restores,
            states: BTreeMap::new(),
            deleted: BTreeMap::new(),
            lives: BTreeMap::new(),
            maybes: BTreeMap::new(),
            keys: BTreeSet::new(),
        };
        for write in &history.writes {
            truth.keys.extend(write.key.as_deref());
            match &write.came {
                Came::Maybe => *truth.maybes.entry(write.key.as_deref()).or_default() += 1,
                Came::Stored(uid, state) => {
                    truth.states.entry((uid, state.version)).or_default().push((write.received, state));
                }
                Came::Deleted(uid) => {
                    truth.deleted.entry(uid).or_insert(write.received);
                }
            }
        }
        truth.live(&history.writes);
        truth
    }

    fn live(&mut self, writes: &'a [Write]) {
        let mut deleted: BTreeMap<&str, Moment> = BTreeMap::new();
        for write in writes.iter().filter(|write| !undone(self.restores, write)) {
            let Some(key) = write.key.as_deref() else { continue };
            match &write.came {
                Came::Stored(uid, state) => {
                    let lives = self.lives.entry(key).or_default();
                    match lives.iter_mut().find(|life| life.uid == uid) {
                        Some(life) => {
                            if state.version < life.first.version {
                                (life.first, life.begun) = (state, write.received);
                            }
                            if state.version > life.last.version {
                                life.last = state;
                            }
                        }
                        None => lives.push(Life { uid, first: state, last: state, begun: write.received, ended: None }),
                    }
                }
                Came::Deleted(uid) => drop(deleted.insert(uid, write.received)),
                Came::Maybe => {}
            }
        }
        for lives in self.lives.values_mut() {
            lives.sort_by_key(|life| life.first.version);
            let mut next = None;
            for life in lives.iter_mut().rev() {
                life.ended = deleted.get(life.uid).copied().or(next);
                next = Some(life.begun);
            }
        }
    }

    /// All keys that were written to.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'a str> {
        self.keys.iter().copied()
    }

    /// How often the store had been restored by then.
    pub(super) fn era(&self, at: Moment) -> usize {
        self.restores.iter().filter(|restore| restore.at <= at).count()
    }

    fn is_known(&self, uid: &str) -> bool {
        self.states.range((uid, 0)..=(uid, u64::MAX)).next().is_some()
    }

    /// Whether this state was acknowledged, and written by then: `None`, if there is no word of it.
    pub(super) fn has(&self, uid: &str, told: &State, by: Moment) -> Option<Result<(), String>> {
        let known = self.states.get(&(uid, told.version))?;
        if known.iter().any(|(received, state)| *state == told && *received <= by) {
            return Some(Ok(()));
        }
        Some(Err(format!("acknowledged was {known:?}")))
    }

    /// Whether a deleted entity ever looked like that: `None`, if there is no word of it.
    pub(super) fn had(&self, uid: &str, told: &State) -> Option<Result<(), String>> {
        let of_uid = || self.states.range((uid, 0)..=(uid, u64::MAX)).flat_map(|(_, states)| states);
        let mut same = of_uid().filter(|(_, state)| state.generation == told.generation).peekable();
        same.peek()?;
        if same.any(|(_, state)| state.message == told.message) {
            return Some(Ok(()));
        }
        Some(Err("it never looked like that".to_owned()))
    }

    /// Whether this life is known to have ended by then: deleted, followed by another, or taken back with the store.
    pub(super) fn has_ended(&self, key: &str, uid: &str, by: Moment) -> bool {
        let lives = self.lives.get(key).map_or(&[][..], Vec::as_slice);
        match lives.iter().find(|life| life.uid == uid) {
            Some(life) if life.ended.is_some_and(|ended| ended <= by) => true,
            // What is not among them was taken back.
            None if self.is_known(uid) && self.restores.iter().any(|restore| restore.at <= by) => true,
            _ => self.deleted.get(uid).is_some_and(|received| *received <= by),
        }
    }

    /// Compares what a key's records leave with what there is.
    pub(super) fn ends_with(&self, key: &str, end: &End<'_>, findings: &mut Findings) {
        let life = self.lives.get(key).and_then(|lives| lives.last()).filter(|life| life.ended.is_none());
        let (uid, alive) = end.last.as_ref().map_or(("", false), |last| (last.uid, last.alive));
        let lost = match (life, &end.last) {
            (Some(life), Some(last)) if life.uid == uid && alive => {
                // A newer one that was acknowledged was taken back with the store, and any other one is by a write without an answer.
                let newer =
                    last.state.version > life.last.version && !self.states.contains_key(&(uid, last.state.version));
                last.state != life.last && !newer
            }
            // An end that is not explained is one by a write without an answer.
            (Some(life), _) if life.uid == uid => self.has_ended(key, uid, Moment::MAX),
            (Some(_), _) => uid.is_empty() || self.is_known(uid),
            (None, _) => false,
        };
        if let Some(life) = life.filter(|_| lost) {
            let what = format!("{key} is {} as {:?}, and the topic ends with {:?}", life.uid, life.last, end.last);
            findings.tell(Fault::LostState, what);
        }
        if life.is_none() && alive && self.is_known(uid) {
            findings.tell(Fault::LostDeletion, format!("{key} is gone, and the topic ends with {:?}", end.last));
        }
    }

    /// Lives that the topic never shows: they have to lie in a gap.
    pub(super) fn unseen(&self, history: &History, findings: &mut Findings) {
        let uids: BTreeSet<&str> = history.told.iter().filter_map(|told| Some(told.event()?.1)).collect();
        for (key, lives) in &self.lives {
            for life in lives.iter().filter(|life| !uids.contains(life.uid)) {
                let Some(ended) = life.ended else { continue };
                // From then on whoever broadcast had passed its creation.
                let passed = history.told.iter().filter(|told| told.produced >= life.begun && told.follows(life.first));
                let passed = passed.map(|told| told.produced).min().unwrap_or(Moment::MAX);
                if history.gaps.iter().any(|(begin, end)| *begin <= passed && ended <= *end) {
                    findings.unseen += 1;
                } else {
                    let what =
                        format!("{key} was {} from {} to {ended}, and nothing is told of it", life.uid, life.begun);
                    findings.tell(Fault::LostDeletion, what);
                }
            }
        }
    }

    /// What is told and was not acknowledged is explained by writes without an answer, and each of them explains one thing.
    pub(super) fn explain(&self, ends: &BTreeMap<&str, End<'_>>, findings: &mut Findings) {
        let mut anyones = self.maybes.get(&None).copied().unwrap_or_default();
        for (key, end) in ends {
            let mut own = self.maybes.get(&Some(*key)).copied().unwrap_or_default();
            for what in &end.unexplained {
                match (own, anyones) {
                    (0, 0) => findings.tell(Fault::Untrue, format!("{key} {what}, and nobody wrote that")),
                    (0, _) => anyones -= 1,
                    (_, _) => own -= 1,
                }
                findings.shown += 1;
            }
        }
    }
}

/// Whether a restore took it back.
fn undone(restores: &[Restore], write: &Write) -> bool {
    restores.iter().any(|restore| restore.taken <= write.received && write.received < restore.at)
}

impl Told {
    /// Event and uid.
    fn event(&self) -> Option<(Event, &str)> {
        match &self.what {
            What::Event { event, id: (uid, _), .. } => Some((*event, uid)),
            What::Tombstone => None,
        }
    }

    /// Whether it is a change that somebody saw happen after this state.
    fn follows(&self, state: &State) -> bool {
        match &self.what {
            What::Event { event, id: (_, version), skipped, .. } => {
                *event != Event::Snapshot && *skipped != Skipped::Unknown && *version > state.version
            }
            What::Tombstone => false,
        }
    }
}
