//! Walks through a write's body once and keeps nothing: names given twice, nesting without end, and what is not JSON.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use contract::problem::{Code, Problem};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Deeper than any schema of Kubernetes, shallower than any stack.
const MAX_DEPTH: usize = 64;

/// What a body is as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Object,
    Array,
}

/// Refuses what the API server would not notice, or would notice in words that nobody understands.
pub(super) fn check(body: &[u8], root: Root) -> Result<(), Problem> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(Problem::new(Code::BadRequest, format!("the body is empty: a JSON {} is needed", root.name())));
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        return Err(Problem::new(
            Code::BadRequest,
            "the body is not JSON: it begins with a byte order mark, leave that out",
        ));
    }
    let found = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let walk = Walk { place: &Place::Whole, depth: 0, root, found: &found };
    let result = walk.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match (found.into_inner(), result) {
        (Some(problem), _) => Err(problem),
        (None, Err(error)) => Err(syntax(&error)),
        (None, Ok(())) => Ok(()),
    }
}

/// The problem of a body that is not JSON.
pub(super) fn syntax(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    let detail = format!("the body is not JSON: {what} (line {}, column {})", error.line(), error.column());
    Problem::new(Code::BadRequest, detail)
}

impl Root {
    fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
        }
    }
}

/// Where in the body.
enum Place<'a> {
    Whole,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Member(parent, name) => write!(f, "{parent}/{}", super::escape(name)),
            Self::Item(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// One value to walk through.
#[derive(Clone, Copy)]
struct Walk<'a> {
    place: &'a Place<'a>,
    depth: usize,
    root: Root,
    found: &'a RefCell<Option<Problem>>,
}

impl Walk<'_> {
    /// Stops the walk; the error's own text is not shown.
    fn refuse<E: Error>(&self, place: &Place<'_>, detail: String) -> E {
        let problem = Problem::new(Code::BadRequest, detail.clone()).at(place.to_string(), detail);
        self.found.replace(Some(problem));
        E::custom("refused")
    }

    fn scalar<E: Error>(self) -> Result<(), E> {
        self.whole(None)
    }

    /// Whether a value of this kind may stand here; only the whole must be of a certain one.
    fn whole<E: Error>(&self, found: Option<Root>) -> Result<(), E> {
        if self.depth > 0 || found == Some(self.root) {
            return Ok(());
        }
        Err(self.refuse(self.place, format!("the body is not an {}", self.root.name())))
    }

    fn deeper<E: Error>(&self) -> Result<(), E> {
        if self.depth < MAX_DEPTH {
            return Ok(());
        }
        Err(self.refuse(self.place, format!("the body is nested deeper than {MAX_DEPTH} levels")))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.scalar()
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.scalar()
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.scalar()
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.whole(Some(Root::Array))?;
        self.deeper()?;
        for index in 0.. {
            let place = Place::Item(self.place, index);
            let walk = Walk { place: &place, depth: self.depth + 1, ..self };
            if items.next_element_seed(walk)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.whole(Some(Root::Object))?;
        self.deeper()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            let place = Place::Member(self.place, &name);
            if names.contains(&name) {
                return Err(self.refuse(&place, format!("the field {name:?} is given twice")));
            }
            members.next_value_seed(Walk { place: &place, depth: self.depth + 1, ..self })?;
            names.insert(name);
        }
        Ok(())
    }
}
