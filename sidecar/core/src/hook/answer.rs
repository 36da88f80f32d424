//! Reads an app's answer: a wrong type is told with the JSON pointer of its place, a member that nobody knows is passed over and named.

use std::borrow::Cow;

use contract::hook::Reply;
use serde_path_to_error::{Path, Segment};

use crate::members::Members;

/// An answer, and what it said that nobody knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Read<T> {
    /// What it said.
    pub answer: T,
    /// Names at its top level that mean nothing.
    pub unknown: Vec<String>,
}

/// An answer that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the app's answer cannot be used: {}{fault}", .pointer.as_ref().filter(|at| !at.is_empty()).map(|at| format!("{at}: ")).unwrap_or_default())]
pub struct Unusable {
    /// JSON pointer (RFC 6901) of the place; absent where it is no JSON at all.
    pub pointer: Option<String>,
    /// What is wrong there, without the value.
    pub fault: String,
}

/// The answer in a body.
///
/// # Errors
/// When it is not JSON, or a type is wrong, or something is missing.
pub fn read<T: Reply>(body: &[u8]) -> Result<Read<T>, Unusable> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Unusable { pointer: None, fault: "it is empty".to_owned() });
    }
    // A list could be read as an object's members in their order.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(Unusable { pointer: Some(String::new()), fault: "it is a list, and no object".to_owned() });
    }
    let deserializer = &mut serde_json::Deserializer::from_slice(body);
    let answer = serde_path_to_error::deserialize(&mut *deserializer).map_err(|error| {
        let pointer = error.inner().is_data().then(|| pointer(error.path()));
        Unusable { pointer, fault: fault(error.inner()) }
    })?;
    deserializer.end().map_err(|error| Unusable { pointer: None, fault: fault(&error) })?;
    Ok(Read { answer, unknown: unknown(body, T::MEMBERS) })
}

fn unknown(body: &[u8], known: &[&str]) -> Vec<String> {
    let members = serde_json::from_slice::<Members<'_>>(body).map(|Members(members)| members).unwrap_or_default();
    members
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| !known.contains(&name.as_ref()))
        .map(Cow::into_owned)
        .collect()
}

fn pointer(path: &Path) -> String {
    let escape = |name: &str| format!("/{}", name.replace('~', "~0").replace('/', "~1"));
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => escape(key),
            Segment::Enum { variant } => escape(variant),
            Segment::Unknown => String::new(),
        })
        .collect()
}

/// `invalid type: string "x", expected a boolean` says the value too, which is an app's own.
fn fault(error: &serde_json::Error) -> String {
    if !error.is_data() {
        return "it is not JSON".to_owned();
    }
    let text = error.to_string();
    let text = text.split_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    match (text.split_once("invalid type: "), text.rsplit_once(", expected ")) {
        (Some(_), Some((_, expected))) => format!("expected {expected}"),
        _ => match text.split_once("unknown variant ") {
            Some((_, rest)) => {
                rest.split_once(", ").map_or_else(|| "is not known".to_owned(), |(_, rest)| rest.to_owned())
            }
            None => text.to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use contract::hook::{DefaultAnswer, ReconcileAnswer, ValidateAnswer};

    use super::*;

    fn refused<T: Reply + std::fmt::Debug>(body: &str) -> String {
        read::<T>(body.as_bytes()).expect_err(body).to_string()
    }

    #[test]
    fn an_answer_is_read_and_members_that_nobody_knows_are_named() {
        let read =
            read::<ValidateAnswer>(br#" {"allowed": true, "allow": false, "warnings": ["x"], "a\u0062": 1} "#).unwrap();
        assert!(read.answer.allowed);
        assert_eq!(
            (read.answer.warnings, read.unknown),
            (vec!["x".to_owned()], vec!["allow".to_owned(), "ab".to_owned()])
        );
    }

    #[test]
    fn what_is_wrong_is_pointed_at_and_no_value_is_told() {
        for (body, expected) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("<html>", "it is not JSON"),
            (r#"{"allowed": tru"#, "it is not JSON"),
            (r#"{"allowed": true} {}"#, "it is not JSON"),
            (" [true]", "it is a list"),
            ("null", ": expected struct ValidateAnswer"),
            ("{}", ": missing field `allowed`"),
            (r#"{"allowed": "sesame"}"#, "/allowed: expected a boolean"),
            (r#"{"allowed": false, "warnings": ["a", 1]}"#, "/warnings/1: expected a string"),
            (r#"{"allowed": false, "errors": [{"pointer": "/a"}]}"#, "/errors/0: missing field `detail`"),
            (r#"{"allowed": false, "message": {}}"#, "/message: expected a string"),
        ] {
            let told = refused::<ValidateAnswer>(body);
            assert!(told.starts_with("the app's answer cannot be used: ") && told.contains(expected), "{body}: {told}");
            assert!(!told.contains("sesame"), "{told}");
        }
        let told = refused::<ReconcileAnswer>(r#"{"conditions": [{"type": "Ready", "status": "Perhaps"}]}"#);
        assert!(told.ends_with("/conditions/0/status: expected one of `True`, `False`, `Unknown`"), "{told}");
        let told = refused::<ReconcileAnswer>(r#"{"children": [{}, "x"]}"#);
        assert!(told.ends_with("/children/1: expected a map"), "{told}");
        let told = refused::<DefaultAnswer>(r#"{"entity": []}"#);
        assert!(told.ends_with("/entity: expected a map"), "{told}");
    }
}
