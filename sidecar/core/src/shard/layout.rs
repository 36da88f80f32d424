//! When work in a shard may begin although another replica may still count the kind's shards differently, as in a rolling update.
//!
//! Owns the rules. Each shard's Lease says for which number of shards (the *layout*) it stands; the first one's is the one in force. Whoever holds a
//! shard's Lease may work if that says its own number, and the first one's too when read since. To change the layout takes the Leases of all shards,
//! of the old number and the new, at once: they are collected in order, so that two who both want to never wait for each other; each but the first is
//! marked with the new number, and the first when all others stand. So no write that arrives late and no Lease that is lost meanwhile lets work begin
//! in two layouts: who takes a marked Lease sees it, and a mark is only ever written into the very Lease that was held.
//! It decides for one replica what it wants of each Lease; [`super::spread`] decides which of equal replicas.

/// What a replica knows of one Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Known {
    /// Whether it holds it.
    pub holds: bool,
    /// The layout that stands in it; absent where it was not read or says none.
    pub layout: Option<u32>,
    /// Whether the first one's layout was asked for since it came to hold it.
    pub read_since: bool,
}

/// What it is to do about one Lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Guidance {
    /// Whether to take it when it is free; who holds it unwanted ends the work and hands it over.
    pub want: bool,
    /// Whether to work in the shard, while the Lease is held.
    pub work: bool,
    /// The layout to write into it while it is held.
    pub declare: Option<u32>,
}

/// What to do about each Lease, by number; there are guidances for the shards of both layouts.
///
/// `own` is how many shards this replica counts, `wanted` which of them are to be this one's, and `known` what it knows of each Lease. `in_force` is
/// what the first one's Lease says, or 1 where that says nothing; absent while it was not read.
pub fn guide(own: u32, in_force: Option<u32>, wanted: &dyn Fn(u32) -> bool, known: &[Known]) -> Vec<Guidance> {
    let of = |shard: u32| known.get(shard as usize).copied().unwrap_or_default();
    let first = |guidance| vec![guidance];
    match in_force {
        None => first(Guidance { want: true, ..Guidance::default() }),
        Some(layout) if layout == own => {
            (0..own).map(|shard| settled(own, shard, wanted(shard), of(shard), of(0))).collect()
        }
        Some(layout) => {
            let all = own.max(layout);
            let held = (0..all).take_while(|shard| of(*shard).holds).count();
            let complete = held == all as usize;
            let marked = complete && (1..all).all(|shard| of(shard).layout == Some(own));
            (0..all)
                .map(|shard| Guidance {
                    want: shard as usize <= held,
                    work: false,
                    declare: (if shard == 0 { marked } else { complete }).then_some(own),
                })
                .collect()
        }
    }
}

/// In one's own layout. A Lease that says another was left so by somebody who did not come to the end of a change: it is the first one's holder's to mark.
fn settled(own: u32, shard: u32, wanted: bool, known: Known, first: Known) -> Guidance {
    if shard == 0 {
        return Guidance { want: wanted, work: wanted && known.holds, declare: None };
    }
    if known.layout == Some(own) {
        return Guidance { want: wanted, work: wanted && known.holds && known.read_since, declare: None };
    }
    Guidance { want: first.holds, work: false, declare: (first.holds && known.holds).then_some(own) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Known = Known { holds: false, layout: None, read_since: false };

    fn held(layout: u32) -> Known {
        Known { holds: true, layout: Some(layout), read_since: true }
    }

    fn wants(guidance: &[Guidance]) -> Vec<bool> {
        guidance.iter().map(|guidance| guidance.want).collect()
    }

    fn declares(guidance: &[Guidance]) -> Vec<Option<u32>> {
        guidance.iter().map(|guidance| guidance.declare).collect()
    }

    #[test]
    fn before_anything_was_read_only_the_first_is_wanted() {
        assert_eq!(guide(3, None, &|_| true, &[]), [Guidance { want: true, work: false, declare: None }]);
    }

    #[test]
    fn one_shard_needs_nothing_but_its_lease() {
        let plain = Known { holds: true, layout: None, read_since: false };
        assert_eq!(guide(1, Some(1), &|_| true, &[plain]), [Guidance { want: true, work: true, declare: None }]);
    }

    #[test]
    fn in_ones_own_layout_work_begins_once_it_was_read_since() {
        let unread = Known { read_since: false, ..held(3) };
        let guidance = guide(3, Some(3), &|shard| shard != 2, &[unread, unread, held(3)]);
        assert_eq!(wants(&guidance), [true, true, false]);
        let work: Vec<bool> = guidance.iter().map(|guidance| guidance.work).collect();
        assert_eq!(work, [true, false, false], "the first one's own Lease says what is in force");
        assert!(guide(2, Some(2), &|_| true, &[held(2), held(2)]).iter().all(|guidance| guidance.work));
    }

    #[test]
    fn in_anothers_layout_leases_are_collected_in_order_marked_and_the_first_last() {
        assert_eq!(wants(&guide(3, Some(2), &|_| true, &[FREE, FREE, FREE])), [true, false, false]);
        assert_eq!(wants(&guide(3, Some(2), &|_| true, &[held(2), FREE, FREE])), [true, true, false]);
        let complete = guide(2, Some(3), &|_| true, &[held(3), held(3), held(3)]);
        assert_eq!(declares(&complete), [None, Some(2), Some(2)]);
        let marked = guide(2, Some(3), &|_| true, &[held(3), held(2), held(2)]);
        assert_eq!(declares(&marked), [Some(2), Some(2), Some(2)]);
        assert!(complete.iter().chain(&marked).all(|guidance| !guidance.work));
    }

    #[test]
    fn what_an_unfinished_change_left_is_marked_by_the_firsts_holder_alone() {
        let left = Known { layout: Some(4), ..FREE };
        assert_eq!(wants(&guide(2, Some(2), &|_| true, &[FREE, left])), [true, false]);
        assert_eq!(wants(&guide(2, Some(2), &|shard| shard == 0, &[held(2), left])), [true, true]);
        let taken = guide(2, Some(2), &|_| true, &[held(2), held(4)]);
        assert_eq!(
            (declares(&taken), taken.iter().any(|guidance| guidance.work && guidance.declare.is_some())),
            (vec![None, Some(2)], false)
        );
    }
}
