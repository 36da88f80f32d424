//! The traces of the entities' latest versions: what the watch has told of them, kept until records and hook calls were made of it.
//!
//! A bounded number, oldest first out, and only where tracing is on: so the cache keeps nothing of it. One that was passed over costs a trace its end, never a record.

use std::collections::{HashMap, VecDeque};

use super::TraceContext;
use crate::version::Version;

/// Traces by version, which is unique in a cluster.
#[derive(Debug)]
pub struct Recent {
    limit: usize,
    traces: HashMap<Version, TraceContext>,
    order: VecDeque<Version>,
}

impl Recent {
    /// For so many.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), traces: HashMap::new(), order: VecDeque::new() }
    }

    /// Remembers one.
    pub fn note(&mut self, version: Version, trace: TraceContext) {
        if self.traces.insert(version, trace).is_some() {
            return;
        }
        self.order.push_back(version);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.traces.remove(&oldest);
        }
    }

    /// The trace of the write that made this version, if it is still known.
    pub fn of(&self, version: Version) -> Option<TraceContext> {
        self.traces.get(&version).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way() {
        let trace = |number| TraceContext::root(number, 1, 1.0).unwrap();
        let mut recent = Recent::new(2);
        for (version, number) in [(1, 1), (2, 2), (2, 3), (3, 4)] {
            recent.note(Version(version), trace(number));
        }
        let known: Vec<_> = (1..4).map(|version| recent.of(Version(version))).collect();
        assert_eq!(known, [None, Some(trace(3)), Some(trace(4))]);
    }
}
