//! Which replica should work on which shard: all have about as many, and few move when a replica comes or goes.
//!
//! Owns the rule, which every replica computes for itself from the same names. It decides wishes only: what keeps two from one shard is its Lease.

use crate::fnv;

/// The replica of each of `count` shards, as a place in `replicas`; empty when there are no replicas.
///
/// Each replica takes `count / replicas` shards or one more. Among those who have room for it a shard goes to the one whose name scores highest
/// together with the shard's number (rendezvous hashing). The order of `replicas` does not matter.
pub fn spread(count: u32, replicas: &[&str]) -> Vec<usize> {
    let Some(base) = (count as usize).checked_div(replicas.len()) else { return Vec::new() };
    let mut more = count as usize % replicas.len();
    let mut loads = vec![0_usize; replicas.len()];
    let mut places = Vec::with_capacity(count as usize);
    for shard in 0..count {
        let best = loads
            .iter()
            .enumerate()
            .filter(|(_, load)| **load < base || **load == base && more > 0)
            .filter_map(|(place, _)| Some((score(replicas.get(place)?, shard), place)))
            .max_by_key(|(score, place)| (*score, replicas.get(*place)));
        let Some((_, place)) = best else { break };
        if let Some(load) = loads.get_mut(place) {
            more -= usize::from(*load == base);
            *load += 1;
        }
        places.push(place);
    }
    places
}

fn score(replica: &str, shard: u32) -> u64 {
    fnv::mix(fnv::fold(fnv::fold(fnv::BASIS, replica.as_bytes()), &shard.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|at| format!("todo-app-7c9f-{at}")).collect()
    }

    fn owners(count: u32, replicas: &[String]) -> Vec<String> {
        let names: Vec<&str> = replicas.iter().map(String::as_str).collect();
        spread(count, &names).into_iter().map(|place| replicas[place].clone()).collect()
    }

    proptest! {
        #[test]
        fn every_shard_has_an_owner_and_loads_differ_by_one_at_most(count in 1..64_u32, replicas in 1..20_usize) {
            let replicas = names(replicas);
            let owners = owners(count, &replicas);
            prop_assert_eq!(owners.len(), count as usize);
            let mut loads: BTreeMap<&String, usize> = replicas.iter().map(|name| (name, 0)).collect();
            owners.iter().for_each(|owner| *loads.entry(owner).or_default() += 1);
            let (least, most) = (loads.values().min().unwrap(), loads.values().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", loads);
        }

        #[test]
        fn the_order_of_the_names_does_not_matter(count in 1..64_u32, replicas in 1..20_usize) {
            let forth = names(replicas);
            let mut back = forth.clone();
            back.reverse();
            prop_assert_eq!(owners(count, &forth), owners(count, &back));
        }
    }

    #[test]
    fn few_shards_move_when_a_replica_comes() {
        let (three, four) = (owners(60, &names(3)), owners(60, &names(4)));
        let moved = three.iter().zip(&four).filter(|(before, after)| before != after).count();
        assert!((15..=30).contains(&moved), "{moved} of 60, of which 15 must");
    }

    #[test]
    fn nobody_there_is_nobodys_wish() {
        assert!(spread(4, &[]).is_empty());
        assert_eq!(spread(2, &["a"]), [0, 0]);
    }
}
