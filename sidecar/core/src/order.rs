//! `orderBy`: in which order a list stands, and where in that order an entity stands.
//!
//! Numbers stand as numbers, strings by their bytes, date-times (as the schema says) by their instant, `false` before `true`. What has no
//! such value (absent, null, a list, an object) stands last in both directions. Entities that are equal so far stand by namespace and id.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::entity::Key;
use crate::fields::{Fields, Form};
use crate::path::Path;

const MAX_TERMS: usize = 8;

/// Of a string, so much decides: a page token carries it. Strings that agree so far stand by id.
const MAX_TEXT: usize = 256;

/// What a list is ordered by; by namespace and id alone when there is no term.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Order {
    terms: Vec<Term>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    path: Path,
    descending: bool,
    instant: bool,
}

/// Where an entity stands in an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What the order looks at, one for each of its terms.
    pub values: Vec<SortValue>,
    /// Decides between equals.
    pub key: Key,
}

/// A value that entities are ordered by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SortValue {
    /// A boolean.
    #[serde(rename = "b")]
    Bool(bool),
    /// A number without a fraction.
    #[serde(rename = "i")]
    Int(i64),
    /// A number without a fraction that is too large for the other.
    #[serde(rename = "u")]
    Uint(u64),
    /// A number with a fraction, by its bits, so that a page token carries it exactly.
    #[serde(rename = "f")]
    Float(u64),
    /// Seconds and nanoseconds since 1970.
    #[serde(rename = "t")]
    Instant(i64, i32),
    /// The beginning of a string.
    #[serde(rename = "s")]
    Text(Box<str>),
    /// No value to order by.
    #[serde(rename = "n")]
    Nothing,
}

impl Order {
    /// Reads `when desc,id`.
    ///
    /// # Errors
    /// What is wrong, for people.
    pub fn parse(text: &str, fields: &Fields) -> Result<Self, String> {
        let mut terms: Vec<Term> = Vec::new();
        let mut rest = text.trim();
        loop {
            let (path, behind) = Path::read(rest)?;
            if !path.names().first().is_some_and(|name| fields.knows(name)) {
                return Err(format!("unknown field {path}: known are {}", fields.names()));
            }
            if terms.iter().any(|term| term.path == path) {
                return Err(format!("{path} stands twice"));
            }
            let (direction, behind) = behind.split_once(',').map_or((behind, None), |(here, next)| (here, Some(next)));
            let descending = match direction.trim() {
                "" | "asc" => false,
                "desc" => true,
                other => return Err(format!("expected asc or desc behind {path}, not {other:?}")),
            };
            let form = fields.shape(path.names()).map(|shape| shape.form).unwrap_or_default();
            terms.push(Term { path, descending, instant: matches!(form, Form::DateTime) });
            if terms.len() > MAX_TERMS {
                return Err(format!("at most {MAX_TERMS} fields can be ordered by"));
            }
            match behind {
                Some(next) => rest = next.trim_start(),
                None => return Ok(Self { terms }),
            }
        }
    }

    /// How many values a place in this order has.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether nothing but namespace and id orders.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// The values of an entity's JSON that this order looks at.
    pub fn values(&self, json: &[u8]) -> Vec<SortValue> {
        self.terms.iter().map(|term| SortValue::of(term.path.find(json).map(|raw| raw.get()), term.instant)).collect()
    }

    /// How two places stand to each other; those of two entities are never equal.
    pub fn compare(&self, left: &Place, right: &Place) -> Ordering {
        self.compare_values(&left.values, &right.values).then_with(|| left.key.cmp(&right.key))
    }

    fn compare_values(&self, left: &[SortValue], right: &[SortValue]) -> Ordering {
        for (term, (left, right)) in self.terms.iter().zip(left.iter().zip(right)) {
            let order = match (left, right) {
                (SortValue::Nothing, SortValue::Nothing) => Ordering::Equal,
                (SortValue::Nothing, _) => Ordering::Greater,
                (_, SortValue::Nothing) => Ordering::Less,
                _ if term.descending => right.compare(left),
                _ => left.compare(right),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }
}

impl SortValue {
    fn of(raw: Option<&str>, instant: bool) -> Self {
        let Some(raw) = raw else { return Self::Nothing };
        match raw.as_bytes().first() {
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::text(raw, instant),
            Some(b'-' | b'0'..=b'9') => match serde_json::from_str::<serde_json::Number>(raw) {
                Ok(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                    (Some(value), ..) => Self::Int(value),
                    (_, Some(value), _) => Self::Uint(value),
                    (.., value) => value.map_or(Self::Nothing, |value| Self::Float(value.to_bits())),
                },
                Err(_) => Self::Nothing,
            },
            _ => Self::Nothing,
        }
    }

    fn text(raw: &str, instant: bool) -> Self {
        let Ok(text) = serde_json::from_str::<String>(raw) else { return Self::Nothing };
        match instant.then(|| text.parse::<jiff::Timestamp>()) {
            Some(Ok(time)) => Self::Instant(time.as_second(), time.subsec_nanosecond()),
            _ => Self::Text(text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or(&text).into()),
        }
    }

    /// A total order: kinds of values stand apart (booleans, numbers, instants, strings), within each by value.
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Text(left), Self::Text(right)) => left.as_bytes().cmp(right.as_bytes()),
            (Self::Instant(left, left_nanos), Self::Instant(right, right_nanos)) => {
                (left, left_nanos).cmp(&(right, right_nanos))
            }
            _ => self.rank().cmp(&other.rank()).then_with(|| match (self.number(), other.number()) {
                (Some(left), Some(right)) => left.compare(right),
                _ => Ordering::Equal,
            }),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) | Self::Uint(_) | Self::Float(_) => 1,
            Self::Instant(..) => 2,
            Self::Text(_) => 3,
            Self::Nothing => 4,
        }
    }

    fn number(&self) -> Option<Number> {
        match *self {
            Self::Int(value) => Some(Number::Whole(value.into())),
            Self::Uint(value) => Some(Number::Whole(value.into())),
            Self::Float(bits) => Some(Number::Float(f64::from_bits(bits))),
            _ => None,
        }
    }
}

/// Whole numbers are compared as such with floats: rounding one to the other's type would make three numbers disagree with each other.
#[derive(Clone, Copy)]
enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => left.cmp(&right),
            (Self::Float(left), Self::Float(right)) => {
                left.partial_cmp(&right).unwrap_or_else(|| left.total_cmp(&right))
            }
            (Self::Whole(left), Self::Float(right)) => whole_to_float(left, right),
            (Self::Float(left), Self::Whole(right)) => whole_to_float(right, left).reverse(),
        }
    }
}

fn whole_to_float(left: i128, right: f64) -> Ordering {
    // `as` saturates, and every i64 and u64 lies well within an i128: a huge float stays huge.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the fraction is compared below, and what is too large saturates"
    )]
    let whole = right.trunc() as i128;
    left.cmp(&whole).then_with(|| 0.0_f64.partial_cmp(&right.fract()).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn dated() -> Fields {
        let own = json!({ "x-kubernetes-preserve-unknown-fields": true, "properties": {
            "when": { "type": "string", "format": "date-time" } } });
        Fields::of(&own, None, true, &[])
    }

    /// The ids in the order that `text` asks for.
    fn sorted(text: &str, entities: &[serde_json::Value]) -> Vec<String> {
        let order = Order::parse(text, &dated()).unwrap();
        let mut all: Vec<(Vec<SortValue>, String)> = entities
            .iter()
            .map(|entity| (order.values(entity.to_string().as_bytes()), entity["id"].as_str().unwrap().to_owned()))
            .collect();
        all.sort_by(|left, right| order.compare_values(&left.0, &right.0).then_with(|| left.1.cmp(&right.1)));
        all.into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn values_stand_by_what_they_are_and_nothing_stands_last() {
        let entities = [
            json!({ "id": "a", "n": 10, "s": { "x": "b" } }),
            json!({ "id": "b", "n": 9.5, "s": { "x": "B" } }),
            json!({ "id": "c", "n": null, "s": { "x": "é" } }),
            json!({ "id": "d", "n": -1 }),
            json!({ "id": "e", "n": u64::MAX, "s": { "x": "b" } }),
        ];
        assert_eq!(sorted("n", &entities), ["d", "b", "a", "e", "c"]);
        assert_eq!(sorted("n desc", &entities), ["e", "a", "b", "d", "c"]);
        assert_eq!(sorted("s.x asc", &entities), ["b", "a", "e", "c", "d"]);
        assert_eq!(sorted("s.x,n desc", &entities), ["b", "e", "a", "c", "d"]);
        assert_eq!(sorted("id desc", &entities), ["e", "d", "c", "b", "a"]);
    }

    #[test]
    fn date_times_stand_by_their_instant() {
        let entities = [
            json!({ "id": "a", "when": "2026-01-01T12:00:00+02:00" }),
            json!({ "id": "b", "when": "2026-01-01T09:00:00.5Z" }),
            json!({ "id": "c", "when": "2026-01-01T11:00:00Z" }),
            json!({ "id": "d", "when": "2026-01-01T09:00:00Z" }),
        ];
        assert_eq!(sorted("when", &entities), ["d", "b", "a", "c"]);
    }

    #[test]
    fn a_wrong_order_is_told() {
        for (wrong, told) in [
            ("", "name is missing"),
            ("when down", "asc or desc"),
            ("when,", "name is missing"),
            ("when,when desc", "twice"),
            ("a,b,c,d,e,f,g,h,i", "at most 8"),
        ] {
            let message = Order::parse(wrong, &dated()).unwrap_err();
            assert!(message.contains(told), "{wrong:?}: {message}");
        }
    }

    fn value() -> impl Strategy<Value = serde_json::Value> {
        prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(|value| json!(value)),
            any::<i64>().prop_map(|value| json!(value)),
            any::<u64>().prop_map(|value| json!(value)),
            (9_007_199_254_740_990_i64..9_007_199_254_740_999).prop_map(|value| json!(value)),
            prop_oneof![
                Just(9_007_199_254_740_992.0),
                Just(-0.0),
                Just(0.5),
                Just(1e300),
                any::<f32>().prop_map(f64::from)
            ]
            .prop_map(|value| json!(value)),
            "[a-cé]{0,3}".prop_map(|value| json!(value)),
            "x{255}é[ab]".prop_map(|value| json!(value)),
        ]
    }

    proptest! {
        #[test]
        fn any_values_have_one_total_order(values in prop::collection::vec(value(), 3)) {
            let order = Order::parse("v", &Fields::unknown()).unwrap();
            let values: Vec<_> = values.iter().map(|value| order.values(json!({ "v": value }).to_string().as_bytes())).collect();
            let [a, b, c] = values.as_slice() else { unreachable!() };
            prop_assert_eq!(order.compare_values(a, b), order.compare_values(b, a).reverse());
            if order.compare_values(a, b) != Ordering::Greater && order.compare_values(b, c) != Ordering::Greater {
                prop_assert_ne!(order.compare_values(a, c), Ordering::Greater);
            }
            let sent: Vec<SortValue> = serde_json::from_str(&serde_json::to_string(a).unwrap()).unwrap();
            prop_assert_eq!(&sent, a, "a page token carries the value exactly");
        }
    }
}
