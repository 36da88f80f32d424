//! The short way of what is asked most: one entity, by a request that wants nothing but that, answered from the cache within the call.
//!
//! A read that finds its entity waits for nothing, so it needs no future, and what the headers of other requests may say need not be looked for
//! one by one. Whatever is out of the ordinary, and all that is wrong, is left to the long way in `service`, which answers such a read the same;
//! so nothing is refused here. `http` asks this first.

use std::mem;
use std::time::{Duration, Instant};

use http_body_util::Either;
use hyper::header::{ACCEPT, CACHE_CONTROL, HOST, HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH, ORIGIN};
use hyper::{Method, Request, StatusCode};
use sidecar_core::entity::Entity;

use super::context::{AT_LEAST_VERSION, PREFER};
use super::metrics::{Recent, Verb};
use super::service::{Api, JSON, Reply};
use super::{accept, answer, guard, parameters};
use crate::kinds::Lookup;

/// Other headers that ask for something, and that of a request which belongs to a trace and may have to be told there.
static ASKING: [HeaderName; 3] = [AT_LEAST_VERSION, PREFER, HeaderName::from_static("traceparent")];
/// A map of headers with more room than this is not kept for the connection's next request.
const ROOM: usize = 32;

impl Api {
    /// The answer to a read of one entity that the cache has, of a connection that counts in `recent`. The request is as it was when there is none.
    pub(super) fn at_once<B>(&self, request: &mut Request<B>, recent: &Recent) -> Option<Reply> {
        let started = Instant::now();
        let (kind, id) = named(request)?;
        if !self.lets_in(request, started) {
            return None;
        }
        let Lookup::Found(served) = self.kinds.find(kind) else { return None };
        let namespace = parameters::place(served, None).ok()?;
        let (entity, age) = served.view.of(namespace)?.look(&(namespace, id), started)?;
        let entity = entity?;
        let answer = found(mem::take(request.headers_mut()), &entity, age);
        self.metrics.request(recent, &served.full_name, Verb::get, StatusCode::OK, started.elapsed());
        Some(answer)
    }

    /// Whether nothing is asked for beside the entity itself, by somebody who may ask.
    fn lets_in<B>(&self, request: &Request<B>, now: Instant) -> bool {
        let headers = request.headers();
        let (mut host, mut accepts) = (None, false);
        for (name, value) in headers {
            match *name {
                HOST if host.is_none() => host = Some(value),
                ACCEPT => accepts = true,
                HOST | ORIGIN | IF_MATCH | IF_NONE_MATCH | CACHE_CONTROL => return false,
                _ if ASKING.contains(name) => return false,
                _ => {}
            }
        }
        let host = host.and_then(|host| host.to_str().ok());
        host.is_some_and(guard::is_loopback)
            && (!accepts || accept::check(headers, JSON).is_ok())
            && self.access.token.as_ref().is_none_or(|token| token.is_shown(headers, now))
    }
}

/// Kind and id of a path in which nothing is encoded and behind which nothing is asked.
fn named<B>(request: &Request<B>) -> Option<(&str, &str)> {
    let uri = request.uri();
    if !matches!(*request.method(), Method::GET | Method::HEAD) || uri.authority().is_some() || uri.query().is_some() {
        return None;
    }
    let (kind, id) = uri.path().strip_prefix("/v1/")?.split_once('/')?;
    (!id.contains(['/', '%']) && !kind.contains('%')).then_some((kind, id))
}

/// The answer, in the map that brought the request's headers: hyper reads the connection's next request into it again.
fn found(mut headers: HeaderMap, entity: &Entity, age: Duration) -> Reply {
    if headers.capacity() > ROOM {
        headers = HeaderMap::new();
    }
    headers.clear();
    answer::aged(answer::read(headers, entity), age).map(Either::Left)
}
