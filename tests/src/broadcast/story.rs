//! The records of one key, read as a story: lives one after the other, each from its first event to its deletion and tombstone.

use std::collections::BTreeSet;

use contract::record::Event;

use super::lives::Truth;
use super::{Fault, Findings, Moment, Skipped, State, Told, What};

/// The last that was told of an entity.
#[derive(Debug, Clone)]
pub(super) struct Last<'a> {
    pub(super) uid: &'a str,
    pub(super) state: &'a State,
    pub(super) alive: bool,
    version: u64,
    era: usize,
}

/// What a key's records leave.
#[derive(Debug, Default)]
pub(super) struct End<'a> {
    /// Absent: nothing was told.
    pub(super) last: Option<Last<'a>>,
    /// What was told and not acknowledged to anybody.
    pub(super) unexplained: BTreeSet<String>,
}

/// The reader of one key's records.
pub(super) struct Story<'a, 'b> {
    truth: &'b Truth<'a>,
    gaps: &'b [(Moment, Moment)],
    key: &'b str,
    findings: &'b mut Findings,
    end: End<'a>,
    /// A deletion was told, and its tombstone was not.
    open: bool,
}

/// An event's parts.
struct Page<'a> {
    event: Event,
    uid: &'a str,
    version: u64,
    state: &'a State,
    skipped: Skipped,
    learned: Moment,
    place: (i32, i64),
    produced: Moment,
}

impl<'a, 'b> Story<'a, 'b> {
    pub(super) fn new(
        truth: &'b Truth<'a>,
        gaps: &'b [(Moment, Moment)],
        key: &'b str,
        findings: &'b mut Findings,
    ) -> Self {
        Self { truth, gaps, key, findings, end: End::default(), open: false }
    }

    pub(super) fn read(mut self, told: &[&'a Told]) -> End<'a> {
        for told in told {
            match &told.what {
                What::Tombstone if self.open => self.open = false,
                What::Tombstone => self.tell(Fault::Order, told.place, "a tombstone that follows no deletion"),
                What::Event { event, id: (uid, version), state, skipped, learned } => {
                    if std::mem::take(&mut self.open) {
                        self.tell(Fault::LostDeletion, told.place, "the deletion before has no tombstone");
                    }
                    self.event(&Page {
                        event: *event,
                        uid,
                        version: *version,
                        state,
                        skipped: *skipped,
                        learned: *learned,
                        place: told.place,
                        produced: told.produced,
                    });
                }
            }
        }
        if self.open {
            self.tell(Fault::LostDeletion, (-1, -1), "the last deletion has no tombstone");
        }
        self.end
    }

    fn tell(&mut self, fault: Fault, place: (i32, i64), what: &str) {
        self.findings.tell(fault, format!("{} at {place:?}: {what}", self.key));
    }

    fn event(&mut self, page: &Page<'a>) {
        self.findings.events += 1;
        let era = self.truth.era(page.learned);
        let deleted = page.event == Event::Deleted;
        self.findings.deletions += u64::from(deleted);
        self.is_true(page);
        let last = self.end.last.take();
        // Once after a restore, a state that was met, an end that was found, or the beginning of a life where there was none may be older than what was told before.
        let restored = last.as_ref().is_some_and(|last| last.era < era);
        let found = page.event == Event::Snapshot || deleted && page.skipped == Skipped::Unknown;
        if let Some(last) = &last
            && page.version <= last.version
            && !(restored && (found || !last.alive))
        {
            let what = format!("version {} is told after {}", page.version, last.version);
            self.tell(Fault::Order, page.place, &what);
        }
        let before = self.goes_on(page, last.as_ref(), restored);
        self.account(page, before, found, restored);
        // An end that was found has its version from before the restore.
        let era = last.filter(|_| deleted && found).map_or(era, |last| last.era);
        self.end.last = Some(Last { uid: page.uid, state: page.state, alive: !deleted, version: page.version, era });
        self.open = deleted;
    }

    /// Whether the event fits behind what was told before; the generation that it goes on from, if that is known.
    fn goes_on(&mut self, page: &Page<'a>, last: Option<&Last<'a>>, restored: bool) -> Option<u64> {
        let place = page.place;
        match last {
            Some(last) if last.uid == page.uid && last.alive => {
                if page.event == Event::Created {
                    self.tell(Fault::Order, place, "created twice");
                }
                Some(last.state.generation)
            }
            Some(last) if last.uid == page.uid => {
                if !(restored && page.event == Event::Snapshot) {
                    self.tell(Fault::Order, place, "it goes on after its deletion");
                }
                None
            }
            last => {
                if last.is_some_and(|last| last.alive) {
                    self.tell(
                        Fault::LostDeletion,
                        place,
                        "another life begins, and the end of the one before is not told",
                    );
                }
                match page.event {
                    Event::Snapshot => None,
                    Event::Created | Event::Deleted => Some(0),
                    Event::Updated => {
                        self.tell(Fault::Unaccounted, place, "a life begins with an update");
                        None
                    }
                }
            }
        }
    }

    /// Compares the versions that were passed over with what the record says of them.
    fn account(&mut self, page: &Page<'a>, before: Option<u64>, found: bool, restored: bool) {
        // A deletion shows the last state again.
        let own = u64::from(page.event != Event::Deleted);
        let generation = page.state.generation;
        let passed = before.and_then(|before| generation.checked_sub(before + own));
        let in_gap = self.gaps.iter().any(|(begin, end)| *begin <= page.produced && page.produced <= *end);
        if found && !in_gap {
            self.tell(
                Fault::Unaccounted,
                page.place,
                "a state that was met, or an end that was found, and nobody compared",
            );
        }
        match (page.skipped, passed) {
            // A life whose first event is a state that was met: nobody says what was before, or it lies before a restore.
            (skipped, None) if page.event == Event::Snapshot && (before.is_none() || restored) => {
                let unknown = if before.is_none() { generation.saturating_sub(1) } else { 0 };
                self.findings.unknown += unknown;
                if let Skipped::Known(count @ 1..) = skipped {
                    self.tell(Fault::Unaccounted, page.place, &format!("{count} are counted that nobody can know of"));
                }
            }
            // Said already, or older than what was told before the restore.
            (_, None) if before.is_none() || restored && found => {}
            (_, None) => {
                let what = format!("generation {generation} is told after {before:?}");
                self.tell(Fault::Order, page.place, &what);
            }
            (Skipped::Known(count), Some(passed)) => {
                self.findings.counted += count;
                let honest = count == passed && (page.event != Event::Snapshot || restored);
                if !honest {
                    let what = format!("{passed} versions were passed over, and {count} are counted");
                    self.tell(Fault::Unaccounted, page.place, &what);
                }
            }
            (Skipped::Unknown, Some(passed)) if found => self.findings.unknown += passed,
            (Skipped::Unknown, Some(_)) => {
                self.tell(
                    Fault::Unaccounted,
                    page.place,
                    "a change that was seen, and nobody knows what was passed over",
                );
            }
        }
    }

    /// Whether what is told was written.
    fn is_true(&mut self, page: &Page<'a>) {
        let deleted = page.event == Event::Deleted;
        let word = match deleted {
            true => self.truth.had(page.uid, page.state),
            false if page.state.version != page.version => Some(Err("its id names another version".to_owned())),
            false => self.truth.has(page.uid, page.state, page.produced),
        };
        match word {
            Some(Ok(())) => {}
            Some(Err(why)) => {
                let what = format!("{} is told as {:?}: {why}", page.uid, page.state);
                self.tell(Fault::Untrue, page.place, &what);
            }
            None => {
                // A deletion shows what was told before, or passes over it: the same state is one thing to explain.
                self.end.unexplained.insert(format!("was told as {}, generation {}", page.uid, page.state.generation));
            }
        }
        if deleted && !self.truth.has_ended(self.key, page.uid, page.produced) {
            self.end.unexplained.insert(format!("was told as deleted, {}", page.uid));
        }
    }
}
