//! Who is let in: loopback hosts, allowed origins, and, where one is configured, whoever shows the token.
//!
//! A browser asks first whether it may (a preflight, which carries no token); it is answered for allowed origins only. `service` asks this before
//! it looks at anything else of a request.

use std::time::Instant;

use bytes::Bytes;
use contract::problem::{Code, Problem};
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue,
    ORIGIN, VARY,
};
use hyper::{Method, Request, Response, StatusCode};

use super::answer::Answer;
use super::guard;
use super::token::Token;

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
const HEADERS: HeaderValue = HeaderValue::from_static(
    "Accept, At-Least-Version, Authorization, Cache-Control, Content-Type, Idempotency-Key, If-Match, If-None-Match, \
     Last-Event-ID, Prefer",
);
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Age, Allow, ETag, Location, Preference-Applied, Retry-After, WWW-Authenticate");
const REQUEST_PRIVATE: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE: HeaderName = HeaderName::from_static("access-control-allow-private-network");
/// How long a browser may remember the answer to a preflight.
const SECONDS: HeaderValue = HeaderValue::from_static("600");

/// The rules of one sidecar; by default no token and no other origin.
#[derive(Debug, Default)]
pub struct Access {
    /// What callers must show.
    pub token: Option<Token>,
    /// Origins beside the API's own, `https://shop.example`.
    pub origins: Vec<String>,
}

/// What a request that is not refused is.
#[derive(Debug)]
pub(super) enum Admitted {
    Request,
    /// A browser's question whether it may ask.
    Preflight(Answer),
}

impl Access {
    /// Refuses whom nothing may be told.
    pub(super) fn admit<B>(&self, request: &Request<B>) -> Result<Admitted, Problem> {
        let headers = request.headers();
        guard::check(headers, request.uri().authority(), &self.origins)?;
        if *request.method() == Method::OPTIONS
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && self.foreign(request).is_some()
        {
            return Ok(Admitted::Preflight(preflight(headers.contains_key(REQUEST_PRIVATE))));
        }
        if self.token.as_ref().is_some_and(|token| !token.is_shown(headers, Instant::now())) {
            return Err(Problem::new(
                Code::Unauthorized,
                "the header Authorization does not hold the token of this API, as in: Bearer TOKEN",
            ));
        }
        Ok(Admitted::Request)
    }

    /// The origin of an allowed page of another origin.
    pub(super) fn foreign<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let origin = request.headers().get(ORIGIN)?;
        guard::is_allowed(origin, &self.origins).then(|| origin.clone())
    }
}

/// Lets the page of an allowed origin read an answer.
pub(super) fn show<B>(answer: &mut Response<B>, origin: HeaderValue) {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

fn preflight(private: bool) -> Answer {
    let mut answer = Answer::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, SECONDS);
    if private {
        headers.insert(ALLOW_PRIVATE, HeaderValue::from_static("true"));
    }
    answer
}
