//! What a request's headers ask for beside the path: preconditions, freshness, preferences. Read once, before anything is done.

use std::time::Duration;

use contract::problem::{Code, Problem};
use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, HeaderName, IF_MATCH, IF_NONE_MATCH};
use sidecar_core::version::Version;

use super::conditions::Tags;

pub(super) const AT_LEAST_VERSION: HeaderName = HeaderName::from_static("at-least-version");
pub(super) const PREFER: HeaderName = HeaderName::from_static("prefer");
static HEEDED: [HeaderName; 5] = [IF_MATCH, IF_NONE_MATCH, CACHE_CONTROL, AT_LEAST_VERSION, PREFER];
/// How long `At-Least-Version` waits unless `Prefer: wait` says otherwise.
const WAIT: Duration = Duration::from_secs(5);
/// Nobody holds a connection longer than this with `Prefer: wait`.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The headers that matter, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Context {
    pub(super) if_match: Option<Tags>,
    pub(super) if_none_match: Option<Tags>,
    /// `Cache-Control: no-cache`.
    pub(super) read_through: bool,
    pub(super) at_least: Option<Version>,
    pub(super) wait: Duration,
    /// `Prefer: wait=N`, if it was given.
    pub(super) asked_wait: Option<Duration>,
    /// `Prefer: respond-async`.
    pub(super) respond_async: bool,
    /// `Prefer: return=minimal`.
    pub(super) minimal: bool,
}

impl Context {
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        if !headers.keys().any(|name| HEEDED.contains(name)) {
            // As most requests are.
            return Ok(Self::plain());
        }
        let mut context = Self {
            if_match: Tags::read(headers, &IF_MATCH)?,
            if_none_match: Tags::read(headers, &IF_NONE_MATCH)?,
            read_through: tokens(headers, &CACHE_CONTROL).any(|token| token.eq_ignore_ascii_case("no-cache")),
            at_least: at_least(headers)?,
            ..Self::plain()
        };
        for preference in tokens(headers, &PREFER) {
            // RFC 7240: what is not known or makes no sense is ignored.
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "wait" => {
                    if let Ok(seconds) = value.parse() {
                        context.wait = Duration::from_secs(seconds).min(LONGEST_WAIT);
                        context.asked_wait = Some(context.wait);
                    }
                }
                "respond-async" => context.respond_async = true,
                "return" => context.minimal = value.eq_ignore_ascii_case("minimal"),
                _ => {}
            }
        }
        Ok(context)
    }

    /// Of a request that has none of these headers.
    fn plain() -> Self {
        Self {
            if_match: None,
            if_none_match: None,
            read_through: false,
            at_least: None,
            wait: WAIT,
            asked_wait: None,
            respond_async: false,
            minimal: false,
        }
    }
}

fn at_least(headers: &HeaderMap) -> Result<Option<Version>, Problem> {
    let Some(value) = headers.get(AT_LEAST_VERSION) else { return Ok(None) };
    let version = value.to_str().ok().and_then(|text| text.trim().trim_matches('"').parse().ok());
    let bad = || Problem::new(Code::BadRequest, "At-Least-Version is not a version, which is a number such as 1234");
    version.map(Some).ok_or_else(bad)
}

/// The elements of a comma-separated header; a parameter behind `;` is cut off.
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).filter_map(|token| token.split(';').next()).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<Context, u16> {
        let map = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        Context::read(&map).map_err(|problem| problem.status)
    }

    #[test]
    fn preferences_and_freshness_are_read_and_what_is_unknown_is_ignored() {
        let plain = read(&[("prefer", "handling=lenient; x=y, wait=soon"), ("cache-control", "max-age=0")]).unwrap();
        assert_eq!((plain.read_through, plain.minimal, plain.wait, plain.at_least), (false, false, WAIT, None));
        let asked = read(&[
            ("prefer", "return=minimal, Wait=2"),
            ("cache-control", "max-age=0, No-Cache"),
            ("at-least-version", "1234"),
        ])
        .unwrap();
        assert_eq!((asked.read_through, asked.minimal), (true, true));
        assert_eq!((asked.wait, asked.at_least), (Duration::from_secs(2), Some(Version(1234))));
        assert_eq!(read(&[("prefer", "wait=86400")]).unwrap().wait, LONGEST_WAIT);
        let both = read(&[("prefer", "Respond-Async, wait=7")]).unwrap();
        assert_eq!((both.respond_async, both.asked_wait, plain.asked_wait), (true, Some(Duration::from_secs(7)), None));
        assert_eq!(read(&[("at-least-version", "new")]), Err(400));
        assert_eq!(read(&[("if-match", "1234")]), Err(400));
    }
}
