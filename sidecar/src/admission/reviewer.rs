//! One review: read, put to the app where a rule is about it, answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::hook::{DefaultAnswer, HookName, ValidateAnswer};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::Value;
use sidecar_core::admission::defaults;
use sidecar_core::admission::response::{self, Ruling};
use sidecar_core::admission::review::{Question, Review};
use sidecar_core::kind::Kind;
use tokio::sync::Semaphore;

use super::body::{LIMIT, NoBody, Room};
use super::metrics::{Metrics, Reason, Ruled};
use crate::config::{GuardConfig, OnFailure};
use crate::hooks::{Answer, Call, Hooks};
use crate::kinds::Kinds;

/// A kind of the configuration that is guarded.
#[derive(Debug, Clone)]
pub struct Guarded {
    /// Its place in the configuration.
    pub index: usize,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Whether a write may be stored.
    pub validate: Option<GuardConfig>,
    /// To fill in values.
    pub default: Option<GuardConfig>,
}

/// Answers reviews.
pub struct Reviewer {
    guarded: Vec<Guarded>,
    kinds: Arc<Kinds>,
    hooks: Hooks,
    places: Semaphore,
    room: Room,
    metrics: Metrics,
}

type Reply = Response<Full<Bytes>>;

/// What of a request's head matters.
struct Asked {
    hook: HookName,
    patience: Option<Duration>,
    headers: HeaderMap,
}

impl Reviewer {
    /// Over the kinds that are and will be found. `concurrency` reviews at the same time.
    pub fn new(guarded: Vec<Guarded>, kinds: Arc<Kinds>, hooks: Hooks, concurrency: usize, metrics: Metrics) -> Self {
        Self { guarded, kinds, hooks, places: Semaphore::new(concurrency), room: Room::new(), metrics }
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers a request, whatever it is.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Reply {
        let hook = match request.uri().path() {
            "/admission/validate" => HookName::Validate,
            "/admission/default" => HookName::Default,
            _ => return plain(StatusCode::NOT_FOUND, "here are /admission/validate and /admission/default\n"),
        };
        if *request.method() != Method::POST {
            let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only POST\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return refused;
        }
        let (head, body) = request.into_parts();
        let asked = Asked { hook, patience: patience(head.uri.query().unwrap_or_default()), headers: head.headers };
        let held = match self.room.read(body).await {
            Ok(held) => held,
            Err(why) => return self.no_body(why),
        };
        let Ok(_place) = self.places.try_acquire() else {
            self.metrics.turned_away(Reason::busy);
            let mut refused = plain(StatusCode::TOO_MANY_REQUESTS, "too many reviews at once\n");
            refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return refused;
        };
        match Review::read(&held.bytes) {
            Ok(review) => {
                let told = Box::pin(self.review(&asked, &review)).await;
                let mut reply = Response::new(Full::new(Bytes::from(told)));
                reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                reply
            }
            Err(error) => {
                tracing::debug!(%error, "the admission webhook was sent something else");
                self.metrics.turned_away(Reason::garbled);
                plain(StatusCode::BAD_REQUEST, "the body is no AdmissionReview of admission.k8s.io/v1 with a request\n")
            }
        }
    }

    fn no_body(&self, why: NoBody) -> Reply {
        let (reason, status, text) = match why {
            NoBody::TooLarge => {
                (Reason::large, StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {LIMIT} bytes\n"))
            }
            NoBody::Late => (Reason::late, StatusCode::REQUEST_TIMEOUT, "the body takes too long\n".to_owned()),
            NoBody::Broken => (Reason::garbled, StatusCode::BAD_REQUEST, "the body broke off\n".to_owned()),
        };
        self.metrics.turned_away(reason);
        plain(status, text)
    }

    async fn review(&self, asked: &Asked, review: &Review<'_>) -> Vec<u8> {
        let started = Instant::now();
        let named = &review.kind;
        let Some(guarded) = self.guarded.iter().find(|one| one.group == named.group && one.kind == named.kind) else {
            let message = format!(
                "this webhook guards no {}: the webhook configuration that leads here names a kind too many",
                review.kind.kind
            );
            self.metrics.review("", asked.hook, Ruled::foreign, started.elapsed());
            return response::body(
                None,
                &review.uid,
                &Ruling::Refused { message, errors: Vec::new(), warnings: Vec::new() },
            );
        };
        let served = self.kinds.slot(guarded.index).and_then(|slot| slot.served());
        let kind = served.map(|served| &*served.kind);
        let (ruling, ruled) = self.rule(asked, review, guarded, kind).await;
        let label = served.map_or("", |served| served.full_name.as_str());
        self.metrics.review(label, asked.hook, ruled, started.elapsed());
        response::body(kind, &review.uid, &ruling)
    }

    async fn rule(
        &self,
        asked: &Asked,
        review: &Review<'_>,
        guarded: &Guarded,
        kind: Option<&Kind>,
    ) -> (Ruling, Ruled) {
        let guard = match asked.hook {
            HookName::Default => guarded.default.as_ref(),
            _ => guarded.validate.as_ref(),
        };
        let Some(guard) = guard else { return (Ruling::allowed(), Ruled::unasked) };
        if guarded.version != review.kind.version {
            let why = format!(
                "the webhook configuration asks about {}, the sidecar knows {}",
                review.kind.version, guarded.version
            );
            return failed(asked.hook, guard, &why);
        }
        let Some(kind) = kind else {
            return failed(asked.hook, guard, "the sidecar has not found the kind's definition yet");
        };
        let question = match review.question(kind) {
            Ok(Some(question)) => question,
            Ok(None) => return (Ruling::allowed(), Ruled::unasked),
            Err(error) => {
                tracing::debug!(%error, "a review's objects cannot be read");
                return failed(asked.hook, guard, "the sidecar cannot read the object");
            }
        };
        match self.ask(asked, kind, guard, review, &question).await {
            Ok(decided) => decided,
            Err(why) => failed(asked.hook, guard, &why),
        }
    }

    /// Puts the question to the app.
    async fn ask(
        &self,
        asked: &Asked,
        kind: &Kind,
        guard: &GuardConfig,
        review: &Review<'_>,
        question: &Question,
    ) -> Result<(Ruling, Ruled), String> {
        let full_name = kind.full_name();
        let told = asked.headers.get("traceparent").and_then(|value| value.to_str().ok()?.parse().ok());
        // An API server that traces nothing still hands the annotation on that the write is to leave.
        let trace = told.or_else(|| crate::spans::of_object(review.object()?.get().as_bytes()));
        let call = Call {
            kind: Arc::from(full_name.as_str()),
            hook: asked.hook,
            path: Arc::from(guard.path.as_str()),
            body: question.body().map_err(|error| error.to_string())?,
            content_type: None,
            headers: HeaderMap::new(),
            attempt: 1,
            deadline: asked.patience.map_or(guard.deadline, |patience| patience.min(guard.deadline)),
            trace,
        };
        let answer = self.hooks.call(call).await.map_err(|failure| failure.to_string())?;
        let answer = accepted(answer)?;
        if asked.hook == HookName::Validate {
            let said: ValidateAnswer =
                self.hooks.read(&full_name, asked.hook, &answer).map_err(|unusable| unusable.to_string())?;
            let ruled = if said.allowed { Ruled::allowed } else { Ruled::refused };
            return Ok((Ruling::of(said), ruled));
        }
        let said: DefaultAnswer =
            self.hooks.read(&full_name, asked.hook, &answer).map_err(|unusable| unusable.to_string())?;
        let (Some(object), Some(entity)) = (review.object(), question.entity()) else {
            return Ok((Ruling::allowed(), Ruled::unasked));
        };
        let object: Value = serde_json::from_str(object.get()).map_err(|error| error.to_string())?;
        let patch = defaults::patch(kind, &object, entity, &said.entity).map_err(|unusable| unusable.to_string())?;
        let ruled = if patch.is_empty() { Ruled::allowed } else { Ruled::patched };
        Ok((Ruling::Allowed { warnings: Vec::new(), patch: Some(patch) }, ruled))
    }
}

fn accepted(answer: Answer) -> Result<Answer, String> {
    match answer.status {
        200..=299 => Ok(answer),
        status => Err(format!("the app answered {status}")),
    }
}

fn failed(hook: HookName, guard: &GuardConfig, why: &str) -> (Ruling, Ruled) {
    tracing::debug!(hook = hook.name(), why, "a write could not be put to the app");
    match guard.on_failure {
        OnFailure::Refuse => (Ruling::undecided(hook, why), Ruled::undecided),
        OnFailure::LetThrough => (Ruling::unchecked(hook, why), Ruled::unchecked),
    }
}

/// What the API server says in `?timeout=3s`, less a tenth for the way back; it gives up a review that takes longer.
fn patience(query: &str) -> Option<Duration> {
    let given = query.split('&').find_map(|pair| pair.strip_prefix("timeout="))?;
    let seconds: u32 = given.strip_suffix('s')?.parse().ok()?;
    Some(Duration::from_secs(u64::from(seconds)).mul_f64(0.9))
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(text.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_s_patience_is_kept() {
        for (query, expected) in [
            ("timeout=3s", Some(2700)),
            ("a=b&timeout=30s", Some(27_000)),
            ("timeout=1m", None),
            ("timeout=-3s", None),
            ("", None),
        ] {
            assert_eq!(patience(query), expected.map(Duration::from_millis), "{query}");
        }
    }
}
