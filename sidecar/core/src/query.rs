//! The list's query string: read once, answered from the cache.

use std::sync::Arc;

use contract::problem::Problem;

use crate::entity::Key;
use crate::selector::LabelSelector;

/// What a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only this namespace.
    pub namespace: Option<Arc<str>>,
    /// Only entities whose labels fit.
    pub selector: LabelSelector,
    /// At most so many items; 1 to 10,000, absent: all.
    pub limit: Option<usize>,
    /// Go on behind this key (from `pageToken`, which is opaque to the caller and stable while entities come and go).
    pub after: Option<Key>,
}

impl ListQuery {
    /// Reads a URL's query. Each parameter once at most; an unknown one is refused and the known ones are named.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub fn parse(query: &str) -> Result<Self, Problem> {
        let _ = query;
        todo!()
    }

    /// The token of the page behind `key`.
    pub fn page_token(key: &Key) -> String {
        let _ = key;
        todo!()
    }
}

/// Percent-encodes what is not unreserved in a URL.
pub fn percent_encode(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
