//! From a path to what it names. Pure; whether a kind of that name is served is not known here.

use std::borrow::Cow;

use sidecar_core::query;

/// What a path names; made anew for each request, so it copies nothing of a path in which nothing is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route<'p> {
    /// `/openapi.json`: this API, for programs.
    OpenApi,
    /// `/docs`: this API, for people.
    Docs,
    /// `/v1`: the kinds served.
    Kinds,
    /// `/v1/batch`: several writes.
    Batch,
    /// `/v1/KIND`.
    Collection {
        /// Plural, or `PLURAL.GROUP`.
        kind: Cow<'p, str>,
    },
    /// `/v1/KIND/ID`.
    Entity {
        /// Plural, or `PLURAL.GROUP`.
        kind: Cow<'p, str>,
        /// As asked for; may be no id at all.
        id: Cow<'p, str>,
    },
    /// `/v1/KIND/ID/status`.
    Status {
        /// Plural, or `PLURAL.GROUP`.
        kind: Cow<'p, str>,
        /// As asked for; may be no id at all.
        id: Cow<'p, str>,
    },
}

/// `None`: nothing can be there.
pub(super) fn route(path: &str) -> Option<Route<'_>> {
    match path {
        "/openapi.json" => return Some(Route::OpenApi),
        "/docs" => return Some(Route::Docs),
        _ => {}
    }
    let mut parts = path.strip_prefix('/')?.split('/');
    if parts.next() != Some("v1") {
        return None;
    }
    let mut segment = || match parts.next() {
        Some(text) => query::decode_segment(text).map(Some),
        None => Some(None),
    };
    match (segment()?, segment()?, segment()?, segment()?) {
        (None, ..) => Some(Route::Kinds),
        (Some(kind), ..) if kind.is_empty() => None,
        (Some(batch), None, ..) if batch == "batch" => Some(Route::Batch),
        (Some(kind), None, ..) => Some(Route::Collection { kind }),
        (_, Some(id), ..) if id.is_empty() => None,
        (Some(kind), Some(id), None, _) => Some(Route::Entity { kind, id }),
        (Some(kind), Some(id), Some(last), None) if last == "status" => Some(Route::Status { kind, id }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_kinds_collections_and_entities_and_nothing_else() {
        let collection = |kind: &'static str| Some(Route::Collection { kind: kind.into() });
        let entity = |kind: &'static str, id: &'static str| Some(Route::Entity { kind: kind.into(), id: id.into() });
        let cases = [
            ("/v1", Some(Route::Kinds)),
            ("/v1/batch", Some(Route::Batch)),
            ("/v1/batch.a.b", collection("batch.a.b")),
            ("/openapi.json", Some(Route::OpenApi)),
            ("/docs", Some(Route::Docs)),
            ("/docs/", None),
            ("/v1/todos", collection("todos")),
            ("/v1/todos.k8sasbackend.com", collection("todos.k8sasbackend.com")),
            ("/v1/todos/buy-milk", entity("todos", "buy-milk")),
            ("/v1/todos/a%2Fb", entity("todos", "a/b")),
            ("/v1/todos/%zz", None),
            ("/v1/todos/a/status", Some(Route::Status { kind: "todos".into(), id: "a".into() })),
            ("/v1/todos/a/scale", None),
            ("/v1/todos/a/status/", None),
            ("/v1/todos//status", None),
            ("/v1/", None),
            ("/v1/todos/", None),
            ("/v1//a", None),
            ("/", None),
            ("/v2/todos", None),
            ("/v1x", None),
            ("*", None),
        ];
        for (path, expected) in cases {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
