//! An entity's JSON as values of an expression: only the members that it mentions, strings borrowed where JSON allows it.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;

use base64::Engine as _;
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelDuration, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelTimestamp,
    CelUInt,
};
use cel::common::value::Val;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::fields::{Form, Shape};

type Boxed<'a> = Box<dyn Val + 'a>;

/// Which members are needed: all of them, or these and of each of them what it says.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    all: bool,
    members: Vec<(Box<str>, Wanted)>,
}

static ALL: Wanted = Wanted { all: true, members: Vec::new() };

impl Wanted {
    /// Adds what stands at a path; the empty one is everything.
    pub(super) fn add(&mut self, path: &[&str]) {
        let Some((name, inner)) = path.split_first() else {
            self.all = true;
            return;
        };
        if let Some((_, member)) = self.members.iter_mut().find(|(member, _)| **member == **name) {
            member.add(inner);
            return;
        }
        let mut member = Self::default();
        member.add(inner);
        self.members.push(((*name).into(), member));
    }

    fn member(&self, name: &str) -> Option<&Self> {
        if self.all {
            return Some(&ALL);
        }
        self.members.iter().find(|(member, _)| **member == *name).map(|(_, wanted)| wanted)
    }
}

/// What was read of an entity.
pub(super) struct Read<'a> {
    /// The top-level members that are needed and there.
    pub(super) members: Vec<(Cow<'a, str>, Boxed<'a>)>,
    /// The same as one value, when the expression asks for it.
    pub(super) whole: Option<CelMap<'a>>,
    /// How large they are, about.
    pub(super) bytes: usize,
}

pub(super) fn read<'a>(
    json: &'a [u8],
    wanted: &Wanted,
    shape: &Shape,
    whole: bool,
) -> Result<Read<'a>, serde_json::Error> {
    let bytes = Cell::new(0);
    let top = Top(Node { shape: Some(shape), wanted, bytes: &bytes });
    let members = top.deserialize(&mut serde_json::Deserializer::from_slice(json))?;
    let whole = whole.then(|| {
        CelMap::from(
            members.iter().map(|(name, value)| (key(name.clone()), value.clone_as_boxed())).collect::<HashMap<_, _>>(),
        )
    });
    Ok(Read { members, whole, bytes: bytes.get() })
}

fn key(name: Cow<'_, str>) -> CelMapKey<'_> {
    CelMapKey::String(CelString::from(name))
}

#[derive(Clone, Copy)]
struct Node<'s> {
    shape: Option<&'s Shape>,
    wanted: &'s Wanted,
    bytes: &'s Cell<usize>,
}

impl<'s> Node<'s> {
    fn count(&self, bytes: usize) {
        // Each value is a box of its own.
        self.bytes.set(self.bytes.get() + bytes + 16);
    }

    fn form(&self) -> Form {
        self.shape.map(|shape| shape.form).unwrap_or_default()
    }

    fn member(&self, name: &str) -> Option<Self> {
        Some(Self {
            shape: self.shape.and_then(|shape| shape.member(name)),
            wanted: self.wanted.member(name)?,
            ..*self
        })
    }

    fn text<'de>(&self, text: Cow<'de, str>) -> Boxed<'de> {
        self.count(text.len());
        match self.form() {
            form @ (Form::DateTime | Form::Date) => {
                if let Some(time) = time(&text, form) {
                    return Box::new(CelTimestamp::from(time));
                }
            }
            Form::Duration => {
                if let Some(duration) = duration(&text) {
                    return Box::new(CelDuration::from(duration));
                }
            }
            Form::Bytes => {
                if let Ok(bytes) = base64::engine::general_purpose::STANDARD.decode(&*text) {
                    return Box::new(CelBytes::from(bytes));
                }
            }
            Form::Plain | Form::Double => {}
        }
        Box::new(CelString::from(text))
    }
}

/// The point in time that a text of this form says.
pub(super) fn time(text: &str, form: Form) -> Option<chrono::DateTime<chrono::FixedOffset>> {
    match form {
        Form::DateTime => chrono::DateTime::parse_from_rfc3339(text).ok(),
        Form::Date => Some(text.parse::<chrono::NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc().fixed_offset()),
        _ => None,
    }
}

/// `1h30m`, `-1.5s`: as Go writes them.
fn duration(text: &str) -> Option<chrono::Duration> {
    let (negative, mut rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let mut nanoseconds: i64 = 0;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.')?);
        let (unit, behind) = behind.split_at(behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len()));
        let unit: i64 = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? };
        let mut part = unit;
        let mut sum = whole.checked_mul(unit)?;
        for digit in fraction.bytes() {
            part /= 10;
            sum = sum.checked_add(i64::from(digit.checked_sub(b'0').filter(|digit| *digit < 10)?) * part)?;
        }
        nanoseconds = nanoseconds.checked_add(sum)?;
        rest = behind;
    }
    (!text.is_empty()).then(|| chrono::Duration::nanoseconds(if negative { -nanoseconds } else { nanoseconds }))
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Boxed<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Boxed<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Boxed<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Boxed<'de>, E> {
        self.count(0);
        Ok(Box::new(CelBool::from(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Boxed<'de>, E> {
        self.count(0);
        #[expect(clippy::cast_precision_loss, reason = "the schema says that the number is a double")]
        Ok(if self.form() == Form::Double {
            Box::new(CelDouble::from(value as f64))
        } else {
            Box::new(CelInt::from(value))
        })
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Boxed<'de>, E> {
        if let Ok(value) = i64::try_from(value) {
            return self.visit_i64(value);
        }
        self.count(0);
        #[expect(clippy::cast_precision_loss, reason = "the schema says that the number is a double")]
        Ok(if self.form() == Form::Double {
            Box::new(CelDouble::from(value as f64))
        } else {
            Box::new(CelUInt::from(value))
        })
    }

    fn visit_f64<E>(self, value: f64) -> Result<Boxed<'de>, E> {
        self.count(0);
        Ok(Box::new(CelDouble::from(value)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Boxed<'de>, E> {
        Ok(self.text(Cow::Owned(text.to_owned())))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Boxed<'de>, E> {
        Ok(self.text(Cow::Borrowed(text)))
    }

    fn visit_unit<E>(self) -> Result<Boxed<'de>, E> {
        self.count(0);
        Ok(Box::new(CelNull))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Boxed<'de>, A::Error> {
        self.count(0);
        let item = Node { shape: self.shape.and_then(Shape::item), wanted: &ALL, ..self };
        let mut items: Vec<Boxed<'de>> = Vec::new();
        while let Some(value) = seq.next_element_seed(item)? {
            items.push(value);
        }
        Ok(Box::new(CelList::from(items)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Boxed<'de>, A::Error> {
        self.count(0);
        let mut members: HashMap<CelMapKey<'de>, Boxed<'de>> = HashMap::new();
        while let Some(name) = map.next_key_seed(Name)? {
            match self.member(&name) {
                Some(member) => {
                    let value = map.next_value_seed(member)?;
                    self.count(name.len());
                    members.insert(key(name), value);
                }
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(Box::new(CelMap::from(members)))
    }
}

/// The entity itself: a list of members, for one is found by looking at a few names.
struct Top<'s>(Node<'s>);

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = Vec<(Cow<'de, str>, Boxed<'de>)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = Vec<(Cow<'de, str>, Boxed<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an entity")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = map.next_key_seed(Name)? {
            match self.0.member(&name) {
                Some(member) => members.push((name, map.next_value_seed(member)?)),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

/// A member's name, borrowed where JSON allows it.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, nanoseconds) in
            [("1h30m", 5_400_000_000_000), ("-1.5s", -1_500_000_000), ("2ms3us4ns", 2_003_004), (".5s", 500_000_000)]
        {
            assert_eq!(duration(text), Some(chrono::Duration::nanoseconds(nanoseconds)), "{text}");
        }
        for wrong in ["", "1", "h", "1d", "1.x5s", "99999999999h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
