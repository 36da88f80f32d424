//! After a loss of history: what exists, compared with what the topic shows.
//!
//! Owns the decision which records make the topic right again. Called by the ledger once the topic has been read back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use contract::record::Event;

use crate::envelope;
use crate::ledger::batch::{Item, Vanished};
use crate::ledger::readback::{Known, Life, Readings, digest};
use crate::outbox::{Change, Relist, Skipped};

/// What must be told: deletions that were missed, in the order in which their bodies lie in the topic, and then the states that the
/// topic does not show, as `.snapshot`. Nothing for what is the same.
pub fn compare(relist: &Relist, mut readings: Readings) -> VecDeque<Item> {
    // Only an etcd restored to the past has a state older than a record of it. Versions are then given out a second time, so that an
    // equal version no longer means an equal state.
    let restored = readings.values().any(|known| known.version > relist.version);
    let mut gone = Vec::new();
    let mut tombstones = Vec::new();
    let mut present = Vec::new();
    for entity in &relist.entities {
        let key = envelope::key(&entity.key);
        let known = readings.remove(&key);
        let skipped = match &known {
            Some(known) if known.uid == entity.uid && known.life == Life::Alive => {
                if known.version == entity.version && !(restored && known.digest != digest(&entity.json)) {
                    continue;
                }
                Skipped::Unknown
            }
            _ => Skipped::Known(0),
        };
        if let Some(known) = known.filter(|known| known.uid != entity.uid || known.life != Life::Alive) {
            match end(key, known, relist.learned) {
                Item::Vanished(vanished) => gone.push(vanished),
                other => tombstones.push(other),
            }
        }
        present.push(Item::Change(Change {
            event: Event::Snapshot,
            entity: Arc::clone(entity),
            skipped,
            learned: relist.learned,
        }));
    }
    for (key, known) in readings {
        match end(key, known, relist.learned) {
            Item::Vanished(vanished) => gone.push(vanished),
            other => tombstones.push(other),
        }
    }
    gone.sort_unstable_by_key(|vanished| vanished.place);
    tombstones.into_iter().chain(gone.into_iter().map(Item::Vanished)).chain(present).collect()
}

/// What ends the life that a record tells of.
fn end(key: String, known: Known, learned: SystemTime) -> Item {
    if known.life == Life::Alive {
        let Known { uid, version: last, place, bytes, .. } = known;
        Item::Vanished(Vanished { key, uid, last, place, bytes, learned })
    } else {
        Item::Tombstone { key }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::batch::Place;
    use crate::ledger::testing::entity;
    use crate::version::Version;

    fn known(uid: &str, version: u64, life: Life) -> Known {
        let value = entity("x", uid, version).json;
        let place = Place { partition: 0, offset: i64::try_from(version).unwrap() };
        Known { uid: uid.into(), version: Version(version), life, digest: digest(&value), place, bytes: value.len() }
    }

    fn check(exists: &[(&str, &str, u64)], shown: &[(&str, Known)], version: u64, expected: &[&str]) {
        let relist = Relist {
            version: Version(version),
            entities: exists.iter().map(|(id, uid, version)| Arc::new(entity(id, uid, *version))).collect(),
            learned: SystemTime::UNIX_EPOCH,
        };
        let readings = shown.iter().map(|(id, known)| (format!("shop/{id}"), known.clone())).collect();
        let told: Vec<String> = compare(&relist, readings)
            .iter()
            .map(|item| match item {
                Item::Change(change) => {
                    format!(
                        "{:?} {} {} {:?}",
                        change.event, change.entity.key.id, change.entity.version, change.skipped
                    )
                }
                Item::Vanished(gone) => format!("vanished {} {}", gone.key, gone.deletion()),
                Item::Tombstone { key } => format!("tombstone {key}"),
            })
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn an_empty_topic_gets_every_state_as_a_snapshot() {
        check(&[("x", "u", 5), ("y", "w", 6)], &[], 9, &["Snapshot x 5 Known(0)", "Snapshot y 6 Known(0)"]);
    }

    #[test]
    fn what_is_the_same_version_is_not_told_again() {
        check(&[("x", "u", 5)], &[("x", known("u", 5, Life::Alive))], 9, &[]);
    }

    #[test]
    fn what_changed_is_told_with_a_gap_of_unknown_size() {
        check(&[("x", "u", 7)], &[("x", known("u", 5, Life::Alive))], 9, &["Snapshot x 7 Unknown"]);
    }

    #[test]
    fn what_vanished_is_deleted_in_the_order_of_the_topic() {
        let shown = [("y", known("w", 6, Life::Alive)), ("x", known("u", 5, Life::Alive))];
        check(&[], &shown, 9, &["vanished shop/x 6", "vanished shop/y 7"]);
    }

    #[test]
    fn another_life_of_the_same_name_ends_the_first_one_first() {
        let expected = ["vanished shop/x 6", "Snapshot x 8 Known(0)"];
        check(&[("x", "w", 8)], &[("x", known("u", 5, Life::Alive))], 9, &expected);
    }

    #[test]
    fn a_deletion_without_its_tombstone_gets_the_tombstone_alone() {
        check(&[], &[("x", known("u", 5, Life::Deleted))], 9, &["tombstone shop/x"]);
        let expected = ["tombstone shop/x", "Snapshot x 8 Known(0)"];
        check(&[("x", "w", 8)], &[("x", known("u", 5, Life::Deleted))], 9, &expected);
    }

    #[test]
    fn an_etcd_restored_to_the_past_is_told_though_versions_go_back() {
        check(&[("x", "u", 3)], &[("x", known("u", 5, Life::Alive))], 4, &["Snapshot x 3 Unknown"]);
    }

    #[test]
    fn a_version_given_out_twice_is_noticed_by_its_bytes() {
        let other = Known { digest: 1, ..known("u", 3, Life::Alive) };
        check(
            &[("x", "u", 3)],
            &[("x", other.clone()), ("y", known("w", 5, Life::Deleted))],
            4,
            &["tombstone shop/y", "Snapshot x 3 Unknown"],
        );
        check(&[("x", "u", 3)], &[("x", other)], 4, &[]);
    }
}
