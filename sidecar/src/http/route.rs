//! From a path to what it names. Pure; whether a kind of that name is served is not known here.

use sidecar_core::query;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
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
        kind: String,
    },
    /// `/v1/KIND/ID`.
    Entity {
        /// Plural, or `PLURAL.GROUP`.
        kind: String,
        /// As asked for; may be no id at all.
        id: String,
    },
    /// `/v1/KIND/ID/status`.
    Status {
        /// Plural, or `PLURAL.GROUP`.
        kind: String,
        /// As asked for; may be no id at all.
        id: String,
    },
}

/// `None`: nothing can be there.
pub(super) fn route(path: &str) -> Option<Route> {
    match path {
        "/openapi.json" => return Some(Route::OpenApi),
        "/docs" => return Some(Route::Docs),
        _ => {}
    }
    let mut parts = path.strip_prefix('/')?.split('/');
    if parts.next() != Some("v1") {
        return None;
    }
    let rest: Vec<String> = parts.map(query::decode_segment).collect::<Option<_>>()?;
    match rest.as_slice() {
        [] => Some(Route::Kinds),
        [batch] if batch == "batch" => Some(Route::Batch),
        [kind] if !kind.is_empty() => Some(Route::Collection { kind: kind.clone() }),
        [kind, id] if !kind.is_empty() && !id.is_empty() => Some(Route::Entity { kind: kind.clone(), id: id.clone() }),
        [kind, id, last] if !kind.is_empty() && !id.is_empty() && last == "status" => {
            Some(Route::Status { kind: kind.clone(), id: id.clone() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_kinds_collections_and_entities_and_nothing_else() {
        let collection = |kind: &str| Some(Route::Collection { kind: kind.to_owned() });
        let entity = |kind: &str, id: &str| Some(Route::Entity { kind: kind.to_owned(), id: id.to_owned() });
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
            ("/v1/todos/a/status", Some(Route::Status { kind: "todos".to_owned(), id: "a".to_owned() })),
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
