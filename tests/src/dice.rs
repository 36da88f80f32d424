//! Numbers that look random and follow from a seed, so that a run can be repeated. Not for secrets.

/// A die; clones go on with the same numbers.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Another die, whose numbers have nothing to do with those of this one.
    #[must_use]
    pub fn another(&mut self) -> Self {
        Self { state: self.number() }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        // SplitMix64, by Steele, Lea and Flood.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `faces`, which is more than 0.
    pub fn throw(&mut self, faces: usize) -> usize {
        let faces = u64::try_from(faces.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.number() % faces).unwrap_or_default()
    }

    /// A number from the first to the last, both included.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.number() % (last.saturating_sub(first) + 1)
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.throw(from.len()))
    }

    /// The same things in another order.
    pub fn shuffled<T: Clone>(&mut self, from: &[T]) -> Vec<T> {
        let mut left = from.to_vec();
        let mut shuffled = Vec::new();
        while !left.is_empty() {
            shuffled.push(left.swap_remove(self.throw(left.len())));
        }
        shuffled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_its_numbers_and_another_has_others() {
        let numbers = |seed| {
            let mut dice = Dice::new(seed);
            (0..100).map(|_| dice.throw(1000)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        let different: std::collections::BTreeSet<usize> = numbers(7).into_iter().collect();
        assert!(different.len() > 80, "{different:?}");
    }

    #[test]
    fn what_is_shuffled_is_all_there() {
        let mut shuffled = Dice::new(1).shuffled(&[1, 2, 3, 4, 5, 6, 7]);
        assert_ne!(shuffled, [1, 2, 3, 4, 5, 6, 7]);
        shuffled.sort_unstable();
        assert_eq!(shuffled, [1, 2, 3, 4, 5, 6, 7]);
        let mut dice = Dice::new(2);
        assert!((0..100).map(|_| dice.between(3, 5)).all(|number| (3..=5).contains(&number)));
    }
}
