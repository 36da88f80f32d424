//! What an expression meets when it is asked: the entity's values by name, the patterns of `matches`, and the meter.

use std::any::Any;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use cel::common::types::{CelBool, CelMap, CelString, STRING_TYPE, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use cel::{DeclarationError, Env, ExecutionError};

use super::values::Read;
use crate::fields::Fields;

/// The whole entity.
pub(super) const WHOLE: &str = "self";
/// The function that `matches` becomes, once its pattern is compiled. No expression can name it.
pub(super) const MATCHES: &str = "@matches";

/// So many bytes of an entity cost as much as one node: what strings and lists cost to look through.
const BYTES_A_NODE: usize = 256;

static ABSENT_OBJECT: LazyLock<CelMap<'static>> = LazyLock::new(CelMap::default);
static PATTERN: Type = Type::new_unspecified_type("pattern");

/// The name of the variable that charges `weight` for a round of a loop.
pub(super) fn toll(weight: u64) -> String {
    format!("@{weight}")
}

/// The name of the variable that holds a pattern.
pub(super) fn pattern_name(number: usize) -> String {
    format!("@pattern{number}")
}

pub(super) struct Variables<'a> {
    read: Read<'a>,
    patterns: &'a [Pattern],
    fields: &'a Fields,
    left: AtomicU64,
    factor: u64,
}

impl<'a> Variables<'a> {
    pub(super) fn new(read: Read<'a>, patterns: &'a [Pattern], fields: &'a Fields, budget: u64) -> Self {
        let factor = 1 + u64::try_from(read.bytes / BYTES_A_NODE).unwrap_or(u64::MAX - 1);
        Self { read, patterns, fields, left: AtomicU64::new(budget), factor }
    }

    /// Charges so many nodes, each of which may look through all that was read. What is spent once stays spent.
    pub(super) fn spend(&self, weight: u64) {
        let cost = weight.saturating_mul(self.factor);
        self.left.store(self.left().saturating_sub(cost), Ordering::Relaxed);
    }

    /// What is left; nothing means too much was spent.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }
}

impl VariableResolver for Variables<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(inner) = name.strip_prefix('@') {
            if let Some(number) = inner.strip_prefix("pattern") {
                return Some(CowVal::Borrowed(self.patterns.get(number.parse::<usize>().ok()?)?));
            }
            self.spend(inner.parse().ok()?);
            return (self.left() > 0).then(|| CowVal::owned(CelBool::from(true)));
        }
        if let Some((_, value)) = self.read.members.iter().find(|(member, _)| *member == name) {
            return Some(CowVal::Borrowed(value.as_ref()));
        }
        if let Some(whole) = self.read.whole.as_ref().filter(|_| name == WHOLE) {
            return Some(CowVal::Borrowed(whole));
        }
        // Absent objects have no members, so that `has(status.phase)` is false where nothing was reported yet.
        let object = !name.contains('.') && self.fields.shape(&[name]).is_some_and(|shape| shape.object);
        object.then(|| CowVal::Borrowed(&*ABSENT_OBJECT as &dyn Val))
    }
}

/// A compiled pattern, as a value that only [`MATCHES`] takes.
#[derive(Debug, Clone)]
pub(super) struct Pattern(pub(super) regex::Regex);

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

pub(super) fn add_matches(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_member_overload(MATCHES, "string_matches_pattern", STRING_TYPE, vec![PATTERN.to_owned()], matches)
}

fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let [text, pattern] = arguments.as_slice() else {
        return Err(ExecutionError::invalid_argument_count(2, arguments.len()));
    };
    match (text.downcast_ref::<CelString<'_>>(), pattern.downcast_ref::<Pattern>()) {
        (Some(text), Some(pattern)) => Ok(CowVal::owned(CelBool::from(pattern.0.is_match(text.inner())))),
        _ => Err(ExecutionError::no_such_member_overload("matches", vec![text.get_type().name().to_owned()])),
    }
}
