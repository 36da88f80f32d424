//! A change as the app is told it: a CloudEvent over HTTP in binary mode, with the id and type of the record that tells the same change.
//!
//! Owns header names and the body `{"change", "entity", "before"}`. An entity's bytes go in as they are.

use bytes::{BufMut, Bytes, BytesMut};
use contract::record::Event;

use super::Notice;
use crate::envelope::{Envelope, event_id, key};

/// A CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Names and values, the content type apart.
    pub headers: Vec<(String, String)>,
    /// JSON.
    pub body: Bytes,
}

/// A change that the app is not told any more, as it is put into a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// `NAMESPACE/ID`.
    pub key: String,
    /// Names and values in Kafka's spelling.
    pub headers: Vec<(String, String)>,
    /// What the app was told.
    pub body: Bytes,
}

/// A message as a letter; `why` and after how many attempts it was given up.
pub fn letter(notice: &Notice, message: &Message, why: &str, attempts: u32) -> Letter {
    let headers = message.headers.iter().map(|(name, value)| (name.replace('-', "_"), value.clone()));
    let own = [
        (contract::record::header::CONTENT_TYPE, "application/json".to_owned()),
        (contract::record::header::REFUSED, why.to_owned()),
        (contract::record::header::ATTEMPTS, attempts.to_string()),
    ];
    let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
    Letter { key: key(&notice.entity.key), headers: headers.chain(own).collect(), body: message.body.clone() }
}

/// The event that tells a change.
pub fn message(envelope: &Envelope, notice: &Notice) -> Message {
    let Notice { event, entity, before, version, skipped, learned } = notice;
    let id = event_id(&entity.uid, *version);
    let headers = envelope.headers(*event, key(&entity.key).into(), id, *skipped, *learned);
    let headers = headers.into_iter().filter(|(name, _)| *name != contract::record::header::CONTENT_TYPE);
    // What Kafka's binding calls `ce_id` HTTP's calls `ce-id`.
    let headers = headers.map(|(name, value)| (name.replace('_', "-"), value.into_owned())).collect();
    Message { headers, body: body(*event, &entity.json, before.as_ref().map(|before| before.json.as_ref())) }
}

fn body(event: Event, entity: &[u8], before: Option<&[u8]>) -> Bytes {
    let change = match event {
        Event::Created => "added",
        Event::Updated => "modified",
        Event::Deleted => "deleted",
        Event::Snapshot => "snapshot",
    };
    let mut out = BytesMut::with_capacity(entity.len() + before.map_or(0, <[u8]>::len) + 64);
    out.put_slice(b"{\"change\":\"");
    out.put_slice(change.as_bytes());
    out.put_slice(b"\",\"entity\":");
    out.put_slice(entity);
    if let Some(before) = before {
        out.put_slice(b",\"before\":");
        out.put_slice(before);
    }
    out.put_u8(b'}');
    out.freeze()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::ledger::testing::{entity, todo};
    use crate::outbox::Skipped;
    use crate::version::Version;

    #[test]
    fn a_change_has_the_id_and_type_of_its_record_and_http_s_header_names() {
        let notice = Notice {
            event: Event::Updated,
            entity: Arc::new(entity("milk", "u1", 12)),
            before: Some(Arc::new(entity("milk", "u1", 9))),
            version: Version(12),
            skipped: Skipped::Unknown,
            learned: SystemTime::UNIX_EPOCH + Duration::from_millis(1_766_570_400_123),
        };
        let Message { headers, body } = message(&Envelope::new("prod", &todo()), &notice);
        let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(
            headers,
            [
                "ce-specversion: 1.0",
                "ce-id: u1/12",
                "ce-type: com.k8sasbackend.v1.todo.updated",
                "ce-source: /clusters/prod/apis/k8sasbackend.com/v1/todos",
                "ce-subject: shop/milk",
                "ce-time: 2025-12-24T10:00:00.123Z",
                "kab-skipped: unknown",
            ]
        );
        let told = Message { headers: vec![("ce-id".into(), "u1/12".into())], body: body.clone() };
        let dead = letter(&notice, &told, "422", 3);
        let headers: Vec<String> = dead.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        assert_eq!(headers, ["ce_id: u1/12", "content-type: application/json", "kab_refused: 422", "kab_attempts: 3"]);
        assert_eq!((dead.key.as_str(), &dead.body), ("shop/milk", &body));
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (&told["change"], &told["entity"]["id"], &told["before"]["id"]),
            (&"modified".into(), &"milk".into(), &"milk".into())
        );
    }

    #[test]
    fn what_was_before_is_left_out_where_it_is_not_known() {
        for (event, change) in [
            (Event::Created, "added"),
            (Event::Updated, "modified"),
            (Event::Deleted, "deleted"),
            (Event::Snapshot, "snapshot"),
        ] {
            let told: serde_json::Value = serde_json::from_slice(&body(event, b"{}", None)).unwrap();
            assert_eq!(told, serde_json::json!({"change": change, "entity": {}}));
        }
    }
}
