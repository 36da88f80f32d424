//! Reads what a topic tells, and from the positions beside it when somebody compared.

use anyhow::Context;
use contract::record::{SKIPPED_UNKNOWN, header};
use serde_json::Value;

use super::{Moment, Skipped, Told, What, audit};
use crate::topic::Record;

/// A record of the topic.
///
/// # Errors
/// When it is not what docs/spec/records.md says.
pub fn told(record: &Record) -> anyhow::Result<Told> {
    let what = match &record.value {
        None => What::Tombstone,
        Some(value) => event(record, value)
            .with_context(|| format!("{} at {}/{}: {value}", record.key, record.partition, record.offset))?,
    };
    let produced = Moment::try_from(record.timestamp)?;
    Ok(Told { key: record.key.clone(), place: (record.partition, record.offset), produced, what })
}

fn event(record: &Record, value: &Value) -> anyhow::Result<What> {
    let part = |pointer: &str| value.pointer(pointer).unwrap_or(&Value::Null);
    let header = |name: &str| record.headers.get(name).map(String::as_str);
    let (uid, version) = record.id().rsplit_once('/').context("its id has no version")?;
    let skipped = match header(header::SKIPPED) {
        None => Skipped::Known(0),
        Some(SKIPPED_UNKNOWN) => Skipped::Unknown,
        Some(count) => Skipped::Known(count.parse()?),
    };
    Ok(What::Event {
        event: record.event().context("it has no event")?,
        id: (uid.to_owned(), version.parse()?),
        state: audit::state(part("/meta/version"), part("/meta/generation"), part("/message"))?,
        skipped,
        learned: audit::moment(header(header::TIME).context("it has no time")?)?,
    })
}

/// When the whole state was compared: from a position without a version to the next one with a version. The first broadcast begins with one.
///
/// # Errors
/// When a record is no position.
pub fn gaps(positions: &[Record]) -> anyhow::Result<Vec<(Moment, Moment)>> {
    let (mut gaps, mut begun) = (Vec::new(), Some(0));
    for record in positions {
        let value = record.value.as_ref().context("a position that was deleted")?;
        let at = Moment::try_from(record.timestamp)?;
        match (value.get("version").context("no position")?, begun) {
            (Value::Null, None) => begun = Some(at),
            (Value::String(_), Some(begin)) => {
                gaps.push((begin, at));
                begun = None;
            }
            _ => {}
        }
    }
    gaps.extend(begun.map(|begin| (begin, Moment::MAX)));
    Ok(gaps)
}

#[cfg(test)]
mod tests {
    use contract::record::Event;
    use serde_json::json;

    use super::*;
    use crate::broadcast::State;

    fn record(value: Option<Value>, headers: &[(&str, &str)], timestamp: i64) -> Record {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Record { key: "shop/milk".to_owned(), headers, value, partition: 2, offset: 5, timestamp }
    }

    #[test]
    fn a_record_is_read_with_all_that_is_judged() {
        let value = json!({"id": "milk", "message": "a", "meta": {"version": "7", "generation": 2}});
        let headers = [
            ("ce_id", "u/7"),
            ("ce_type", "com.k8sasbackend.v1.todo.updated"),
            ("ce_time", "2026-01-01T00:00:00.001Z"),
            ("kab_skipped", "3"),
        ];
        let expected = What::Event {
            event: Event::Updated,
            id: ("u".to_owned(), 7),
            state: State { version: 7, generation: 2, message: "a".to_owned() },
            skipped: Skipped::Known(3),
            learned: 1_767_225_600_001,
        };
        let found = told(&record(Some(value.clone()), &headers, 9)).unwrap();
        assert_eq!(found, Told { key: "shop/milk".to_owned(), place: (2, 5), produced: 9, what: expected });
        assert_eq!(told(&record(None, &[], 9)).unwrap().what, What::Tombstone);
        for missing in 0..3 {
            let fewer: Vec<_> = (0..4).filter(|index| *index != missing).map(|index| headers[index]).collect();
            assert!(told(&record(Some(value.clone()), &fewer, 9)).is_err(), "{fewer:?}");
        }
    }

    #[test]
    fn gaps_are_where_a_position_has_no_version() {
        let at = |version: Option<&str>, time| record(Some(json!({"version": version, "topic": "t"})), &[], time);
        assert_eq!(gaps(&[]).unwrap(), [(0, Moment::MAX)]);
        let positions = [at(None, 1), at(Some("7"), 2), at(Some("8"), 3), at(None, 4), at(None, 5), at(Some("9"), 6)];
        assert_eq!(gaps(&positions).unwrap(), [(0, 2), (4, 6)]);
        assert_eq!(gaps(&positions[..4]).unwrap(), [(0, 2), (4, Moment::MAX)]);
    }
}
