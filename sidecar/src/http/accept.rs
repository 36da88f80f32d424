//! What a caller takes: `Accept` (RFC 9110 §12.5.1). Pure; `service` asks before anything is done.

use contract::problem::{Code, Problem};
use hyper::HeaderMap;
use hyper::header::ACCEPT;

/// Refuses a caller that does not take the media type of what would be the answer. A problem is told whatever is taken.
pub(super) fn check(headers: &HeaderMap, media_type: &str) -> Result<(), Problem> {
    if takes(headers, media_type) {
        return Ok(());
    }
    let detail = format!("the answer is {media_type}, which the header Accept leaves out");
    Err(Problem::new(Code::NotAcceptable, detail))
}

/// The nearest range decides: the type itself, then `type/*`, then `*/*`. What is no range is passed over, and without one anything is taken.
fn takes(headers: &HeaderMap, media_type: &str) -> bool {
    let Some((whole, part)) = media_type.split_once('/') else { return true };
    let mut nearest = None;
    let mut any = false;
    for range in headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let Some((kind, subtype)) = parts.next().and_then(|name| name.split_once('/')) else { continue };
        any = true;
        let nearness = match (kind, subtype) {
            ("*", "*") => 0,
            (kind, "*") if kind.eq_ignore_ascii_case(whole) => 1,
            (kind, subtype) if kind.eq_ignore_ascii_case(whole) && subtype.eq_ignore_ascii_case(part) => 2,
            _ => continue,
        };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let taken = quality.is_none_or(|quality| quality.parse().map_or(true, |quality: f32| quality > 0.0));
        // Of two that are equally near (other parameters), one is enough.
        nearest = Some(match nearest {
            Some((before, taken_before)) if before > nearness => (before, taken_before),
            Some((before, taken_before)) if before == nearness => (before, taken_before || taken),
            _ => (nearness, taken),
        });
    }
    nearest.map_or(!any, |(_, taken)| taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_range_says_whether_json_is_taken() {
        for (lines, taken) in [
            (vec![], true),
            (vec![""], true),
            (vec!["*/*"], true),
            (vec!["application/json"], true),
            (vec!["APPLICATION/JSON;charset=utf-8"], true),
            (vec!["application/*;q=0.1"], true),
            (vec!["text/html, application/xhtml+xml, */*;q=0.8"], true),
            (vec!["text/html", "application/json;q=0.2"], true),
            (vec!["application/json;version=2;q=0, application/json"], true),
            (vec!["application/json, */*;q=0"], true),
            (vec!["nonsense"], true),
            (vec!["application/json;q=much"], true),
            (vec!["text/html"], false),
            (vec!["text/*, image/png"], false),
            (vec!["application/xml"], false),
            (vec!["application/problem+json"], false),
            (vec!["application/json;q=0"], false),
            (vec!["application/json; q=0.000, */*"], false),
            (vec!["application/*;Q=0, */*;q=1"], false),
            (vec!["*/*;q=0"], false),
            (vec!["text/event-stream"], false),
        ] {
            let headers = lines.iter().map(|line| (ACCEPT, line.parse().unwrap())).collect();
            assert_eq!(check(&headers, "application/json").is_ok(), taken, "{lines:?}");
        }
    }
}
