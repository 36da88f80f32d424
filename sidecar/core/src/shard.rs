//! Which shard an entity belongs to: the same in every process and release, so that replicas agree without asking each other.
//!
//! The bridge and everything else that one replica does for others goes by it.

use crate::entity::Key;
use crate::envelope;
use crate::fnv;

/// The shard of a key among `shards` of them (0 counts as 1).
pub fn shard(key: &Key, shards: u32) -> u32 {
    let hash = fnv::mix(fnv::fold(fnv::BASIS, envelope::key(key).as_bytes()));
    // A remainder of a u32 is one.
    u32::try_from(hash % u64::from(shards.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str) -> Key {
        Key { namespace: Some("shop".into()), id: id.into() }
    }

    #[test]
    fn a_key_s_shard_never_changes() {
        let at = |id: &str| shard(&key(id), 16);
        assert_eq!([at("milk"), at("bread"), at("eggs")], AGREED);
        assert_eq!(shard(&key("milk"), 1), 0);
        assert_eq!(shard(&key("milk"), 0), 0);
    }

    const AGREED: [u32; 3] = [1, 3, 7];

    #[test]
    fn shards_get_about_as_many_keys_each() {
        let mut counts = [0_u32; 5];
        for number in 0..10_000 {
            counts[shard(&key(&format!("todo-{number}")), 5) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
    }
}
