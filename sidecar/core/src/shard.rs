//! Shards: slices of a kind's keys, each worked on by one sidecar at a time.
//!
//! Owns which key lies in which shard. [`spread`] says whose a shard should be, [`roster`] who is there to take one, and [`layout`] when work in a
//! shard may begin although others may still count shards differently. It never does IO; `sidecar/src/leases.rs` carries it out.

pub mod layout;
pub mod mark;
#[cfg(test)]
mod model;
pub mod roster;
pub mod spread;

use crate::entity::Key;
use crate::fnv;

/// One of `count` slices of a kind's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shard {
    /// From 0.
    pub index: u32,
    /// How many there are; at least 1.
    pub count: u32,
}

impl Shard {
    /// All keys.
    pub const WHOLE: Self = Self { index: 0, count: 1 };

    /// All shards of a kind; `count` is taken for at least 1.
    pub fn all(count: u32) -> impl Iterator<Item = Self> {
        let count = count.max(1);
        (0..count).map(move |index| Self { index, count })
    }

    /// Whether the key lies in this slice. The same in every process and release.
    pub fn holds(self, key: &Key) -> bool {
        self.count <= 1 || hash(key) % u64::from(self.count) == u64::from(self.index)
    }
}

/// Of `NAMESPACE/ID`.
fn hash(key: &Key) -> u64 {
    let namespace = key.namespace.as_deref().unwrap_or_default();
    let hash = [namespace, "/", &key.id].iter().fold(fnv::BASIS, |hash, part| fnv::fold(hash, part.as_bytes()));
    fnv::mix(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u32) -> Key {
        Key { namespace: Some("shop".into()), id: format!("order-{id}").into() }
    }

    #[test]
    fn every_key_lies_in_exactly_one_shard_and_shards_are_about_as_large() {
        for count in [1, 2, 3, 7, 64] {
            let mut sizes = vec![0_u32; count as usize];
            for id in 0..6400 {
                let holding: Vec<Shard> = Shard::all(count).filter(|shard| shard.holds(&key(id))).collect();
                assert_eq!(holding.len(), 1);
                sizes[holding[0].index as usize] += 1;
            }
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            assert!(*least > 0 && most - least < 6400 / count, "{sizes:?}");
        }
    }

    #[test]
    fn where_a_key_lies_never_changes_from_one_release_to_the_next() {
        let places: Vec<u32> =
            (0..8).map(|id| Shard::all(5).find(|shard| shard.holds(&key(id))).unwrap().index).collect();
        assert_eq!(places, [3, 4, 0, 0, 2, 0, 3, 3]);
    }
}
