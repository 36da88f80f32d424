//! The query of a request about one entity, and the namespace that it is about.

use std::sync::Arc;

use contract::problem::{Code, Problem};
use sidecar_core::entity::Key;
use sidecar_core::query;
use sidecar_core::write::name::check_namespace;

use crate::kinds::Served;

/// What stands behind the `?`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Parameters {
    pub(super) namespace: Option<String>,
    pub(super) dry_run: bool,
}

/// Whether `dryRun` makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl Parameters {
    pub(super) fn read(query: &str, access: Access) -> Result<Self, Problem> {
        let mut parameters = Self::default();
        for (name, value) in query::parameters(query)? {
            match (name.as_str(), access) {
                ("namespace", _) => {
                    check(&value)?;
                    parameters.namespace = Some(value);
                }
                ("dryRun", Access::Write) => {
                    parameters.dry_run = value.parse().map_err(|_| query::bad(&name, "it is true or false"))?;
                }
                (_, Access::Read) => return Err(query::unknown(&name, "namespace")),
                (_, Access::Write) => return Err(query::unknown(&name, "namespace, dryRun")),
            }
        }
        Ok(parameters)
    }
}

/// 400 when this can be nobody's namespace.
pub(super) fn check(namespace: &str) -> Result<(), Problem> {
    check_namespace(namespace).map_err(|why| query::bad("namespace", &why))
}

/// The entity that `id` names in the namespace that was asked for, or in the only one there is. `id` is empty for one that is to be created.
pub(super) fn key(served: &Served, namespace: Option<&str>, id: &str) -> Result<Key, Problem> {
    Ok(Key { namespace: place(served, namespace)?.map(Arc::from), id: Arc::from(id) })
}

/// The namespace that was asked for, or the only one there is; absent for a kind that is in none.
pub(super) fn place<'a>(served: &'a Served, asked: Option<&'a str>) -> Result<Option<&'a str>, Problem> {
    let kind = &served.kind.kind;
    match (served.kind.namespaced, asked, served.view.namespaces()) {
        (false, None, _) => Ok(None),
        (false, Some(_), _) => Err(bad(format!("a {kind} is in no namespace: leave the parameter \"namespace\" out"))),
        (true, Some(asked), None) => Ok(Some(asked)),
        (true, None, None) => Err(bad(format!("{kind} is served in all namespaces: say which with ?namespace="))),
        (true, asked, Some(here)) => match (asked, here) {
            (None, [only]) => Ok(Some(only)),
            (None, several) => {
                Err(bad(format!("{kind} is served in {}: say which with ?namespace=", several.join(", "))))
            }
            (Some(asked), here) => match here.iter().find(|one| ***one == *asked) {
                Some(one) => Ok(Some(one)),
                None => Err(not_served(served, asked, here)),
            },
        },
    }
}

/// Whether a list may be restricted to this namespace.
pub(super) fn check_listed(served: &Served, asked: Option<&str>) -> Result<(), Problem> {
    match (asked, served.view.namespaces()) {
        (Some(_), _) if !served.kind.namespaced => place(served, asked).map(|_| ()),
        (Some(asked), Some(here)) if !here.iter().any(|one| **one == *asked) => Err(not_served(served, asked, here)),
        _ => Ok(()),
    }
}

fn not_served(served: &Served, asked: &str, here: &[Arc<str>]) -> Problem {
    bad(format!("{} is not served in the namespace {asked:?}, only in {}", served.kind.kind, here.join(", ")))
}

fn bad(detail: String) -> Problem {
    Problem::new(Code::BadRequest, detail)
}
