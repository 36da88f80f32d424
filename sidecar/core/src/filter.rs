//! `filter`: a condition in CEL (the Common Expression Language) over an entity, compiled once and asked of many.
//!
//! Owns what an expression may say, what it may cost, and what its answer means. Never looks at a cache: `list` asks it, entity by entity.
//!
//! The variables are `id`, the kind's own top-level fields, `status` and `meta`, and `self` for the whole entity, so that presence can be asked
//! (`has(self.when)`). Strings of format `date-time`, `date`, `duration` and `byte` are timestamps, durations and bytes, as in the rules of a CRD.
//!
//! - What is missing or null in an entity makes the part of the condition that needs it neither true nor false; an entity for which the whole
//!   stays so does not match. `!has(self.when) || when < timestamp("…")` asks for both.
//! - Any other error while asking an entity is the caller's: the list is refused and names the entity.
//! - The parts that `&&` joins at the top are asked one by one, and those that an index can answer first ([`Filter::lookups`]), so that a list answers
//!   the same with and without the index.
//!
//! A text is bounded in length, tokens, depth and loops; asking it costs what its nodes and the entity's parsed bytes amount to, loops by each
//! round, and a [`Budget`] for the whole list bounds that. The library underneath is fed only what passed these checks, because parsers recurse and
//! date arithmetic can panic; a panic is caught and becomes an error all the same.

mod check;
mod compiled;
mod lookup;
mod syntax;
mod values;
mod variables;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};

use cel::common::ast::IdedExpr;
use cel::common::types::CelBool;
use cel::{Context, Env, ExecutionError, Value};

pub use self::compiled::Filters;
pub use self::lookup::{Found, IndexValue, Lookup};

use self::values::Wanted;
use self::variables::{Pattern, Variables};
use crate::entity::Entity;
use crate::fields::Fields;

/// What all entities of one list may cost together: about the nodes of expressions evaluated, of which a slow core does five million a second.
/// A filter of ten nodes may thus be asked of half a million small entities.
pub const LIST_BUDGET: u64 = 5_000_000;

/// A compiled filter.
pub struct Filter {
    text: Box<str>,
    parts: Vec<Part>,
    wanted: Wanted,
    patterns: Vec<Pattern>,
    uses_whole: bool,
    fields: Arc<Fields>,
}

/// One of the conditions that `&&` joins at the top.
struct Part {
    expression: IdedExpr,
    /// What it costs at least.
    weight: u64,
    lookup: Option<Lookup>,
}

/// Why a text is no filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", .at.map(|at| format!("at character {at}: ")).unwrap_or_default())]
pub struct SyntaxFault {
    /// Where, counted from 1, if one place is at fault.
    pub at: Option<usize>,
    /// What, for people.
    pub message: String,
}

/// Why an entity could not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterFault {
    /// The entity has values for which the expression has no meaning.
    #[error("it cannot be asked of {id}: {message}")]
    Evaluation {
        /// The entity.
        id: Arc<str>,
        /// What happened, for people.
        message: String,
    },
    /// The budget is spent.
    #[error(
        "it costs too much for so many entities: narrow the list by an indexed field, a label or a namespace, or ask something simpler"
    )]
    Budget,
}

/// What is left to spend on one list.
#[derive(Debug, Clone)]
pub struct Budget(u64);

impl Default for Budget {
    fn default() -> Self {
        Self(LIST_BUDGET)
    }
}

static LIBRARY: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::default().with_optional_support(false).with_stdlib();
    variables::add_matches(&mut env).expect("nothing else in the library has this name");
    Arc::new(env)
});

impl Filter {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn compile(text: &str, fields: &Arc<Fields>) -> Result<Self, SyntaxFault> {
        let parsed = syntax::parse(text)?;
        let mut checked = check::check(text, parsed, fields)?;
        checked.parts.sort_by_key(|part| part.lookup.is_none());
        Ok(Self {
            text: text.into(),
            parts: checked.parts,
            wanted: checked.wanted,
            patterns: checked.patterns,
            uses_whole: checked.uses_whole,
            fields: Arc::clone(fields),
        })
    }

    /// The text it was made from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The fields that it was compiled with.
    pub fn fields(&self) -> &Arc<Fields> {
        &self.fields
    }

    /// What an index can answer: every entity that matches also fits each of these.
    pub fn lookups(&self) -> impl Iterator<Item = &Lookup> {
        self.parts.iter().filter_map(|part| part.lookup.as_ref())
    }

    /// Whether an entity matches.
    ///
    /// # Errors
    /// When the expression has no meaning for this entity, or the budget is spent.
    pub fn matches(&self, entity: &Entity, budget: &mut Budget) -> Result<bool, FilterFault> {
        let fault = |message: String| FilterFault::Evaluation { id: Arc::clone(&entity.key.id), message };
        let read = values::read(&entity.json, &self.wanted, self.fields.root(), self.uses_whole);
        let read = read.map_err(|error| fault(error.to_string()))?;
        let variables = Variables::new(read, &self.patterns, &self.fields, budget.0);
        // The parser is quick, but not free: without this a filter of no weight could read everything.
        variables.spend(1);
        let asked = catch_unwind(AssertUnwindSafe(|| self.ask(&variables)));
        budget.0 = variables.left();
        if budget.0 == 0 {
            return Err(FilterFault::Budget);
        }
        match asked {
            Ok(answer) => answer.map_err(fault),
            Err(_) => Err(fault("a date or number is out of range".to_owned())),
        }
    }

    fn ask(&self, variables: &Variables<'_>) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(&LIBRARY));
        context.set_variable_resolver(variables);
        for part in &self.parts {
            variables.spend(part.weight);
            if variables.left() == 0 {
                return Ok(false);
            }
            let answer = match Value::resolve_val(&part.expression, &context) {
                Ok(value) => match value.downcast_ref::<CelBool>() {
                    Some(answer) => *answer.inner(),
                    None if part.lookup.is_some() => false,
                    None => {
                        return Err(format!(
                            "a filter must be true or false, and this is of type {}",
                            value.get_type().name()
                        ));
                    }
                },
                Err(error) if is_missing(&error) => false,
                // A part that an index answers has just not the value it asks for.
                Err(_) if part.lookup.is_some() => false,
                Err(error) => return Err(plain(&error)),
            };
            if !answer {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Whether an entity lacks what the expression needs: the field, the item, or a value in it.
fn is_missing(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::NoSuchKey(_) | ExecutionError::UndeclaredReference(_) | ExecutionError::IndexOutOfBounds(_) => {
            true
        }
        ExecutionError::NoSuchOverload(overload) => overload.argument_types().iter().any(|name| name == "null_type"),
        ExecutionError::UnsupportedBinaryOperator(_, left, right)
        | ExecutionError::ValuesNotComparable(left, right) => *left == Value::Null || *right == Value::Null,
        _ => false,
    }
}

/// The library's words, without the names that it gives to operators, and not too long.
fn plain(error: &ExecutionError) -> String {
    const LONGEST: usize = 300;
    let mut text = match error {
        ExecutionError::NoSuchOverload(overload) => {
            let name = overload.function().trim_matches(['_', '@']);
            format!("{name:?} is not defined for {}", overload.argument_types().join(" and "))
        }
        other => other.to_string(),
    };
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Filter").field(&self.text).finish()
    }
}

/// Two filters of one kind are the same when their texts are.
impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.fields == other.fields
    }
}

impl Eq for Filter {}

#[cfg(test)]
mod tests;
