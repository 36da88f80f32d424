//! A place in an entity: `when`, `status.phase`, `meta.labels["app.kubernetes.io/name"]`.
//!
//! Reads such a place from a query and finds its value in an entity's JSON by slices. Used by `order`, `projection` and `index`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Names from the outside in; at least one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Box<str>>);

/// Nothing that people order by or project lies deeper.
const MAX_NAMES: usize = 16;

impl Path {
    /// Reads a path at the start of `text`, and says what is left behind it.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn read(text: &str) -> Result<(Self, &str), String> {
        let mut names = Vec::new();
        let mut rest = text;
        loop {
            let end = rest.find(['.', ',', '[', ']', '"', ' ', '\t']).unwrap_or(rest.len());
            let (name, behind) = rest.split_at(end);
            if name.is_empty() {
                return Err(format!("a field's name is missing at {:?}", cut(rest)));
            }
            names.push(name.into());
            rest = behind;
            while let Some(inside) = rest.strip_prefix('[') {
                let quoted = inside.strip_prefix('"').and_then(|inside| inside.split_once("\"]"));
                let Some((name, behind)) = quoted else {
                    return Err(format!("expected [\"NAME\"] at {:?}", cut(rest)));
                };
                names.push(name.into());
                rest = behind;
            }
            if names.len() > MAX_NAMES {
                return Err(format!("a field's path has at most {MAX_NAMES} names"));
            }
            match rest.strip_prefix('.') {
                Some(behind) => rest = behind,
                None => return Ok((Self(names), rest)),
            }
        }
    }

    /// The names, from the outside in.
    pub fn names(&self) -> &[Box<str>] {
        &self.0
    }

    /// The value at this place in an object's JSON, if there is one.
    pub fn find<'a>(&self, json: &'a [u8]) -> Option<&'a RawValue> {
        find(json, &self.0)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// The value at a place in an object's JSON, if there is one: a slice, nothing is copied.
pub fn find<'a>(json: &'a [u8], names: &[Box<str>]) -> Option<&'a RawValue> {
    let (first, others) = names.split_first()?;
    others.iter().try_fold(member(json, first)?, |value, name| member(value.get().as_bytes(), name))
}

/// Reading stops at the member, so that the last error of serde_json (an object that was left halfway) says nothing.
fn member<'a>(json: &'a [u8], name: &str) -> Option<&'a RawValue> {
    let mut found = None;
    let _ = Member { name, found: &mut found }.deserialize(&mut serde_json::Deserializer::from_slice(json));
    found
}

fn cut(text: &str) -> String {
    text.chars().take(20).collect()
}

struct Member<'n, 'de> {
    name: &'n str,
    found: &'n mut Option<&'de RawValue>,
}

impl<'de> DeserializeSeed<'de> for Member<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Member<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(same) = map.next_key_seed(Is(self.name))? {
            if same {
                *self.found = Some(map.next_value()?);
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Whether a member's name is this one, read without keeping it.
pub(crate) struct Is<'n>(pub(crate) &'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(json: &str, path: &str) -> Option<String> {
        let (path, rest) = Path::read(path).unwrap();
        assert_eq!(rest, "");
        path.find(json.as_bytes()).map(|value| value.get().to_owned())
    }

    #[test]
    fn a_value_is_found_by_its_path() {
        let json = r#"{"id":"a","n":{"b":[1],"c":null},"meta":{"labels":{"x.y/z":"1"}}}"#;
        assert_eq!(found(json, "id").as_deref(), Some("\"a\""));
        assert_eq!(found(json, "n.b").as_deref(), Some("[1]"));
        assert_eq!(found(json, "n.c").as_deref(), Some("null"));
        assert_eq!(found(json, r#"meta.labels["x.y/z"]"#).as_deref(), Some("\"1\""));
        assert_eq!(found(json, "n.d"), None);
        assert_eq!(found(json, "id.x"), None);
        assert_eq!(found(json, "n.b.x"), None);
        assert_eq!(found(r#"{"a\u0062":1}"#, "ab").as_deref(), Some("1"), "an escaped name is the same name");
    }

    #[test]
    fn a_path_ends_where_its_syntax_ends() {
        assert_eq!(
            Path::read("a.b desc,c").map(|(path, rest)| (path.to_string(), rest)),
            Ok(("a.b".into(), " desc,c"))
        );
        for wrong in ["", ".a", "a.", "a..b", "a[0]", "a[\"b\"", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q"] {
            assert!(Path::read(wrong).is_err(), "{wrong:?}");
        }
    }
}
