//! `fields`: an entity cut down to the members that were asked for, by slices of its JSON.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::fields::Fields;
use crate::path::Path;

const MAX_PATHS: usize = 64;

/// Which members of an entity are sent. `id` always is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    kept: Vec<Member>,
}

/// A member that is kept: the whole of it when it names no members of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: Box<str>,
    kept: Vec<Member>,
}

impl Projection {
    /// Reads `id,when,meta.version`. What an entity lacks of it is absent; what the kind does not have at all is refused, as in a filter.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str, fields: &Fields) -> Result<Self, String> {
        let mut kept = vec![Member { name: "id".into(), kept: Vec::new() }];
        let mut rest = text.trim();
        for _ in 0..MAX_PATHS {
            let (path, behind) = Path::read(rest)?;
            if !path.names().first().is_some_and(|name| fields.knows(name)) {
                return Err(format!("unknown field {path}: known are {}", fields.names()));
            }
            keep(&mut kept, path.names());
            rest = match behind.trim_start().strip_prefix(',') {
                Some(behind) => behind.trim_start(),
                None if behind.trim().is_empty() => return Ok(Self { kept }),
                None => return Err(format!("expected a comma behind {path}")),
            };
        }
        Err(format!("at most {MAX_PATHS} fields can be chosen"))
    }

    /// Appends the entity's JSON, cut down, to `out`. Members stand in the entity's own order. What is not an object's JSON stays whole.
    pub fn write(&self, json: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        if (Cut { kept: &self.kept, out }).deserialize(&mut serde_json::Deserializer::from_slice(json)).is_err() {
            out.truncate(start);
            out.extend_from_slice(json);
        }
    }
}

/// A shorter path includes a longer one.
fn keep(kept: &mut Vec<Member>, names: &[Box<str>]) {
    let Some((name, inner)) = names.split_first() else { return };
    match kept.iter_mut().find(|member| member.name == *name) {
        Some(member) if member.kept.is_empty() => {}
        Some(member) if inner.is_empty() => member.kept.clear(),
        Some(member) => keep(&mut member.kept, inner),
        None => {
            let mut member = Member { name: name.clone(), kept: Vec::new() };
            keep(&mut member.kept, inner);
            kept.push(member);
        }
    }
}

struct Cut<'p, 'o> {
    kept: &'p [Member],
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Cut<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Cut<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.out.push(b'{');
        let mut first = true;
        while let Some(member) = map.next_key_seed(Among(self.kept))? {
            let Some(member) = member else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value: &RawValue = map.next_value()?;
            if !first {
                self.out.push(b',');
            }
            first = false;
            serde_json::to_writer(&mut *self.out, &member.name).map_err(serde::de::Error::custom)?;
            self.out.push(b':');
            if member.kept.is_empty() || !value.get().starts_with('{') {
                // The members of a list or a scalar cannot be chosen: it is sent as it is.
                self.out.extend_from_slice(value.get().as_bytes());
            } else {
                Cut { kept: &member.kept, out: self.out }
                    .deserialize(&mut serde_json::Deserializer::from_str(value.get()))
                    .map_err(serde::de::Error::custom)?;
            }
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// Finds a member's name among those that are kept.
struct Among<'p>(&'p [Member]);

impl<'de, 'p> DeserializeSeed<'de> for Among<'p> {
    type Value = Option<&'p Member>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Among<'p> {
    type Value = Option<&'p Member>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|member| *member.name == *name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TODO: &str = r#"{"id":"a","when":"2026-12-24T10:00:00Z","list":[{"x":1}],"status":{"phase":"Done","n":{"a":1,"b":2}},"meta":{"version":"7","labels":{"a.b/c":"1","d":"2"}}}"#;

    fn parse(text: &str) -> Result<Projection, String> {
        let own = json!({ "properties": { "when": { "type": "string" }, "list": { "type": "array" } } });
        Projection::parse(text, &Fields::of(&own, Some(&json!({ "type": "object" })), true, &[]))
    }

    #[test]
    fn only_what_was_asked_for_is_sent_and_the_id() {
        for (fields, sent) in [
            ("when", r#"{"id":"a","when":"2026-12-24T10:00:00Z"}"#),
            ("id", r#"{"id":"a"}"#),
            ("meta.version, status.n.b", r#"{"id":"a","status":{"n":{"b":2}},"meta":{"version":"7"}}"#),
            ("status.phase,status", r#"{"id":"a","status":{"phase":"Done","n":{"a":1,"b":2}}}"#),
            ("status,status.phase", r#"{"id":"a","status":{"phase":"Done","n":{"a":1,"b":2}}}"#),
            ("meta.nothing", r#"{"id":"a","meta":{}}"#),
            (r#"meta.labels["a.b/c"]"#, r#"{"id":"a","meta":{"labels":{"a.b/c":"1"}}}"#),
            ("list.x", r#"{"id":"a","list":[{"x":1}]}"#),
        ] {
            let mut out = Vec::new();
            parse(fields).unwrap().write(TODO.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), sent, "{fields}");
        }
    }

    #[test]
    fn a_wrong_list_of_fields_is_told() {
        for wrong in ["", ",", "id,,when", "id when", "list.", "nothing", "id,spec.when", &"id,".repeat(100)] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
