//! A set of keys that costs no allocation of its own while it has one: most values of a date or an id stand in one entity.

use std::collections::{BTreeSet, btree_set};
use std::ops::Bound;

use crate::entity::Key;

/// Keys in their order.
#[derive(Debug)]
pub enum Keys {
    /// None or one.
    Few(Option<Key>),
    /// Any number; it stays a tree when keys go.
    Many(BTreeSet<Key>),
}

impl Default for Keys {
    fn default() -> Self {
        Self::Few(None)
    }
}

impl Keys {
    /// Adds a key; false when it was there.
    pub fn insert(&mut self, key: Key) -> bool {
        match self {
            Self::Few(Some(one)) if *one == key => false,
            Self::Few(one @ None) => {
                *one = Some(key);
                true
            }
            Self::Few(one) => {
                *self = Self::Many(one.take().into_iter().chain([key]).collect());
                true
            }
            Self::Many(keys) => keys.insert(key),
        }
    }

    /// Takes a key out; false when it was not there.
    pub fn remove(&mut self, key: &Key) -> bool {
        match self {
            Self::Few(one) => one.take_if(|one| one == key).is_some(),
            Self::Many(keys) => keys.remove(key),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Few(one) => usize::from(one.is_some()),
            Self::Many(keys) => keys.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The keys behind one, or all.
    pub fn behind(&self, begin: Option<&Key>) -> Behind<'_> {
        match self {
            Self::Few(one) => Behind::Few(one.iter().find(|one| begin.is_none_or(|begin| *one > begin))),
            Self::Many(keys) => {
                Behind::Many(keys.range::<Key, _>((begin.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)))
            }
        }
    }
}

/// What [`Keys::behind`] walks over.
#[derive(Debug)]
pub enum Behind<'k> {
    /// None or one.
    Few(Option<&'k Key>),
    /// Any number.
    Many(btree_set::Range<'k, Key>),
}

impl<'k> Iterator for Behind<'k> {
    type Item = &'k Key;

    fn next(&mut self) -> Option<&'k Key> {
        match self {
            Self::Few(one) => one.take(),
            Self::Many(keys) => keys.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_and_go_in_order() {
        let key = |id: &str| Key { namespace: None, id: id.into() };
        let ids =
            |keys: &Keys, begin: Option<&Key>| keys.behind(begin).map(|key| key.id.to_string()).collect::<Vec<_>>();
        let mut keys = Keys::default();
        assert!(keys.is_empty() && !keys.remove(&key("b")));
        assert!(keys.insert(key("b")) && !keys.insert(key("b")));
        assert_eq!((ids(&keys, None), ids(&keys, Some(&key("b"))).len()), (vec!["b".to_owned()], 0));
        assert!(keys.insert(key("a")) && keys.insert(key("c")) && !keys.insert(key("a")));
        assert_eq!(
            (ids(&keys, None), ids(&keys, Some(&key("a")))),
            (["a", "b", "c"].map(String::from).to_vec(), ["b", "c"].map(String::from).to_vec())
        );
        assert!(keys.remove(&key("a")) && keys.remove(&key("c")) && !keys.remove(&key("x")));
        assert_eq!((ids(&keys, None), keys.len()), (vec!["b".to_owned()], 1));
    }
}
