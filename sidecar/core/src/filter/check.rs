//! From tree to filter: what may be said, what of the entity is needed for it, and a toll on each round of a loop.

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::values::Wanted;
use super::variables::{MATCHES, Pattern, WHOLE, pattern_name, toll};
use super::{Part, SyntaxFault, lookup, syntax};
use crate::fields::{Fields, Form};

/// Asking goes one deeper on the stack for each.
const MAX_DEPTH: usize = 32;
/// Loops inside loops.
const MAX_LOOPS: usize = 2;
/// A pattern is small, so that looking for it takes one pass over the text.
const MAX_PATTERN: usize = 256;
const MAX_PATTERN_PROGRAM: usize = 1 << 18;
const MAX_PATTERNS: usize = 8;
/// What looking for a pattern costs beside a comparison.
const PATTERN_WEIGHT: u64 = 20;

const OPERATORS: [&str; 19] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
    operators::NOT_STRICTLY_FALSE,
];
const COMPARISONS: [&str; 6] = [
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
];
/// What is called by its name alone.
const FUNCTIONS: [&str; 9] = ["size", "timestamp", "duration", "string", "int", "uint", "double", "bool", "bytes"];
/// What is called on something.
const METHODS: [&str; 15] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "matches",
    "getFullYear",
    "getMonth",
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getHours",
    "getMinutes",
    "getSeconds",
    "getMilliseconds",
];

pub(super) struct Checked {
    pub(super) parts: Vec<Part>,
    pub(super) wanted: Wanted,
    pub(super) patterns: Vec<Pattern>,
    pub(super) uses_whole: bool,
}

pub(super) fn check(text: &str, expression: IdedExpr, fields: &Fields) -> Result<Checked, SyntaxFault> {
    let mut checker =
        Checker { text, fields, scope: Vec::new(), wanted: Wanted::default(), patterns: Vec::new(), uses_whole: false };
    let mut conditions = Vec::new();
    split(expression, &mut conditions);
    let mut parts = Vec::new();
    for mut expression in conditions {
        let lookup = lookup::of(&expression, fields);
        let weight = checker.walk(&mut expression, 0, 0)?;
        checker.must_be_boolean(&expression)?;
        parts.push(Part { expression, weight, lookup });
    }
    let Checker { wanted, patterns, uses_whole, .. } = checker;
    Ok(Checked { parts, wanted, patterns, uses_whole })
}

/// What `&&` joins at the top. The parser balances such chains, so this does not go deep.
fn split(expression: IdedExpr, into: &mut Vec<IdedExpr>) {
    match expression.expr {
        Expr::Call(call) if call.func_name == operators::LOGICAL_AND && call.target.is_none() => {
            call.args.into_iter().for_each(|part| split(part, into));
        }
        _ => into.push(expression),
    }
}

/// The place in the entity that an expression outside of loops names, if it is no more than that: `meta.labels["app"]`.
pub(super) fn place<'e>(expression: &'e IdedExpr, fields: &Fields) -> Option<Vec<&'e str>> {
    let (root, mut names) = chain(expression, false)?;
    if root != WHOLE || fields.declares(WHOLE) {
        names.insert(0, root);
    }
    Some(names)
}

/// A variable's name and the names selected on it; `tested` allows `has(…)` at the end.
fn chain(expression: &IdedExpr, tested: bool) -> Option<(&str, Vec<&str>)> {
    match &expression.expr {
        Expr::Ident(name) => Some((name, Vec::new())),
        Expr::Select(select) if tested || !select.test => {
            let (root, mut names) = chain(&select.operand, false)?;
            names.push(&select.field);
            Some((root, names))
        }
        Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => match call.args.as_slice() {
            [operand, IdedExpr { expr: Expr::Literal(LiteralValue::String(name)), .. }] => {
                let (root, mut names) = chain(operand, false)?;
                names.push(name.inner());
                Some((root, names))
            }
            _ => None,
        },
        _ => None,
    }
}

struct Checker<'c> {
    text: &'c str,
    fields: &'c Fields,
    /// The variables of the loops around.
    scope: Vec<String>,
    wanted: Wanted,
    patterns: Vec<Pattern>,
    uses_whole: bool,
}

impl Checker<'_> {
    /// Checks a node and what is below it, and says what evaluating it once costs, beside the rounds of its loops.
    fn walk(&mut self, node: &mut IdedExpr, depth: usize, loops: usize) -> Result<u64, SyntaxFault> {
        if depth > MAX_DEPTH {
            return fail(format!(
                "a filter goes at most {MAX_DEPTH} levels deep: join conditions by &&, or use in [\u{2026}] in place of a chain"
            ));
        }
        if let Some(weight) = self.variable(node)? {
            return Ok(weight);
        }
        let below = depth + 1;
        match &mut node.expr {
            Expr::Literal(_) => Ok(1),
            Expr::Select(select) => Ok(1 + self.walk(&mut select.operand, below, loops)?),
            Expr::List(list) => {
                list.elements.iter_mut().try_fold(1, |sum, element| Ok(sum + self.walk(element, below, loops)?))
            }
            Expr::Map(map) => map.entries.iter_mut().try_fold(1, |sum, entry| match &mut entry.expr {
                EntryExpr::MapEntry(entry) => {
                    Ok(sum + self.walk(&mut entry.key, below, loops)? + self.walk(&mut entry.value, below, loops)?)
                }
                EntryExpr::StructField(_) => fail("a filter makes no objects of a named type".to_owned()),
            }),
            Expr::Call(call) => self.call(call, below, loops),
            Expr::Comprehension(comprehension) => self.repeat(comprehension, below, loops),
            Expr::Struct(made) => {
                let at = syntax::place_of_word(self.text, made.type_name.split('.').next().unwrap_or_default());
                Err(SyntaxFault {
                    at,
                    message: format!("a filter makes no objects: there is no type {:?}", made.type_name),
                })
            }
            // A variable that a chain of names cannot be made of does not exist; the parser leaves this only behind an error of its own.
            Expr::Ident(_) | Expr::Unspecified => fail("it cannot be read".to_owned()),
        }
    }

    /// A variable and the names selected on it: notes what is needed of the entity. `None` when the node is something else.
    fn variable(&mut self, node: &IdedExpr) -> Result<Option<u64>, SyntaxFault> {
        let Some((root, names)) = chain(node, true) else { return Ok(None) };
        let weight = 1 + names.len() as u64;
        if self.scope.iter().any(|variable| variable == root) {
            return Ok(Some(weight));
        }
        if names.len() > MAX_DEPTH {
            return fail(format!("a filter goes at most {MAX_DEPTH} levels deep"));
        }
        if root == WHOLE && !self.fields.declares(WHOLE) {
            self.uses_whole = true;
            if let Some(first) = names.first().filter(|name| !self.fields.knows(name)) {
                return self.unknown(first, syntax::place_of_word(self.text, first));
            }
            self.wanted.add(&names);
        } else if self.fields.knows(root) && !root.starts_with('.') {
            self.wanted.add(&[&[root], names.as_slice()].concat());
        } else {
            return self.unknown(root, syntax::place_of_name(self.text, root));
        }
        Ok(Some(weight))
    }

    fn unknown<T>(&self, name: &str, at: Option<usize>) -> Result<T, SyntaxFault> {
        Err(SyntaxFault { at, message: format!("unknown field {name:?}; known are {}", self.fields.names()) })
    }

    fn call(&mut self, call: &mut CallExpr, depth: usize, loops: usize) -> Result<u64, SyntaxFault> {
        let name = call.func_name.as_str();
        let known = match call.target {
            None => OPERATORS.contains(&name) || FUNCTIONS.contains(&name),
            Some(_) => METHODS.contains(&name),
        };
        if !known {
            let at = syntax::place_of_word(self.text, name);
            let how = if call.target.is_some() { METHODS.join(", ") } else { format!("has, {}", FUNCTIONS.join(", ")) };
            let what = if call.target.is_some() { "method" } else { "function" };
            return Err(SyntaxFault {
                at,
                message: format!("there is no {what} {name:?} with these arguments; known are {how}"),
            });
        }
        if COMPARISONS.contains(&name) {
            self.comparison(&call.args)?;
        }
        let mut weight = 1;
        if call.target.is_some() && name == "matches" {
            self.pattern(call)?;
            weight += PATTERN_WEIGHT;
        } else {
            for argument in &mut call.args {
                weight += self.walk(argument, depth, loops)?;
            }
        }
        if let Some(target) = &mut call.target {
            weight += self.walk(target, depth, loops)?;
        }
        Ok(weight)
    }

    /// Timestamps and strings are never equal, which would answer nothing in silence.
    fn comparison(&self, arguments: &[IdedExpr]) -> Result<(), SyntaxFault> {
        let [left, right] = arguments else { return Ok(()) };
        for (one, other) in [(left, right), (right, left)] {
            let (Some(path), Expr::Literal(LiteralValue::String(literal))) = (place(one, self.fields), &other.expr)
            else {
                continue;
            };
            if path.first().is_some_and(|root| self.scope.iter().any(|variable| variable == root)) {
                continue;
            }
            let (what, function) = match self.fields.shape(&path).map(|shape| shape.form) {
                Some(Form::DateTime | Form::Date) => ("a date", "timestamp"),
                Some(Form::Duration) => ("a duration", "duration"),
                _ => continue,
            };
            let at = path.first().and_then(|root| syntax::place_of_word(self.text, root));
            let message = format!("{} is {what}: compare it with {function}({:?})", path.join("."), literal.inner());
            return Err(SyntaxFault { at, message });
        }
        Ok(())
    }

    /// Compiles the pattern of `matches` once, in place of once an entity.
    fn pattern(&mut self, call: &mut CallExpr) -> Result<(), SyntaxFault> {
        let at = syntax::place_of_word(self.text, "matches");
        let fault = |message: String| SyntaxFault { at, message };
        let [IdedExpr { id, expr: Expr::Literal(LiteralValue::String(pattern)) }] = call.args.as_slice() else {
            return Err(fault("matches takes one pattern, a string written out".to_owned()));
        };
        if pattern.inner().len() > MAX_PATTERN || self.patterns.len() >= MAX_PATTERNS {
            return Err(fault(format!("a filter has at most {MAX_PATTERNS} patterns of at most {MAX_PATTERN} bytes")));
        }
        let compiled = regex::RegexBuilder::new(pattern.inner())
            .size_limit(MAX_PATTERN_PROGRAM)
            .dfa_size_limit(MAX_PATTERN_PROGRAM)
            .nest_limit(32)
            .build()
            .map_err(|error| fault(format!("the pattern cannot be used: {error}")))?;
        let variable = IdedExpr { id: *id, expr: Expr::Ident(pattern_name(self.patterns.len())) };
        self.patterns.push(Pattern(compiled));
        call.func_name = MATCHES.to_owned();
        call.args = vec![variable];
        Ok(())
    }

    /// A loop: its rounds are charged one by one, for nobody knows here how many there are.
    fn repeat(&mut self, loop_: &mut ComprehensionExpr, depth: usize, loops: usize) -> Result<u64, SyntaxFault> {
        if loops >= MAX_LOOPS {
            return fail(format!(
                "a filter has at most {MAX_LOOPS} loops (all, exists, map, filter) inside each other"
            ));
        }
        let before = self.walk(&mut loop_.iter_range, depth, loops)? + self.walk(&mut loop_.accu_init, depth, loops)?;
        let outer = self.scope.len();
        self.scope.push(loop_.accu_var.clone());
        self.scope.push(loop_.iter_var.clone());
        self.scope.extend(loop_.iter_var2.clone());
        let round =
            1 + self.walk(&mut loop_.loop_cond, depth, loops)? + self.walk(&mut loop_.loop_step, depth, loops + 1)?;
        let after = self.walk(&mut loop_.result, depth, loops)?;
        self.scope.truncate(outer);
        charge(loop_, round);
        Ok(1 + before + after)
    }

    /// The kinds of expression that can never be true or false. The rest shows when an entity is asked.
    fn must_be_boolean(&self, node: &IdedExpr) -> Result<(), SyntaxFault> {
        let what = match &node.expr {
            Expr::Literal(LiteralValue::Boolean(_)) => return Ok(()),
            Expr::Literal(_) => "a value written out",
            Expr::List(_) => "a list",
            Expr::Map(_) => "a map",
            Expr::Call(call) => match call.func_name.as_str() {
                operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::NEGATE => "the result of a calculation",
                "timestamp" | "duration" | "string" | "int" | "uint" | "double" | "bytes" | "size" => {
                    "the result of a conversion"
                }
                _ => return Ok(()),
            },
            _ => match place(node, self.fields).and_then(|path| self.fields.shape(&path)) {
                Some(shape) if !shape.boolean && !matches!(&node.expr, Expr::Select(select) if select.test) => {
                    "a field that is no boolean"
                }
                _ => return Ok(()),
            },
        };
        fail(format!("a filter must be true or false, and this is {what}: compare it with something"))
    }
}

/// Puts the toll where the library's quick way of building lists still recognizes the loop.
fn charge(loop_: &mut ComprehensionExpr, round: u64) {
    let node = |expr| IdedExpr { id: 0, expr };
    let conditional = |pays: IdedExpr, then, otherwise| {
        node(Expr::Call(CallExpr {
            func_name: operators::CONDITIONAL.to_owned(),
            target: None,
            args: vec![pays, then, otherwise],
        }))
    };
    let pays = node(Expr::Ident(toll(round)));
    let no = node(Expr::Literal(LiteralValue::Boolean(false.into())));
    if !matches!(loop_.loop_cond.expr, Expr::Literal(_)) {
        loop_.loop_cond = conditional(pays, std::mem::take(&mut loop_.loop_cond), no);
        return;
    }
    match &mut loop_.loop_step.expr {
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
            if let Some(guard) = call.args.first_mut() {
                *guard = conditional(pays, std::mem::take(guard), no);
            }
        }
        _ => {
            let unchanged = node(Expr::Ident(loop_.accu_var.clone()));
            loop_.loop_step = conditional(pays, std::mem::take(&mut loop_.loop_step), unchanged);
        }
    }
}

fn fail<T>(message: String) -> Result<T, SyntaxFault> {
    Err(SyntaxFault { at: None, message })
}
