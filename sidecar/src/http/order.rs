//! One write, whoever wants it: its body is parsed, its preconditions become the version that must be the present one, the store
//! carries it out, and the result is in the view before it is told. Never sees a request, never makes an answer: `write` and `batch` do.

use std::sync::Arc;
use std::time::Instant;

use contract::problem::{Code, Problem};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use sidecar_core::budget::{Refusal, Usage};
use sidecar_core::entity::{Entity, Key};
use sidecar_core::query;
use sidecar_core::version::Version;
use sidecar_core::write::body::Body;
use sidecar_core::write::growth;
use sidecar_core::write::idempotency::Mark;
use sidecar_core::write::patch::Patch;
use sidecar_core::write::status::StatusChange;

use super::answer::Fault;
use super::conditions::Tags;
use super::read::{not_filled, view};
use super::service::Api;
use crate::budget::Admitted;
use crate::kinds::Served;
use crate::store::{Refused, Write, Written};
use crate::view::View;

/// What is to be done with an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    Replace,
    Merge,
    Patch,
    Delete,
    ReplaceStatus,
    MergeStatus,
    PatchStatus,
}

/// One write.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) action: Action,
    /// The id is empty for a create.
    pub(super) key: Key,
    pub(super) body: &'a [u8],
    pub(super) if_match: Option<&'a Tags>,
    pub(super) if_none_match: Option<&'a Tags>,
    /// `Idempotency-Key`; it matters to a create alone.
    pub(super) idempotency_key: Option<&'a str>,
    pub(super) dry_run: bool,
}

/// What a write came to.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) status: StatusCode,
    /// As it is now; absent when it is gone.
    pub(super) entity: Option<Arc<Entity>>,
    /// Of a new one: its path.
    pub(super) location: Option<String>,
    /// What rules have to say beside it: the values of headers `Warning`.
    pub(super) warnings: Vec<HeaderValue>,
}

/// What `If-Match` allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Base {
    version: Option<Version>,
    must_exist: bool,
}

/// A body, parsed as its action needs it.
enum Content<'a> {
    None,
    Fields(Body<'a>),
    Operations(Patch<'a>),
}

impl Api {
    /// Carries a write out.
    pub(super) async fn carry_out(&self, served: &Served, mut order: Order<'_>) -> Result<Done, Box<Fault>> {
        let content = order.content()?;
        let only_new = order.only_new()?;
        let mark = order.mark(served)?;
        if let (Some(mark), Content::Fields(body)) = (&mark, &content)
            && order.key.id.is_empty()
        {
            let id = body.id()?.unwrap_or_else(|| mark.id(&served.kind));
            order.key.id = id.into();
        }
        let key = &order.key;
        let view = view(served, key.namespace.as_deref())?;
        if order.action == Action::Create && order.if_match.is_some() {
            let detail = "If-Match makes no sense for an entity that is to be created";
            return Err(Problem::new(Code::BadRequest, detail).into());
        }
        let Base { version: base, must_exist } = self.base(served, key, view, order.if_match).await?;
        let write = match (&content, order.action) {
            (Content::Operations(patch), Action::PatchStatus) => {
                Write::Status { change: StatusChange::Patch(patch), base }
            }
            (Content::Operations(patch), _) => Write::JsonPatch { patch, base },
            (Content::Fields(body), Action::Create) => match &mark {
                Some(mark) => Write::CreateOnce { body, mark },
                None => Write::Create(body),
            },
            (Content::Fields(body), Action::Replace) if only_new => Write::Create(body),
            (Content::Fields(body), Action::Replace) => Write::Replace { body, base, must_exist },
            (Content::Fields(body), Action::ReplaceStatus) => {
                Write::Status { change: StatusChange::Replace(body), base }
            }
            (Content::Fields(body), Action::MergeStatus) => Write::Status { change: StatusChange::Merge(body), base },
            (Content::Fields(body), _) => Write::Patch { body, base },
            (Content::None, _) => Write::Delete { base },
        };
        let existing = view.find(key);
        let admitted = admit(served, key, existing.as_deref(), write)?.filter(|_| !order.dry_run);
        let known = existing.clone();
        let result = self.store.write(&served.kind, key, existing, write, order.dry_run).await;
        if let (Err(refused), Some(known)) = (&result, known)
            && refused.problem.status == Code::NotFound.status()
        {
            // Whoever is told that it is not there must not read it again.
            view.deleted(key, &known.uid, Some(known.version), Instant::now());
        }
        let (written, warnings) = result.map_err(|refused| {
            if only_new { refused.recast(Code::Conflict, Code::PreconditionFailed) } else { refused }
        })?;
        if !order.dry_run {
            remember(view, key, &written, order.action, base);
        }
        drop(admitted);
        Ok(Done { warnings, ..self.done(served, key, written, order.action) })
    }

    fn done(&self, served: &Served, key: &Key, written: Written, action: Action) -> Done {
        let done = |status, entity| Done { status, entity, location: None, warnings: Vec::new() };
        match written {
            Written::Gone { .. } => done(StatusCode::NO_CONTENT, None),
            Written::Stored { entity, .. } if action == Action::Delete => {
                if entity.deleting {
                    done(StatusCode::ACCEPTED, Some(entity))
                } else {
                    done(StatusCode::NO_CONTENT, None)
                }
            }
            Written::Stored { entity, created: false } => done(StatusCode::OK, Some(entity)),
            Written::Stored { entity, created: true } => {
                let several = served.view.namespaces().is_none_or(|here| here.len() > 1);
                let mut location = format!("/v1/{}/{}", self.kinds.path(served), entity.key.id);
                if let Some(namespace) = key.namespace.as_ref().filter(|_| several) {
                    location.push_str(&format!("?namespace={}", query::percent_encode(namespace)));
                }
                Done { location: Some(location), ..done(StatusCode::CREATED, Some(entity)) }
            }
        }
    }

    /// One version goes into the request itself. Of several, the one that is the present one; the cache knows it, or else the API server.
    async fn base(&self, served: &Served, key: &Key, view: &View, if_match: Option<&Tags>) -> Result<Base, Box<Fault>> {
        let Some(tags) = if_match else { return Ok(Base { version: None, must_exist: false }) };
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

impl<'a> Order<'a> {
    fn content(&self) -> Result<Content<'a>, Problem> {
        match self.action {
            Action::Delete => Ok(Content::None),
            Action::Patch | Action::PatchStatus => Patch::parse(self.body).map(Content::Operations),
            _ => Body::parse(self.body).map(Content::Fields),
        }
    }

    fn mark(&self, served: &Served) -> Result<Option<Mark>, Problem> {
        let key = self.idempotency_key.filter(|_| self.action == Action::Create);
        key.map(|key| Mark::new(&served.kind, &self.key, key, self.body)).transpose()
    }

    /// Whether `If-None-Match` allows only a create; it means nothing else here.
    fn only_new(&self) -> Result<bool, Problem> {
        match (self.if_none_match, self.action) {
            (None, _) => Ok(false),
            (Some(Tags::Any), Action::Replace) if self.if_match.is_none() => Ok(true),
            (Some(Tags::Any), Action::Replace) => Err(Problem::new(
                Code::PreconditionFailed,
                "If-Match wants an entity that exists, If-None-Match: * one that does not: both never hold",
            )),
            (Some(_), _) => {
                Err(Problem::new(Code::BadRequest, "on a write, If-None-Match is taken as * on a PUT only"))
            }
        }
    }
}

/// Asks the kind's budget, where there is one. A dry run is asked for like the write that it stands for, and takes no room.
fn admit<'a>(
    served: &'a Served,
    key: &Key,
    existing: Option<&Entity>,
    write: Write<'_>,
) -> Result<Option<Admitted<'a>>, Box<Fault>> {
    let Some(keeper) = &served.budget else { return Ok(None) };
    let named = if let Write::Create(body) = write { body.id()? } else { None };
    let there =
        named.and_then(|id| served.view.of(key.namespace.as_deref())?.find(&Key { id: id.into(), ..key.clone() }));
    let Some(more) = more(key, existing.or(there.as_deref()), write) else { return Ok(None) };
    let present = match served.view.usage() {
        Some(present) => present,
        None if keeper.limits().count() && more != Usage::default() => return Err(not_filled(served)),
        None => Usage::default(),
    };
    let told = |refusal: Refusal| {
        let (problem, retry_after) = refusal.told(&served.kind);
        Refused { problem, retry_after }
    };
    Ok(Some(keeper.admit(served, present, more).map_err(told)?))
}

/// What a write adds to what there is; absent for one that always passes.
fn more(key: &Key, existing: Option<&Entity>, write: Write<'_>) -> Option<Usage> {
    let bytes = match (existing, write) {
        (_, Write::Delete { .. }) => return None,
        (None, Write::Create(body) | Write::CreateOnce { body, .. } | Write::Replace { body, .. }) => {
            return Some(Usage { objects: 1, bytes: positive(growth::create(key, body)) });
        }
        (Some(existing), Write::Replace { body, .. }) => growth::replace(existing, body),
        (Some(existing), Write::Patch { body, .. }) => growth::merge(existing, body),
        (Some(existing), Write::JsonPatch { patch, .. }) => growth::patch(existing, patch),
        (Some(existing), Write::Status { change, .. }) => growth::status(existing, change),
        // What exists cannot be created, and what does not cannot be changed.
        (Some(_), Write::Create(_) | Write::CreateOnce { .. })
        | (None, Write::Patch { .. } | Write::JsonPatch { .. } | Write::Status { .. }) => 0,
    };
    Some(Usage { objects: 0, bytes: positive(bytes) })
}

fn positive(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0)
}

/// Before the result is told, so that whoever gets it reads the own write.
fn remember(view: &View, key: &Key, written: &Written, action: Action, base: Option<Version>) {
    match written {
        Written::Stored { entity, .. } if action == Action::Delete && !entity.deleting => {
            view.deleted(key, &entity.uid, Some(entity.version), Instant::now());
        }
        Written::Stored { entity, .. } => view.written(Arc::clone(entity)),
        Written::Gone { uid } => view.deleted(key, uid, base, Instant::now()),
    }
}
