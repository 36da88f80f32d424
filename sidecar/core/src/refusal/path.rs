//! Kubernetes' field paths as JSON pointers into the business shape. [`super`] uses it.

use contract::names::EXPIRES_AT;

use crate::kind::Kind;

/// The pointer of a path like `spec.items[2].name` or `spec.map[a.b]`; empty (the whole entity) where the business shape has no such place.
/// A path that is a pointer already, as a rule of ours writes it, stays.
pub(super) fn pointer(kind: &Kind, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let segments = segments(path);
    let mut segments = segments.iter().map(String::as_str);
    let (first, rest) = (segments.next(), segments.collect::<Vec<_>>());
    match (first, rest.as_slice()) {
        (Some("spec"), rest) if kind.has_spec => join(rest),
        (Some("status"), rest) => format!("/status{}", join(rest)),
        (Some("metadata"), ["name" | "generateName", ..]) => "/id".to_owned(),
        (Some("metadata"), ["namespace"]) => "/meta/namespace".to_owned(),
        (Some("metadata"), ["labels", rest @ ..]) => format!("/meta/labels{}", join(rest)),
        (Some("metadata"), ["annotations", name]) if *name == EXPIRES_AT => "/meta/expiresAt".to_owned(),
        (Some(first), rest) if !kind.has_spec && !matches!(first, "metadata" | "apiVersion" | "kind") => {
            format!("{}{}", join(&[first]), join(rest))
        }
        _ => String::new(),
    }
}

fn join(segments: &[&str]) -> String {
    segments.iter().map(|segment| format!("/{}", segment.replace('~', "~0").replace('/', "~1"))).collect()
}

/// Names and indexes in their order. Within brackets everything up to the closing one is one name, quoted or not.
fn segments(path: &str) -> Vec<String> {
    let mut segments = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            // A quoted name may hold a bracket.
            let end = match inner.strip_prefix('"').and_then(|quoted| quoted.find("\"]")) {
                Some(end) => end + 2,
                None => inner.find(']').unwrap_or(inner.len()),
            };
            let (name, after) = inner.split_at(end);
            segments.push(name.trim_matches('"').to_owned());
            rest = after.strip_prefix(']').unwrap_or(after);
        } else {
            let named = rest.strip_prefix('.').unwrap_or(rest);
            let end = named.find(['.', '[']).unwrap_or(named.len());
            let (name, after) = named.split_at(end);
            if !name.is_empty() {
                segments.push(name.to_owned());
            }
            rest = after;
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::{config_map, todo};

    #[test]
    fn paths_become_pointers_into_the_business_shape() {
        for (path, expected) in [
            ("spec.when", "/when"),
            ("spec.items[2].name", "/items/2/name"),
            ("spec.map[key.with.dots].x", "/map/key.with.dots/x"),
            ("spec.map[\"a]b/c\"][0]", "/map/a]b~1c/0"),
            ("spec", ""),
            ("<nil>", ""),
            ("", ""),
            ("status.phase", "/status/phase"),
            ("metadata.name", "/id"),
            ("metadata.generateName", "/id"),
            ("metadata.labels", "/meta/labels"),
            ("metadata.labels[a.b/c]", "/meta/labels/a.b~1c"),
            ("metadata.annotations[k8sasbackend.com/expires-at]", "/meta/expiresAt"),
            ("metadata.annotations[other]", ""),
            ("metadata.finalizers[0]", ""),
            ("/when", "/when"),
            ("spec.a..b", "/a/b"),
            ("spec.a[", "/a/"),
            (".spec.when", "/when"),
        ] {
            assert_eq!(pointer(&todo(), path), expected, "{path}");
        }
        for (path, expected) in
            [("data[a.b]", "/data/a.b"), ("immutable", "/immutable"), ("metadata.name", "/id"), ("kind", "")]
        {
            assert_eq!(pointer(&config_map(), path), expected, "{path}");
        }
    }
}
