//! Errors as the entity API answers them: `application/problem+json` (RFC 9457).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong, from a closed set: the last part of a problem's `type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// 400: the request cannot be understood; `errors` names the places.
    BadRequest,
    /// 401: the bearer token is missing or wrong.
    Unauthorized,
    /// 403: not a loopback `Host`, a foreign `Origin`, or the platform forbids it.
    Forbidden,
    /// 404: no such kind or entity.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 406: no representation fits `Accept`.
    NotAcceptable,
    /// 409: an entity of that id exists, or the write met another one.
    Conflict,
    /// 412: `If-Match` or `If-None-Match` did not hold.
    PreconditionFailed,
    /// 413: the body is too large.
    TooLarge,
    /// 415: the body's media type is not taken here.
    UnsupportedMediaType,
    /// 422: understood, but the schema or a rule refuses it.
    Invalid,
    /// 422: the `Idempotency-Key` was used with another body.
    KeyReused,
    /// 424: an operation of an ordered batch behind one that failed.
    NotAttempted,
    /// 429: too many writes for now.
    TooManyRequests,
    /// 500: a fault of the sidecar.
    Internal,
    /// 502: the API server answered with something that cannot be used.
    BadGateway,
    /// 503: the API server is away, or the cache is not filled yet.
    Unavailable,
    /// 504: the cache did not reach the version asked for in time.
    Timeout,
    /// 507: the kind's budget of entities or bytes is used up.
    OverBudget,
}

impl Code {
    /// The stable name, part of the URN.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::NotAcceptable => "not-acceptable",
            Self::Conflict => "conflict",
            Self::PreconditionFailed => "precondition-failed",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::Invalid => "invalid",
            Self::KeyReused => "idempotency-key-reused",
            Self::NotAttempted => "not-attempted",
            Self::TooManyRequests => "too-many-requests",
            Self::Internal => "internal",
            Self::BadGateway => "bad-gateway",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::OverBudget => "over-budget",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::Conflict => 409,
            Self::PreconditionFailed => 412,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid | Self::KeyReused => 422,
            Self::NotAttempted => 424,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::Timeout => 504,
            Self::OverBudget => 507,
        }
    }

    /// The short text for people, the same for every problem of this code.
    pub fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "The request cannot be understood",
            Self::Unauthorized => "A valid bearer token is needed",
            Self::Forbidden => "Not allowed",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "The method is not available here",
            Self::NotAcceptable => "No representation fits the Accept header",
            Self::Conflict => "The write conflicts with the present state",
            Self::PreconditionFailed => "The precondition does not hold",
            Self::TooLarge => "The body is too large",
            Self::UnsupportedMediaType => "The body's media type is not taken here",
            Self::Invalid => "The entity is not valid",
            Self::KeyReused => "The Idempotency-Key was used with another body",
            Self::NotAttempted => "Not attempted: an operation before it failed",
            Self::TooManyRequests => "Too many requests",
            Self::Internal => "A fault of the sidecar",
            Self::BadGateway => "The API server's answer cannot be used",
            Self::Unavailable => "Not available for now",
            Self::Timeout => "Not reached in time",
            Self::OverBudget => "The kind's budget is used up",
        }
    }
}

/// A problem, as sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:k8sasbackend:problem:CODE`, stable: programs decide by it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every problem of this type.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened in this case, for people; says the limit and the remedy where there is one.
    pub detail: String,
    /// The path of the request, where known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The places in the request's body that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One wrong place in a request's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the business shape; empty for the whole body.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

impl Problem {
    /// A problem of `code`; `detail` says what happened in this case.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:k8sasbackend:problem:{}", code.name()),
            title: code.title().to_owned(),
            status: code.status(),
            detail: detail.into(),
            instance: None,
            errors: Vec::new(),
        }
    }

    /// Adds a wrong place.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }
}
