//! What goes wrong, as third parties are told (RFC 9457), and how the sidecar's problems become the app's.
//!
//! The sidecar's answer to a mistake of the caller is passed on in the app's words, with the places that are wrong. Its
//! own troubles are logged and become "not available" or "failed": they are nobody's business outside.

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A problem, as sent.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Problem {
    /// Stable; programs decide by it.
    #[serde(rename = "type")]
    kind: String,
    /// The same for every problem of this type.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened in this case, for people.
    detail: String,
    /// The places in the request's body that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// Seconds, told in a header.
    #[serde(skip)]
    retry_after: Option<u32>,
}

/// One wrong place in a request's body.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct FieldError {
    /// JSON pointer (RFC 6901) into the body; empty for all of it.
    pub(super) pointer: String,
    /// What is wrong there.
    pub(super) detail: String,
}

/// What is read of a problem of the sidecar.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SidecarProblem {
    detail: String,
    errors: Vec<FieldError>,
}

impl Problem {
    fn new(status: StatusCode, name: &str, title: &'static str, detail: impl Into<String>) -> Self {
        let kind = format!("urn:todo-app:problem:{name}");
        Self { kind, title, status: status.as_u16(), detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    pub(super) fn not_found(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Not found", detail)
    }

    pub(super) fn method_not_allowed() -> Self {
        let detail = "This path exists, but not for this method; the Allow header lists the methods.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not available here", detail)
    }

    pub(super) fn not_a_merge_patch() -> Self {
        let detail = "A change is sent as application/merge-patch+json (RFC 7396).";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported-media-type",
            "The media type is not taken here",
            detail,
        )
    }

    /// The body is JSON but no todo.
    pub(super) fn not_a_todo(error: &serde_json::Error) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The todo is not valid", error.to_string())
    }

    /// The app's rules refuse the write.
    pub(super) fn against_the_rules(errors: Vec<FieldError>) -> Self {
        let details: Vec<&str> = errors.iter().map(|error| error.detail.as_str()).collect();
        let detail = details.join("; ");
        let refused = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "against-the-rules",
            "The rules for todos do not allow this",
            detail,
        );
        Self { errors, ..refused }
    }

    /// No answer from the sidecar. The cause is for the log only.
    pub(super) fn sidecar_away(error: &reqwest::Error) -> Self {
        tracing::warn!(error = ?error, "the sidecar does not answer");
        let detail =
            "The app's sidecar, which keeps the todos, does not answer. Nothing is lost; try again in a moment.";
        let away = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available for now", detail);
        Self { retry_after: Some(1), ..away }
    }

    /// The sidecar answered with something that is no todo.
    pub(super) fn sidecar_unintelligible(error: &reqwest::Error) -> Self {
        tracing::error!(error = ?error, "the sidecar's answer cannot be used");
        Self::failed()
    }

    /// Whether a condition on the todo's version did not hold.
    pub(super) fn is_changed_meanwhile(&self) -> bool {
        self.status == StatusCode::PRECONDITION_FAILED.as_u16()
    }

    fn failed() -> Self {
        let detail = "The todo store failed to do this; the app's log says more.";
        Self::new(StatusCode::BAD_GATEWAY, "failed", "Something is wrong behind this app", detail)
    }

    /// An answer of the sidecar that is no success, in the app's words.
    pub(super) async fn from_sidecar(answer: reqwest::Response) -> Self {
        let status = answer.status();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let SidecarProblem { detail, errors } = answer.json().await.unwrap_or_default();
        let problem = match status {
            StatusCode::NOT_FOUND => Self::not_found("There is no todo with this id."),
            StatusCode::CONFLICT => {
                Self::new(status, "conflict", "The todo exists already, or was changed at the same time", detail)
            }
            StatusCode::PRECONDITION_FAILED => {
                let detail = "The todo was changed since it was read: read it again, then decide again.";
                Self::new(status, "changed-meanwhile", "The todo is not as you expected", detail)
            }
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::new(status, "bad-request", "The request cannot be understood", detail)
            }
            StatusCode::UNPROCESSABLE_ENTITY => Self::new(status, "invalid", "The todo is not valid", detail),
            StatusCode::TOO_MANY_REQUESTS => Self::new(status, "too-many-requests", "Too many requests", detail),
            StatusCode::INSUFFICIENT_STORAGE => {
                let detail = "There are as many todos as there is room for: delete some.";
                Self::new(status, "full", "There is no room for more todos", detail)
            }
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                tracing::warn!(%status, detail, "the sidecar cannot serve for now");
                let detail = "The todo store cannot do this for now. Nothing is lost; try again in a moment.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Not available for now", detail)
            }
            _ => {
                tracing::error!(%status, detail, "the sidecar refused what it should not refuse");
                Self::failed()
            }
        };
        Self { errors, retry_after, ..problem }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "bad-request", "The request cannot be understood", rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(rejection.status(), "bad-request", "The request cannot be understood", rejection.body_text())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut response = (status, Json(self)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
