//! What the API server acknowledged to writers, what a topic tells of it, and which of it cannot be true together.
//!
//! Owns the rules of a run in which everything around the sidecars may fail. They are those of docs/spec/records.md, and whoever judges by them knows two
//! things: the API server's audit log and the topic, as any consumer reads it. Each write changes `spec`, so that an entity's generation counts its versions.
//!
//! A write whose answer was lost may have had its effect: the topic may tell of it, and need not. All else is strict: what is told was written; each
//! entity's last state and its deletion are told; nothing is told twice; versions only grow; and what was passed over is counted, or lies in a *gap*, while a sidecar
//! compared a whole state with the topic. Gaps are known from the positions.
//!
//! The store may be restored to the past. Nobody writes when the snapshot is taken nor while it is put back, so each write lies in one *era*.

pub mod audit;
mod lives;
mod story;
pub mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use contract::record::Event;

use lives::Truth;
use story::Story;

/// Milliseconds since 1970.
pub type Moment = u64;

/// A state of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its version.
    pub version: u64,
    /// How often `spec` was written.
    pub generation: u64,
    /// What was written.
    pub message: String,
}

/// What came of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// It is this state of this uid.
    Stored(String, State),
    /// This uid is gone.
    Deleted(String),
    /// It may have had its effect: nobody knows.
    Maybe,
}

/// A write that the API server received and did not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// `NAMESPACE/ID`; absent where nobody knows of which entity.
    pub key: Option<String>,
    /// When the API server received it.
    pub received: Moment,
    /// And then.
    pub came: Came,
}

/// Versions that were passed over since an entity's last record, as the record says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skipped {
    /// So many.
    Known(u64),
    /// Nobody knows.
    Unknown,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Its event.
    Event {
        /// Which.
        event: Event,
        /// The two parts of `ce_id`.
        id: (String, u64),
        /// The entity in its value.
        state: State,
        /// `kab_skipped`; none is 0.
        skipped: Skipped,
        /// When the sidecar learned of it.
        learned: Moment,
    },
    /// Nothing: the key is gone.
    Tombstone,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `NAMESPACE/ID`.
    pub key: String,
    /// Its partition and offset, for people.
    pub place: (i32, i64),
    /// When it was sent.
    pub produced: Moment,
    /// What it says.
    pub what: What,
}

/// A store that was put back to a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restore {
    /// When the snapshot was taken.
    pub taken: Moment,
    /// When it was put back.
    pub at: Moment,
}

/// Everything of one run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// In the order in which they were received.
    pub writes: Vec<Write>,
    /// Each key's in their order.
    pub told: Vec<Told>,
    /// When the whole state was compared with the topic: from the position that says so to the one that says that it is done.
    pub gaps: Vec<(Moment, Moment)>,
    /// In their order.
    pub restores: Vec<Restore>,
}

/// Kinds of what can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The topic does not end with what there is.
    LostState,
    /// A life ended, and the topic does not say so, or without its tombstone.
    LostDeletion,
    /// The same change was told twice.
    Repeated,
    /// An older version was told after a newer one, or the events of a life are in no order that can be.
    Order,
    /// Versions were passed over, and the record counts others.
    Unaccounted,
    /// Nobody wrote that.
    Untrue,
}

/// All of them, each with its name.
pub const FAULTS: [(Fault, &str); 6] = [
    (Fault::LostState, "lost final states"),
    (Fault::LostDeletion, "lost deletions"),
    (Fault::Repeated, "repeated `ce_id`"),
    (Fault::Order, "order violations"),
    (Fault::Unaccounted, "passed-over versions not accounted for"),
    (Fault::Untrue, "told and never written"),
];

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = FAULTS.iter().find(|(fault, _)| fault == self).map_or("?", |(_, name)| name);
        out.write_str(name)
    }
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// What is wrong, one sentence each.
    pub wrong: Vec<(Fault, String)>,
    /// What was counted: writes.
    pub acknowledged: u64,
    /// Writes of which nobody knows whether they had an effect.
    pub maybe: u64,
    /// Of these, which the topic shows.
    pub shown: u64,
    /// Records with an event.
    pub events: u64,
    /// Deletions told.
    pub deletions: u64,
    /// Versions passed over that `kab_skipped` counts.
    pub counted: u64,
    /// Versions passed over in gaps, where it says `unknown`.
    pub unknown: u64,
    /// Lives that began and ended in a gap.
    pub unseen: u64,
}

impl Findings {
    /// How many things of this kind are wrong.
    pub fn count(&self, fault: Fault) -> usize {
        self.wrong.iter().filter(|(found, _)| *found == fault).count()
    }

    fn tell(&mut self, fault: Fault, what: String) {
        self.wrong.push((fault, what));
    }
}

/// Judges a run.
pub fn judge(history: &History) -> Findings {
    let truth = Truth::of(history);
    let mut findings = Findings::default();
    for write in &history.writes {
        match write.came {
            Came::Maybe => findings.maybe += 1,
            Came::Stored(..) | Came::Deleted(_) => findings.acknowledged += 1,
        }
    }
    let mut keys: BTreeMap<&str, Vec<&Told>> = truth.keys().map(|key| (key, Vec::new())).collect();
    for told in &history.told {
        keys.entry(&told.key).or_default().push(told);
    }
    let mut ends = BTreeMap::new();
    for (key, told) in &keys {
        let end = Story::new(&truth, &history.gaps, key, &mut findings).read(told);
        truth.ends_with(key, &end, &mut findings);
        ends.insert(*key, end);
    }
    truth.explain(&ends, &mut findings);
    truth.unseen(history, &mut findings);
    repeated(history, &truth, &mut findings);
    findings
}

fn repeated(history: &History, truth: &Truth<'_>, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for told in &history.told {
        if let What::Event { id: (uid, version), learned, .. } = &told.what
            && !seen.insert((truth.era(*learned), uid, version))
        {
            findings.tell(Fault::Repeated, format!("{} has {uid}/{version} again at {:?}", told.key, told.place));
        }
    }
}

#[cfg(test)]
mod tests;
