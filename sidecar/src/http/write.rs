//! POST, PUT, PATCH, DELETE: read and check the request, carry it out, answer.

use contract::problem::{Code, Problem};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, WARNING};
use hyper::{HeaderMap, Method, Request};
use sidecar_core::write::{MERGE_PATCH, name};

use super::answer::{self, Fault, Outcome};
use super::body::{self, Taken};
use super::context::Context;
use super::order::{Action, Order};
use super::parameters::{self, Access, Parameters};
use super::read::view;
use super::service::Api;
use super::settle::settle;
use crate::kinds::Served;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What of an entity a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Entity,
    Status,
}

impl Api {
    /// A write to `/v1/KIND` (POST, with an empty `id`), `/v1/KIND/ID` or `/v1/KIND/ID/status`.
    pub(super) async fn write(
        &self,
        served: &Served,
        id: &str,
        target: Target,
        request: Request<Incoming>,
        context: &Context,
    ) -> Outcome {
        let parameters = Parameters::read(request.uri().query().unwrap_or_default(), Access::Write)?;
        let key = parameters::key(served, parameters.namespace.as_deref(), id)?;
        if !id.is_empty() {
            check_id(id)?;
        }
        let action = action(request.method(), target, request.headers())?;
        let idempotency_key = idempotency_key(request.headers())?;
        let body = match action {
            Action::Delete => None,
            _ => Some(body::read(request, body::LIMIT, self.limits.body_time).await?),
        };
        let view = view(served, key.namespace.as_deref())?;
        let order = Order {
            action,
            key,
            body: body.as_deref().unwrap_or_default(),
            if_match: context.if_match.as_ref(),
            if_none_match: context.if_none_match.as_ref(),
            idempotency_key: idempotency_key.as_deref(),
            dry_run: parameters.dry_run,
        };
        let done = self.carry_out(served, order).await?;
        let (done, applied) = match parameters.dry_run {
            true => (done, None),
            false => settle(served, view, done, action, context).await,
        };
        let answer = match &done.entity {
            Some(entity) => answer::entity(done.status, entity, context.minimal),
            None => answer::empty(done.status),
        };
        let answer = applied.into_iter().fold(answer, |answer, preference| answer::heeded(answer, &preference));
        let mut answer = match &done.location {
            Some(location) => answer::located(answer, location),
            None => answer,
        };
        for warning in done.warnings {
            answer.headers_mut().append(WARNING, warning);
        }
        Ok(answer)
    }
}

/// 400 when this can be nobody's id.
pub(super) fn check_id(id: &str) -> Result<(), Problem> {
    name::check(id).map_err(|why| Problem::new(Code::BadRequest, format!("the id {id:?} cannot be used: {why}")))
}

/// `Idempotency-Key`, once.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(first) = given.next() else { return Ok(None) };
    match (first.to_str(), given.next()) {
        (Ok(key), None) => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(Code::BadRequest, "Idempotency-Key is given more than once, or is no text")),
    }
}

/// What is wanted, by method and media type.
fn action(method: &Method, target: Target, headers: &HeaderMap) -> Result<Action, Box<Fault>> {
    if *method == Method::DELETE {
        return Ok(Action::Delete);
    }
    if *method != Method::PATCH {
        body::check_type(headers, Taken::Json)?;
        return Ok(match (method, target) {
            (_, Target::Status) => Action::ReplaceStatus,
            (&Method::PUT, _) => Action::Replace,
            _ => Action::Create,
        });
    }
    body::check_type(headers, Taken::Patches)?;
    let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let merge = given.get(..MERGE_PATCH.len()).is_some_and(|start| start.eq_ignore_ascii_case(MERGE_PATCH));
    Ok(match (merge, target) {
        (true, Target::Entity) => Action::Merge,
        (true, Target::Status) => Action::MergeStatus,
        (false, Target::Entity) => Action::Patch,
        (false, Target::Status) => Action::PatchStatus,
    })
}
