//! Who may ask at all: the `Host` must be loopback, against DNS rebinding, and a browser's cross-origin request is refused.
//!
//! A page from anywhere can make a browser on this machine send requests to loopback. Its `Host` is then the page's own name (rebinding) or
//! its `Origin` is (plain cross-origin); both are looked at before anything else.

use contract::problem::{Code, Problem};
use hyper::HeaderMap;
use hyper::header::{HOST, HeaderValue, ORIGIN};
use hyper::http::uri::Authority;

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Checks a request's `Host` and `Origin`; `authority` is that of a request line with a whole URL, `allowed` are origins beside the API's own.
pub(super) fn check(headers: &HeaderMap, authority: Option<&Authority>, allowed: &[String]) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    if hosts.next().is_some()
        || !is_loopback(host)
        || authority.is_some_and(|authority| !is_loopback(authority.as_str()))
    {
        return Err(Problem::new(
            Code::Forbidden,
            "the Host header is not localhost, 127.0.0.1 or [::1]: this API is for its own machine only",
        ));
    }
    for origin in headers.get_all(ORIGIN) {
        // The page that this API itself serves has the very origin that it asks.
        let own = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        if !own.is_some_and(|own| own.eq_ignore_ascii_case(host)) && !is_allowed(origin, allowed) {
            return Err(Problem::new(Code::Forbidden, "a page of another origin may not use this API"));
        }
    }
    Ok(())
}

/// Whether an origin is one of those that the configuration allows.
pub(super) fn is_allowed(origin: &HeaderValue, allowed: &[String]) -> bool {
    origin.to_str().is_ok_and(|origin| allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)))
}

/// A loopback name with or without a port.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if !port.ends_with(']') => {
            if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return false;
            }
            bare
        }
        _ => host,
    };
    LOOPBACK.iter().any(|name| name.eq_ignore_ascii_case(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(headers: &[(&'static str, &'static str)]) -> bool {
        let map = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        check(&map, None, &["https://shop.example".to_owned()]).is_ok()
    }

    #[test]
    fn only_loopback_hosts_are_served() {
        for host in ["localhost", "LOCALHOST:3600", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:3600"] {
            assert!(allowed(&[("host", host)]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.",
            "10.0.0.1:3600",
            "[::1",
            "::1",
            "localhost:x",
            "localhost:",
        ] {
            assert!(!allowed(&[("host", host)]), "{host}");
        }
        assert!(!allowed(&[]), "no Host at all");
        assert!(!allowed(&[("host", "localhost"), ("host", "evil.example")]), "two of them");
    }

    #[test]
    fn a_page_of_another_origin_is_refused() {
        assert!(allowed(&[("host", "localhost:3600"), ("origin", "http://localhost:3600")]));
        assert!(allowed(&[("host", "localhost:3600"), ("origin", "https://shop.example")]));
        assert!(!allowed(&[("host", "shop.example"), ("origin", "https://shop.example")]), "a Host is no origin");
        for origin in [
            "https://shop.example.evil.example",
            "http://shop.example",
            "https://shop.example:444",
            "null",
            "http://localhost:8080",
            "https://localhost:3600",
            "http://evil.example",
            "",
        ] {
            assert!(!allowed(&[("host", "localhost:3600"), ("origin", origin)]), "{origin}");
        }
    }
}
