//! What an index can answer of a filter: `id == "a"`, `meta.labels["app"] in ["a", "b"]`, and for an indexed field also `<`, `<=`, `>`, `>=`.

use std::ops::Bound;

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};
use cel::common::types::CelTimestamp;
use cel::{Context, Value};

use super::LIBRARY;
use super::check::place;
use super::values::time;
use crate::fields::{Fields, Form};

/// Entities that match have one of these values at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The id is one of these.
    Id(Vec<Box<str>>),
    /// The label of this name has one of these values.
    Label(Box<str>, Vec<Box<str>>),
    /// The indexed field of this number (in [`Fields::indexed`]) has one of these values.
    Field(usize, Vec<IndexValue>),
    /// The indexed field of this number has a value within these bounds.
    Range(usize, Bound<IndexValue>, Bound<IndexValue>),
}

/// A value that an index finds. Equal, and within one kind of values ordered, exactly as CEL says of the JSON values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndexValue {
    /// A string.
    Text(Box<str>),
    /// A whole number that a float can hold exactly, however it was written.
    Whole(i64),
    /// A boolean.
    Bool(bool),
    /// A point in time: seconds and nanoseconds since 1970.
    Time(i64, u32),
}

/// What an index makes of a JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// This.
    Value(IndexValue),
    /// Nothing that a filter's literal equals or is compared with.
    Nothing,
    /// A number that only an evaluation can compare.
    Odd,
}

/// Up to here every whole number is a float, so `1 == 1.0` has one answer.
const EXACT: i64 = 1 << 53;

impl IndexValue {
    /// Of a JSON value in a field of this form.
    pub fn of_json(raw: &str, form: Form) -> Found {
        let value = match raw.as_bytes().first() {
            Some(b'"') => serde_json::from_str::<Box<str>>(raw).ok().map(|text| match time(&text, form) {
                Some(time) => Self::time(&time),
                None => Self::Text(text),
            }),
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

    /// Of what stands in a filter: a value written out, or `timestamp("…")`.
    fn of_constant(expression: &IdedExpr) -> Option<Self> {
        match &expression.expr {
            Expr::Literal(literal) => Self::of_literal(literal),
            Expr::Call(call) if call.func_name == "timestamp" && call.target.is_none() => {
                let [IdedExpr { expr: Expr::Literal(LiteralValue::String(_)), .. }] = call.args.as_slice() else {
                    return None;
                };
                let context = Context::with_env(std::sync::Arc::clone(&LIBRARY));
                let value = Value::resolve_val(expression, &context).ok()?;
                value.downcast_ref::<CelTimestamp>().map(|time| Self::time(time.inner()))
            }
            _ => None,
        }
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

    fn time(time: &chrono::DateTime<chrono::FixedOffset>) -> Self {
        Self::Time(time.timestamp(), time.timestamp_subsec_nanos())
    }

    /// Where values of the same kind begin, and where those of the next kind do.
    fn kind(&self) -> (Bound<Self>, Bound<Self>) {
        let text = || Self::Text("".into());
        let whole = || Self::Whole(i64::MIN);
        let bool = || Self::Bool(false);
        let time = || Self::Time(i64::MIN, 0);
        match self {
            Self::Text(_) => (Bound::Included(text()), Bound::Excluded(whole())),
            Self::Whole(_) => (Bound::Included(whole()), Bound::Excluded(bool())),
            Self::Bool(_) => (Bound::Included(bool()), Bound::Excluded(time())),
            Self::Time(..) => (Bound::Included(time()), Bound::Unbounded),
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
    // A boolean asks for true by itself.
    if let Some(path) = place(expression, fields) {
        return Some(Lookup::Field(number(&path, fields)?, vec![IndexValue::Bool(true)]));
    }
    let Expr::Call(call) = &expression.expr else { return None };
    if let ([operand], operators::LOGICAL_NOT) = (call.args.as_slice(), call.func_name.as_str()) {
        return Some(Lookup::Field(number(&place(operand, fields)?, fields)?, vec![IndexValue::Bool(false)]));
    }
    let [left, right] = call.args.as_slice() else { return None };
    let operator = call.func_name.as_str();
    if operator == operators::IN {
        let Expr::List(list) = &right.expr else { return None };
        let values = list.elements.iter().map(IndexValue::of_constant).collect::<Option<_>>()?;
        return equal(&place(left, fields)?, values, fields);
    }
    let (path, value, turned) = match (IndexValue::of_constant(left), IndexValue::of_constant(right)) {
        (None, Some(value)) => (place(left, fields)?, value, false),
        (Some(value), None) => (place(right, fields)?, value, true),
        _ => return None,
    };
    let (begin, end) = value.kind();
    let (begin, end) = match (operator, turned) {
        (operators::EQUALS, _) => return equal(&path, vec![value], fields),
        (operators::LESS, false) | (operators::GREATER, true) => (begin, Bound::Excluded(value)),
        (operators::LESS_EQUALS, false) | (operators::GREATER_EQUALS, true) => (begin, Bound::Included(value)),
        (operators::GREATER, false) | (operators::LESS, true) => (Bound::Excluded(value), end),
        (operators::GREATER_EQUALS, false) | (operators::LESS_EQUALS, true) => (Bound::Included(value), end),
        _ => return None,
    };
    Some(Lookup::Range(number(&path, fields)?, begin, end))
}

fn equal(path: &[&str], values: Vec<IndexValue>, fields: &Fields) -> Option<Lookup> {
    match path {
        ["id"] => Some(Lookup::Id(texts(values))),
        ["meta", "labels", name] => Some(Lookup::Label((*name).into(), texts(values))),
        path => Some(Lookup::Field(number(path, fields)?, values)),
    }
}

fn number(path: &[&str], fields: &Fields) -> Option<usize> {
    fields.indexed().iter().position(|indexed| indexed.path.iter().map(AsRef::as_ref).eq(path.iter().copied()))
}

/// Ids and labels are strings: nothing else equals them.
fn texts(values: Vec<IndexValue>) -> Vec<Box<str>> {
    values.into_iter().filter_map(|value| if let IndexValue::Text(text) = value { Some(text) } else { None }).collect()
}
