//! Cuts a label selector into tokens. Knows nothing of their order. [`super`] uses it.

/// A piece of a selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Equal,
    NotEqual,
    Not,
    Comma,
    Open,
    Close,
    End,
}

/// Reads tokens one by one.
pub(super) struct Lexer<'a> {
    text: &'a str,
    /// What is not read yet.
    rest: &'a str,
    /// Where the last token began, in bytes.
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, rest: text, at: 0 }
    }

    /// The next token, which stays.
    pub(super) fn peek(&mut self) -> Result<Token<'a>, String> {
        let rest = self.rest;
        let token = self.next();
        self.rest = rest;
        token
    }

    pub(super) fn next(&mut self) -> Result<Token<'a>, String> {
        self.rest = self.rest.trim_ascii_start();
        self.at = self.text.len() - self.rest.len();
        for (sign, token) in [
            ("==", Token::Equal),
            ("=", Token::Equal),
            ("!=", Token::NotEqual),
            ("!", Token::Not),
            (",", Token::Comma),
            ("(", Token::Open),
            (")", Token::Close),
        ] {
            if let Some(rest) = self.rest.strip_prefix(sign) {
                self.rest = rest;
                return Ok(token);
            }
        }
        let end = self.rest.find(|c: char| c.is_ascii_whitespace() || "=!,()".contains(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        if word.is_empty() {
            return Ok(Token::End);
        }
        if let Some(sign @ ('<' | '>')) = word.chars().next() {
            return Err(format!("{sign:?} at position {} is not supported: use =, !=, in or notin", self.at + 1));
        }
        self.rest = rest;
        Ok(Token::Word(word))
    }

    /// What to say when something else stands here.
    pub(super) fn expected(&self, what: &str, found: &Token<'_>) -> String {
        let found = match found {
            Token::Word(word) => format!("{word:?}"),
            Token::Equal => "=".to_owned(),
            Token::NotEqual => "!=".to_owned(),
            Token::Not => "!".to_owned(),
            Token::Comma => "a comma".to_owned(),
            Token::Open => "(".to_owned(),
            Token::Close => ")".to_owned(),
            Token::End => "the end".to_owned(),
        };
        format!("expected {what} at position {}, found {found}; example: app=web,tier in (a,b),!draft", self.at + 1)
    }
}
