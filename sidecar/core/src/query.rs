//! The list's query string: read once, answered from the cache.
//!
//! Owns the parameters, their limits, and the page token. `http` calls it.

mod token;

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use contract::problem::{Code, Problem};

use crate::filter::{Filter, Filters};
use crate::fnv;
use crate::order::{Order, Place};
use crate::projection::Projection;
use crate::selector::LabelSelector;

/// The parameters of a list, as they are named to the caller.
const KNOWN: &str = "namespace, labelSelector, filter, orderBy, fields, limit, pageToken";
/// The largest page.
const MAX_LIMIT: usize = 10_000;

/// What a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only this namespace.
    pub namespace: Option<Arc<str>>,
    /// Only entities whose labels fit.
    pub selector: LabelSelector,
    /// Only entities for which this holds.
    pub filter: Option<Arc<Filter>>,
    /// In this order; by namespace and id where it says nothing.
    pub order: Order,
    /// Only these members of each; absent: whole.
    pub fields: Option<Projection>,
    /// At most so many items; 1 to 10,000, absent: all.
    pub limit: Option<usize>,
    /// Go on behind this place (from `pageToken`, which is opaque to the caller and stable while entities come and go).
    pub after: Option<Place>,
}

impl ListQuery {
    /// Reads a URL's query for a kind. Each parameter once at most; an unknown one is refused and the known ones are named.
    ///
    /// # Errors
    /// 400 that names the parameter.
    pub fn parse(query: &str, filters: &Filters) -> Result<Self, Problem> {
        let mut list = Self::default();
        let mut page_token = None;
        for (name, value) in parameters(query)? {
            match name.as_str() {
                "namespace" => {
                    crate::write::name::check_namespace(&value).map_err(|why| bad(&name, &why))?;
                    list.namespace = Some(value.into());
                }
                "labelSelector" => {
                    list.selector = LabelSelector::parse(&value).map_err(|why| bad(&name, &why))?;
                }
                "filter" => list.filter = Some(filters.filter(&value).map_err(|fault| bad(&name, &fault.to_string()))?),
                "orderBy" => list.order = Order::parse(&value, filters.fields()).map_err(|why| bad(&name, &why))?,
                "fields" => {
                    list.fields = Some(Projection::parse(&value, filters.fields()).map_err(|why| bad(&name, &why))?)
                }
                "limit" => list.limit = Some(limit(&value).map_err(|why| bad(&name, &why))?),
                "pageToken" => page_token = Some(value),
                _ => return Err(unknown(&name, KNOWN)),
            }
        }
        // What a token means depends on all the others.
        if let Some(token) = page_token {
            let place = token::read(&token, list.list_hash(), list.order.len());
            list.after = Some(place.map_err(|why| bad("pageToken", why))?);
        }
        Ok(list)
    }

    /// The token of the page behind a place. It is taken only with the same namespace, selector, filter and order.
    pub fn page_token(&self, place: &Place) -> String {
        token::write(place, self.list_hash())
    }

    /// Tells this query's answer from that of any other query to the same entities.
    pub fn answer_hash(&self) -> u64 {
        let page = format!("{:?}{:?}{:?}", self.fields, self.limit, self.after);
        fnv::mix(fnv::fold(self.list_hash(), page.as_bytes()))
    }

    /// Tells the list that this query pages through from any other.
    fn list_hash(&self) -> u64 {
        let filter = self.filter.as_ref().map(|filter| filter.text());
        let list = format!("{:?}{:?}{filter:?}{:?}", self.namespace, self.selector, self.order);
        fnv::mix(fnv::fold(fnv::BASIS, list.as_bytes()))
    }
}

/// The parameters of a URL's query, decoded, in their order. An empty query has none.
///
/// # Errors
/// 400 when one is given twice or cannot be decoded.
pub fn parameters(query: &str) -> Result<Vec<(String, String)>, Problem> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (Some(name), Some(value)) = (decode(name), decode(value)) else {
            let detail = format!(
                "the query's part {part:?} cannot be decoded: a % needs two hexadecimal digits, and the text must be UTF-8"
            );
            return Err(Problem::new(Code::BadRequest, detail));
        };
        if parameters.iter().any(|(before, _)| *before == name) {
            return Err(bad(&name, "it is given twice"));
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

/// The problem of a query parameter that nobody knows here.
pub fn unknown(name: &str, known: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("there is no query parameter {name:?} here; known: {known}"))
}

/// The problem of a query parameter with a value that cannot be used.
pub fn bad(name: &str, why: &str) -> Problem {
    Problem::new(Code::BadRequest, format!("the query parameter {name:?} cannot be used: {why}"))
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if (1..=MAX_LIMIT).contains(&limit) && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(limit),
        _ => Err(format!("{text:?} is not a number from 1 to {MAX_LIMIT}")),
    }
}

/// Percent-decoding as in forms: `+` is a space.
fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

/// Percent-decoding of one segment of a path: `+` is itself. Absent when it cannot be decoded.
pub fn decode_segment(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('%') { decode(&text.replace('+', "%2B")).map(Cow::Owned) } else { Some(Cow::Borrowed(text)) }
}

/// Percent-encodes what is not unreserved in a URL.
pub fn percent_encode(text: &str) -> String {
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

#[cfg(test)]
mod tests;
