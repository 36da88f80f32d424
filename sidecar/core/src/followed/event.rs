//! One change as followers are told it, and its place in the order of all.
//!
//! An event is rendered once, as server-sent events want it, however many read it.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::entity::Entity;
use crate::feed::Change;
use crate::version::Version;

/// How far a follower has come: it has everything up to a version, and `step` more of what is known to have happened next, in an unknown order:
/// the deletions that a re-list found out. Written `1234`, or `1234.2`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Up to here everything is told.
    pub version: Version,
    /// Deletions told beyond.
    pub step: u32,
}

/// A text is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a position, such as 1234")]
pub struct PositionFault;

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version.fmt(f)?;
        if self.step > 0 { write!(f, ".{}", self.step) } else { Ok(()) }
    }
}

impl FromStr for Position {
    type Err = PositionFault;

    fn from_str(text: &str) -> Result<Self, PositionFault> {
        let (version, step) = text.split_once('.').unwrap_or((text, "0"));
        let position = Self {
            version: version.parse().map_err(|_| PositionFault)?,
            step: step.parse().map_err(|_| PositionFault)?,
        };
        // There is one way to write each: what was written otherwise did not come from here.
        if position.to_string() == text { Ok(position) } else { Err(PositionFault) }
    }
}

/// One change.
#[derive(Debug)]
pub struct Event {
    /// The place behind it.
    pub position: Position,
    /// What the watch had told before.
    pub before: Option<Arc<Entity>>,
    /// The entity after the change; for a deletion its last state.
    pub entity: Arc<Entity>,
    /// Whether it is gone.
    pub deleted: bool,
    rendered: [OnceLock<Bytes>; 3],
}

impl Event {
    pub(super) fn new(position: Position, before: Option<Arc<Entity>>, entity: Arc<Entity>, deleted: bool) -> Self {
        Self { position, before, entity, deleted, rendered: Default::default() }
    }

    /// What this is to a follower who sees only some entities: one that comes to be seen is added, one that ceases to be is deleted.
    pub fn to(&self, sees: impl Fn(&Entity) -> bool) -> Option<Change> {
        let before = self.before.as_ref().is_some_and(|before| sees(before));
        let after = !self.deleted && sees(&self.entity);
        match (before, after) {
            (false, false) => None,
            (false, true) => Some(Change::Added),
            (true, true) => Some(Change::Modified),
            (true, false) => Some(Change::Deleted),
        }
    }

    /// The event without its id, made once: all who read it share the bytes.
    pub fn rendered(&self, change: Change) -> Bytes {
        let [added, modified, deleted] = &self.rendered;
        let cell = match change {
            Change::Added => added,
            Change::Modified => modified,
            Change::Deleted => deleted,
        };
        cell.get_or_init(|| {
            let mut out = Vec::with_capacity(self.entity.json.len() + 32);
            render(change, &self.entity.json, &mut out);
            Bytes::from(out)
        })
        .clone()
    }

    /// What keeping it costs: both states (the history may be the last to hold them) and one rendering.
    pub(super) fn footprint(&self) -> usize {
        let before = self.before.as_ref().map_or(0, |before| before.footprint());
        size_of::<Self>() + before + self.entity.footprint() + self.entity.json.len()
    }
}

/// Writes an event without an id; the empty line that ends it is there.
pub fn render(change: Change, json: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(match change {
        Change::Added => b"added",
        Change::Modified => b"modified",
        Change::Deleted => b"deleted",
    });
    out.extend_from_slice(b"\ndata: ");
    // In JSON a line break can only stand between two tokens, where a space means the same.
    out.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::state;

    #[test]
    fn a_position_is_written_in_one_way() {
        for text in ["0", "1234", "1234.1"] {
            assert_eq!(text.parse::<Position>().unwrap().to_string(), text);
        }
        for text in ["", "x", "-1", "+1", "01", "1.0", "1.", ".1", "1.2.3", " 1", "99999999999999999999"] {
            assert_eq!(text.parse::<Position>(), Err(PositionFault), "{text}");
        }
    }

    #[test]
    fn what_a_change_is_depends_on_what_the_follower_sees() {
        let (old, new) = (state("old", "1", 1), state("new", "2", 2));
        let event = |before: Option<&Arc<Entity>>, deleted| {
            Event::new(Position::default(), before.cloned(), Arc::clone(&new), deleted)
        };
        let old_only = |entity: &Entity| &*entity.key.id == "old";
        let new_only = |entity: &Entity| &*entity.key.id == "new";
        let cases = [
            (event(None, false).to(|_| true), Some(Change::Added)),
            (event(Some(&old), false).to(|_| true), Some(Change::Modified)),
            (event(Some(&old), true).to(|_| true), Some(Change::Deleted)),
            (event(None, true).to(|_| true), None),
            (event(Some(&old), false).to(old_only), Some(Change::Deleted)),
            (event(Some(&old), false).to(new_only), Some(Change::Added)),
            (event(Some(&old), true).to(new_only), None),
            (event(Some(&old), false).to(|_| false), None),
        ];
        for (index, (found, expected)) in cases.into_iter().enumerate() {
            assert_eq!(found, expected, "case {index}");
        }
    }

    #[test]
    fn an_event_is_rendered_once_and_stays_one_line_of_data() {
        let event = Event::new(Position::default(), None, state("a", "1", 1), false);
        let first = event.rendered(Change::Added);
        assert!(std::ptr::eq(first.as_ptr(), event.rendered(Change::Added).as_ptr()));
        let mut out = Vec::new();
        render(Change::Deleted, b"{\r\n\"a\": \"\\n\"}", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "event: deleted\ndata: {  \"a\": \"\\n\"}\n\n");
    }
}
