//! The last state of each entity that was read, so that the next record can be compared with it. Bounded by bytes: what is
//! forgotten is only shown whole in place of its difference.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use crate::tail::change::{Change, differences, places};
use crate::tail::record::Record;

/// About so many bytes of values.
const BOUND: usize = 64 * 1024 * 1024;

/// States by key.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    states: HashMap<String, State>,
    /// Keys in the order in which they came in; may hold some that have left.
    order: VecDeque<String>,
    bytes: usize,
}

#[derive(Debug)]
struct State {
    places: Vec<(String, Value)>,
    bytes: usize,
}

impl Memory {
    /// What a record tells beyond the one before of the same key; the record is remembered for the next one.
    pub(crate) fn change(&mut self, record: &Record) -> Change {
        let Some(value) = record.value.as_ref().filter(|value| value.is_object()) else {
            self.forget(&record.key);
            return Change::Nothing;
        };
        if record.event == Some("deleted") {
            self.forget(&record.key);
            return Change::Nothing;
        }
        let now = places(value);
        let change = match self.states.get(&record.key) {
            Some(before) => differences(&before.places, &now),
            None => Change::State(now.clone()),
        };
        self.remember(&record.key, now);
        change
    }

    fn remember(&mut self, key: &str, places: Vec<(String, Value)>) {
        let bytes = key.len() + places.iter().map(|(place, value)| place.len() + size(value)).sum::<usize>();
        let known = self.forget(key);
        self.bytes += bytes;
        self.states.insert(key.to_owned(), State { places, bytes });
        if !known {
            self.order.push_back(key.to_owned());
        }
        while self.bytes > BOUND {
            let Some(oldest) = self.order.pop_front() else { break };
            self.forget(&oldest);
        }
        // Keys that were deleted stay in the order until then: not for ever.
        if self.order.len() > 2 * self.states.len() + 1024 {
            self.order.retain(|key| self.states.contains_key(key));
        }
    }

    fn forget(&mut self, key: &str) -> bool {
        let gone = self.states.remove(key);
        self.bytes -= gone.as_ref().map_or(0, |gone| gone.bytes);
        gone.is_some()
    }
}

/// About what a value takes.
fn size(value: &Value) -> usize {
    32 + match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(members) => members.iter().map(|(name, value)| name.len() + size(value)).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::record::tests::record;

    #[test]
    fn a_change_is_told_against_the_record_before_and_a_deletion_ends_that() {
        let mut memory = Memory::default();
        let first = memory.change(&record("a", "created", 1, Some(r#"{"message":"one"}"#)));
        assert!(matches!(first, Change::State(_)), "{first:?}");
        let second = memory.change(&record("a", "updated", 2, Some(r#"{"message":"two"}"#)));
        let Change::Differences(found) = second else { panic!("the state before is known") };
        assert_eq!(found.len(), 1);
        assert_eq!(memory.change(&record("a", "deleted", 3, Some(r#"{"message":"two"}"#))), Change::Nothing);
        let again = memory.change(&record("a", "created", 4, Some(r#"{"message":"two"}"#)));
        assert!(matches!(again, Change::State(_)), "{again:?}");
        assert_eq!(memory.change(&record("a", "", 0, None)), Change::Nothing);
        assert_eq!(memory.bytes, 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut memory = Memory::default();
        let large = format!(r#"{{"message":"{}"}}"#, "x".repeat(1024 * 1024));
        for number in 0..80 {
            memory.change(&record(&format!("k{number}"), "created", 1, Some(&large)));
        }
        assert!(memory.bytes <= BOUND && memory.states.len() < 80, "{}", memory.bytes);
        assert!(memory.states.contains_key("k79") && !memory.states.contains_key("k0"));
    }
}
