//! How far an app has acknowledged the changes of a kind: all up to a version, but for those of a few entities.
//!
//! Owns the form in which it is kept: an annotation of the Lease that its keeper holds. `1234`, or `1234 but 1200 1210-1230`: everything up to 1234 is
//! acknowledged, but not change 1200 and not 1210 to 1230, each of one entity. Whose changes they are shows when the API server tells the first
//! of them again: from there on nothing of that entity is acknowledged.

use std::fmt;
use std::str::FromStr;

use crate::version::Version;

/// Entities that a place names: a few kilobytes at most, as each takes 41 bytes at most and usually ten.
pub const MOST_EXCEPTIONS: usize = 64;

/// A place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Up to here everything is acknowledged, but for the exceptions.
    pub version: Version,
    /// One for each entity of which something is not.
    pub exceptions: Vec<Exception>,
}

/// The changes of one entity that are not acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exception {
    /// The first.
    pub first: Version,
    /// The last that lies within the place's version.
    pub last: Version,
}

/// A text is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is no place, such as 1234, or 1234 but 1200 1210-1230")]
pub struct PlaceFault;

impl Place {
    /// Behind which version changes may not be acknowledged.
    pub fn begin(&self) -> Version {
        let first = self.exceptions.iter().map(|exception| exception.first).min();
        first.map_or(self.version, |first| Version(first.0.saturating_sub(1)).min(self.version))
    }

    /// Whether the state of that version, which is the last one of its entity, is not acknowledged.
    pub fn lacks(&self, version: Version) -> bool {
        version > self.version || self.exceptions.iter().any(|gap| gap.first == version || gap.last == version)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version.fmt(f)?;
        let mut before = " but";
        for Exception { first, last } in &self.exceptions {
            write!(f, "{before} {first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            before = "";
        }
        Ok(())
    }
}

impl FromStr for Place {
    type Err = PlaceFault;

    fn from_str(text: &str) -> Result<Self, PlaceFault> {
        let read = |text: &str| text.parse::<Version>().map_err(|_| PlaceFault);
        let (version, exceptions) =
            text.split_once(" but ").map_or((text, None), |(version, but)| (version, Some(but)));
        let exceptions = exceptions.into_iter().flat_map(|but| but.split(' ')).map(|exception| {
            let (first, last) = exception.split_once('-').unwrap_or((exception, exception));
            Ok(Exception { first: read(first)?, last: read(last)? })
        });
        let exceptions: Vec<Exception> = exceptions.collect::<Result<_, _>>()?;
        if exceptions.iter().any(|exception| exception.last < exception.first) {
            return Err(PlaceFault);
        }
        Ok(Self { version: read(version)?, exceptions })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_written_for_people() {
        let exception = |first, last| Exception { first: Version(first), last: Version(last) };
        for (place, text) in [
            (Place { version: Version(1234), exceptions: vec![] }, "1234"),
            (
                Place { version: Version(1234), exceptions: vec![exception(1200, 1200), exception(1210, 1230)] },
                "1234 but 1200 1210-1230",
            ),
        ] {
            assert_eq!(place.to_string(), text);
            assert_eq!(text.parse(), Ok(place));
        }
        for text in ["", "x", "12 but", "12 but ", "12 but 3-2", "12 but 3,4", "-1"] {
            assert_eq!(text.parse::<Place>(), Err(PlaceFault), "{text:?}");
        }
    }

    #[test]
    fn the_largest_place_fits_into_an_annotation_many_times() {
        let worst = Exception { first: Version(u64::MAX - 1), last: Version(u64::MAX) };
        let place = Place { version: Version(u64::MAX), exceptions: vec![worst; MOST_EXCEPTIONS] };
        assert!(place.to_string().len() < 3 << 10, "{}", place.to_string().len());
    }

    proptest! {
        #[test]
        fn every_place_is_read_back(version in any::<u64>(), exceptions in proptest::collection::vec((0..1000u64, 0..9u64), 0..9)) {
            let exceptions = exceptions.into_iter().map(|(first, more)| Exception { first: Version(first), last: Version(first + more) });
            let place = Place { version: Version(version), exceptions: exceptions.collect() };
            prop_assert_eq!(place.to_string().parse(), Ok(place));
        }
    }
}
