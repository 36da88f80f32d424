//! A set of entities in the order of their keys that costs no allocation of its own while it has one: most values of a date or an id stand in one entity.

use std::collections::{BTreeSet, btree_set};
use std::ops::Bound;

use crate::entity::{ByKey, Key};

/// Entities by their keys: a reference to one takes a quarter of what its key would take.
#[derive(Debug)]
pub enum Keys {
    /// None or one.
    Few(Option<ByKey>),
    /// Any number; it stays a tree when keys go.
    Many(BTreeSet<ByKey>),
}

impl Default for Keys {
    fn default() -> Self {
        Self::Few(None)
    }
}

impl Keys {
    /// Adds an entity; false when one of its key was there, which stays.
    pub fn insert(&mut self, entity: ByKey) -> bool {
        match self {
            Self::Few(Some(one)) if *one == entity => false,
            Self::Few(one @ None) => {
                *one = Some(entity);
                true
            }
            Self::Few(one) => {
                *self = Self::Many(one.take().into_iter().chain([entity]).collect());
                true
            }
            Self::Many(keys) => keys.insert(entity),
        }
    }

    /// Takes a key out; false when it was not there.
    pub fn remove(&mut self, key: &Key) -> bool {
        match self {
            Self::Few(one) => one.take_if(|ByKey(one)| one.key == *key).is_some(),
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
            Self::Few(one) => {
                Behind::Few(one.iter().map(|ByKey(one)| &one.key).find(|one| begin.is_none_or(|begin| *one > begin)))
            }
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
    Many(btree_set::Range<'k, ByKey>),
}

impl<'k> Iterator for Behind<'k> {
    type Item = &'k Key;

    fn next(&mut self) -> Option<&'k Key> {
        match self {
            Self::Few(one) => one.take(),
            Self::Many(keys) => keys.next().map(|ByKey(entity)| &entity.key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::state;

    #[test]
    fn keys_come_and_go_in_order() {
        let key = |id: &str| state(id, id, 1).key.clone();
        let entity = |id: &str| ByKey(state(id, id, 1));
        let ids =
            |keys: &Keys, begin: Option<&Key>| keys.behind(begin).map(|key| key.id.to_string()).collect::<Vec<_>>();
        let mut keys = Keys::default();
        assert!(keys.is_empty() && !keys.remove(&key("b")));
        assert!(keys.insert(entity("b")) && !keys.insert(entity("b")));
        assert_eq!((ids(&keys, None), ids(&keys, Some(&key("b"))).len()), (vec!["b".to_owned()], 0));
        assert!(keys.insert(entity("a")) && keys.insert(entity("c")) && !keys.insert(entity("a")));
        assert_eq!(
            (ids(&keys, None), ids(&keys, Some(&key("a")))),
            (["a", "b", "c"].map(String::from).to_vec(), ["b", "c"].map(String::from).to_vec())
        );
        assert!(keys.remove(&key("a")) && keys.remove(&key("c")) && !keys.remove(&key("x")));
        assert_eq!((ids(&keys, None), keys.len()), (vec!["b".to_owned()], 1));
    }
}
