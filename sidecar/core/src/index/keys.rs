//! A set of entities in the order of their keys that costs no allocation of its own while it has one: most values of a date or an id stand in one entity.

use crate::entity::{ByKey, Key, Named};
use crate::shelf::Shelf;

/// Entities by their keys: a reference to one takes a quarter of what its key would take.
#[derive(Debug)]
pub enum Keys {
    /// None or one.
    Few(Option<ByKey>),
    /// Any number; it stays a shelf when keys go.
    Many(Box<Shelf>),
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
                *self = Self::Many(Box::new(one.take().into_iter().chain([entity]).collect()));
                true
            }
            Self::Many(keys) => keys.insert(entity),
        }
    }

    /// Takes a key out; false when it was not there.
    pub fn remove(&mut self, key: &Key) -> bool {
        match self {
            Self::Few(one) => one.take_if(|ByKey(one)| one.key == *key).is_some(),
            Self::Many(keys) => keys.take(key).is_some(),
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
    pub fn behind(&self, begin: Option<&Key>) -> impl Iterator<Item = &Key> + use<'_> {
        let (few, many) = match self {
            Self::Few(one) => (one.as_ref().map(|ByKey(one)| &one.key), None),
            Self::Many(keys) => (None, Some(keys.behind(begin.map(|key| key as &dyn Named)))),
        };
        let few = few.filter(|one| begin.is_none_or(|begin| *one > begin));
        few.into_iter().chain(many.into_iter().flatten().map(|entity| &entity.key))
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
