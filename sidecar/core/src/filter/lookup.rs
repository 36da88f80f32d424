//! What an index can answer of a filter: `id == "a"`, `meta.labels["app"] in ["a", "b"]`, `phase == "Done"` for an indexed field.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

use super::check::place;
use crate::fields::Fields;

/// Entities that match have one of these values at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The id is one of these.
    Id(Vec<Box<str>>),
    /// The label of this name has one of these values.
    Label(Box<str>, Vec<Box<str>>),
    /// The indexed field of this number (in [`Fields::indexed`]) has one of these values.
    Field(usize, Vec<IndexValue>),
}

/// A value that an index finds. Equal exactly when CEL says so of the JSON values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndexValue {
    /// A string.
    Text(Box<str>),
    /// A whole number that a float can hold exactly, however it was written.
    Whole(i64),
    /// A boolean.
    Bool(bool),
}

/// What an index makes of a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This.
    Value(IndexValue),
    /// Nothing that a filter's literal equals.
    Nothing,
    /// A number that only an evaluation can compare.
    Odd,
}

/// Up to here every whole number is a float, so `1 == 1.0` has one answer.
const EXACT: i64 = 1 << 53;

impl IndexValue {
    /// Of a JSON value.
    pub fn of_json(raw: &str) -> Found {
        let value = match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Box<str>>(raw).ok().map(Self::Text),
            Some(b't') => Some(Self::Bool(true)),
            Some(b'f') => Some(Self::Bool(false)),
            Some(b'-' | b'0'..=b'9') => {
                let number = serde_json::from_str::<serde_json::Number>(raw).ok();
                let whole = number.and_then(|number| match number.as_i64() {
                    Some(whole) => whole_number(whole),
                    None => number.as_f64().and_then(float),
                });
                return whole.map_or(Found::Odd, Found::Value);
            }
            _ => None,
        };
        value.map_or(Found::Nothing, Found::Value)
    }

    fn of_literal(literal: &LiteralValue) -> Option<Self> {
        match literal {
            LiteralValue::String(text) => Some(Self::Text(text.inner().into())),
            LiteralValue::Boolean(value) => Some(Self::Bool(*value.inner())),
            LiteralValue::Int(value) => whole_number(*value.inner()),
            LiteralValue::UInt(value) => whole_number(i64::try_from(*value.inner()).ok()?),
            LiteralValue::Double(value) => float(*value.inner()),
            LiteralValue::Bytes(_) | LiteralValue::Null => None,
        }
    }
}

fn whole_number(value: i64) -> Option<IndexValue> {
    (-EXACT..=EXACT).contains(&value).then_some(IndexValue::Whole(value))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "whole and within 2^53")]
fn float(value: f64) -> Option<IndexValue> {
    (value.fract() == 0.0 && value.abs() <= EXACT as f64).then_some(IndexValue::Whole(value as i64))
}

/// What an index can answer of one part of a filter.
pub(super) fn of(expression: &IdedExpr, fields: &Fields) -> Option<Lookup> {
    let Expr::Call(call) = &expression.expr else { return None };
    let [left, right] = call.args.as_slice() else { return None };
    let (path, literals) = match call.func_name.as_str() {
        operators::EQUALS => match (&left.expr, &right.expr) {
            (Expr::Literal(literal), _) => (place(right, fields)?, vec![literal]),
            (_, Expr::Literal(literal)) => (place(left, fields)?, vec![literal]),
            _ => return None,
        },
        operators::IN => match &right.expr {
            Expr::List(list) => {
                let literals = list.elements.iter().map(|element| match &element.expr {
                    Expr::Literal(literal) => Some(literal),
                    _ => None,
                });
                (place(left, fields)?, literals.collect::<Option<Vec<_>>>()?)
            }
            _ => return None,
        },
        _ => return None,
    };
    let values: Vec<IndexValue> = literals.into_iter().map(IndexValue::of_literal).collect::<Option<_>>()?;
    match path.as_slice() {
        ["id"] => Some(Lookup::Id(texts(values))),
        ["meta", "labels", name] => Some(Lookup::Label((*name).into(), texts(values))),
        path => {
            let indexed = fields
                .indexed()
                .iter()
                .position(|indexed| indexed.iter().map(AsRef::as_ref).eq(path.iter().copied()))?;
            Some(Lookup::Field(indexed, values))
        }
    }
}

/// Ids and labels are strings: nothing else equals them.
fn texts(values: Vec<IndexValue>) -> Vec<Box<str>> {
    values.into_iter().filter_map(|value| if let IndexValue::Text(text) = value { Some(text) } else { None }).collect()
}
