//! Notices an entity that keeps itself busy: whose reconciling changes children again and again while nobody changed the entity.
//!
//! A child that changes calls for reconciling, so an app whose answer is another each time (a time stamp in a ConfigMap) never comes to rest, and would keep
//! API server and app busy without end. Kept only of entities whose children were changed lately. Pure.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::entity::Key;

/// So many times within [`WINDOW`] is more than any controller needs to come to rest.
pub const MOST: u32 = 20;
/// Over which changes are counted.
const WINDOW: Duration = Duration::from_secs(60);
/// How long one that keeps itself busy is left alone.
pub const PENALTY: Duration = Duration::from_secs(60);
/// Entities beyond are forgotten, the oldest ones first.
const KEPT: usize = 10_000;

/// What is counted of entities.
#[derive(Debug, Default)]
pub struct Pace {
    sprees: HashMap<Key, Spree>,
}

#[derive(Debug)]
struct Spree {
    generation: i64,
    since: Instant,
    count: u32,
}

impl Pace {
    /// An entity of this generation was reconciled; answers whether it keeps itself busy.
    pub fn reconciled(&mut self, key: &Key, generation: i64, changed_children: bool, now: Instant) -> bool {
        if !changed_children {
            self.sprees.remove(key);
            return false;
        }
        if self.sprees.len() >= KEPT {
            self.sprees.retain(|_, spree| now.saturating_duration_since(spree.since) < WINDOW);
            if self.sprees.len() >= KEPT {
                self.sprees.clear();
            }
        }
        let begin = || Spree { generation, since: now, count: 0 };
        let spree = self.sprees.entry(key.clone()).or_insert_with(begin);
        let over = now.saturating_duration_since(spree.since) >= WINDOW;
        if spree.generation != generation || over {
            *spree = begin();
        }
        spree.count += 1;
        if spree.count <= MOST {
            return false;
        }
        self.sprees.remove(key);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn key() -> Key {
        Key { namespace: None, id: Arc::from("a") }
    }

    /// How many of so many reconciliations, each after such a time, were too many.
    fn noticed(count: u32, each: Duration, generation: impl Fn(u32) -> i64, changed: impl Fn(u32) -> bool) -> u32 {
        let (mut pace, mut now, mut noticed) = (Pace::default(), Instant::now(), 0);
        for turn in 0..count {
            noticed += u32::from(pace.reconciled(&key(), generation(turn), changed(turn), now));
            now += each;
        }
        noticed
    }

    #[test]
    fn only_an_entity_that_never_comes_to_rest_is_noticed() {
        let second = Duration::from_secs(1);
        assert_eq!(noticed(100, second, |_| 1, |_| true), 4);
        assert_eq!(noticed(20, second, |_| 1, |_| true), 0);
        assert_eq!(noticed(1000, 4 * second, |_| 1, |_| true), 0, "slow enough");
        assert_eq!(noticed(1000, second, |_| 1, |turn| turn % 10 != 0), 0, "it comes to rest");
        assert_eq!(noticed(1000, second, |turn| i64::from(turn / 15), |_| true), 0, "somebody changes it");
    }
}
