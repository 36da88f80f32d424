//! Where a JSON pointer into the business shape stands in the object. Never asks whether something is there.

use crate::kind::Kind;

/// A place of the business shape. The text is the pointer into the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// One of the entity's own fields, or something within.
    Field(String),
    /// `/meta/labels`.
    Labels(String),
    /// One label.
    Label(String),
    /// `/meta/expiresAt`, an annotation.
    ExpiresAt,
    /// What can be tested and copied, not written.
    ReadOnly(String),
}

/// Of a kind without `spec` the object's own members would be reached.
const OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// The place in an entity.
///
/// # Errors
/// Why there is no such place, or none that a patch can name.
pub(super) fn of_entity(kind: &Kind, pointer: &str) -> Result<Place, String> {
    let segments = segments(pointer)?;
    match segments.as_slice() {
        [] => Err("a patch names single fields; PUT replaces the whole entity".to_owned()),
        ["id"] => Ok(Place::ReadOnly("/metadata/name".to_owned())),
        ["id", ..] => Err("there is no such field".to_owned()),
        ["status", ..] => Ok(Place::ReadOnly(pointer.to_owned())),
        ["meta"] => Err("only /meta/labels and /meta/expiresAt can be written".to_owned()),
        ["meta", rest @ ..] => of_meta(rest),
        [first, ..] if !kind.has_spec && OBJECT.contains(first) => Err("there is no such field".to_owned()),
        _ if kind.has_spec => Ok(Place::Field(format!("/spec{pointer}"))),
        _ => Ok(Place::Field(pointer.to_owned())),
    }
}

/// The place in a status, which is the whole of what the pointer points into.
///
/// # Errors
/// When it is no pointer.
pub(super) fn of_status(pointer: &str) -> Result<Place, String> {
    segments(pointer)?;
    Ok(Place::Field(format!("/status{pointer}")))
}

fn of_meta(segments: &[&str]) -> Result<Place, String> {
    let read_only = |name: &str| Ok(Place::ReadOnly(format!("/metadata/{name}")));
    match segments {
        ["labels"] => Ok(Place::Labels("/metadata/labels".to_owned())),
        ["labels", name] => Ok(Place::Label(format!("/metadata/labels/{name}"))),
        ["expiresAt"] => Ok(Place::ExpiresAt),
        ["version"] => read_only("resourceVersion"),
        ["createdAt"] => read_only("creationTimestamp"),
        [same @ ("generation" | "uid" | "namespace")] => read_only(same),
        ["deleting"] => Err("a patch cannot name this".to_owned()),
        _ => Err("there is no such field".to_owned()),
    }
}

/// The pointer's segments as they are written, still escaped: no name that is looked for has anything to escape.
fn segments(pointer: &str) -> Result<Vec<&str>, String> {
    let Some(inner) = pointer.strip_prefix('/') else {
        return if pointer.is_empty() {
            Ok(Vec::new())
        } else {
            Err("a JSON pointer (RFC 6901) begins with a slash".to_owned())
        };
    };
    let stray = |segment: &str| segment.split('~').skip(1).any(|behind| !behind.starts_with(['0', '1']));
    let segments: Vec<&str> = inner.split('/').collect();
    if segments.iter().any(|segment| stray(segment)) {
        return Err("in a JSON pointer (RFC 6901), ~ stands only in ~0 and ~1".to_owned());
    }
    Ok(segments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::{config_map, todo};

    #[test]
    fn pointers_into_the_shape_are_pointers_into_the_object() {
        let field = |pointer: &str| Ok(Place::Field(pointer.to_owned()));
        let read_only = |pointer: &str| Ok(Place::ReadOnly(pointer.to_owned()));
        for (pointer, expected) in [
            ("/when", field("/spec/when")),
            ("/items/0/a~1b", field("/spec/items/0/a~1b")),
            ("/", field("/spec/")),
            ("/metadata", field("/spec/metadata")),
            ("/meta/labels", Ok(Place::Labels("/metadata/labels".to_owned()))),
            ("/meta/labels/a~1b", Ok(Place::Label("/metadata/labels/a~1b".to_owned()))),
            ("/meta/expiresAt", Ok(Place::ExpiresAt)),
            ("/id", read_only("/metadata/name")),
            ("/status/phase", read_only("/status/phase")),
            ("/meta/version", read_only("/metadata/resourceVersion")),
            ("/meta/uid", read_only("/metadata/uid")),
        ] {
            assert_eq!(of_entity(&todo(), pointer), expected, "{pointer}");
        }
        for bad in ["", "when", "/a~2", "/a~", "/meta", "/meta/labels/a/b", "/meta/deleting", "/meta/x", "/id/x"] {
            assert!(of_entity(&todo(), bad).is_err(), "{bad}");
        }
        assert_eq!(of_entity(&config_map(), "/data/k"), field("/data/k"));
        assert!(of_entity(&config_map(), "/metadata/finalizers").is_err());
        assert_eq!(of_status("/phase"), field("/status/phase"));
        assert_eq!(of_status(""), field("/status"));
        assert!(of_status("phase").is_err());
    }
}
