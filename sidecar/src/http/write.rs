//! POST, PUT, PATCH, DELETE: read and check, hand over to the store, put the result into the view, answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use contract::problem::{Code, Problem};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use sidecar_core::entity::Key;
use sidecar_core::query;
use sidecar_core::version::Version;
use sidecar_core::write::body::Body;
use sidecar_core::write::name;

use super::answer::{self, Answer, Fault, MERGE_PATCH, Outcome};
use super::body;
use super::conditions::Tags;
use super::context::Context;
use super::parameters::{self, Access, Parameters};
use super::read::view;
use super::service::Api;
use crate::kinds::Served;
use crate::store::{Write, Written};
use crate::view::View;

/// What `If-Match` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Base {
    version: Option<Version>,
    must_exist: bool,
}

impl Api {
    /// A write to `/v1/KIND` (POST, with an empty `id`) or `/v1/KIND/ID`.
    pub(super) async fn write(
        &self,
        served: &Served,
        id: &str,
        request: Request<Incoming>,
        context: &Context,
    ) -> Outcome {
        let parameters = Parameters::read(request.uri().query().unwrap_or_default(), Access::Write)?;
        let key = parameters::key(served, parameters.namespace.as_deref(), id)?;
        if !id.is_empty() {
            let wrong = |why| Problem::new(Code::BadRequest, format!("the id {id:?} cannot be used: {why}"));
            name::check(id).map_err(wrong)?;
        }
        let method = request.method().clone();
        let bytes = match method {
            Method::POST | Method::PUT => {
                body::check_type(request.headers(), &["application/json"])?;
                body::read(request).await?
            }
            Method::PATCH => {
                body::check_type(request.headers(), &[MERGE_PATCH])?;
                body::read(request).await?
            }
            _ => Bytes::new(),
        };
        let parsed = match method {
            Method::DELETE => None,
            _ => Some(Body::parse(&bytes)?),
        };
        let view = view(served, &key)?;
        let only_new = only_new(&method, context)?;
        let base = self.base(served, &key, view, context).await?;
        let Base { version: base, must_exist } = base;
        let write = match (&parsed, &method) {
            (Some(body), &Method::POST) => Write::Create(body),
            (Some(body), &Method::PUT) if only_new => Write::Create(body),
            (Some(body), &Method::PUT) => Write::Replace { body, base, must_exist },
            (Some(body), _) => Write::Patch { body, base },
            (None, _) => Write::Delete { base },
        };
        let result = self.store.write(&served.kind, &key, view.find(&key), write, parameters.dry_run).await;
        let written = result.map_err(|refused| {
            let fault = Box::<Fault>::from(refused);
            if only_new { fault.recast(Code::Conflict, Code::PreconditionFailed) } else { fault }
        })?;
        if !parameters.dry_run {
            remember(view, &key, &written, &method);
        }
        Ok(self.written(served, &key, &written, &method, context))
    }

    fn written(&self, served: &Served, key: &Key, written: &Written, method: &Method, context: &Context) -> Answer {
        match written {
            Written::Gone { .. } => answer::empty(StatusCode::NO_CONTENT),
            Written::Stored { entity, .. } if *method == Method::DELETE => {
                if entity.deleting {
                    answer::entity(StatusCode::ACCEPTED, entity, context.minimal)
                } else {
                    answer::empty(StatusCode::NO_CONTENT)
                }
            }
            Written::Stored { entity, created: false } => answer::entity(StatusCode::OK, entity, context.minimal),
            Written::Stored { entity, created: true } => {
                let answer = answer::entity(StatusCode::CREATED, entity, context.minimal);
                let several = served.view.namespaces().is_none_or(|here| here.len() > 1);
                let mut location = format!("/v1/{}/{}", self.kinds.path(served), entity.key.id);
                if let Some(namespace) = key.namespace.as_ref().filter(|_| several) {
                    location.push_str(&format!("?namespace={}", query::percent_encode(namespace)));
                }
                answer::located(answer, &location)
            }
        }
    }

    /// One version goes into the request itself. Of several, the one that is the present one; the cache knows it, or else the API server.
    async fn base(&self, served: &Served, key: &Key, view: &View, context: &Context) -> Result<Base, Box<Fault>> {
        let Some(tags) = &context.if_match else { return Ok(Base { version: None, must_exist: false }) };
        if key.id.is_empty() {
            return Err(
                Problem::new(Code::BadRequest, "If-Match makes no sense for an entity that is to be created").into()
            );
        }
        if *tags == Tags::Any {
            return Ok(Base { version: None, must_exist: true });
        }
        let allowed = tags.versions();
        let failed = || Problem::new(Code::PreconditionFailed, "none of the versions of If-Match is the present one");
        let version = match allowed.as_slice() {
            [] => return Err(failed().into()),
            [one] => *one,
            several => {
                let cached = view.find(key).map(|entity| entity.version).filter(|version| several.contains(version));
                match cached {
                    Some(version) => version,
                    None => {
                        let present = self.store.read(&served.kind, key).await?.map(|entity| entity.version);
                        present.filter(|version| several.contains(version)).ok_or_else(failed)?
                    }
                }
            }
        };
        Ok(Base { version: Some(version), must_exist: true })
    }
}

/// Whether `If-None-Match` allows only a create; it means nothing else here.
fn only_new(method: &Method, context: &Context) -> Result<bool, Box<Fault>> {
    match (&context.if_none_match, method) {
        (None, _) => Ok(false),
        (Some(Tags::Any), &Method::PUT) if context.if_match.is_none() => Ok(true),
        (Some(_), _) => Err(Problem::new(
            Code::BadRequest,
            "on a write, If-None-Match is taken as * on a PUT without If-Match only",
        )
        .into()),
    }
}

/// Before the answer is sent, so that whoever gets it reads the own write.
fn remember(view: &View, key: &Key, written: &Written, method: &Method) {
    match written {
        Written::Stored { entity, .. } if *method == Method::DELETE && !entity.deleting => {
            view.deleted(key, &entity.uid, Instant::now());
        }
        Written::Stored { entity, .. } => view.written(Arc::clone(entity)),
        Written::Gone { uid } => view.deleted(key, uid, Instant::now()),
    }
}
