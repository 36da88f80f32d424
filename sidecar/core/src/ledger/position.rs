//! How far a kind has been broadcast, as it is kept in Kafka.
//!
//! Owns the JSON of a position record and the key under which it stands. Never reads or writes Kafka.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::kind::Kind;
use crate::version::Version;

/// For each partition of the kind's topic the offset from which on records may lie that a position does not know of.
pub type Offsets = BTreeMap<i32, i64>;

/// A position: every change up to the version is in the topic, or superseded by one that is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Position {
    /// Absent while a whole state is being compared with the topic: whoever starts then must do so again.
    pub version: Option<Version>,
    /// Where to read the topic on, to find what was sent after this position was written.
    pub offsets: Offsets,
}

#[derive(Serialize, Deserialize)]
struct Written {
    version: Option<String>,
    topic: String,
    #[serde(default)]
    offsets: Offsets,
}

/// Why a position record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PositionError {
    /// Not the JSON of a position.
    #[error("failed to read a position")]
    Syntax(#[from] serde_json::Error),
    /// The version is not a number.
    #[error("failed to read a position: its version {0:?} is not a number")]
    Version(String),
}

impl Position {
    /// The record's value, e.g. `{"version":"1234","topic":"t","offsets":{"0":17}}`.
    pub fn to_json(&self, topic: &str) -> String {
        let written = Written {
            version: self.version.map(|version| version.to_string()),
            topic: topic.to_owned(),
            offsets: self.offsets.clone(),
        };
        serde_json::to_string(&written).expect("strings and numbers with string keys are always JSON")
    }

    /// Reads a record's value. Members of a later form are ignored. The position in another topic says nothing of this one.
    ///
    /// # Errors
    /// When it is not a position; whoever reads it should then go on as if there were none, which is always right.
    pub fn from_json(value: &[u8], topic: &str) -> Result<Self, PositionError> {
        let written: Written = serde_json::from_slice(value)?;
        if written.topic != topic {
            return Ok(Self::default());
        }
        let version = match written.version {
            Some(text) => Some(text.parse().map_err(|_| PositionError::Version(text))?),
            None => None,
        };
        Ok(Self { version, offsets: written.offsets })
    }
}

/// Names a kind's broadcast in a cluster: the key of its position and the transactional id of its producer.
///
/// `scope` is a namespace, or `*` for all of them, which no namespace can be called.
pub fn identity(cluster: &str, scope: &str, kind: &Kind) -> String {
    format!("kab.{cluster}.{scope}.{}", kind.full_name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::testing::todo;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        for position in [
            Position { version: Some(Version(12)), offsets: Offsets::from([(0, 3), (11, 4)]) },
            Position { version: None, offsets: Offsets::new() },
        ] {
            assert_eq!(Position::from_json(position.to_json("t").as_bytes(), "t").unwrap(), position);
        }
        let position = Position { version: Some(Version(12)), offsets: Offsets::from([(0, 3)]) };
        assert_eq!(position.to_json("t"), r#"{"version":"12","topic":"t","offsets":{"0":3}}"#);
    }

    #[test]
    fn a_later_form_is_read_and_nonsense_is_an_error() {
        let later = Position::from_json(br#"{"version":"5","topic":"t","shard":3}"#, "t").unwrap();
        assert_eq!(later, Position { version: Some(Version(5)), offsets: Offsets::new() });
        for nonsense in ["", "[]", r#"{"version":"five","topic":"t"}"#, r#"{"version":5,"topic":"t"}"#] {
            assert!(Position::from_json(nonsense.as_bytes(), "t").is_err(), "{nonsense}");
        }
    }

    #[test]
    fn a_position_in_another_topic_is_none() {
        let position = Position { version: Some(Version(12)), offsets: Offsets::from([(0, 3)]) };
        assert_eq!(Position::from_json(position.to_json("old").as_bytes(), "new").unwrap(), Position::default());
    }

    #[test]
    fn installations_in_other_namespaces_have_names_of_their_own() {
        assert_eq!(identity("prod", "shop", &todo()), "kab.prod.shop.todos.k8sasbackend.com");
        assert_eq!(identity("prod", "*", &todo()), "kab.prod.*.todos.k8sasbackend.com");
    }
}
