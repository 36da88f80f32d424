//! The last N records of several partitions, by the time at which they were written. Pure.

use std::collections::BTreeMap;

use crate::tail::change::Change;
use crate::tail::record::Record;

/// At most N records.
#[derive(Debug)]
pub(crate) struct Last {
    wanted: usize,
    records: BTreeMap<(i64, i32, i64), (Record, Change)>,
}

impl Last {
    pub(crate) fn new(wanted: usize) -> Self {
        Self { wanted, records: BTreeMap::new() }
    }

    pub(crate) fn put(&mut self, record: Record, change: Change) {
        self.records.insert((record.written, record.partition, record.offset), (record, change));
        if self.records.len() > self.wanted {
            self.records.pop_first();
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= self.wanted
    }

    pub(crate) fn into_sorted(self) -> impl Iterator<Item = (Record, Change)> {
        self.records.into_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tail::record::tests::record;

    #[test]
    fn the_oldest_give_way_whatever_partition_they_are_of() {
        let at =
            |written, partition, offset| Record { written, partition, offset, ..record("a", "updated", 1, Some("{}")) };
        let mut last = Last::new(3);
        assert!(!last.is_full());
        for (written, partition, offset) in [(5, 0, 1), (9, 0, 2), (1, 1, 1), (7, 1, 2), (7, 0, 3)] {
            last.put(at(written, partition, offset), Change::Nothing);
        }
        assert!(last.is_full());
        let found: Vec<_> = last.into_sorted().map(|(record, _)| (record.written, record.partition)).collect();
        assert_eq!(found, [(7, 0), (7, 1), (9, 0)]);
    }
}
