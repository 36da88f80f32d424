//! Whose positions say how far the topic tells everything of a scope: the broadcast of that very namespace, or that of all namespaces.
//!
//! Owns the choice between the two, by who wrote last. Never reads Kafka: [`super::Replica`] hands over each record of the topic of positions.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::kind::Kind;
use crate::ledger::position::{Offsets, Position, identity};
use crate::version::Version;

/// A broadcast that has told no position for so long gives way to another that tells of the scope too. Also an idle one tells about once a minute.
const SILENT: Duration = Duration::from_secs(300);
/// Some of the other scopes are named to people.
const OTHERS: usize = 3;

/// How far a broadcast has come, as it last said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stand {
    /// Absent while it compares a whole state with the topic.
    pub(super) version: Option<Version>,
    /// The partitions that it knew of.
    pub(super) offsets: Offsets,
    /// When it said so.
    pub(super) written: SystemTime,
    /// Another topic that it writes to.
    pub(super) elsewhere: Option<String>,
}

/// The broadcasts that tell of a scope.
#[derive(Debug)]
pub(super) struct Broadcasters {
    topic: String,
    /// Keys of positions; the first is that of the very scope.
    keys: Vec<String>,
    /// How each has come, by its place among the keys.
    stands: Vec<Option<Stand>>,
    chosen: Option<usize>,
    /// Before and after the scope in a position's key.
    around: (String, String),
    others: BTreeSet<String>,
}

/// What a record of the topic of positions was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nothing that counts.
    Nothing,
    /// The chosen broadcast says how far it is.
    Moved,
    /// It speaks of lower offsets than before: the topic is not the one that it was.
    Rewound,
    /// Another one is chosen from now on.
    Changed,
}

#[derive(Deserialize)]
struct Written {
    topic: String,
}

impl Broadcasters {
    pub(super) fn new(cluster: &str, topic: &str, kind: &Kind, namespace: Option<&str>) -> Self {
        let of = |scope: &str| identity(cluster, scope, kind);
        let keys: Vec<String> = namespace.map(of).into_iter().chain([of("*")]).collect();
        let around = of("*");
        let (before, after) = around.split_once('*').unwrap_or((&around, ""));
        let stands = keys.iter().map(|_| None).collect();
        let around = (before.to_owned(), after.to_owned());
        Self { topic: topic.to_owned(), keys, stands, chosen: None, around, others: BTreeSet::new() }
    }

    /// Takes the next record. Until [`Broadcasters::choose`] nothing is chosen.
    pub(super) fn take(&mut self, key: &str, value: Option<&[u8]>, written: SystemTime) -> Heard {
        let Some(index) = self.keys.iter().position(|ours| ours == key) else {
            let scope = key.strip_prefix(&self.around.0).and_then(|rest| rest.strip_suffix(&self.around.1));
            if let Some(scope) = scope.filter(|_| self.others.len() < OTHERS) {
                self.others.insert(scope.to_owned());
            }
            return Heard::Nothing;
        };
        let Some(place) = self.stands.get_mut(index) else { return Heard::Nothing };
        let stand = value.and_then(|value| read(value, &self.topic, written));
        let before = std::mem::replace(place, stand.clone());
        match self.chosen {
            Some(chosen) if chosen == index => match (before, stand) {
                (Some(before), Some(stand)) if stand.lies_before(&before) => Heard::Rewound,
                _ => Heard::Moved,
            },
            Some(_) => {
                let heard = self.chosen_stand().map(|stand| stand.written);
                let silent = |heard| written.duration_since(heard).is_ok_and(|gap| gap > SILENT);
                if heard.is_some_and(|heard| !silent(heard)) {
                    return Heard::Nothing;
                }
                self.chosen = Some(index);
                Heard::Changed
            }
            None => Heard::Nothing,
        }
    }

    /// Everything there was has been read: who wrote last is chosen. With nobody there it is whoever comes first.
    pub(super) fn choose(&mut self) {
        let written = |index: &usize| self.stands.get(*index)?.as_ref().map(|stand| stand.written);
        self.chosen = (0..self.stands.len()).rev().max_by_key(written);
    }

    /// How far the chosen one is, if it has said so.
    pub(super) fn chosen_stand(&self) -> Option<&Stand> {
        self.stands.get(self.chosen?)?.as_ref()
    }

    /// Some of the namespaces that are broadcast, where it is not ours.
    pub(super) fn others(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(String::as_str)
    }
}

impl Stand {
    fn lies_before(&self, other: &Self) -> bool {
        other.offsets.iter().any(|(partition, offset)| self.offsets.get(partition).is_some_and(|ours| ours < offset))
    }
}

/// `None` for what is no position: whoever wrote it has to write another one.
fn read(value: &[u8], ours: &str, written: SystemTime) -> Option<Stand> {
    let Written { topic } = serde_json::from_slice(value).ok()?;
    let Position { version, offsets } = Position::from_json(value, ours).ok()?;
    let elsewhere = (topic != ours).then_some(topic);
    Some(Stand { version, offsets, written, elsewhere })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::todo;

    const SHOP: &str = "kab.c.shop.todos.k8sasbackend.com";
    const ALL: &str = "kab.c.*.todos.k8sasbackend.com";

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn position(version: u64) -> Vec<u8> {
        Position { version: Some(Version(version)), offsets: Offsets::from([(0, 1)]) }.to_json("t").into_bytes()
    }

    fn version(broadcasters: &Broadcasters) -> Option<u64> {
        Some(broadcasters.chosen_stand()?.version?.0)
    }

    #[test]
    fn who_wrote_last_is_chosen_and_others_count_when_it_has_fallen_silent() {
        let mut both = Broadcasters::new("c", "t", &todo(), Some("shop"));
        assert_eq!(both.take(ALL, Some(&position(7)), at(10)), Heard::Nothing);
        assert_eq!(both.take(SHOP, Some(&position(5)), at(20)), Heard::Nothing);
        both.choose();
        assert_eq!(version(&both), Some(5));
        assert_eq!(both.take(ALL, Some(&position(8)), at(300)), Heard::Nothing);
        assert_eq!(both.take(SHOP, Some(&position(6)), at(310)), Heard::Moved);
        assert_eq!(version(&both), Some(6));
        assert_eq!(both.take(ALL, Some(&position(900)), at(611)), Heard::Changed);
        assert_eq!(version(&both), Some(900));
    }

    #[test]
    fn lower_offsets_than_before_are_those_of_another_topic() {
        let told = |offset| Position { version: None, offsets: Offsets::from([(0, offset)]) }.to_json("t").into_bytes();
        let mut one = Broadcasters::new("c", "t", &todo(), None);
        one.take(ALL, Some(&told(9)), at(10));
        one.take(ALL, Some(&told(5)), at(11));
        one.choose();
        assert_eq!(one.take(ALL, Some(&told(5)), at(12)), Heard::Moved);
        assert_eq!(one.take(ALL, Some(&told(4)), at(13)), Heard::Rewound);
    }

    #[test]
    fn with_nobody_there_whoever_comes_first_is_heard() {
        for key in [SHOP, ALL] {
            let mut broadcasters = Broadcasters::new("c", "t", &todo(), Some("shop"));
            broadcasters.choose();
            assert_ne!(broadcasters.take(key, Some(&position(5)), at(10)), Heard::Nothing, "{key}");
            assert_eq!(version(&broadcasters), Some(5));
        }
    }

    #[test]
    fn all_namespaces_are_told_by_nobody_who_tells_one() {
        let mut all = Broadcasters::new("c", "t", &todo(), None);
        all.take(SHOP, Some(&position(5)), at(10));
        all.take("kab.d.shop.todos.k8sasbackend.com", Some(&position(5)), at(10));
        all.take("kab.c.shop.orders.k8sasbackend.com", Some(&position(5)), at(10));
        all.choose();
        assert_eq!(version(&all), None);
        assert_eq!(all.others().collect::<Vec<_>>(), ["shop"]);
    }

    #[test]
    fn a_position_in_another_topic_names_it_and_a_removed_one_is_none() {
        let mut one = Broadcasters::new("c", "other", &todo(), Some("shop"));
        one.take(SHOP, Some(&position(5)), at(10));
        one.choose();
        let stand = one.chosen_stand().unwrap();
        assert_eq!((stand.version, stand.elsewhere.as_deref()), (None, Some("t")));
        assert_eq!(one.take(SHOP, None, at(11)), Heard::Moved);
        assert_eq!(one.chosen_stand(), None);
    }
}
