//! GET: the kinds, a list, one entity; from the views, or read through to the API server where the caller wants that.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use contract::problem::{Code, Problem};
use hyper::StatusCode;
use serde_json::json;
use sidecar_core::entity::{Entity, Key};
use sidecar_core::list::{Gathered, render};
use sidecar_core::query::ListQuery;
use sidecar_core::watch::Loss;
use sidecar_core::write::name;

use super::answer::{self, Answer, Fault, Outcome};
use super::context::Context;
use super::parameters::{self, Access, Parameters};
use super::service::{Api, INSTALL_SECONDS};
use crate::kinds::Served;
use crate::view::{KindView, View};

/// A cache that is being filled is there within a second or two.
const FILL_SECONDS: u64 = 1;

/// About when it is tried again whether everything fits.
const FULL_SECONDS: u64 = 60;

/// About a millisecond of a filter's work; less is not worth another thread.
const ASKED_AT_ONCE: usize = 1_000;

impl Api {
    /// `GET /v1`.
    pub(super) fn kinds_served(&self) -> Answer {
        let items: Vec<_> = self
            .kinds
            .served()
            .map(|served| {
                json!({
                    "apiVersion": served.kind.api_version(),
                    "kind": served.kind.kind,
                    "plural": served.kind.plural,
                    "path": format!("/v1/{}", self.kinds.path(served)),
                    "namespaced": served.kind.namespaced,
                    "namespaces": match served.view.namespaces() {
                        Some(here) => json!(here.iter().map(|one| &**one).collect::<Vec<_>>()),
                        None => json!(if served.kind.namespaced { json!("all") } else { json!([]) }),
                    },
                    "owned": served.kind.owned,
                })
            })
            .collect();
        answer::json(StatusCode::OK, json!({ "items": items }).to_string().into())
    }

    /// `GET /v1/KIND/ID`.
    pub(super) async fn read_one(&self, served: &Served, id: &str, query: &str, context: &Context) -> Outcome {
        let parameters = Parameters::read(query, Access::Read)?;
        let namespace = parameters::place(served, parameters.namespace.as_deref())?;
        let key = || Key { namespace: namespace.map(Arc::from), id: Arc::from(id) };
        if name::check(id).is_err() {
            return Err(missing(served, id));
        }
        let view = view(served, namespace)?;
        if context.read_through {
            let key = key();
            let known = view.find(&key);
            let read = Box::pin(self.store.read(&served.kind, &key)).await?;
            let Some(entity) = read else {
                // What was known before the API server was asked is deleted, and whoever asks next must not see it again.
                if let Some(known) = known {
                    view.deleted(&key, &known.uid, Some(known.version), Instant::now());
                }
                return Err(missing(served, id));
            };
            view.written(Arc::clone(&entity));
            return one(&entity, context);
        }
        if context.at_least.is_some() {
            wait(served, context, namespace, Some(&key())).await?;
        }
        let (entity, age) = view.look(&(namespace, id), Instant::now()).ok_or_else(|| not_filled(served))?;
        let entity = entity.ok_or_else(|| missing(served, id))?;
        Ok(answer::aged(one(&entity, context)?, age))
    }

    /// `GET /v1/KIND`.
    pub(super) async fn read_list(&self, served: &Served, query: &str, context: &Context) -> Outcome {
        let list = ListQuery::parse(query, &served.description().filters)?;
        parameters::check_listed(served, list.namespace.as_deref())?;
        if context.read_through {
            let fresh = Box::pin(self.read_through(served, &list)).await?;
            let body = body(fresh.list(&list, Instant::now()).gathered, list).await?;
            return Ok(answer::json(StatusCode::OK, body));
        }
        wait(served, context, list.namespace.as_deref(), None).await?;
        if !served.view.is_filled() {
            return Err(not_filled(served));
        }
        let listing = served.view.list(&list, Instant::now());
        let tag = listing.gathered.tag(&list);
        if context.if_none_match.as_ref().is_some_and(|tags| tags.include_weakly(&tag)) {
            return Ok(answer::aged(answer::tagged_weakly(answer::empty(StatusCode::NOT_MODIFIED), &tag), listing.age));
        }
        let answer = answer::json(StatusCode::OK, body(listing.gathered, list).await?);
        Ok(answer::aged(answer::tagged_weakly(answer, &tag), listing.age))
    }

    /// Views of the state as the API server has it now, of the namespaces that the query reaches.
    async fn read_through(&self, served: &Served, list: &ListQuery) -> Result<KindView, Box<Fault>> {
        let mut fresh = Vec::new();
        for view in served.view.views() {
            let asked = list.namespace.as_ref();
            if asked.is_some() && view.namespace().is_some() && asked != view.namespace() {
                continue;
            }
            let (version, entities) = self.store.list(&served.kind, asked.or(view.namespace()).map(|ns| &**ns)).await?;
            let copy = View::new(view.namespace().cloned());
            copy.fill(version, entities, Instant::now());
            fresh.push(Arc::new(copy));
        }
        Ok(KindView::new(fresh))
    }
}

/// The body of a list. One that may have to ask many entities does so beside the threads that serve requests.
async fn body(gathered: Gathered, list: ListQuery) -> Result<Bytes, Box<Fault>> {
    let long = gathered.work(&list) > ASKED_AT_ONCE;
    let make = move || gathered.page(&list).map(|page| render(&page, &list));
    if long {
        let made = tokio::task::spawn_blocking(make).await;
        return Ok(made.map_err(|_| Problem::new(Code::Internal, "the list could not be made"))??);
    }
    Ok(make()?)
}

/// The view that holds a namespace; `parameters::place` made sure that there is one.
pub(super) fn view<'a>(served: &'a Served, namespace: Option<&str>) -> Result<&'a View, Box<Fault>> {
    let view = served.view.of(namespace);
    view.map(|view| &**view).ok_or_else(|| Problem::new(Code::Internal, "the namespace is not served").into())
}

fn one(entity: &Entity, context: &Context) -> Outcome {
    let tag = || entity.version.to_string();
    if context.if_match.as_ref().is_some_and(|tags| !tags.include(&tag())) {
        return Err(Problem::new(Code::PreconditionFailed, format!("the entity has the version {}", tag())).into());
    }
    if context.if_none_match.as_ref().is_some_and(|tags| tags.include_weakly(&tag())) {
        return Ok(answer::tagged(answer::empty(StatusCode::NOT_MODIFIED), entity.version));
    }
    Ok(answer::entity(StatusCode::OK, entity, false))
}

/// `At-Least-Version`.
pub(super) async fn wait(
    served: &Served,
    context: &Context,
    ns: Option<&str>,
    key: Option<&Key>,
) -> Result<(), Box<Fault>> {
    let Some(version) = context.at_least else { return Ok(()) };
    let reached = Box::pin(served.view.reached(version, ns, key));
    tokio::time::timeout(context.wait, reached).await.map_err(|_| {
        let seconds = context.wait.as_secs();
        Problem::new(Code::Timeout, format!("the cache has not come to the version {version} within {seconds} s"))
            .into()
    })
}

fn missing(served: &Served, id: &str) -> Box<Fault> {
    Problem::new(Code::NotFound, format!("there is no {} {id:?}", served.kind.noun())).into()
}

pub(super) fn not_filled(served: &Served) -> Box<Fault> {
    let plural = &served.kind.plural;
    match served.view.loss() {
        Some(Loss::Gone) => {
            let api_version = served.kind.api_version();
            let detail =
                format!("the cluster does not serve {plural} of {api_version} any more: its definition was removed");
            Fault::unavailable(detail, INSTALL_SECONDS)
        }
        Some(Loss::Full) => {
            let detail =
                format!("there are more {plural} than the cache may hold (cacheBytes), so none is read from it");
            Fault::unavailable(detail, FULL_SECONDS)
        }
        None => Fault::unavailable(format!("the cache of {plural} is not filled yet"), FILL_SECONDS),
    }
}
