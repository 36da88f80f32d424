//! A record as it came: a CloudEvent in Kafka's binary mode, a tombstone, or something else that somebody put into the topic.
//!
//! Owns the JSON form of a line. Takes everything: a tool that looks at a topic must not stumble over what it finds there.

use std::collections::BTreeMap;

use contract::record::{Event, header};
use jiff::Timestamp;
use rdkafka::Message;
use rdkafka::message::Headers as _;
use serde::Serialize;
use serde_json::Value;

/// A record. Its serialization is a line of `-o json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Record {
    /// `ce_time`, or when the record was written where it has none.
    pub(crate) time: Option<String>,
    pub(crate) key: String,
    /// The last part of `ce_type`, `tombstone`, or nothing for what is none of ours.
    pub(crate) event: Option<&'static str>,
    /// From `ce_id`.
    pub(crate) version: Option<String>,
    /// `kab_skipped`.
    pub(crate) skipped: Option<String>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// All of them; the last one wins where a name occurs twice.
    pub(crate) headers: BTreeMap<String, String>,
    /// JSON; a text if it is none; null for a tombstone.
    pub(crate) value: Option<Value>,
    /// Milliseconds, for sorting.
    #[serde(skip)]
    pub(crate) written: i64,
}

impl Record {
    /// Takes a message apart.
    pub(crate) fn of(message: &impl Message) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers: BTreeMap<String, String> = message
            .headers()
            .into_iter()
            .flat_map(|headers| headers.iter())
            .map(|header| (header.key.to_owned(), header.value.map(text).unwrap_or_default()))
            .collect();
        let value =
            message.payload().map(|bytes| serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(text(bytes))));
        let written = message.timestamp().to_millis().unwrap_or_default();
        let of_kafka = || Some(format!("{:.3}", Timestamp::from_millisecond(written).ok()?));
        let event = match &value {
            None => Some("tombstone"),
            Some(_) => headers.get(header::TYPE).and_then(|name| Event::of_type(name)).map(Event::name),
        };
        Self {
            time: headers.get(header::TIME).cloned().or_else(of_kafka),
            key: message.key().map(text).unwrap_or_default(),
            event,
            version: headers.get(header::ID).and_then(|id| Some(id.rsplit_once('/')?.1.to_owned())),
            skipped: headers.get(header::SKIPPED).cloned(),
            partition: message.partition(),
            offset: message.offset(),
            headers,
            value,
            written,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use rdkafka::Timestamp as Written;
    use rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

    use super::*;

    /// A record as the sidecar writes it.
    pub(crate) fn record(key: &str, event: &str, version: u64, value: Option<&str>) -> Record {
        let headers = [
            (header::SPEC_VERSION, "1.0".to_owned()),
            (header::TYPE, format!("com.k8sasbackend.v1.todo.{event}")),
            (header::ID, format!("uid/{version}")),
            (header::TIME, "2030-01-01T10:00:00.123456Z".to_owned()),
        ];
        let headers = value.map(|_| {
            headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(value) }))
        });
        let payload = value.map(|value| value.as_bytes().to_vec());
        let written = Written::CreateTime(1_893_492_000_000);
        let message = OwnedMessage::new(payload, Some(key.into()), "topic".into(), written, 0, 7, headers);
        Record::of(&message)
    }

    #[test]
    fn a_record_and_a_tombstone_are_read() {
        let created = record("shop/milk", "created", 12, Some(r#"{"id":"milk"}"#));
        assert_eq!((created.event, created.version.as_deref()), (Some("created"), Some("12")));
        assert_eq!(created.time.as_deref(), Some("2030-01-01T10:00:00.123456Z"));
        let tombstone = record("shop/milk", "", 0, None);
        assert_eq!((tombstone.event, tombstone.version), (Some("tombstone"), None));
        assert_eq!(tombstone.time.as_deref(), Some("2030-01-01T10:00:00.000Z"), "when it was written");
    }

    #[test]
    fn what_is_not_ours_is_shown_all_the_same() {
        let payload = Some(vec![b'h', b'i', 0xFF]);
        let message = OwnedMessage::new(payload, None, "topic".into(), Written::NotAvailable, 1, 2, None);
        let record = Record::of(&message);
        assert_eq!((record.event, record.key.as_str()), (None, ""));
        assert_eq!(record.value, Some(Value::String("hi\u{FFFD}".to_owned())));
    }
}
