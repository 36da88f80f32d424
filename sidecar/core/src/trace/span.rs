//! Spans, and how a collector is told of them: OTLP's JSON encoding (`ExportTraceServiceRequest`, as opentelemetry-proto has it).
//!
//! Owns which members carry what. Never sends: `sidecar/src/spans` does.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::TraceContext;

/// What a span stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A request that came in.
    Server,
    /// A request that went out.
    Client,
    /// A record that was sent.
    Producer,
}

/// What an attribute says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its place.
    pub context: TraceContext,
    /// The span above it, if there is one.
    pub parent: Option<u64>,
    /// What was done.
    pub name: Cow<'static, str>,
    /// What it stands for.
    pub role: Role,
    /// When it began.
    pub start: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// OpenTelemetry's names for attributes where it has them.
    pub attributes: Vec<(&'static str, Value)>,
    /// Whether it failed.
    pub failed: bool,
}

/// The body of a request to `/v1/traces`.
pub fn export(service: &str, instance: &str, version: &str, spans: &[Span]) -> Vec<u8> {
    let text = |key, value: &str| Attribute::new(key, &Value::Text(Cow::Owned(value.to_owned())));
    let request = Request {
        resource_spans: [ResourceSpans {
            resource: Resource {
                attributes: vec![
                    text("service.name", service),
                    text("service.instance.id", instance),
                    text("service.version", version),
                ],
            },
            scope_spans: [ScopeSpans {
                scope: Scope { name: "kab-sidecar", version },
                spans: spans.iter().map(Wire::of).collect(),
            }],
        }],
    };
    // Texts and numbers alone: this cannot fail.
    serde_json::to_vec(&request).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource {
    attributes: Vec<Attribute>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope<'a>,
    spans: Vec<Wire<'a>>,
}

#[derive(Serialize)]
struct Scope<'a> {
    name: &'static str,
    version: &'a str,
}

/// In protobuf's JSON, numbers of 64 bits are texts; OTLP writes ids in hexadecimal.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    trace_id: String,
    span_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<String>,
    flags: u32,
    name: &'a str,
    kind: u32,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute>,
    status: Status,
}

#[derive(Serialize)]
struct Status {
    code: u32,
}

#[derive(Serialize)]
struct Attribute {
    key: &'static str,
    value: Any,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Any {
    StringValue(String),
    IntValue(String),
}

impl Attribute {
    fn new(key: &'static str, value: &Value) -> Self {
        let value = match value {
            Value::Text(text) => Any::StringValue(text.clone().into_owned()),
            Value::Number(number) => Any::IntValue(number.to_string()),
        };
        Self { key, value }
    }
}

impl<'a> Wire<'a> {
    fn of(span: &'a Span) -> Self {
        const UNSET: u32 = 0;
        const ERROR: u32 = 2;
        let start = span.start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            trace_id: format!("{:032x}", span.context.trace()),
            span_id: format!("{:016x}", span.context.span()),
            parent_span_id: span.parent.map(|parent| format!("{parent:016x}")),
            flags: u32::from(span.context.sampled()),
            name: &span.name,
            kind: match span.role {
                Role::Server => 2,
                Role::Client => 3,
                Role::Producer => 4,
            },
            start_time_unix_nano: start.as_nanos().to_string(),
            end_time_unix_nano: (start + span.took).as_nanos().to_string(),
            attributes: span.attributes.iter().map(|(key, value)| Attribute::new(key, value)).collect(),
            status: Status { code: if span.failed { ERROR } else { UNSET } },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    #[test]
    fn a_span_is_told_as_otlp_wants_it() {
        let context: TraceContext = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let span = Span {
            context,
            parent: Some(15),
            name: "PATCH todos".into(),
            role: Role::Client,
            start: SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789),
            took: Duration::from_micros(2),
            attributes: vec![("http.request.method", "PATCH".into()), ("http.response.status_code", 409_u16.into())],
            failed: true,
        };
        let told: Json =
            serde_json::from_slice(&export("shop", "pod-1", "0.1.0", std::slice::from_ref(&span))).unwrap();
        let resource = &told["resourceSpans"][0];
        assert_eq!(
            resource["resource"]["attributes"][0],
            json!({"key": "service.name", "value": {"stringValue": "shop"}})
        );
        assert_eq!(
            resource["scopeSpans"][0]["spans"][0],
            json!({
                "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "parentSpanId": "000000000000000f",
                "flags": 1, "name": "PATCH todos", "kind": 3,
                "startTimeUnixNano": "1700000000123456789", "endTimeUnixNano": "1700000000123458789",
                "attributes": [
                    {"key": "http.request.method", "value": {"stringValue": "PATCH"}},
                    {"key": "http.response.status_code", "value": {"intValue": "409"}},
                ],
                "status": {"code": 2},
            })
        );
        let fine = Span { failed: false, parent: None, ..span };
        let told: Json = serde_json::from_slice(&export("shop", "pod-1", "0.1.0", &[fine])).unwrap();
        let wire = &told["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!((wire.get("parentSpanId"), &wire["status"]), (None, &json!({"code": 0})));
    }
}
