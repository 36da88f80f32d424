//! Kubernetes' wording of refusals, made plain. Knows texts of Kubernetes' validation (`field.Error`), of its OpenAPI validation, of strict
//! decoding, and of admission. [`super`] uses it.

use serde_json::Value;

/// Texts that name an account, an address, or the inside of a program: not for a client.
const INSIDE: [&str; 10] = [
    "User \"",
    "system:",
    "serviceaccount",
    "://",
    "dial tcp",
    "Go struct",
    "Go value",
    "unmarshal",
    "goroutine",
    "metadata.",
];

/// What a webhook or an admission policy says in its refusal.
pub(super) fn denial(message: &str) -> Option<String> {
    if let Some((before, said)) = message.split_once(" denied the request: ")
        && before.contains("admission webhook ")
    {
        return Some(said.to_owned());
    }
    if let Some((before, said)) = message.split_once(" denied request: ")
        && before.contains("ValidatingAdmissionPolicy ")
    {
        return Some(said.to_owned());
    }
    let silent = message.contains("admission webhook ") && message.ends_with(" denied the request without explanation");
    silent.then(|| "a rule refuses this and does not say why".to_owned())
}

/// The message itself, unless it shows what is not for a client.
pub(super) fn plain(message: &str) -> Option<String> {
    let shown = message.is_empty() || INSIDE.iter().any(|inside| message.contains(inside));
    (!shown).then(|| message.replace("spec.", ""))
}

/// The path and the type of a value that a built-in kind's decoder could not take, which only speaks of Go.
pub(super) fn mistyped(message: &str) -> Option<(&str, &'static str)> {
    let (_, said) = message.rsplit_once("Go struct field ")?;
    let (place, wanted) = said.split_once(" of type ")?;
    let (_, path) = place.split_once('.')?;
    let said = match wanted {
        "string" => "must be a string",
        "bool" => "must be a boolean",
        _ if wanted.starts_with("map[") => "must be an object",
        _ if wanted.starts_with("[]") => "must be a list",
        _ if wanted.starts_with("int") || wanted.starts_with("float") => "must be a number",
        _ => "has the wrong type",
    };
    Some((path, said))
}

/// Each `unknown field "…"` and `duplicate field "…"`, as what is wrong and the path.
pub(super) fn strict(said: &str) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut rest = said;
    while let Some(at) = rest.find(" field \"") {
        let (before, after) = rest.split_at(at);
        let quoted = after.strip_prefix(" field ").unwrap_or(after);
        let (path, end) = quoted_text(quoted).unwrap_or((quoted.to_owned(), quoted.len()));
        if before.ends_with("duplicate") {
            found.push(("is given twice", path));
        } else {
            found.push(("is not a known field", path));
        }
        rest = quoted.get(end..).unwrap_or_default();
    }
    found
}

/// One cause's message: what is wrong, without the value and the path, which the client has.
pub(super) fn cause(field: &str, message: &str) -> String {
    let detail = if let Some(rest) = message.strip_prefix("Required value") {
        match rest.strip_prefix(": ") {
            None | Some("") => "is required".to_owned(),
            Some(detail) => format!("is required: {detail}"),
        }
    } else if let Some(rest) = message.strip_prefix("Duplicate value: ") {
        format!("is there twice: {rest}")
    } else if let Some(rest) = message.strip_prefix("Forbidden: ").or_else(|| message.strip_prefix("Too long: ")) {
        rest.to_owned()
    } else {
        let valued = ["Invalid value: ", "Unsupported value: ", "Too many: ", "Too few: "];
        match valued.iter().find_map(|prefix| message.strip_prefix(prefix)) {
            Some(rest) => behind_value(rest).to_owned(),
            None => message.to_owned(),
        }
    };
    // OpenAPI validation says the path once more.
    let detail = detail.strip_prefix(field).and_then(|rest| rest.strip_prefix(" in body ")).unwrap_or(&detail);
    // A rule's own text and a client's own value may say anything else.
    if ["Go struct", "Go value", "unmarshal"].iter().any(|inside| detail.contains(inside)) {
        return "is not valid".to_owned();
    }
    detail.to_owned()
}

/// What stands behind a value as Go prints it: a quoted string, JSON, or a number. A rule's text may stand without a value.
fn behind_value(text: &str) -> &str {
    let end = match text.chars().next() {
        Some('"') => quoted_text(text).map(|(_, end)| end),
        _ => {
            let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
            matches!(values.next(), Some(Ok(_))).then(|| values.byte_offset())
        }
    };
    match end.and_then(|end| text.get(end..)) {
        Some("") => "is not valid",
        Some(rest) => rest.strip_prefix(": ").unwrap_or(text),
        None => text,
    }
}

/// A text quoted as Go quotes it, at the beginning; and where it ends.
fn quoted_text(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices();
    if chars.next()?.1 != '"' {
        return None;
    }
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((out, at + 1)),
            '\\' => out.push(chars.next()?.1),
            _ => out.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_said_without_value_and_path() {
        for (field, message, expected) in [
            (
                "spec.when",
                r#"Invalid value: "ab\": \"c": spec.when in body must be of type date-time: "ab\": \"c""#,
                r#"must be of type date-time: "ab\": \"c""#,
            ),
            ("spec.message", "Required value", "is required"),
            (
                "spec.message",
                "Required value: name or generateName is required",
                "is required: name or generateName is required",
            ),
            (
                "spec.n",
                "Invalid value: 7: spec.n in body should be less than or equal to 5",
                "should be less than or equal to 5",
            ),
            ("spec", r#"Invalid value: "object": message must not change"#, "message must not change"),
            ("spec", r#"Invalid value: {"a":": x","b":[1]}: message must not change"#, "message must not change"),
            ("spec", "Invalid value: null: must be an object", "must be an object"),
            ("spec.x", r#"Unsupported value: "c": supported values: "a", "b""#, r#"supported values: "a", "b""#),
            ("spec.l", "Too many: 4: must have at most 3 items", "must have at most 3 items"),
            ("spec.m", "Too long: may not be more than 10 bytes", "may not be more than 10 bytes"),
            ("spec.l[1]", r#"Duplicate value: "x""#, r#"is there twice: "x""#),
            ("spec", "Forbidden: is immutable", "is immutable"),
            ("spec.message", "Invalid value: a todo needs: a message", "a todo needs: a message"),
            ("spec.message", "Invalid value: 3 words are needed", "3 words are needed"),
            ("spec.x", "Invalid value: true: must be false", "must be false"),
            ("spec.x", "Invalid value: \"open", "\"open"),
            ("spec.x", "Invalid value: \"a\"", "is not valid"),
            ("metadata.ownerReferences", "json: cannot unmarshal string into Go struct field X", "is not valid"),
        ] {
            assert_eq!(cause(field, message), expected, "{message}");
        }
    }

    #[test]
    fn strict_errors_are_told_apart() {
        assert_eq!(
            strict(r#"unknown field "spec.a", duplicate field "spec.b", unknown field "spec.q\"x""#),
            [
                ("is not a known field", "spec.a".to_owned()),
                ("is given twice", "spec.b".to_owned()),
                ("is not a known field", "spec.q\"x".to_owned())
            ]
        );
        assert_eq!(strict("nothing known").len(), 0);
        assert_eq!(strict(r#"unknown field "open"#), [("is not a known field", "\"open".to_owned())]);
    }
}
