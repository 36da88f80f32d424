//! What was acknowledged to writers, what readers saw, and which of it cannot be true together.
//!
//! Owns the rules of a run in which everything around the sidecars may fail. Each entity has one writer, who waits for each answer before it sends the next
//! write, and writes each value once; deletions name the version that they delete. Then this can be judged from outside, by whoever knows nothing but
//! the answers:
//!
//! 1. What is shown was written: with the version that was acknowledged, never what was refused, and a write without an answer in one version at most.
//! 2. What must be known is shown: at the sidecar where it was acknowledged, everywhere to whom asks for that version, and at the API server.
//! 3. One sidecar never shows an older state after a newer one, but that the API server has none, as a read past the cache found, need not be known to the cache.
//! 4. A write is refused only if something can have come between.
//!
//! The store may be restored to the past. Nobody writes meanwhile, so each write lies in one *era*; what is shown while the eras change must be true in one of them.

pub mod replies;

use std::collections::{BTreeMap, BTreeSet};

/// When something was asked and answered, in nanoseconds from any one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Before it was sent.
    pub call: u64,
    /// After it was answered.
    pub answered: u64,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// It is this version.
    Stored(u64),
    /// It is gone.
    Deleted,
    /// It had no effect, with this status.
    Refused(u16),
    /// It may have had its effect, or may yet.
    Unknown,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Which entity.
    pub entity: String,
    /// What was written; absent: it was deleted.
    pub value: Option<String>,
    /// The version that had to be the present one.
    pub base: Option<u64>,
    /// By whom it was sent.
    pub sidecar: usize,
    /// In which it was sent and answered.
    pub era: usize,
    /// When.
    pub span: Span,
    /// And then.
    pub came: Came,
}

/// A state of an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct State {
    /// Its version.
    pub version: u64,
    /// What was written.
    pub value: String,
}

/// What a reader may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reflects {
    /// Nothing but that it is or was so: an event.
    Nothing,
    /// What this sidecar acknowledged before.
    Own,
    /// And everything up to this version.
    AtLeast(u64),
    /// Everything that anybody acknowledged before.
    All,
}

/// What somebody saw of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which entity.
    pub entity: String,
    /// Where.
    pub sidecar: usize,
    /// When.
    pub span: Span,
    /// The eras in which that may have been.
    pub eras: (usize, usize),
    /// Absent: there was none.
    pub state: Option<State>,
    /// What it had to know.
    pub reflects: Reflects,
}

/// Everything of one run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// In any order.
    pub writes: Vec<Write>,
    /// In any order.
    pub seen: Vec<Seen>,
    /// What there is when an era (not the first one) begins.
    pub inherited: Vec<(usize, BTreeMap<String, State>)>,
}

/// The writes to one entity in one era, in their order; what was inherited is the first.
type Ops<'a> = Vec<&'a Write>;

/// What is wrong, one sentence each, at most `most`.
pub fn wrong(history: &History, most: usize) -> Vec<String> {
    let inherited: Vec<Write> = history
        .inherited
        .iter()
        .flat_map(|(era, states)| states.iter().map(|(entity, state)| first(*era, entity, state)))
        .collect();
    let mut ops: BTreeMap<(usize, String), Ops<'_>> = BTreeMap::new();
    for write in inherited.iter().chain(&history.writes) {
        ops.entry((write.era, write.entity.clone())).or_default().push(write);
    }
    for ops in ops.values_mut() {
        ops.sort_by_key(|op| op.span.call);
    }
    let mut judge = Judge { ops, versions: BTreeMap::new(), told: BTreeSet::new() };
    for write in &inherited {
        judge.was_written_before(write);
    }
    judge.refusals();
    let mut places: BTreeMap<(usize, usize, &str), Vec<&Seen>> = BTreeMap::new();
    for seen in &history.seen {
        if judge.is_true(seen) && seen.eras.0 == seen.eras.1 && seen.reflects != Reflects::Nothing {
            judge.is_known(seen);
            // That the API server has none comes without a version: a predecessor that the cache knows nothing of yet may still be shown.
            if seen.state.is_none() && seen.reflects == Reflects::All {
                continue;
            }
            places.entry((seen.eras.0, seen.sidecar, &seen.entity)).or_default().push(seen);
        }
    }
    for ((era, _, entity), seen) in places {
        judge.goes_on(era, entity, &seen);
    }
    judge.told.into_iter().take(most).collect()
}

fn first(era: usize, entity: &str, state: &State) -> Write {
    Write {
        entity: entity.to_owned(),
        value: Some(state.value.clone()),
        base: None,
        sidecar: usize::MAX,
        era,
        span: Span { call: 0, answered: 0 },
        came: Came::Stored(state.version),
    }
}

struct Judge<'a> {
    ops: BTreeMap<(usize, String), Ops<'a>>,
    /// In which version writes without an answer were seen.
    versions: BTreeMap<(usize, String), u64>,
    told: BTreeSet<String>,
}

impl<'a> Judge<'a> {
    fn of(&self, era: usize, entity: &str) -> &[&'a Write] {
        self.ops.get(&(era, entity.to_owned())).map_or(&[], Vec::as_slice)
    }

    fn tell(&mut self, what: String) {
        self.told.insert(what);
    }

    /// A restored store has what some earlier era had.
    fn was_written_before(&mut self, inherited: &Write) {
        let known = (0..inherited.era).any(|era| {
            self.of(era, &inherited.entity)
                .iter()
                .any(|op| op.value == inherited.value && (op.came == inherited.came || op.came == Came::Unknown))
        });
        if !known {
            self.tell(format!(
                "era {} begins with {} as {:?}, which nobody wrote",
                inherited.era, inherited.entity, inherited.value
            ));
        }
    }

    /// Rule 4.
    fn refusals(&mut self) {
        let mut told = Vec::new();
        for ops in self.ops.values() {
            let mut uncertain = false;
            for op in ops {
                uncertain |= op.came == Came::Unknown;
                if let Came::Refused(status @ (404 | 409 | 412)) = op.came
                    && !uncertain
                {
                    told.push(format!(
                        "{} of {} ({:?} on {:?}) was refused with {status}, though nothing can have come between",
                        deed(op),
                        op.entity,
                        op.value,
                        op.base
                    ));
                }
            }
        }
        self.told.extend(told);
    }

    /// Rule 1.
    fn is_true(&mut self, seen: &Seen) -> bool {
        let Some(state) = &seen.state else { return true };
        let mut why = String::new();
        for era in seen.eras.0..=seen.eras.1 {
            match self.written(era, seen, state) {
                Ok(()) => return true,
                Err(found) => why = found,
            }
        }
        self.tell(format!("{} was shown as {:?} in version {}: {why}", seen.entity, state.value, state.version));
        false
    }

    fn written(&mut self, era: usize, seen: &Seen, state: &State) -> Result<(), String> {
        let op = self.of(era, &seen.entity).iter().find(|op| op.value.as_ref() == Some(&state.value));
        let Some(op) = op.copied() else { return Err("nobody wrote that".to_owned()) };
        if op.span.call > seen.span.answered {
            return Err("it was written only afterwards".to_owned());
        }
        match op.came {
            Came::Refused(status) => Err(format!("that was refused with {status}")),
            Came::Stored(version) if version == state.version => Ok(()),
            Came::Stored(version) => Err(format!("that was acknowledged as {version}")),
            Came::Deleted => Err("that was a deletion".to_owned()),
            Came::Unknown => {
                let known = *self.versions.entry((era, state.value.clone())).or_insert(state.version);
                if known == state.version {
                    Ok(())
                } else {
                    Err(format!("it was {known} before, so it was written twice"))
                }
            }
        }
    }

    /// Rule 2.
    fn is_known(&mut self, seen: &Seen) {
        let ops = self.of(seen.eras.0, &seen.entity);
        let must = |op: &Write| {
            let asked = match (seen.reflects, op.came) {
                (Reflects::All, _) => true,
                (Reflects::AtLeast(least), Came::Stored(version)) => version <= least,
                _ => false,
            };
            let acknowledged = matches!(op.came, Came::Stored(_) | Came::Deleted);
            acknowledged && op.span.answered < seen.span.call && (asked || op.sidecar == seen.sidecar)
        };
        let Some(last) = ops.iter().rposition(|op| must(op)) else { return };
        let newest = ops.iter().take(last + 1).filter_map(|op| stored(op)).max().unwrap_or_default();
        let fits = match &seen.state {
            Some(state) => match ops.iter().position(|op| op.value.as_ref() == Some(&state.value)) {
                Some(found) if ops.get(found).is_some_and(|op| op.came == Came::Unknown) => state.version > newest,
                found => found >= Some(last),
            },
            None => ops.iter().skip(last).any(|op| deletes(op) && op.span.call < seen.span.answered),
        };
        if !fits {
            let acknowledged =
                ops.get(last).map(|op| format!("{} of {:?} as {:?}", deed(op), op.value, op.came)).unwrap_or_default();
            self.tell(format!(
                "{} was shown as {:?} at {} to a reader that had to see {:?}: acknowledged was {acknowledged}",
                seen.entity, seen.state, seen.sidecar, seen.reflects
            ));
        }
    }

    /// Rule 3, for what one sidecar showed of one entity.
    fn goes_on(&mut self, era: usize, entity: &str, seen: &[&Seen]) {
        let mut moments: Vec<(u64, bool, usize)> = Vec::new();
        for (index, seen) in seen.iter().enumerate() {
            moments.extend([(seen.span.call, true, index), (seen.span.answered, false, index)]);
        }
        // What is answered in the very moment of a call was not before it.
        moments.sort_by_key(|(at, begins, _)| (*at, !begins));
        let mut floor = Floor::default();
        let mut floors = vec![floor; seen.len()];
        for (_, begins, index) in moments {
            let (Some(seen), Some(before)) = (seen.get(index), floors.get_mut(index)) else { continue };
            if begins {
                *before = floor;
                continue;
            }
            match self.next_floor(era, entity, seen, *before) {
                Some(next) => floor = floor.max(next),
                None => {
                    let before = *before;
                    self.tell(format!(
                        "{entity} went back at {}: {:?} was shown after version {}",
                        seen.sidecar, seen.state, before.version
                    ));
                }
            }
        }
    }

    /// What has to follow from then on; absent when what was seen lies before what was seen before.
    fn next_floor(&self, era: usize, entity: &str, seen: &Seen, before: Floor) -> Option<Floor> {
        match &seen.state {
            Some(state) => (state.version >= before.version).then_some(Floor { version: state.version, gone: false }),
            None if before.gone || before.version == 0 => Some(before),
            None => {
                let ops = self.of(era, entity).iter();
                let deletions = ops.filter(|op| deletes(op) && op.span.call < seen.span.answered);
                let base = deletions.filter_map(|op| op.base).filter(|base| *base >= before.version).min()?;
                Some(Floor { version: base + 1, gone: true })
            }
        }
    }
}

/// The least version that may be seen from now on; whether the entity was last seen not to be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Floor {
    version: u64,
    gone: bool,
}

fn deletes(op: &Write) -> bool {
    op.value.is_none() && matches!(op.came, Came::Deleted | Came::Unknown)
}

fn stored(op: &Write) -> Option<u64> {
    match op.came {
        Came::Stored(version) => Some(version),
        _ => None,
    }
}

fn deed(op: &Write) -> &'static str {
    if op.value.is_none() { "the deletion" } else { "the write" }
}

#[cfg(test)]
mod tests;
