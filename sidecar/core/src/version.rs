//! Versions of entities: Kubernetes' resourceVersions, compared as numbers.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// A resourceVersion. Since Kubernetes 1.35 two of one kind may be compared as numbers by contract; before, they were so in fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version(pub u64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Version {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Self)
    }
}
