//! A record of the topic: a CloudEvent in Kafka's binary mode, its attributes in `ce_` headers, or a tombstone.
//!
//! Takes records as they come and says what they mean; never judges their order (`state` does).

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::Message;
use rdkafka::message::Headers;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::todo::Todo;

/// A record, as it came.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// `NAMESPACE/ID`.
    pub key: String,
    /// All headers; the last one wins where a name occurs twice.
    pub headers: BTreeMap<String, String>,
    /// The JSON; a string if it is none; `null` for a tombstone.
    pub value: Option<Value>,
}

/// What a record means.
#[derive(Debug, PartialEq)]
pub enum Meaning {
    /// The todo is now this.
    Is(Box<Todo>, Event),
    /// The todo was deleted.
    Deleted,
    /// Kafka may forget the key.
    Tombstone,
    /// None of that; the text says why.
    Unreadable(String),
}

/// Which event a living todo comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is new.
    Created,
    /// It has changed.
    Updated,
    /// It was met like this after a time without news.
    Snapshot,
}

impl Record {
    /// Takes a message apart.
    pub fn of(message: &impl Message) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(text).unwrap_or_default(),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(text).unwrap_or_default()))
                .collect(),
            value: message.payload().map(|bytes| serde_json::from_slice(bytes).unwrap_or_else(|_| text(bytes).into())),
        }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// What it means.
    pub fn meaning(&self) -> Meaning {
        let Some(value) = &self.value else { return Meaning::Tombstone };
        if self.header("ce_specversion") != Some("1.0") {
            return Meaning::Unreadable("ce_specversion is not 1.0".to_owned());
        }
        let event = match self.header("ce_type").and_then(|name| name.rsplit('.').next()) {
            Some("created") => Event::Created,
            Some("updated") => Event::Updated,
            Some("snapshot") => Event::Snapshot,
            Some("deleted") => return Meaning::Deleted,
            _ => return Meaning::Unreadable("ce_type is none of created, updated, snapshot and deleted".to_owned()),
        };
        match Todo::deserialize(value) {
            Ok(todo) => Meaning::Is(Box::new(todo), event),
            Err(error) => Meaning::Unreadable(format!("the value is no todo: {error}")),
        }
    }

    /// The version in `ce_id` (`UID/VERSION`): grows with each change of a todo.
    pub fn version(&self) -> Option<u64> {
        self.header("ce_id")?.rsplit_once('/')?.1.parse().ok()
    }
}

/// One line: where, which todo, what, and the value.
impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.value {
            None => "tombstone",
            Some(_) => self.header("ce_type").unwrap_or("?"),
        };
        write!(f, "{}@{} {} {what}", self.partition, self.offset, self.key)?;
        if let Some(id) = self.header("ce_id") {
            write!(f, " {id}")?;
        }
        self.value.as_ref().map_or(Ok(()), |value| write!(f, " {value}"))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;

    const MILK: &str = r#"{"id":"buy-milk","when":"2030-12-24T10:00:00Z","message":"buy milk","done":false,
        "meta":{"version":"7","generation":1,"uid":"u","namespace":"shop","createdAt":"2026-11-22T12:00:00Z",
        "expiresAt":null,"labels":{"a":"b"},"deleting":false}}"#;

    fn record(headers: &[(&str, &str)], value: Option<&str>) -> Record {
        let mut all = OwnedHeaders::new();
        for &(key, value) in headers {
            all = all.insert(Header { key, value: Some(value) });
        }
        let value = value.map(|value| value.as_bytes().to_vec());
        let key = Some(b"shop/buy-milk".to_vec());
        let topic = "todos".to_owned();
        Record::of(&OwnedMessage::new(value, key, topic, Timestamp::NotAvailable, 3, 42, Some(all)))
    }

    #[test]
    fn a_cloud_event_in_binary_mode_is_read() {
        let record = record(
            &[("ce_specversion", "1.0"), ("ce_id", "u/7"), ("ce_type", "com.k8sasbackend.v1.todo.created")],
            Some(MILK),
        );
        let Meaning::Is(todo, Event::Created) = record.meaning() else { panic!("{:?}", record.meaning()) };
        assert_eq!((todo.id.as_str(), todo.spec.message.as_str()), ("buy-milk", "buy milk"));
        assert_eq!(
            (record.partition, record.offset, record.key.as_str(), record.version()),
            (3, 42, "shop/buy-milk", Some(7))
        );
        assert!(
            record.to_string().starts_with("3@42 shop/buy-milk com.k8sasbackend.v1.todo.created u/7 {"),
            "{record}"
        );
    }

    #[test]
    fn each_kind_of_record_has_its_meaning() {
        let of_type = |name| record(&[("ce_specversion", "1.0"), ("ce_type", name)], Some(MILK)).meaning();
        assert!(matches!(of_type("com.k8sasbackend.v1.todo.updated"), Meaning::Is(_, Event::Updated)));
        assert!(matches!(of_type("com.k8sasbackend.v1.todo.snapshot"), Meaning::Is(_, Event::Snapshot)));
        assert_eq!(of_type("com.k8sasbackend.v1.todo.deleted"), Meaning::Deleted);
        assert_eq!(record(&[], None).meaning(), Meaning::Tombstone);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let unreadable = |headers, value| match record(headers, Some(value)).meaning() {
            Meaning::Unreadable(why) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(unreadable(&[], MILK), "ce_specversion is not 1.0");
        assert!(
            unreadable(&[("ce_specversion", "1.0"), ("ce_type", "exploded")], MILK).starts_with("ce_type is none of")
        );
        let updated = [("ce_specversion", "1.0"), ("ce_type", "x.updated")];
        assert!(unreadable(&updated, "{}").contains("missing field"));
        assert!(unreadable(&updated, "no json").starts_with("the value is no todo"));
    }

    #[test]
    fn a_version_is_the_number_behind_the_last_slash() {
        let version = |id| record(&[("ce_id", id)], None).version();
        assert_eq!(
            (version("u/12"), version("a/b/13"), version("12"), version("u/x")),
            (Some(12), Some(13), None, None)
        );
        assert_eq!(record(&[], None).version(), None);
    }
}
