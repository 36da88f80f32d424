//! Which faults come when. Pure: the same seed is the same script.

use std::time::{Duration, Instant};

use crate::dice::Dice;

/// How much time there is.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Before each fault: from, to.
    pub calm: (Duration, Duration),
    /// How long a fault lasts at least: from, to.
    pub lasts: (Duration, Duration),
}

/// When a script ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// When each fault has come so often.
    Rounds(usize),
    /// With the first fault that would begin after that.
    After(Duration),
}

/// A fault and its time.
#[derive(Debug, Clone)]
pub struct Step<F> {
    /// Before it.
    pub calm: Duration,
    /// What happens.
    pub fault: F,
    /// For how long, at least.
    pub lasts: Duration,
    /// For what else there is to be decided about it.
    pub dice: Dice,
}

/// A script without an end: each fault once, in any order, and so on.
#[derive(Debug, Clone)]
pub struct Script<F> {
    palette: Vec<F>,
    pace: Pace,
    dice: Dice,
    round: Vec<F>,
}

impl<F: Clone> Script<F> {
    /// The script of a seed; the palette has at least one fault.
    pub fn new(seed: u64, palette: &[F], pace: Pace) -> Self {
        Self { palette: palette.to_vec(), pace, dice: Dice::new(seed), round: Vec::new() }
    }

    /// The script up to there.
    pub fn until(self, end: End) -> impl Iterator<Item = Step<F>> {
        let (start, steps) = (Instant::now(), self.palette.len());
        self.enumerate()
            .take_while(move |(number, _)| match end {
                End::Rounds(rounds) => *number < rounds.saturating_mul(steps),
                End::After(time) => start.elapsed() < time,
            })
            .map(|(_, step)| step)
    }

    fn time(&mut self, (from, to): (Duration, Duration)) -> Duration {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.dice.between(millis(from), millis(to)))
    }
}

impl<F: Clone> Iterator for Script<F> {
    type Item = Step<F>;

    fn next(&mut self) -> Option<Step<F>> {
        if self.round.is_empty() {
            self.round = self.dice.shuffled(&self.palette);
        }
        let fault = self.round.pop()?;
        let calm = self.time(self.pace.calm);
        let lasts = self.time(self.pace.lasts);
        Some(Step { calm, fault, lasts, dice: self.dice.another() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(seed: u64) -> Script<char> {
        let pace = Pace {
            calm: (Duration::from_millis(100), Duration::from_millis(200)),
            lasts: (Duration::from_millis(500), Duration::from_millis(900)),
        };
        Script::new(seed, &['a', 'b', 'c', 'd'], pace)
    }

    #[test]
    fn each_round_has_every_fault_once_and_a_seed_repeats_it() {
        let told = |seed| {
            script(seed).until(End::Rounds(2)).map(|step| (step.fault, step.calm, step.lasts)).collect::<Vec<_>>()
        };
        assert_eq!(told(5), told(5));
        assert_ne!(told(5), told(6));
        for round in told(5).chunks(4) {
            let mut faults: Vec<char> = round.iter().map(|(fault, ..)| *fault).collect();
            faults.sort_unstable();
            assert_eq!(faults, ['a', 'b', 'c', 'd']);
        }
        assert!(told(5).iter().all(
            |(_, calm, lasts)| (100..=200).contains(&calm.as_millis()) && (500..=900).contains(&lasts.as_millis())
        ));
    }
}
