//! Label selectors, in kubectl's syntax: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.
//!
//! Owns the grammar and its error texts. The list query reads them, the cache asks them.

mod lexer;

use crate::entity::Entity;
use lexer::{Lexer, Token};

/// A selector, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    /// All must hold.
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    label: String,
    condition: Condition,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Exists,
    Absent,
    /// The label is there with one of these values.
    In(Vec<String>),
    /// The label is not there, or with another value.
    NotIn(Vec<String>),
}

impl LabelSelector {
    /// Reads a selector. An empty one fits everything.
    ///
    /// # Errors
    /// What is wrong and where, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lexer = Lexer::new(text);
        let mut requirements = Vec::new();
        if lexer.peek()? == Token::End {
            return Ok(Self::default());
        }
        loop {
            requirements.push(requirement(&mut lexer)?);
            match lexer.next()? {
                Token::End => return Ok(Self { requirements }),
                Token::Comma => {}
                other => return Err(lexer.expected("a comma or the end", &other)),
            }
        }
    }

    /// The labels that must be there with one of some values: what an index can answer.
    pub fn required(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.requirements.iter().filter_map(|requirement| match &requirement.condition {
            Condition::In(values) => Some((requirement.label.as_str(), values.as_slice())),
            _ => None,
        })
    }

    /// Whether the entity's labels fit.
    pub fn matches(&self, entity: &Entity) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(entity))
    }
}

impl Requirement {
    fn holds(&self, entity: &Entity) -> bool {
        let found = entity.labels.binary_search_by(|(name, _)| name.as_ref().cmp(&self.label)).ok();
        let value = found.and_then(|index| entity.labels.get(index)).map(|(_, value)| value.as_ref());
        match &self.condition {
            Condition::Exists => value.is_some(),
            Condition::Absent => value.is_none(),
            Condition::In(values) => value.is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Condition::NotIn(values) => value.is_none_or(|value| values.iter().all(|unwanted| unwanted != value)),
        }
    }
}

fn requirement(lexer: &mut Lexer<'_>) -> Result<Requirement, String> {
    if lexer.peek()? == Token::Not {
        lexer.next()?;
        return Ok(Requirement { label: label(lexer)?, condition: Condition::Absent });
    }
    let label = label(lexer)?;
    let condition = match lexer.peek()? {
        Token::End | Token::Comma => Condition::Exists,
        Token::Equal => {
            lexer.next()?;
            Condition::In(vec![single(lexer)?])
        }
        Token::NotEqual => {
            lexer.next()?;
            Condition::NotIn(vec![single(lexer)?])
        }
        Token::Word("in") => {
            lexer.next()?;
            Condition::In(set(lexer)?)
        }
        Token::Word("notin") => {
            lexer.next()?;
            Condition::NotIn(set(lexer)?)
        }
        other => return Err(lexer.expected("one of =, ==, !=, in, notin, a comma or the end", &other)),
    };
    Ok(Requirement { label, condition })
}

fn label(lexer: &mut Lexer<'_>) -> Result<String, String> {
    match lexer.next()? {
        Token::Word(word) => check_label(word).map(|()| word.to_owned()),
        other => Err(lexer.expected("the name of a label", &other)),
    }
}

/// The value after an operator; `a=` and `a=,b` mean the empty one, as with kubectl.
fn single(lexer: &mut Lexer<'_>) -> Result<String, String> {
    match lexer.peek()? {
        Token::End | Token::Comma => Ok(String::new()),
        Token::Word(_) => value(lexer),
        other => Err(lexer.expected("a value", &other)),
    }
}

fn set(lexer: &mut Lexer<'_>) -> Result<Vec<String>, String> {
    match lexer.next()? {
        Token::Open => {}
        other => return Err(lexer.expected("( and a list of values", &other)),
    }
    let mut values = Vec::new();
    loop {
        // As with kubectl, nothing between two commas is the empty value.
        values.push(match lexer.peek()? {
            Token::Comma | Token::Close => String::new(),
            Token::Word(_) => value(lexer)?,
            other => return Err(lexer.expected("a value", &other)),
        });
        match lexer.next()? {
            Token::Comma => {}
            Token::Close => return Ok(values),
            other => return Err(lexer.expected("a comma or )", &other)),
        }
    }
}

fn value(lexer: &mut Lexer<'_>) -> Result<String, String> {
    match lexer.next()? {
        Token::Word(word) if is_value(word) => Ok(word.to_owned()),
        Token::Word(word) => Err(format!(
            "{word:?} is no label value: it has at most 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
        )),
        other => Err(lexer.expected("a value", &other)),
    }
}

fn check_label(word: &str) -> Result<(), String> {
    let (prefix, name) = match word.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, word),
    };
    if let Some(prefix) = prefix {
        crate::write::name::check(prefix).map_err(|why| format!("{word:?} is no label: before the '/', {why}"))?;
    }
    if name.is_empty() || !is_value(name) {
        return Err(format!(
            "{word:?} is no label: its name has 1 to 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit"
        ));
    }
    Ok(())
}

/// The syntax of a label's value, and of the last part of its name.
fn is_value(word: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    word.len() <= 63
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && ends(word.bytes().next())
        && ends(word.bytes().next_back())
}

#[cfg(test)]
mod tests;
