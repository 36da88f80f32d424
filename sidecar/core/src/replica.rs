//! A cache that is filled from the compacted topic and follows it, as a state machine: what its records and the broadcast's positions make of it.
//!
//! Owns when the cache is shown something, and what. Never does IO and never looks at a clock: the bridge's source feeds it, asks for what it wants and
//! puts the [`Cut`]s into the view.
//!
//! The records of a topic come partition by partition, in no order between them. A cache must not be shown so: its version says that everything
//! up to it has been told. So changes are held back until a cut, which is found thus:
//! - a position says "every change up to version V is in the topic". It becomes visible together with its records, or after them;
//! - then, and not before, the ends of all partitions are asked for, whatever is committed of them: what the position speaks of lies before them;
//! - when all partitions have been read up to there, everything up to V has been seen. Now the changes up to V are shown, in the order of their versions, and
//!   after them V as a bookmark. What is newer waits for the next cut.
//!
//! So this cache goes through the same states as one that follows a watch, and a version means the same in both.
//!
//! The first cut is the whole state. So is one after the broadcast has compared a whole state with the topic (it takes the version out of its position
//! meanwhile), since versions may then have begun again in the past, and one in which a record does not follow from what was known before: the
//! last record of each key is always right.

mod broadcaster;
#[cfg(test)]
mod model;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use crate::entity::{ByKey, Entity, Key};
use crate::feed::{Change, Delta};
use crate::kind::Kind;
use crate::ledger::batch::Place;
use crate::ledger::position::Offsets;
use crate::shelf::Shelf;
use crate::version::Version;

use broadcaster::{Broadcasters, Heard};
pub use record::Record;
use record::{Ours, Told};

/// While the topic is read for the first time, what is certain is folded together whenever so many records wait.
const FOLD: usize = 1024;

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The cluster's name, as the broadcast has it.
    pub cluster: String,
    /// The topic.
    pub topic: String,
    /// The kind.
    pub kind: Arc<Kind>,
    /// Its namespace, or absent for all of them.
    pub namespace: Option<Arc<str>>,
}

/// A state to be shown: everything up to the version, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Up to where everything is told.
    pub version: Version,
    /// When the broadcast said so: then the state was the present one.
    pub written: SystemTime,
    /// What there is, or what has changed.
    pub content: Content,
}

/// What a cut shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Everything that exists, in key order.
    Whole(Vec<Arc<Entity>>),
    /// What has changed since the cut before, in the order of versions.
    Changes(Vec<Delta>),
}

/// Why this cannot go on: begin again with a new [`Replica`]. What is shown may stay.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// There is more than the cache may hold.
    #[error("there is more than the cache may hold")]
    Full,
    /// A record of ours is not what it has to be.
    #[error("the record at [{}]@{} cannot be read: {why}", place.partition, place.offset)]
    Unreadable {
        /// Where it lies.
        place: Place,
        /// What is wrong with it.
        why: String,
    },
    /// The topic ends before what was read of it: it is not the one that it was.
    #[error("the topic was made anew")]
    Recreated,
    /// The topic has partitions that were not read.
    #[error("the topic has more partitions than before")]
    Repartitioned,
}

/// What a cache that was never filled waits for; its text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting<'a> {
    /// The topic is being read.
    Reading,
    /// The broadcast compares everything with the topic.
    Comparing,
    /// Nobody has ever said how far the scope is broadcast.
    Nobody {
        /// What is waited for.
        subject: &'a Subject,
        /// `ce_source` of the records that are waited for.
        source: &'a str,
        /// Other namespaces that are broadcast, each by itself.
        namespaces: Vec<&'a str>,
        /// Other sources that the topic has.
        sources: Vec<&'a str>,
    },
    /// The kind is broadcast to another topic.
    Elsewhere {
        /// Its name.
        topic: &'a str,
    },
}

/// The cache of one scope, as far as it has been read.
#[derive(Debug)]
pub struct Replica {
    subject: Subject,
    ours: Ours,
    broadcasters: Broadcasters,
    limit: usize,
    /// What is shown, but for our own writes.
    table: Shelf,
    /// What was read and is not shown yet, in the order of each partition.
    waiting: Vec<(Place, Told)>,
    /// Keys whose last record told their deletion: the tombstone that follows says nothing new.
    deleted: HashSet<Key>,
    table_bytes: usize,
    waiting_bytes: usize,
    /// Of the last cut; absent before the first.
    shown: Option<Version>,
    /// The broadcast has begun to compare since the last cut.
    comparing: bool,
    /// The positions that were there at the beginning have been read.
    positioned: bool,
    /// The chosen broadcast has told a position that no cut was begun for.
    moved: bool,
    next: Offsets,
    cut: Option<Coming>,
}

/// A cut under way.
#[derive(Debug)]
struct Coming {
    version: Version,
    /// What lies before these was sent before the position.
    offsets: Offsets,
    written: SystemTime,
    /// What has to be read; absent until it is known.
    ends: Option<Offsets>,
}

/// Why a cut cannot be told as changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// Nothing is shown yet.
    First,
    /// The broadcast has compared everything with the topic: what was told before does not count.
    Compared,
    /// Something between was not seen.
    Broken,
}

impl Replica {
    /// Nothing read yet. `first` is the first offset of each partition; `limit` bounds the bytes of what is held.
    pub fn new(subject: Subject, first: Offsets, limit: usize) -> Self {
        let Subject { cluster, topic, kind, namespace } = &subject;
        let ours = Ours::new(cluster, kind, namespace.clone());
        let broadcasters = Broadcasters::new(cluster, topic, kind, namespace.as_deref());
        Self {
            subject,
            ours,
            broadcasters,
            limit,
            table: Shelf::default(),
            waiting: Vec::new(),
            deleted: HashSet::new(),
            table_bytes: 0,
            waiting_bytes: 0,
            shown: None,
            comparing: false,
            positioned: false,
            moved: false,
            next: first,
            cut: None,
        }
    }

    /// Takes the next record of its partition.
    ///
    /// # Errors
    /// When this cannot go on.
    pub fn take(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let Place { partition, offset } = record.place;
        if self.next.get(&partition).is_some_and(|next| offset < *next) {
            // The consumer was sent back to the beginning, where there is another topic of that name.
            return Err(Fault::Recreated);
        }
        self.reach(partition, offset + 1);
        let Some(told) = self.ours.read(record)? else { return Ok(()) };
        match &told {
            Told::State { entity, .. } => drop(self.deleted.remove(&entity.key)),
            Told::Deleted { entity, .. } => drop(self.deleted.insert(entity.key.clone())),
            Told::Tombstone(key) if self.deleted.remove(key) => return Ok(()),
            Told::Tombstone(_) => {}
        }
        self.waiting_bytes += told.bytes();
        self.waiting.push((record.place, told));
        if self.shown.is_none() && self.waiting.len().is_multiple_of(FOLD) {
            self.fold();
        }
        if self.table_bytes + self.waiting_bytes > self.limit { Err(Fault::Full) } else { Ok(()) }
    }

    /// Takes the next record of the topic of positions; `written` is its time.
    ///
    /// # Errors
    /// When this cannot go on.
    pub fn position(&mut self, key: &str, value: Option<&[u8]>, written: SystemTime) -> Result<(), Fault> {
        match self.broadcasters.take(key, value, written) {
            Heard::Nothing => return Ok(()),
            Heard::Moved => {}
            Heard::Rewound => return Err(Fault::Recreated),
            Heard::Changed => {
                self.comparing = true;
                self.cut = None;
            }
        }
        self.moved = true;
        self.settle()
    }

    /// Everything that was in the topic of positions at the beginning has been taken.
    ///
    /// # Errors
    /// When this cannot go on.
    pub fn positions_read(&mut self) -> Result<(), Fault> {
        if self.positioned {
            return Ok(());
        }
        self.positioned = true;
        self.broadcasters.choose();
        self.moved = true;
        self.settle()
    }

    /// A partition has been read up to `next`, records that are not shown to a reader included.
    pub fn reach(&mut self, partition: i32, next: i64) {
        let here = self.next.entry(partition).or_insert(next);
        *here = next.max(*here);
    }

    /// Whether the ends of the partitions are wanted, as they are from now on: answer with [`Replica::ends`].
    pub fn wants_ends(&mut self) -> bool {
        if self.cut.is_none() && self.positioned && self.moved {
            self.moved = false;
            let stand = self.broadcasters.chosen_stand();
            self.cut = stand.and_then(|stand| {
                let (version, offsets) = (stand.version?, stand.offsets.clone());
                Some(Coming { version, offsets, written: stand.written, ends: None })
            });
        }
        self.cut.as_ref().is_some_and(|cut| cut.ends.is_none())
    }

    /// The end of each partition, whatever is committed of it, asked for after [`Replica::wants_ends`].
    ///
    /// # Errors
    /// When this cannot go on.
    pub fn ends(&mut self, ends: Offsets) -> Result<(), Fault> {
        let known = |partition: &i32| self.next.get(partition).copied();
        if ends.iter().any(|(partition, end)| known(partition).is_some_and(|next| next > *end)) {
            return Err(Fault::Recreated);
        }
        if ends.keys().any(|partition| known(partition).is_none()) {
            return Err(Fault::Repartitioned);
        }
        if let Some(cut) = &mut self.cut {
            cut.ends = Some(ends);
        }
        Ok(())
    }

    /// Whether only reading on is left to do until the next cut.
    pub fn is_due(&self) -> bool {
        self.cut.as_ref().is_some_and(|cut| cut.ends.is_some())
    }

    /// How many offsets are still to be read until then.
    pub fn left(&self) -> i64 {
        let ends = self.cut.iter().filter_map(|cut| cut.ends.as_ref()).flatten();
        ends.map(|(partition, end)| (end - self.next.get(partition).copied().unwrap_or(0)).max(0)).sum()
    }

    /// The next cut, if all that it needs has been read.
    pub fn next_cut(&mut self) -> Option<Cut> {
        if !self.is_due() || self.left() > 0 {
            return None;
        }
        let Coming { version, offsets, written, .. } = self.cut.take()?;
        let released = self.release(version, &offsets);
        let content = match self.changes(&released, version) {
            Ok(changes) => {
                self.follow(&changes);
                Content::Changes(changes)
            }
            Err(Gap::Compared) if !self.comparing => {
                // It said so in a position that is still to be read, and the next one after that is the one to show.
                let newer = std::mem::replace(&mut self.waiting, released);
                self.waiting.extend(newer);
                self.waiting_bytes = bytes(&self.waiting);
                self.comparing = true;
                return None;
            }
            Err(Gap::First | Gap::Compared | Gap::Broken) => {
                self.apply(released);
                Content::Whole(self.table.behind(None).cloned().collect())
            }
        };
        self.shown = Some(version);
        self.comparing = false;
        Some(Cut { version, written, content })
    }

    /// When the broadcast last said how far it is.
    pub fn heard(&self) -> Option<SystemTime> {
        self.broadcasters.chosen_stand().map(|stand| stand.written)
    }

    /// What a cache that was never filled waits for.
    pub fn waiting(&self) -> Waiting<'_> {
        if !self.positioned {
            return Waiting::Reading;
        }
        match self.broadcasters.chosen_stand() {
            None => Waiting::Nobody {
                subject: &self.subject,
                source: self.ours.source(),
                namespaces: self.broadcasters.others().collect(),
                sources: self.ours.strangers().collect(),
            },
            Some(stand) => match &stand.elsewhere {
                Some(topic) => Waiting::Elsewhere { topic },
                None if stand.version.is_none() => Waiting::Comparing,
                None => Waiting::Reading,
            },
        }
    }

    /// What a new position means for the cut under way.
    fn settle(&mut self) -> Result<(), Fault> {
        let Some(stand) = self.broadcasters.chosen_stand() else { return Ok(()) };
        if stand.offsets.keys().any(|partition| !self.next.contains_key(partition)) {
            return Err(Fault::Repartitioned);
        }
        if stand.version.is_none() {
            // What it compares may already be among what was read: no cut lies in between.
            self.comparing = true;
            self.cut = None;
        }
        Ok(())
    }

    /// Folds what is certain into the table, before anything is shown.
    fn fold(&mut self) {
        let stand = self.broadcasters.chosen_stand().filter(|_| self.positioned);
        let certain = stand.and_then(|stand| Some((stand.version?, stand.offsets.clone())));
        if let Some((version, offsets)) = certain {
            let released = self.release(version, &offsets);
            self.apply(released);
        }
    }

    /// What belongs to a cut at `version`; the rest goes on waiting. What lies before `offsets` was sent before and so belongs, whatever its version: after
    /// an etcd restored to the past it may be higher. So does what was found by comparing, and what is superseded by something that belongs.
    fn release(&mut self, version: Version, offsets: &Offsets) -> Vec<(Place, Told)> {
        let belongs = |(place, told): &(Place, Told)| {
            let before = offsets.get(&place.partition).is_some_and(|offset| place.offset < *offset);
            before
                || match told {
                    Told::State { entity, .. } => entity.version <= version,
                    Told::Deleted { entity, found } => *found || entity.version <= version,
                    Told::Tombstone(_) => false,
                }
        };
        if self.waiting.iter().all(belongs) {
            self.waiting_bytes = 0;
            return std::mem::take(&mut self.waiting);
        }
        let mut last: HashMap<Key, usize> = HashMap::new();
        for (index, read) in self.waiting.iter().enumerate().filter(|(_, read)| belongs(read)) {
            last.insert(read.1.key().clone(), index);
        }
        let mut newer: HashSet<Key> = HashSet::new();
        let (mut released, mut waiting) = (Vec::new(), Vec::new());
        for (index, read) in std::mem::take(&mut self.waiting).into_iter().enumerate() {
            let told = &read.1;
            let superseded = last.get(told.key()).is_some_and(|last| index <= *last);
            let alone = matches!(told, Told::Tombstone(_)) && !newer.contains(told.key());
            if superseded || alone {
                released.push(read);
            } else {
                newer.insert(told.key().clone());
                waiting.push(read);
            }
        }
        self.waiting_bytes = bytes(&waiting);
        self.waiting = waiting;
        released
    }

    /// The changes that lead from what is shown to `version`, or why that cannot be said.
    fn changes(&self, released: &[(Place, Told)], version: Version) -> Result<Vec<Delta>, Gap> {
        let Some(shown) = self.shown else { return Err(Gap::First) };
        if self.comparing || version < shown {
            return Err(Gap::Compared);
        }
        let mut ordered: Vec<(Version, &Told)> = Vec::with_capacity(released.len());
        for (_, told) in released {
            // A tombstone without its deletion: that one was compacted away.
            ordered.push((told.entity().ok_or(Gap::Broken)?.version, told));
        }
        ordered.sort_by_key(|(version, _)| *version);
        let mut here: HashMap<&Key, Option<&Arc<Entity>>> = HashMap::new();
        let mut changes = Vec::with_capacity(ordered.len());
        for (_, told) in ordered {
            let before = here.get(told.key()).copied().unwrap_or_else(|| self.table.find(told.key()));
            let Some(delta) = change(told, before, shown)? else { continue };
            here.insert(told.key(), (delta.change != Change::Deleted).then_some(told.entity()).flatten());
            changes.push(delta);
        }
        Ok(changes)
    }

    fn follow(&mut self, changes: &[Delta]) {
        for Delta { change, entity } in changes {
            if *change == Change::Deleted {
                self.remove(&entity.key);
            } else {
                self.put(Arc::clone(entity));
            }
        }
    }

    /// Takes records as they lie in the topic: of a key the last one is right, but for repetitions of an older one.
    fn apply(&mut self, released: Vec<(Place, Told)>) {
        for (_, told) in released {
            let before = self.table.find(told.key());
            match told {
                Told::State { entity, met } => {
                    if met || before.is_none_or(|before| before.version < entity.version) {
                        self.put(entity);
                    }
                }
                Told::Deleted { entity, found } => {
                    let fits = |before: &Arc<Entity>| before.version < entity.version || before.uid == entity.uid;
                    if found || before.is_some_and(fits) {
                        self.remove(&entity.key);
                    }
                }
                Told::Tombstone(key) => self.remove(&key),
            }
        }
    }

    fn put(&mut self, entity: Arc<Entity>) {
        self.remove(&entity.key);
        self.table_bytes += entity.footprint();
        self.table.insert(ByKey(entity));
    }

    fn remove(&mut self, key: &Key) {
        if let Some(before) = self.table.take(key) {
            self.table_bytes -= before.footprint();
        }
    }
}

fn bytes(read: &[(Place, Told)]) -> usize {
    read.iter().map(|(_, told)| told.bytes()).sum()
}

/// What a record changes, if anything, where `before` is what there is and everything up to `shown` has been told.
fn change(told: &Told, before: Option<&Arc<Entity>>, shown: Version) -> Result<Option<Delta>, Gap> {
    let newer = |entity: &Arc<Entity>| before.is_none_or(|before| before.version < entity.version);
    let delta = |change, entity: &Arc<Entity>| Ok(Some(Delta { change, entity: Arc::clone(entity) }));
    match told {
        Told::State { entity, met: true } if before == Some(entity) => Ok(None),
        Told::State { met: true, .. } => Err(Gap::Compared),
        Told::Deleted { found: true, .. } if before.is_none() => Ok(None),
        Told::Deleted { found: true, .. } => Err(Gap::Compared),
        Told::State { entity, .. } => match before {
            _ if !newer(entity) => Ok(None),
            None if entity.version <= shown => Ok(None),
            Some(before) if before.uid != entity.uid || entity.version <= shown => Err(Gap::Broken),
            Some(_) => delta(Change::Modified, entity),
            None => delta(Change::Added, entity),
        },
        Told::Deleted { entity, .. } => match before {
            None => Ok(None),
            _ if !newer(entity) => Ok(None),
            Some(before) if before.uid != entity.uid || entity.version <= shown => Err(Gap::Broken),
            Some(_) => delta(Change::Deleted, entity),
        },
        Told::Tombstone(_) => Err(Gap::Broken),
    }
}

impl fmt::Display for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reading => f.write_str("reading the topic"),
            Self::Comparing => f.write_str("the sidecar that broadcasts the kind compares what exists with the topic"),
            Self::Elsewhere { topic } => {
                write!(f, "the kind is broadcast to the topic {topic}: name that one (kinds[].topic)")
            }
            Self::Nobody { subject, source, namespaces, sources } => {
                let Subject { cluster, topic, kind, namespace } = subject;
                let plural = &kind.plural;
                match namespace {
                    Some(namespace) => write!(f, "nobody has broadcast {plural} of namespace {namespace}")?,
                    None => write!(f, "nobody has broadcast {plural} of all namespaces")?,
                }
                write!(f, " and cluster {cluster} to the topic {topic}")?;
                if !namespaces.is_empty() {
                    let each = namespaces.join(", ");
                    write!(f, "; what is broadcast is each of {each}: name these (kinds[].namespaces)")
                } else if !sources.is_empty() {
                    let found = sources.join(", ");
                    write!(f, "; the topic tells of {found} and not of {source}: is it the right topic and cluster?")
                } else {
                    f.write_str("; a sidecar that owns the kind, with source: watch and kafka, has to")
                }
            }
        }
    }
}
