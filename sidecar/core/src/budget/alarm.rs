//! When to say that little of a budget is left: once at 60 %, once at 80 %, and once more when it is better again. Pure.

/// How much of a bound is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    /// Less than 60 %.
    #[default]
    Fine,
    /// At least 60 %.
    High,
    /// At least 80 %.
    Critical,
}

/// The level as it was last told.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alarm {
    level: Level,
}

/// How far under its threshold a level ends, so that use around a threshold is not told again and again.
const CALM: f64 = 0.05;

impl Level {
    /// The per cent from which on it is reached.
    pub fn per_cent(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::High => 60,
            Self::Critical => 80,
        }
    }

    fn from(self) -> f64 {
        f64::from(self.per_cent()) / 100.0
    }
}

impl Alarm {
    /// The level now.
    pub fn level(self) -> Level {
        self.level
    }

    /// Looks at the use (1: all of it); answers the new level where it is another one.
    pub fn look(&mut self, used: f64) -> Option<Level> {
        let holds = |level: &Level| {
            let threshold = if *level <= self.level { level.from() - CALM } else { level.from() };
            used >= threshold
        };
        let level = [Level::Critical, Level::High].into_iter().find(holds).unwrap_or_default();
        let changed = level != self.level;
        self.level = level;
        changed.then_some(level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_is_told_once_and_ends_only_well_below_its_threshold() {
        let mut alarm = Alarm::default();
        let mut told = |used: f64| alarm.look(used);
        assert_eq!(told(0.59), None);
        assert_eq!(told(0.60), Some(Level::High));
        assert_eq!(told(0.79), None);
        assert_eq!(told(0.56), None, "still high");
        assert_eq!(told(0.81), Some(Level::Critical));
        assert_eq!(told(0.76), None, "still critical");
        assert_eq!(told(0.74), Some(Level::High));
        assert_eq!(told(0.79), None);
        assert_eq!(told(0.54), Some(Level::Fine));
        assert_eq!(told(1.5), Some(Level::Critical));
        assert_eq!(told(0.0), Some(Level::Fine));
    }
}
