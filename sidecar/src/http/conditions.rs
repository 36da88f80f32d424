//! Entity tags and preconditions (RFC 9110 §8.8.3 and §13): what `If-Match` and `If-None-Match` say. Pure.

use contract::problem::{Code, Problem};
use hyper::HeaderMap;
use hyper::header::HeaderName;
use sidecar_core::version::Version;

/// The value of a conditional header, over all its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tags {
    /// `*`: whatever there is.
    Any,
    /// A list; at least one.
    These(Vec<Tag>),
}

/// One entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    weak: bool,
    opaque: String,
}

impl Tags {
    /// The header, if it is there.
    pub(super) fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        let bad = || {
            let detail = format!("{name} is neither * nor a list of entity tags, such as \"1234\" with its quotes");
            Problem::new(Code::BadRequest, detail)
        };
        let mut tags = Vec::new();
        let mut any = false;
        for line in headers.get_all(name) {
            let text = line.to_str().map_err(|_| bad())?.trim();
            if text == "*" {
                any = true;
            } else {
                tags.extend(list(text).ok_or_else(bad)?);
            }
        }
        match (any, tags.is_empty()) {
            (true, true) => Ok(Some(Self::Any)),
            (false, false) => Ok(Some(Self::These(tags))),
            (false, true) if !headers.contains_key(name) => Ok(None),
            _ => Err(bad()),
        }
    }

    /// Weak comparison, for `If-None-Match`.
    pub(super) fn include_weakly(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|given| given.opaque == tag),
        }
    }

    /// Strong comparison, for `If-Match`.
    pub(super) fn include(&self, tag: &str) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(|given| !given.weak && given.opaque == tag),
        }
    }

    /// The versions that `If-Match` allows; a weak tag, or one that no entity can have, allows none. (0 would mean "any" to the API server.)
    pub(super) fn versions(&self) -> Vec<Version> {
        match self {
            Self::Any => Vec::new(),
            Self::These(tags) => tags
                .iter()
                .filter(|tag| !tag.weak)
                .filter_map(|tag| {
                    let version: Version = tag.opaque.parse().ok()?;
                    (version != Version::default() && version.to_string() == tag.opaque).then_some(version)
                })
                .collect(),
        }
    }
}

/// `"a", W/"b"`; empty elements are allowed between commas.
fn list(text: &str) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(tags);
        }
        let weak = rest.strip_prefix("W/");
        let quoted = weak.unwrap_or(rest).strip_prefix('"')?;
        let (opaque, behind) = quoted.split_once('"')?;
        tags.push(Tag { weak: weak.is_some(), opaque: opaque.to_owned() });
        rest = behind.trim_start_matches([' ', '\t']);
        if !(rest.is_empty() || rest.starts_with(',')) {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::IF_MATCH;

    use super::*;

    fn read(lines: &[&'static str]) -> Result<Option<Tags>, Problem> {
        let headers = lines.iter().map(|line| (IF_MATCH, line.parse().unwrap())).collect();
        Tags::read(&headers, &IF_MATCH)
    }

    #[test]
    fn lists_weak_tags_and_the_star_are_read_and_the_rest_is_refused() {
        let versions = |lines: &[&'static str]| {
            read(lines).unwrap().unwrap().versions().into_iter().map(|version| version.0).collect::<Vec<_>>()
        };
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&["*"]).unwrap(), Some(Tags::Any));
        assert_eq!(versions(&["\"12\""]), [12]);
        assert_eq!(versions(&["\"12\" ,,W/\"13\", \"14\"", "\"15\""]), [12, 14, 15]);
        assert_eq!(versions(&["\"012\", \"x\", \"\", \"0\""]), [0; 0], "no entity has these");
        for bad in
            [vec!["12"], vec!["\"12"], vec![""], vec![","], vec!["*", "\"1\""], vec!["\"1\"\"2\""], vec!["w/\"1\""]]
        {
            assert_eq!(read(&bad).map_err(|problem| problem.status), Err(400), "{bad:?}");
        }
    }

    #[test]
    fn weak_tags_match_weakly_only() {
        let tags = read(&["W/\"7\", \"8\""]).unwrap().unwrap();
        assert_eq!(
            (tags.include_weakly("7"), tags.include("7"), tags.include("8"), tags.include("9")),
            (true, false, true, false)
        );
        assert!(Tags::Any.include("anything"));
    }
}
