//! One request: guarded, routed to its kind, read or written, counted; a problem becomes an answer here and nowhere else.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use contract::problem::{Code, Problem};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response};
use sidecar_core::write::status;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::accept;
use super::access::{Access, Admitted, show};
use super::answer::{Fault, Outcome};
use super::context::Context;
use super::docs;
use super::events::{self, EventStream};
use super::metrics::{Metrics, Recent, Verb};
use super::route::{Route, route};
use super::write::Target;
use crate::config::ApiLimits;
use crate::kinds::{Kinds, Lookup, Served};
use crate::spans;
use crate::store::Store;

const READ: &str = "GET, HEAD";
const READ_OR_CREATE: &str = "GET, HEAD, POST";
const READ_OR_WRITE: &str = "GET, HEAD, PUT, PATCH, DELETE";
const WRITE_STATUS: &str = "PUT, PATCH";
pub(super) const JSON: &str = "application/json";
const HTML: &str = "text/html";
/// When to look again whether a kind has been installed.
pub(super) const INSTALL_SECONDS: u64 = 5;

/// The entity API of one sidecar.
pub struct Api {
    pub(super) kinds: Arc<Kinds>,
    pub(super) store: Store,
    pub(super) metrics: Metrics,
    /// Places for readers of events.
    pub(super) streams: Arc<Semaphore>,
    pub(super) access: Access,
    pub(super) limits: ApiLimits,
}

/// What goes to the caller: whole, or events as they come.
pub(super) type Reply = Response<Either<Full<Bytes>, EventStream>>;

impl Api {
    /// Over the kinds that are and will be found.
    pub fn new(kinds: Arc<Kinds>, store: Store, metrics: Metrics, limits: ApiLimits) -> Self {
        Self { kinds, store, metrics, streams: events::places(&limits), access: Access::default(), limits }
    }

    /// Lets in whom these rules let in.
    #[must_use]
    pub fn with_access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    pub(super) fn asks_for_token(&self) -> bool {
        self.access.token.is_some()
    }

    /// Answers a request of a connection that counts in `recent`. What never ends by itself ends with `stop`.
    pub(super) async fn answer(&self, request: Request<Incoming>, stop: &CancellationToken, recent: &Recent) -> Reply {
        let started = Instant::now();
        let uri = request.uri().clone();
        let route = route(uri.path());
        let follows =
            matches!(route, Some(Route::Collection { .. })) && events::wanted(request.method(), request.headers());
        let verb = if follows { Verb::watch } else { Verb::of(request.method(), route.as_ref()) };
        let served = route.as_ref().and_then(|route| self.served(route));
        let kind = served.map_or("", |served| served.full_name.as_str());
        let foreign = self.access.foreign(&request);
        let mut span = None;
        let answer = match (self.access.admit(&request), served.filter(|_| follows)) {
            (Err(problem), _) => Err(problem.into()),
            (Ok(Admitted::Preflight(answer)), _) => Ok(answer.map(Either::Left)),
            (Ok(Admitted::Request), Some(served)) => {
                Box::pin(self.events(served, request, stop)).await.map(|answer| answer.map(Either::Right))
            }
            (Ok(Admitted::Request), None) => {
                span = spans::incoming(request.headers(), || format!("{} {kind}", request.method()).into());
                let answer = match &mut span {
                    None => self.fulfil(request, route.as_ref(), served).await,
                    Some(span) => {
                        span.set("http.request.method", request.method().to_string());
                        span.set("url.path", uri.path().to_owned());
                        Box::pin(span.around(self.fulfil(request, route.as_ref(), served))).await
                    }
                };
                answer.map(|answer| answer.map(Either::Left))
            }
        };
        let mut answer = answer.unwrap_or_else(|fault| fault.answer(uri.path()).map(Either::Left));
        if let Some(origin) = foreign {
            show(&mut answer, origin);
        }
        if let Some(span) = &mut span {
            span.status(Some(answer.status().as_u16()), answer.status().is_server_error());
        }
        self.metrics.request(recent, kind, verb, answer.status(), started.elapsed());
        answer
    }

    fn served(&self, route: &Route<'_>) -> Option<&Served> {
        let (Route::Collection { kind } | Route::Entity { kind, .. } | Route::Status { kind, .. }) = route else {
            return None;
        };
        match self.kinds.find(kind) {
            Lookup::Found(served) => Some(served),
            _ => None,
        }
    }

    async fn events(
        &self,
        served: &Served,
        request: Request<Incoming>,
        stop: &CancellationToken,
    ) -> Result<Response<EventStream>, Box<Fault>> {
        let context = Context::read(request.headers())?;
        let asked = (request.method(), request.headers(), request.uri().query().unwrap_or_default());
        self.follow(served, asked, &context, stop.clone()).await
    }

    async fn fulfil(&self, request: Request<Incoming>, route: Option<&Route<'_>>, served: Option<&Served>) -> Outcome {
        let route = route.ok_or_else(|| nothing(request.uri().path()))?;
        let served = match (served, route) {
            (_, Route::Batch) if *request.method() == Method::POST => {
                accept::check(request.headers(), JSON)?;
                let context = Context::read(request.headers())?;
                return Box::pin(self.batch(request, &context)).await;
            }
            (_, Route::Batch) => return Err(not_allowed(request.method(), "POST")),
            (_, Route::Kinds | Route::OpenApi | Route::Docs) => {
                if !matches!(*request.method(), Method::GET | Method::HEAD) {
                    return Err(not_allowed(request.method(), READ));
                }
                accept::check(request.headers(), if *route == Route::Docs { HTML } else { JSON })?;
                return Ok(match route {
                    Route::OpenApi => self.openapi(),
                    Route::Docs => docs::page(),
                    _ => self.kinds_served(),
                });
            }
            (Some(served), _) => served,
            (None, Route::Collection { kind } | Route::Entity { kind, .. } | Route::Status { kind, .. }) => {
                return Err(self.no_kind(kind));
            }
        };
        if matches!(route, Route::Status { .. }) {
            status::check(&served.kind)?;
        }
        check_method(served, route, request.method())?;
        accept::check(request.headers(), JSON)?;
        let context = Context::read(request.headers())?;
        let query = request.uri().query().unwrap_or_default();
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        // What may take long is boxed: each request would carry its room, and moving that about costs as much as to answer a read.
        let (id, target) = match route {
            Route::Entity { id, .. } if reads => return self.read_one(served, id, query, &context).await,
            _ if reads => return Box::pin(self.read_list(served, query, &context)).await,
            Route::Entity { id, .. } => (&**id, Target::Entity),
            Route::Status { id, .. } => (&**id, Target::Status),
            _ => ("", Target::Entity),
        };
        Box::pin(self.write(served, id, target, request, &context)).await
    }

    pub(super) fn no_kind(&self, name: &str) -> Box<Fault> {
        match self.kinds.find(name) {
            Lookup::Ambiguous(names) => {
                let paths: Vec<String> = names.iter().map(|name| format!("/v1/{name}")).collect();
                let detail = format!("several kinds have the plural {name:?}: use one of {}", paths.join(", "));
                Problem::new(Code::NotFound, detail).into()
            }
            Lookup::Waiting(waiting) => Fault::unavailable(
                format!("no kind {name:?} is served yet; waited for is {}", waiting.join("; ")),
                INSTALL_SECONDS,
            ),
            _ => {
                let known: Vec<String> =
                    self.kinds.served().map(|served| format!("/v1/{}", self.kinds.path(served))).collect();
                Problem::new(Code::NotFound, format!("no kind {name:?} is served; served are {}", known.join(", ")))
                    .into()
            }
        }
    }
}

/// Whether there is such a method on what a kind has here; said before anything else of the request is looked at.
fn check_method(served: &Served, route: &Route<'_>, method: &Method) -> Result<(), Box<Fault>> {
    let (here, allow) = match route {
        Route::Entity { .. } => (matches!(*method, Method::PUT | Method::PATCH | Method::DELETE), READ_OR_WRITE),
        Route::Status { .. } => (matches!(*method, Method::PUT | Method::PATCH), WRITE_STATUS),
        _ => (*method == Method::POST, READ_OR_CREATE),
    };
    if matches!(*method, Method::GET | Method::HEAD) && !matches!(route, Route::Status { .. }) {
        return Ok(());
    }
    if !served.kind.owned && is_write(method) {
        let plural = &served.kind.plural;
        let detail = format!("{plural} is only consumed here: this app is not its owner, so it cannot be written");
        return Err(Fault::method(READ, detail));
    }
    if here { Ok(()) } else { Err(not_allowed(method, allow)) }
}

fn is_write(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE)
}

fn not_allowed(method: &Method, allow: &'static str) -> Box<Fault> {
    Fault::method(allow, format!("{method} is not available here"))
}

fn nothing(path: &str) -> Box<Fault> {
    let detail = format!("there is nothing at {path:?}; the kinds served are listed at /v1");
    Problem::new(Code::NotFound, detail).into()
}
