//! Who takes part in a kind's shards, as told by marks that each replica renews.
//!
//! Owns who counts as there. A replica is there while its mark changes: whether it did is judged by the local clock alone, from when a mark was first
//! seen so, and no time that another wrote is compared with it. It never reads or writes the marks; `sidecar/src/leases.rs` does.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lease::Moment;
use crate::shard::mark::Mark;

/// After so many times the duration in which a replica counts as there, its mark is taken away.
const FORGOTTEN: u32 = 6;

/// The replicas of one kind and scope.
#[derive(Debug, Clone)]
pub struct Roster {
    me: Mark,
    lasts: Duration,
    seen: BTreeMap<String, Seen>,
}

#[derive(Debug, Clone)]
struct Seen {
    mark: Mark,
    since: Moment,
}

impl Roster {
    /// Only `me` is there. Another is until its mark has not changed for `lasts`.
    pub fn new(me: Mark, lasts: Duration) -> Self {
        Self { me, lasts, seen: BTreeMap::new() }
    }

    /// This replica's next mark.
    pub fn beat(&mut self) -> &Mark {
        self.me.beat = self.me.beat.wrapping_add(1);
        &self.me
    }

    /// All marks as they were just read: by replica.
    pub fn observe(&mut self, marks: BTreeMap<String, Mark>, now: Moment) {
        self.seen.retain(|replica, _| marks.contains_key(replica));
        for (replica, mark) in marks {
            match self.seen.get_mut(&replica) {
                Some(seen) if seen.mark == mark => {}
                Some(seen) => *seen = Seen { mark, since: now },
                None => drop(self.seen.insert(replica, Seen { mark, since: now })),
            }
        }
    }

    /// Who is there to share the work, in the order of their names; always this replica too.
    pub fn present(&self, now: Moment) -> Vec<&str> {
        let others = self.others().filter(|(_, seen)| now < seen.since + self.lasts && seen.mark.is_peer_of(&self.me));
        let mut names: Vec<&str> = others.map(|(replica, _)| replica).chain([self.me.replica.as_str()]).collect();
        names.sort_unstable();
        names
    }

    /// Whose marks are to be taken away: they have not changed for long.
    pub fn forgotten(&self, now: Moment) -> Vec<String> {
        let long = self.lasts * FORGOTTEN;
        let gone = self.others().filter(|(_, seen)| now >= seen.since + long);
        gone.map(|(replica, _)| replica.to_owned()).collect()
    }

    fn others(&self) -> impl Iterator<Item = (&str, &Seen)> {
        self.seen
            .iter()
            .map(|(replica, seen)| (replica.as_str(), seen))
            .filter(|(replica, _)| *replica != self.me.replica)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Moment {
        Duration::from_secs(count)
    }

    fn mark(replica: &str, beat: u64) -> Mark {
        Mark { replica: replica.to_owned(), app: None, shards: 4, beat }
    }

    fn marks(of: &[(&str, u64)]) -> BTreeMap<String, Mark> {
        of.iter().map(|(replica, beat)| ((*replica).to_owned(), mark(replica, *beat))).collect()
    }

    #[test]
    fn a_replica_is_there_while_its_mark_changes() {
        let mut roster = Roster::new(mark("me", 0), seconds(10));
        assert_eq!(roster.present(seconds(0)), ["me"]);
        roster.observe(marks(&[("a", 1), ("me", 1), ("z", 7)]), seconds(100));
        assert_eq!(roster.present(seconds(109)), ["a", "me", "z"]);
        roster.observe(marks(&[("a", 2), ("me", 1), ("z", 7)]), seconds(109));
        assert_eq!(roster.present(seconds(118)), ["a", "me"], "z stood still, and I am always there");
        roster.observe(marks(&[("me", 9)]), seconds(119));
        assert_eq!(roster.present(seconds(119)), ["me"], "a has left in good order");
    }

    #[test]
    fn who_counts_shards_otherwise_is_not_counted() {
        let mut roster = Roster::new(mark("me", 0), seconds(10));
        let other = Mark { shards: 3, ..mark("a", 1) };
        roster.observe(BTreeMap::from([("a".to_owned(), other)]), seconds(1));
        assert_eq!(roster.present(seconds(1)), ["me"]);
        assert_eq!((roster.beat().beat, roster.beat().beat), (1, 2));
    }

    #[test]
    fn marks_of_the_dead_are_taken_away_in_the_end() {
        let mut roster = Roster::new(mark("me", 0), seconds(10));
        roster.observe(marks(&[("a", 1), ("me", 1)]), seconds(0));
        assert!(roster.forgotten(seconds(59)).is_empty());
        assert_eq!(roster.forgotten(seconds(60)), ["a"]);
    }
}
