//! Reads what the API server sends: lines of a watch, pages of a list. Never decides anything. The informer calls it.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ListPage, WatchLine};
use crate::feed::{Change, Delta};
use crate::kind::Kind;
use crate::mapping::{self, MappingError};

#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(rename = "type")]
    event: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct RawBookmark {
    metadata: BookmarkMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMetadata {
    resource_version: String,
    #[serde(default)]
    annotations: Option<BookmarkAnnotations>,
}

#[derive(Deserialize)]
struct BookmarkAnnotations {
    #[serde(default, rename = "k8s.io/initial-events-end")]
    initial_events_end: Option<String>,
}

#[derive(Deserialize)]
struct RawStatus {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Option<RawDetails>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDetails {
    #[serde(default)]
    retry_after_seconds: u64,
}

#[derive(Deserialize)]
struct RawList<'a> {
    metadata: ListMetadata,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

impl WatchLine {
    /// Reads one line.
    ///
    /// # Errors
    /// When the line is not a watch event, or its object cannot become an entity.
    pub fn parse(kind: &Kind, line: &[u8]) -> Result<Self, MappingError> {
        let RawLine { event, object } = serde_json::from_slice(line)?;
        let change = match event {
            "ADDED" => Change::Added,
            "MODIFIED" => Change::Modified,
            "DELETED" => Change::Deleted,
            "BOOKMARK" => return bookmark(object),
            "ERROR" => return error(object),
            other => return Err(MappingError::Event { event: other.to_owned() }),
        };
        let entity = Arc::new(mapping::entity(kind, object.get().as_bytes())?);
        Ok(Self::Delta(Delta { change, entity }))
    }
}

fn bookmark(object: &RawValue) -> Result<WatchLine, MappingError> {
    let RawBookmark { metadata } = serde_json::from_str(object.get())?;
    let mark = metadata.annotations.and_then(|annotations| annotations.initial_events_end);
    Ok(WatchLine::Bookmark {
        version: mapping::version(&metadata.resource_version)?,
        initial_events_end: mark.as_deref() == Some("true"),
    })
}

fn error(object: &RawValue) -> Result<WatchLine, MappingError> {
    let status: RawStatus = serde_json::from_str(object.get())?;
    let seconds = status.details.map_or(0, |details| details.retry_after_seconds);
    Ok(WatchLine::Error {
        code: status.code,
        message: status.message,
        retry_after: (seconds > 0).then(|| Duration::from_secs(seconds)),
    })
}

impl ListPage {
    /// Reads the body of a list.
    ///
    /// # Errors
    /// When the body is not a list, or one of its objects cannot become an entity.
    pub fn parse(kind: &Kind, body: &[u8]) -> Result<Self, MappingError> {
        let RawList { metadata, items } = serde_json::from_slice(body)?;
        let items = items.unwrap_or_default().into_iter();
        Ok(Self {
            version: mapping::version(&metadata.resource_version)?,
            items: items
                .map(|item| mapping::entity(kind, item.get().as_bytes()).map(Arc::new))
                .collect::<Result<_, _>>()?,
            next: Some(metadata.next).filter(|next| !next.is_empty()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::todo;
    use crate::version::Version;

    #[test]
    fn each_event_of_a_watch_is_read() {
        let object = r#"{"apiVersion":"k8sasbackend.com/v1","kind":"Todo","metadata":{"name":"a","resourceVersion":"7"},"spec":{"message":"m"}}"#;
        for (event, change) in [("ADDED", Change::Added), ("MODIFIED", Change::Modified), ("DELETED", Change::Deleted)]
        {
            let line = format!(r#"{{"type":"{event}","object":{object}}}"#);
            let WatchLine::Delta(delta) = WatchLine::parse(&todo(), line.as_bytes()).unwrap() else {
                panic!("not a delta")
            };
            assert_eq!((delta.change, delta.entity.version), (change, Version(7)));
        }
    }

    #[test]
    fn a_bookmark_tells_its_version_and_whether_the_list_ends() {
        let plain = br#"{"type":"BOOKMARK","object":{"kind":"Todo","apiVersion":"k8sasbackend.com/v1","metadata":{"resourceVersion":"12","creationTimestamp":null},"spec":{"message":""}}}"#;
        assert_eq!(
            WatchLine::parse(&todo(), plain).unwrap(),
            WatchLine::Bookmark { version: Version(12), initial_events_end: false }
        );
        let end = br#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"12","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        assert_eq!(
            WatchLine::parse(&todo(), end).unwrap(),
            WatchLine::Bookmark { version: Version(12), initial_events_end: true }
        );
    }

    #[test]
    fn an_error_carries_code_message_and_wait() {
        let line = br#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old resource version: 1 (2)","reason":"Expired","code":410}}"#;
        let expected =
            WatchLine::Error { code: 410, message: "too old resource version: 1 (2)".into(), retry_after: None };
        assert_eq!(WatchLine::parse(&todo(), line).unwrap(), expected);
        let busy = br#"{"type":"ERROR","object":{"message":"busy","code":429,"details":{"retryAfterSeconds":3}}}"#;
        let expected =
            WatchLine::Error { code: 429, message: "busy".into(), retry_after: Some(Duration::from_secs(3)) };
        assert_eq!(WatchLine::parse(&todo(), busy).unwrap(), expected);
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for line in
            ["", "{", r#"{"type":"EXPLODED","object":{}}"#, r#"{"type":"ADDED","object":{"metadata":{}}}"#, "[]"]
        {
            assert!(WatchLine::parse(&todo(), line.as_bytes()).is_err(), "{line}");
        }
    }

    #[test]
    fn a_page_knows_whether_there_is_more() {
        let more = br#"{"kind":"TodoList","metadata":{"resourceVersion":"9","continue":"abc","remainingItemCount":1},"items":[{"metadata":{"name":"a","resourceVersion":"7"}}]}"#;
        let page = ListPage::parse(&todo(), more).unwrap();
        assert_eq!((page.version, page.items.len(), page.next.as_deref()), (Version(9), 1, Some("abc")));
        let last = br#"{"metadata":{"resourceVersion":"9"},"items":null}"#;
        let page = ListPage::parse(&todo(), last).unwrap();
        assert_eq!((page.items.len(), page.next), (0, None));
    }
}
