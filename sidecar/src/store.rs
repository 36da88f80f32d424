//! Asks the API server: which kinds there are, and on the entity API's behalf reads and writes one object at a time.
//!
//! Objects are bytes here and become entities by slices; what a write's request looks like and what a refusal means is decided in
//! [`sidecar_core::write`] and [`sidecar_core::refusal`]. One write is one request, unless the cache was behind. Never touches a cache, never
//! logs what an entity holds. `http` calls it for requests, `app` for discovery.

mod away;
mod discovery;
mod metrics;
mod objects;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use contract::problem::{Code, Problem};
use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use hyper::{Method, Request, StatusCode};
use kube::Client;
use kube::client::Body;
use sidecar_core::entity::{Entity, Key};
use sidecar_core::kind::Kind;
use sidecar_core::mapping;
use sidecar_core::refusal::{self, Conditional};
use sidecar_core::retry::{self, Failure, Twice};
use sidecar_core::trace::span::Role;
use sidecar_core::version::Version;
use sidecar_core::watch::{ListPage, Request as ListRequest};
use sidecar_core::write::idempotency::{self, Mark, Verdict};
use sidecar_core::write::patch::{self, Patch as WritePatch};
use sidecar_core::write::status::StatusChange;
use sidecar_core::write::{self, body::Body as WriteBody};

use crate::resource;
use crate::spans::{self, TRACEPARENT};
use away::Away;
pub use discovery::{Discovery, DiscoveryError, Wanted};
pub use metrics::Metrics;
use metrics::Verb;

/// The API server ends a request after a minute, admission webhooks included; nobody waits so long on localhost.
const DEADLINE: Duration = Duration::from_secs(30);
/// An object is 3 MiB at most, a page of a list some hundreds of usual ones.
const ANSWER_BYTES: usize = 1 << 30;
/// A cache that is behind is right after one read; a writer that comes between twice more is bad luck.
const ATTEMPTS: usize = 3;
/// Entities of one page when a list is read through.
const PAGE: usize = 500;
/// When to come back while the API server is away.
const RETRY_SECONDS: u64 = 2;

/// A write of the entity API, read and checked.
#[derive(Debug, Clone, Copy)]
pub enum Write<'a> {
    /// Nothing of that id may exist.
    Create(&'a WriteBody<'a>),
    /// As [`Write::Create`], unless the same was created before: then that is the result.
    CreateOnce {
        /// The entity.
        body: &'a WriteBody<'a>,
        /// By which the first try is known again.
        mark: &'a Mark,
    },
    /// Create, or replace what exists.
    Replace {
        /// The entity.
        body: &'a WriteBody<'a>,
        /// The version that must be the present one.
        base: Option<Version>,
        /// Whether it must exist (`If-Match: *`, or a version).
        must_exist: bool,
    },
    /// Change some fields of what exists.
    Patch {
        /// The merge patch.
        body: &'a WriteBody<'a>,
        /// The version that must be the present one.
        base: Option<Version>,
    },
    /// Change some places of what exists.
    JsonPatch {
        /// The operations.
        patch: &'a WritePatch<'a>,
        /// The version that must be the present one.
        base: Option<Version>,
    },
    /// Change the status of what exists.
    Status {
        /// What becomes of it.
        change: StatusChange<'a>,
        /// The version that must be the present one.
        base: Option<Version>,
    },
    /// Delete what exists.
    Delete {
        /// The version that must be the present one.
        base: Option<Version>,
    },
}

/// What a write came to.
#[derive(Debug)]
pub enum Written {
    /// The entity as it is now; one that is being deleted waits for finalizers.
    Stored {
        /// As the API server answered it.
        entity: Arc<Entity>,
        /// Whether it is new.
        created: bool,
    },
    /// The entity is gone.
    Gone {
        /// Of the entity that was deleted.
        uid: String,
    },
}

/// Why there is no result.
#[derive(Debug)]
pub struct Refused {
    /// For the caller.
    pub problem: Problem,
    /// Seconds after which to try again, where that makes sense.
    pub retry_after: Option<u64>,
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let retry_after = (problem.status == Code::Unavailable.status()).then_some(RETRY_SECONDS);
        Self { problem, retry_after }
    }
}

impl Refused {
    /// The same under another code, where it has this one: what is a conflict to the API server may be a failed precondition to the caller.
    #[must_use]
    pub fn recast(self, from: Code, to: Code) -> Self {
        if self.problem.status != from.status() {
            return self;
        }
        let Problem { detail, errors, .. } = self.problem;
        Self { problem: Problem { errors, ..Problem::new(to, detail) }, ..self }
    }
}

/// The gateway; clones share its connections.
#[derive(Clone)]
pub struct Store {
    client: Client,
    metrics: Metrics,
}

/// An answer of the API server, read whole.
struct Answer {
    status: StatusCode,
    retry_after: Option<u64>,
    /// What the API server, or who was asked by it, has to say beside the answer.
    warnings: Vec<HeaderValue>,
    body: Bytes,
}

impl Store {
    /// Over a client that retries nothing by itself.
    pub fn new(client: Client, metrics: Metrics) -> Self {
        Self { client, metrics }
    }

    /// The entity as the API server has it.
    ///
    /// # Errors
    /// When it cannot be asked, or refuses.
    pub async fn read(&self, kind: &Kind, key: &Key) -> Result<Option<Arc<Entity>>, Refused> {
        let answer = self.send(kind, Verb::get, Method::GET, resource::object(kind, key), None).await?;
        match answer.status {
            StatusCode::OK => entity(kind, &answer.body).map(Some),
            _ => {
                let refused = refused(kind, key, &answer, Conditional::No, None);
                // The kind itself may be missing, which says nothing about the entity.
                if refused.problem.status == Code::NotFound.status() { Ok(None) } else { Err(refused) }
            }
        }
    }

    /// Everything in a namespace, or everything, as the API server has it, with the version of that state.
    ///
    /// # Errors
    /// When it cannot be asked, or refuses.
    pub async fn list(&self, kind: &Kind, namespace: Option<&str>) -> Result<(Version, Vec<Arc<Entity>>), Refused> {
        let mut version = None;
        let mut entities = Vec::new();
        let mut after = None;
        loop {
            let query = ListRequest::Page { limit: PAGE, after }.query();
            let path = format!("{}?{query}", resource::collection(kind, namespace));
            let answer = self.send(kind, Verb::list, Method::GET, path, None).await?;
            if answer.status != StatusCode::OK {
                let key = Key { namespace: namespace.map(Arc::from), id: Arc::from("") };
                return Err(refused(kind, &key, &answer, Conditional::No, None));
            }
            let page = ListPage::parse(kind, &answer.body).map_err(|error| unusable(&error))?;
            let first = *version.get_or_insert(page.version);
            entities.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok((first, entities));
            }
        }
    }

    /// Makes a write; answers with the API server's warnings. `existing` is what the cache has; `key.id` is empty where the id is in the body or to be generated.
    ///
    /// # Errors
    /// When the API server cannot be asked, or refuses.
    pub async fn write(
        &self,
        kind: &Kind,
        key: &Key,
        mut existing: Option<Arc<Entity>>,
        write: Write<'_>,
        dry_run: bool,
    ) -> Result<(Written, Vec<HeaderValue>), Refused> {
        if existing.is_none() && write.needs_state() {
            existing = self.read(kind, key).await?;
        }
        for attempt in 1.. {
            let mut request = request(kind, key, existing.as_deref(), write, dry_run)?;
            if let Some(trace) = spans::here() {
                request = request.traced(trace, existing.as_deref());
            }
            let (verb, method, path) = target(kind, key, request.method);
            let path = path + query(request.method, dry_run);
            let sent = request.body.len();
            let body = Some((request.content_type, Bytes::from(std::mem::take(&mut request.body))));
            let twice = if dry_run { Twice::Harmless } else { request.twice };
            let (answer, uncertain) = self.exchange(kind, verb, method, path, body, twice).await?;
            if answer.status.is_success() {
                let written = written(kind, &answer)?;
                return Ok((written, answer.warnings));
            }
            let told = matches!(write, Write::CreateOnce { .. }) && answer.status == StatusCode::CONFLICT;
            if !told && retry::inconclusive(uncertain, answer.status.as_u16()) {
                return Err(away::unknown());
            }
            if attempt < ATTEMPTS && request.outdated(answer.status.as_u16()) {
                tracing::debug!(kind = %kind.full_name(), id = %key.id, "the cache was behind, writing again");
                let present = self.read(kind, key).await?;
                let behind = match (&existing, &present) {
                    // One that came from Kafka may only be a guess where the record does not tell: whether there are annotations.
                    (Some(cached), Some(present)) => {
                        (cached.version, cached.annotated) != (present.version, present.annotated)
                    }
                    _ => true,
                };
                existing = present;
                if behind {
                    continue;
                }
            }
            if let Write::CreateOnce { mark, .. } = write
                && answer.status == StatusCode::CONFLICT
            {
                match self.first_result(kind, key, mark).await? {
                    Some(first) => return Ok((first, Vec::new())),
                    None if attempt < ATTEMPTS => continue,
                    None => {}
                }
            }
            let status = answer.status.as_u16();
            if write.is_json_patch() && refusal::inapplicable(status, &answer.body) && write.fits(existing.as_deref()) {
                return Err(patch::inapplicable().into());
            }
            if status == 404 && matches!(write, Write::Replace { base: None, must_exist: false, .. }) {
                // A replace makes what is not there, so it never ends with "there is none".
                let detail =
                    format!("others create and delete the {} {:?} at the same time: try again", kind.noun(), &*key.id);
                return Err(Problem::new(Code::Conflict, detail).into());
            }
            let refused = refused(kind, key, &answer, write.conditional(), Some(sent));
            return Err(if write.is_replace_of_some() {
                refused.recast(Code::NotFound, Code::PreconditionFailed)
            } else {
                refused
            });
        }
        Err(Problem::new(Code::Internal, "no attempt was made").into())
    }

    /// What exists in a create's place, when the same create made it; absent when nothing exists any more.
    async fn first_result(&self, kind: &Kind, key: &Key, mark: &Mark) -> Result<Option<Written>, Refused> {
        let answer = self.send(kind, Verb::get, Method::GET, resource::object(kind, key), None).await?;
        match (answer.status, mark.judge(&answer.body)) {
            (StatusCode::OK, Verdict::Same) => {
                Ok(Some(Written::Stored { entity: entity(kind, &answer.body)?, created: true }))
            }
            (StatusCode::OK, Verdict::OtherBody) => Err(idempotency::reused().into()),
            (StatusCode::OK, Verdict::Foreign) => {
                let detail = format!("the {} {:?} exists already", kind.noun(), &*key.id);
                Err(Problem::new(Code::Conflict, detail).into())
            }
            (StatusCode::NOT_FOUND, _) => Ok(None),
            _ => Err(refused(kind, key, &answer, Conditional::No, None)),
        }
    }

    /// A read.
    async fn send(
        &self,
        kind: &Kind,
        verb: Verb,
        method: Method,
        path: String,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Answer, Refused> {
        self.exchange(kind, verb, method, path, body, Twice::Harmless).await.map(|(answer, _)| answer)
    }

    /// A request and its answer, with as many tries as [`retry`] allows, and whether a try before the last may have been carried out.
    async fn exchange(
        &self,
        kind: &Kind,
        verb: Verb,
        method: Method,
        path: String,
        body: Option<(&'static str, Bytes)>,
        twice: Twice,
    ) -> Result<(Answer, bool), Refused> {
        let (started, mut uncertain) = (Instant::now(), false);
        for tries in 1.. {
            let sent = Instant::now();
            let mut span = spans::below(spans::here(), Role::Client, || format!("{method} {}", kind.plural).into());
            let trace = span.as_ref().and_then(spans::Open::header);
            let result = self.ask(method.clone(), path.clone(), body.clone(), trace).await;
            let status = result.as_ref().ok().map(|answer| answer.status.as_u16());
            if let Some(span) = &mut span {
                span.set("http.request.method", method.to_string());
                span.set("url.path", path.split('?').next().unwrap_or_default().to_owned());
                span.status(status, status.is_some_and(|status| status >= 400));
            }
            drop(span);
            self.metrics.request(&kind.full_name(), verb, status, sent.elapsed());
            let (failure, asked) = match &result {
                Ok(answer) => (retry::failure(answer.status.as_u16()), answer.retry_after.map(Duration::from_secs)),
                Err(Away::Unsent(_)) => (Some(Failure::NotDone), None),
                Err(Away::Unknown(_)) => (Some(Failure::Unknown), None),
            };
            let wait =
                failure.and_then(|failure| retry::wait(twice, failure, tries, started.elapsed(), asked, jitter(tries)));
            if let Some(wait) = wait {
                tracing::debug!(kind = %kind.full_name(), ?verb, tries, ?status, "asking the API server again");
                uncertain |= failure == Some(Failure::Unknown) && twice != Twice::Harmless;
                tokio::time::sleep(wait).await;
                continue;
            }
            return match result {
                Ok(answer) => Ok((answer, uncertain)),
                Err(away) => {
                    tracing::debug!(kind = %kind.full_name(), ?verb, error = %away, "the API server did not answer");
                    Err(if uncertain { away::unknown() } else { away.refused(twice == Twice::Harmless) })
                }
            };
        }
        Err(Problem::new(Code::Internal, "no attempt was made").into())
    }

    async fn ask(
        &self,
        method: Method,
        path: String,
        body: Option<(&'static str, Bytes)>,
        trace: Option<HeaderValue>,
    ) -> Result<Answer, Away> {
        let mut request = Request::builder().method(method).uri(path).header(ACCEPT, "application/json");
        if let Some(trace) = trace {
            request = request.header(TRACEPARENT, trace);
        }
        let body = match body {
            Some((content_type, body)) => {
                request = request.header(CONTENT_TYPE, content_type);
                Body::from(body)
            }
            None => Body::empty(),
        };
        let request = request.body(body).map_err(|error| Away::Unsent(error.to_string()))?;
        let exchange = async {
            let response = self.client.send(request).await.map_err(|error| Away::of(&error))?;
            let status = response.status();
            let retry_after =
                response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            let warnings = response.headers().get_all(WARNING).iter().cloned().collect();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| Away::Unknown(error.to_string()))?.to_bytes();
            Ok(Answer { status, retry_after, warnings, body })
        };
        tokio::time::timeout(DEADLINE, exchange)
            .await
            .unwrap_or_else(|_| Err(Away::Unknown(format!("no answer within {} s", DEADLINE.as_secs()))))
    }
}

impl Write<'_> {
    fn conditional(self) -> Conditional {
        match self {
            Self::Replace { base: Some(_), .. }
            | Self::Patch { base: Some(_), .. }
            | Self::JsonPatch { base: Some(_), .. }
            | Self::Status { base: Some(_), .. }
            | Self::Delete { base: Some(_) } => Conditional::Yes,
            _ => Conditional::No,
        }
    }

    /// Whether the present entity must be known before there can be a request.
    fn needs_state(self) -> bool {
        match self {
            Self::Replace { must_exist, .. } => must_exist,
            Self::JsonPatch { patch, .. } => patch.needs_state(),
            _ => false,
        }
    }

    /// A replace that must meet something: where nothing is, its precondition does not hold. (Every other write then has nothing to be done to.)
    fn is_replace_of_some(self) -> bool {
        matches!(self, Self::Replace { must_exist: true, .. })
    }

    fn is_json_patch(self) -> bool {
        matches!(self, Self::JsonPatch { .. } | Self::Status { change: StatusChange::Patch(_), .. })
    }

    /// Whether the present version is the one that the caller wants to write to.
    fn fits(self, present: Option<&Entity>) -> bool {
        let (Self::JsonPatch { base, .. } | Self::Status { base, .. }) = self else { return true };
        base.is_none_or(|base| present.is_none_or(|present| present.version == base))
    }
}

/// A random number in 0..1, so that callers that failed together do not come again together.
fn jitter(tries: u32) -> f64 {
    // A hasher has random keys of its own.
    (RandomState::new().hash_one(tries) >> 11) as f64 / (1_u64 << 53) as f64
}

fn request(
    kind: &Kind,
    key: &Key,
    existing: Option<&Entity>,
    write: Write<'_>,
    dry_run: bool,
) -> Result<write::Request, Problem> {
    match write {
        Write::Create(body) => write::create(kind, key, body),
        Write::CreateOnce { body, mark } => write::create_once(kind, key, body, mark),
        Write::Replace { base: None, must_exist: true, .. } if existing.is_none() => {
            Err(Problem::new(Code::PreconditionFailed, format!("there is no {} {:?}", kind.noun(), &*key.id)))
        }
        Write::Replace { body, base, .. } => write::replace(kind, key, existing, base, body),
        Write::Patch { body, base } => write::merge_patch(kind, key, base, body),
        Write::JsonPatch { patch, base } => patch::json_patch(kind, key, existing, base, patch),
        Write::Status { change, base } => write::status::status(kind, key, existing, base, change),
        Write::Delete { base } => Ok(write::delete(base, dry_run)),
    }
}

fn target(kind: &Kind, key: &Key, method: write::Method) -> (Verb, Method, String) {
    match method {
        write::Method::Post => (Verb::create, Method::POST, resource::collection(kind, key.namespace.as_deref())),
        write::Method::Patch => (Verb::patch, Method::PATCH, resource::object(kind, key)),
        write::Method::PatchStatus => (Verb::patch, Method::PATCH, resource::object(kind, key) + "/status"),
        write::Method::Delete => (Verb::delete, Method::DELETE, resource::object(kind, key)),
    }
}

/// With its question mark, where there is anything to ask for.
fn query(method: write::Method, dry_run: bool) -> &'static str {
    match (method, dry_run) {
        (write::Method::Delete, _) => "",
        (_, false) => "?fieldManager=kab-sidecar&fieldValidation=Strict",
        (_, true) => "?fieldManager=kab-sidecar&fieldValidation=Strict&dryRun=All",
    }
}

fn written(kind: &Kind, answer: &Answer) -> Result<Written, Refused> {
    // A delete that is done at once is answered with a `Status` instead of the object.
    #[derive(serde::Deserialize)]
    struct Told<'a> {
        kind: &'a str,
        #[serde(default)]
        details: Option<Details>,
    }
    #[derive(serde::Deserialize)]
    struct Details {
        #[serde(default)]
        uid: String,
    }
    match serde_json::from_slice::<Told<'_>>(&answer.body) {
        Ok(Told { kind: "Status", details }) => {
            Ok(Written::Gone { uid: details.map(|details| details.uid).unwrap_or_default() })
        }
        _ => Ok(Written::Stored { entity: entity(kind, &answer.body)?, created: answer.status == StatusCode::CREATED }),
    }
}

fn entity(kind: &Kind, body: &[u8]) -> Result<Arc<Entity>, Refused> {
    mapping::entity(kind, body).map(Arc::new).map_err(|error| unusable(&error))
}

fn unusable(error: &mapping::MappingError) -> Refused {
    let cause = std::error::Error::source(error).map(ToString::to_string);
    tracing::warn!(%error, cause, "the API server's answer cannot be used");
    Problem::new(Code::BadGateway, "the API server's answer cannot be read as an entity").into()
}

fn refused(kind: &Kind, key: &Key, answer: &Answer, conditional: Conditional, sent: Option<usize>) -> Refused {
    let problem = refusal::problem(kind, key, answer.status.as_u16(), &answer.body, conditional, sent);
    let refused = Refused::from(problem);
    Refused { retry_after: answer.retry_after.or(refused.retry_after), ..refused }
}

#[cfg(test)]
mod tests;
