//! From text to tree: bounds before the parser, and its complaints in words for people.
//!
//! The `cel` crate's default parser is an ANTLR port whose prediction can take exponential memory and whose recursion overflows the stack on
//! short odd texts (cel-rust #305, #306, #212). Its other one, a port of cel-go's Pratt parser, is linear; it is behind a feature and not
//! documented yet, which is why the workspace pins the crate's minor version. It counts the depth of brackets only, so tokens and `?` are
//! counted here first.

use std::panic::catch_unwind;

use cel::common::ast::IdedExpr;
use cel::parser::PrattParser;
use cel::parser::pratt_parser::{Lexer, Token, TokenKind};

use super::SyntaxFault;

/// In bytes.
const MAX_TEXT: usize = 2_048;
const MAX_TOKENS: usize = 512;
/// Brackets inside brackets; each takes some frames of the parser's stack.
const MAX_NESTING: u16 = 24;
/// The parser goes one deeper for each.
const MAX_CONDITIONALS: usize = 16;

pub(super) fn parse(text: &str) -> Result<IdedExpr, SyntaxFault> {
    if text.len() > MAX_TEXT {
        return fail(format!("a filter has at most {MAX_TEXT} bytes, and this one has {}", text.len()));
    }
    let tokens = tokens(text);
    if tokens.is_empty() {
        return fail("a filter is an expression, such as id == \"a\"".to_owned());
    }
    if tokens.len() > MAX_TOKENS {
        return fail(format!("a filter has at most {MAX_TOKENS} words and signs, and this one has more"));
    }
    if tokens.iter().filter(|token| token.kind == TokenKind::TokQuestion).count() > MAX_CONDITIONALS {
        return fail(format!("a filter has at most {MAX_CONDITIONALS} question marks"));
    }
    let parsed =
        catch_unwind(|| PrattParser::new().max_recursion_depth(MAX_NESTING).error_recovery_limit(0).parse(text));
    match parsed {
        Ok(Ok(expression)) => Ok(expression),
        Ok(Err(errors)) => {
            if errors.errors.iter().any(|error| error.msg.contains("recursion limit")) {
                return fail(format!("a filter has at most {MAX_NESTING} brackets inside each other"));
            }
            // That the parser gave up has no place; the first real complaint is what people need.
            let first = errors.errors.iter().find(|error| error.pos.0 > 0).or(errors.errors.first());
            Err(match first {
                Some(error) => {
                    let message = match error.msg.as_str() {
                        "invalid argument to has() macro" => {
                            "has asks for a member of something: has(self.NAME) for a field".to_owned()
                        }
                        other => other.trim_start_matches("Syntax error: ").replace("<EOF>", "the end"),
                    };
                    SyntaxFault { at: place(text, error.pos), message }
                }
                None => SyntaxFault { at: None, message: "it cannot be read".to_owned() },
            })
        }
        Err(_) => fail("it cannot be read".to_owned()),
    }
}

fn fail<T>(message: String) -> Result<T, SyntaxFault> {
    Err(SyntaxFault { at: None, message })
}

/// The tokens up to the first that is none.
fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer::new(text);
    let mut tokens = Vec::new();
    loop {
        let token = lexer.lex();
        match token.kind {
            TokenKind::TokEnd => return tokens,
            TokenKind::TokWhitespace | TokenKind::TokComment => {}
            TokenKind::TokError => {
                tokens.push(token);
                return tokens;
            }
            _ => tokens.push(token),
        }
    }
}

/// The character, counted from 1, at which a name stands that is not a member of something.
pub(super) fn place_of_name(text: &str, name: &str) -> Option<usize> {
    let mut behind_dot = false;
    for token in tokens(text) {
        if token.kind == TokenKind::TokIdent && !behind_dot && text.get(token.start..token.end) == Some(name) {
            return character(text, token.start);
        }
        behind_dot = token.kind == TokenKind::TokDot;
    }
    None
}

/// Where any word or function of this name stands.
pub(super) fn place_of_word(text: &str, name: &str) -> Option<usize> {
    let token = tokens(text).into_iter().find(|token| text.get(token.start..token.end) == Some(name))?;
    character(text, token.start)
}

/// The parser counts lines and bytes from 1.
fn place(text: &str, (line, column): (isize, isize)) -> Option<usize> {
    let line = usize::try_from(line).ok()?.checked_sub(1)?;
    let column = usize::try_from(column).ok()?.checked_sub(1)?;
    let before: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    character(text, (before + column).min(text.len()))
}

fn character(text: &str, byte: usize) -> Option<usize> {
    Some(text.get(..text.floor_char_boundary(byte))?.chars().count() + 1)
}
