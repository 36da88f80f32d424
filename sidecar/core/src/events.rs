//! What a reader of server-sent events asks for, and the id by which it says how far it has come. Pure; `http` carries it out.
//!
//! An id is the version up to which the reader has everything. A reader of several namespaces reads several watches, each with its own
//! versions in order, so its id names each: `bar=1234,shop=1250`.

use std::fmt::Write as _;

use contract::problem::Problem;

use crate::entity::Entity;
use crate::filter::Budget;
use crate::followed::Position;
use crate::query::{self, ListQuery};

/// Refuses what has no meaning for events.
///
/// # Errors
/// 400 that names the parameter.
pub fn check(query: &ListQuery) -> Result<(), Problem> {
    let why = "events come as they happen: leave it out, or ask for application/json";
    match query {
        ListQuery { limit: Some(_), .. } => Err(query::bad("limit", why)),
        ListQuery { after: Some(_), .. } => Err(query::bad("pageToken", why)),
        ListQuery { order, .. } if !order.is_empty() => Err(query::bad("orderBy", why)),
        _ => Ok(()),
    }
}

/// Whether a reader sees an entity in this state. One of which the filter has no meaning is not seen: the reader cannot be told 400 any more.
pub fn sees(query: &ListQuery, entity: &Entity) -> bool {
    let here = query.namespace.is_none() || entity.key.namespace == query.namespace;
    let asked = || {
        let mut budget = Budget::default();
        query.filter.as_ref().is_none_or(|filter| filter.matches(entity, &mut budget).unwrap_or(false))
    };
    here && query.selector.matches(entity) && asked()
}

/// The id of a reader who has come so far in each of these namespaces; the name of a namespace does not matter when there is only one.
pub fn id<'a>(places: impl ExactSizeIterator<Item = (Option<&'a str>, Position)>) -> String {
    let named = places.len() > 1;
    let mut id = String::new();
    for (namespace, position) in places {
        // Writing to a string cannot fail.
        let _ = match (named, namespace) {
            (true, Some(namespace)) if id.is_empty() => write!(id, "{namespace}={position}"),
            (true, Some(namespace)) => write!(id, ",{namespace}={position}"),
            _ => write!(id, "{position}"),
        };
    }
    id
}

/// Reads an [`id`] of the same namespaces. `None`: it is not one of theirs.
pub fn read_id(id: &str, namespaces: &[Option<&str>]) -> Option<Vec<Position>> {
    if let [_] = namespaces {
        return id.parse().ok().map(|position| vec![position]);
    }
    let parts: Vec<&str> = id.split(',').collect();
    if parts.len() != namespaces.len() {
        return None;
    }
    let place = |(part, namespace): (&&str, &Option<&str>)| {
        let (name, position) = part.split_once('=')?;
        if Some(name) == *namespace { position.parse().ok() } else { None }
    };
    parts.iter().zip(namespaces).map(place).collect()
}

/// Whether `Accept` asks for events, and for JSON no more than for them. Each element is a media range with its parameters.
pub fn wanted<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    let (mut events, mut json) = (0, 0);
    for range in accept.flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let quality = quality.map_or(1000, thousandths);
        if name.eq_ignore_ascii_case("text/event-stream") {
            events = quality;
        } else if name.eq_ignore_ascii_case("application/json") {
            json = quality;
        }
    }
    events > 0 && events >= json
}

fn thousandths(text: &str) -> u32 {
    let quality: f32 = text.parse().unwrap_or(1.0);
    // From 0 to 1000.
    (quality.clamp(0.0, 1.0) * 1000.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::state;
    use crate::version::Version;

    fn position(version: u64, step: u32) -> Position {
        Position { version: Version(version), step }
    }

    #[test]
    fn the_id_of_one_namespace_is_the_version_and_of_several_names_each() {
        let one = [(Some("shop"), position(1234, 0))];
        assert_eq!(id(one.into_iter()), "1234");
        assert_eq!(read_id("1234", &[Some("shop")]), Some(vec![position(1234, 0)]));
        assert_eq!(read_id("1234", &[None]), Some(vec![position(1234, 0)]));
        let two = [(Some("bar"), position(7, 0)), (Some("shop"), position(9, 2))];
        assert_eq!(id(two.into_iter()), "bar=7,shop=9.2");
        let names = [Some("bar"), Some("shop")];
        assert_eq!(read_id("bar=7,shop=9.2", &names), Some(vec![position(7, 0), position(9, 2)]));
        for other in ["7", "", "bar=7", "shop=9.2,bar=7", "bar=7,shop=x", "bar=7,shop=9,more=1", "bar=7,attic=9"] {
            assert_eq!(read_id(other, &names), None, "{other:?}");
        }
        assert_eq!(read_id("bar=7", &[Some("bar")]), None);
    }

    #[test]
    fn events_are_sent_to_whom_asks_for_them_before_json() {
        let cases = [
            (vec!["text/event-stream"], true),
            (vec!["Text/Event-Stream; charset=utf-8"], true),
            (vec!["application/json", "text/event-stream"], true),
            (vec!["application/json;q=0.5, text/event-stream;q=0.6"], true),
            (vec!["application/json, text/event-stream;q=0.9"], false),
            (vec!["text/event-stream;q=0"], false),
            (vec!["*/*"], false),
            (vec!["text/*"], false),
            (vec![], false),
        ];
        for (accept, expected) in cases {
            assert_eq!(wanted(accept.iter().copied()), expected, "{accept:?}");
        }
    }

    #[test]
    fn a_reader_of_one_namespace_sees_no_other() {
        let query = ListQuery { namespace: Some("shop".into()), ..ListQuery::default() };
        assert!(sees(&query, &state("shop/a", "1", 1)) && !sees(&query, &state("bar/a", "2", 1)));
    }

    #[test]
    fn pages_and_orders_have_no_meaning_for_events() {
        assert!(check(&ListQuery::default()).is_ok());
        let limited = ListQuery { limit: Some(5), ..ListQuery::default() };
        assert!(check(&limited).unwrap_err().detail.contains("limit"));
    }
}
