//! A set of entities in the order of their keys, packed: a hundred thousand references that come in order take hardly more than their own eight bytes each,
//! where a tree's nodes stay half empty. The cache keeps its entities in one, and the index each large set.
//!
//! The entities stand on boards of bounded length, all in order. To find one is a binary search over the boards and one on a board; to put one in moves
//! some hundred references.

use std::sync::Arc;

use crate::entity::{ByKey, Entity, Named};

/// Most entities on a board: two kibibytes to move at most.
const BOARD: usize = 256;

/// A board that is cut grows by a fourth each time, so that little of it is empty.
const GROWTH: usize = 4;

/// The set.
#[derive(Debug, Default)]
pub struct Shelf {
    /// None is empty.
    boards: Vec<Vec<ByKey>>,
    len: usize,
}

impl Shelf {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The entity of a key.
    pub fn find(&self, key: &dyn Named) -> Option<&Arc<Entity>> {
        let board = self.boards.get(self.board(key))?;
        let place = board.binary_search_by(|ByKey(entity)| entity.key.parts().cmp(&key.parts())).ok()?;
        board.get(place).map(|ByKey(entity)| entity)
    }

    /// Puts an entity in; false when one of its key is there, which stays.
    pub fn insert(&mut self, entity: ByKey) -> bool {
        let number = self.board(&entity.0.key);
        let Some(board) = self.boards.get_mut(number) else {
            self.boards.push(vec![entity]);
            self.len = 1;
            return true;
        };
        let Err(place) = board.binary_search(&entity) else { return false };
        self.len += 1;
        if board.len() < BOARD {
            put(board, place, entity);
        } else if place == BOARD {
            // Whoever comes behind all others most likely goes on so: nothing is cut in two, and nothing stays half empty.
            self.boards.insert(number + 1, vec![entity]);
        } else {
            let mut second = board.split_off(BOARD / 2);
            board.shrink_to_fit();
            match place.checked_sub(board.len()) {
                Some(place) => put(&mut second, place, entity),
                None => put(board, place, entity),
            }
            self.boards.insert(number + 1, second);
        }
        true
    }

    /// Takes the entity of a key out.
    pub fn take(&mut self, key: &dyn Named) -> Option<Arc<Entity>> {
        let number = self.board(key);
        let board = self.boards.get_mut(number)?;
        let place = board.binary_search_by(|ByKey(entity)| entity.key.parts().cmp(&key.parts())).ok()?;
        let ByKey(taken) = board.remove(place);
        self.len -= 1;
        let left = board.len();
        let fits_on = |other: Option<&Vec<ByKey>>| other.is_some_and(|other| left + other.len() <= BOARD / 2);
        if left == 0 {
            self.boards.remove(number);
        } else if fits_on(self.boards.get(number + 1)) {
            self.join(number);
        } else if number > 0 && fits_on(self.boards.get(number - 1)) {
            self.join(number - 1);
        }
        Some(taken)
    }

    /// Those behind a key, or all.
    pub fn behind(&self, key: Option<&dyn Named>) -> impl Iterator<Item = &Arc<Entity>> + use<'_> {
        let number = key.map_or(0, |key| self.board(key));
        let skipped = key.and_then(|key| {
            Some(self.boards.get(number)?.partition_point(|ByKey(entity)| entity.key.parts() <= key.parts()))
        });
        self.boards.iter().skip(number).flatten().skip(skipped.unwrap_or_default()).map(|ByKey(entity)| entity)
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The board on which the key stands or would stand: the last one that does not begin behind it.
    fn board(&self, key: &dyn Named) -> usize {
        let begins_behind =
            |board: &Vec<ByKey>| board.first().is_some_and(|ByKey(first)| first.key.parts() > key.parts());
        self.boards.partition_point(|board| !begins_behind(board)).saturating_sub(1)
    }

    fn join(&mut self, number: usize) {
        let second = self.boards.remove(number + 1);
        if let Some(first) = self.boards.get_mut(number) {
            first.extend(second);
            first.shrink_to_fit();
        }
    }
}

fn put(board: &mut Vec<ByKey>, place: usize, entity: ByKey) {
    if board.len() == board.capacity() {
        board.reserve_exact((board.len() / GROWTH).max(GROWTH).min(BOARD - board.len()));
    }
    board.insert(place, entity);
}

impl IntoIterator for Shelf {
    type Item = ByKey;
    type IntoIter = std::iter::Flatten<std::vec::IntoIter<Vec<ByKey>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.boards.into_iter().flatten()
    }
}

/// Of several entities with one key the last.
impl FromIterator<ByKey> for Shelf {
    fn from_iter<I: IntoIterator<Item = ByKey>>(entities: I) -> Self {
        let mut entities: Vec<ByKey> = entities.into_iter().collect();
        // The sort keeps the order of equals, and the first of those is what stays.
        entities.reverse();
        entities.sort();
        entities.dedup();
        let len = entities.len();
        let mut boards = Vec::with_capacity(len.div_ceil(BOARD));
        let mut rest = entities.into_iter();
        loop {
            let mut board = Vec::with_capacity(rest.len().min(BOARD));
            board.extend(rest.by_ref().take(BOARD));
            if board.is_empty() {
                break;
            }
            boards.push(board);
        }
        Self { boards, len }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::cache::tests::{key, state};
    use crate::entity::Key;

    fn id(number: u16) -> String {
        format!("{number:05}")
    }

    fn entity(number: u16, version: u64) -> ByKey {
        ByKey(state(&id(number), "u", version))
    }

    fn told(shelf: &Shelf, behind: Option<&Key>) -> Vec<(String, u64)> {
        let behind = behind.map(|key| key as &dyn Named);
        shelf.behind(behind).map(|entity| (entity.key.id.to_string(), entity.version.0)).collect()
    }

    /// No board is empty, out of order or too long.
    fn sound(shelf: &Shelf) {
        assert!(shelf.boards.iter().all(|board| (1..=BOARD).contains(&board.len()) && board.capacity() <= BOARD));
        let all: Vec<_> = shelf.behind(None).collect();
        assert_eq!(all.len(), shelf.len());
        assert!(all.is_sorted_by(|left, right| left.key < right.key));
    }

    #[test]
    fn what_comes_in_order_is_packed() {
        let mut one_by_one = Shelf::default();
        assert!((0..1000).all(|number| one_by_one.insert(entity(number, 1))));
        let at_once: Shelf = (0..1000).map(|number| entity(number, 1)).collect();
        for shelf in [one_by_one, at_once] {
            sound(&shelf);
            let room: usize = shelf.boards.iter().map(Vec::capacity).sum();
            assert!(shelf.boards.len() == 4 && room <= 1000 + BOARD / GROWTH, "{room}");
        }
    }

    #[test]
    fn of_several_with_one_key_the_last_is_taken() {
        let shelf: Shelf =
            [(2, 1), (1, 1), (2, 3), (2, 2)].map(|(number, version)| entity(number, version)).into_iter().collect();
        assert_eq!(told(&shelf, None), [(id(1), 1), (id(2), 2)]);
    }

    #[test]
    fn what_empties_gives_its_boards_back() {
        let mut shelf: Shelf = (0..2000).map(|number| entity(number, 1)).collect();
        for number in (0..2000).filter(|number| number % 20 != 0) {
            assert!(shelf.take(&key(&id(number))).is_some());
            assert!(shelf.take(&key(&id(number))).is_none());
        }
        sound(&shelf);
        assert_eq!((shelf.len(), shelf.boards.len()), (100, 1));
        (0..2000).for_each(|number| drop(shelf.take(&key(&id(number)))));
        assert!(shelf.is_empty() && shelf.boards.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn it_holds_what_a_map_holds(begin in 0_u16..600, acts in prop::collection::vec((0_u16..600, 0_u8..3), 0..900)) {
            let mut shelf: Shelf = (0..begin).map(|number| entity(number, 0)).collect();
            let mut map: BTreeMap<String, u64> = (0..begin).map(|number| (id(number), 0)).collect();
            for (version, (number, act)) in (1..).zip(acts) {
                if act == 0 {
                    let taken = shelf.take(&key(&id(number))).map(|entity| entity.version.0);
                    prop_assert_eq!(taken, map.remove(&id(number)));
                } else {
                    let is_new = shelf.insert(entity(number, version));
                    prop_assert_eq!(is_new, !map.contains_key(&id(number)));
                    map.entry(id(number)).or_insert(version);
                }
                let found = shelf.find(&key(&id(number))).map(|entity| entity.version.0);
                prop_assert_eq!(found, map.get(&id(number)).copied());
            }
            sound(&shelf);
            let behind = key(&id(begin / 2));
            let expected = map.range(id(begin / 2)..).filter(|(found, _)| **found != id(begin / 2));
            prop_assert_eq!(told(&shelf, Some(&behind)), expected.map(|(id, version)| (id.clone(), *version)).collect::<Vec<_>>());
        }
    }
}
