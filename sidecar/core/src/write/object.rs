//! Joins a write's fields, as they were written, into the body of a request. Never looks into a value.

use std::borrow::Cow;

use serde_json::json;
use serde_json::value::RawValue;

/// A JSON patch (RFC 6902) in the making.
#[derive(Debug, Default)]
pub(super) struct JsonPatch {
    operations: Vec<String>,
}

impl JsonPatch {
    /// Sets what stands at `path`, whether or not something does. `value` is JSON.
    pub(super) fn add(&mut self, path: &str, value: &str) {
        self.value("add", path, value);
    }

    /// [`JsonPatch::add`], before all others.
    pub(super) fn add_first(&mut self, path: &str, value: &str) {
        self.add(path, value);
        self.operations.rotate_right(1);
    }

    /// An operation that has a value, which is JSON.
    pub(super) fn value(&mut self, op: &str, path: &str, value: &str) {
        self.operations.push(format!("{{\"op\":\"{op}\",\"path\":{},\"value\":{value}}}", json!(path)));
    }

    /// An operation that takes its value from another place.
    pub(super) fn carry(&mut self, op: &str, from: &str, path: &str) {
        self.operations.push(format!("{{\"op\":\"{op}\",\"from\":{},\"path\":{}}}", json!(from), json!(path)));
    }

    /// Removes what stands at `path`, where something does.
    pub(super) fn remove(&mut self, path: &str) {
        self.operations.push(format!("{{\"op\":\"remove\",\"path\":{}}}", json!(path)));
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        format!("[{}]", self.operations.join(",")).into_bytes()
    }
}

/// The object with these members.
pub(super) fn join<'a>(fields: impl Iterator<Item = &'a (Cow<'a, str>, &'a RawValue)>) -> String {
    format!("{{{}}}", members(fields))
}

/// These members, without braces.
pub(super) fn members<'a>(fields: impl Iterator<Item = &'a (Cow<'a, str>, &'a RawValue)>) -> String {
    let mut text = String::new();
    for (name, value) in fields {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&json!(name).to_string());
        text.push(':');
        text.push_str(value.get());
    }
    text
}
