//! Answers: entities with their tags, and problems. What every answer has in common stands here.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use contract::problem::{Code, MEDIA_TYPE, Problem};
use http_body_util::Full;
use hyper::header::{
    AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{HeaderMap, Response, StatusCode};
use sidecar_core::entity::Entity;
use sidecar_core::version::Version;

use crate::store::Refused;

/// An answer, whole in memory; a body is shared with the cache.
pub(super) type Answer = Response<Full<Bytes>>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
#[rustfmt::skip]
static BELOW_A_MINUTE: [&str; 60] = [
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "17", "18", "19",
    "20", "21", "22", "23", "24", "25", "26", "27", "28", "29", "30", "31", "32", "33", "34", "35", "36", "37", "38", "39",
    "40", "41", "42", "43", "44", "45", "46", "47", "48", "49", "50", "51", "52", "53", "54", "55", "56", "57", "58", "59",
];
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// A request that is not fulfilled: the problem, and the headers that go with it.
#[derive(Debug)]
pub(super) struct Fault {
    problem: Problem,
    /// What would have been taken: a header and its value.
    taken: Option<(HeaderName, &'static str)>,
    retry_after: Option<u64>,
}

/// Boxed: the good way should not carry the size of the bad one.
pub(super) type Outcome = Result<Answer, Box<Fault>>;

impl From<Problem> for Box<Fault> {
    fn from(problem: Problem) -> Self {
        Box::new(Fault { problem, taken: None, retry_after: None })
    }
}

impl From<Refused> for Box<Fault> {
    fn from(Refused { problem, retry_after }: Refused) -> Self {
        Box::new(Fault { problem, taken: None, retry_after })
    }
}

impl Fault {
    /// 405 with what is allowed.
    pub(super) fn method(allow: &'static str, detail: String) -> Box<Self> {
        Self::taking(Code::MethodNotAllowed, detail, (ALLOW, allow))
    }

    /// 415 with the header that says what is taken.
    pub(super) fn media_type(taken: (HeaderName, &'static str), detail: String) -> Box<Self> {
        Self::taking(Code::UnsupportedMediaType, detail, taken)
    }

    fn taking(code: Code, detail: String, taken: (HeaderName, &'static str)) -> Box<Self> {
        Box::new(Self { problem: Problem::new(code, detail), taken: Some(taken), retry_after: None })
    }

    /// 503 with when to come back.
    pub(super) fn unavailable(detail: impl Into<String>, retry_after: u64) -> Box<Self> {
        Box::new(Self { problem: Problem::new(Code::Unavailable, detail), taken: None, retry_after: Some(retry_after) })
    }

    /// The problem, and the seconds after which to try again, where that makes sense.
    pub(super) fn told(self) -> (Problem, Option<u64>) {
        (self.problem, self.retry_after)
    }

    pub(super) fn answer(self, path: &str) -> Answer {
        let Self { mut problem, taken, retry_after } = self;
        problem.instance = Some(path.to_owned());
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = plain(status, Bytes::from(body), HeaderValue::from_static(MEDIA_TYPE));
        let headers = answer.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = taken {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if let Some(seconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"kab-sidecar\""));
        }
        answer
    }
}

/// JSON.
pub(super) fn json(status: StatusCode, body: Bytes) -> Answer {
    plain(status, body, JSON)
}

/// No body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = status;
    answer
}

/// An entity with its tag; without a body when the caller wants none: then what would be 200 is 204.
pub(super) fn entity(status: StatusCode, entity: &Entity, minimal: bool) -> Answer {
    let answer = if minimal {
        applied(empty(if status == StatusCode::OK { StatusCode::NO_CONTENT } else { status }))
    } else {
        json(status, entity.json.clone())
    };
    // A dry run of a create has no version.
    if entity.version == Version::default() { answer } else { tagged(answer, entity.version) }
}

/// Says that the preference `return=minimal` was heeded.
pub(super) fn applied(answer: Answer) -> Answer {
    heeded(answer, "return=minimal")
}

/// Says which preference was heeded; several may be.
pub(super) fn heeded(mut answer: Answer, preference: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(preference) {
        answer.headers_mut().append(PREFERENCE_APPLIED, value);
    }
    answer
}

/// An entity with its tag, in a map of headers that has room.
pub(super) fn read(mut headers: HeaderMap, entity: &Entity) -> Answer {
    let mut answer = Response::new(Full::new(entity.json.clone()));
    headers.insert(CONTENT_TYPE, JSON);
    *answer.headers_mut() = headers;
    tagged(answer, entity.version)
}

/// Adds an entity's `ETag`.
pub(super) fn tagged(mut answer: Answer, version: Version) -> Answer {
    // Every read has one: it is put together in place, where a string would grow several times before it is copied.
    let mut text = [0; "\"\"".len() + 20];
    let room = text.len();
    let mut rest = text.as_mut_slice();
    let written = write!(rest, "\"{version}\"");
    let length = room - rest.len();
    if let (Ok(()), Some(text)) = (written, text.get(..length))
        && let Ok(value) = HeaderValue::from_bytes(text)
    {
        answer.headers_mut().insert(ETAG, value);
    }
    answer
}

/// Adds a weak `ETag`: the same for answers that say the same, whatever else stands in them.
pub(super) fn tagged_weakly(mut answer: Answer, tag: &str) -> Answer {
    set(&mut answer, ETAG, &format!("W/\"{tag}\""));
    answer
}

/// Adds where the new entity is.
pub(super) fn located(mut answer: Answer, location: &str) -> Answer {
    set(&mut answer, LOCATION, location);
    answer
}

/// Adds how long ago the cache was last known to be current.
pub(super) fn aged(mut answer: Answer, age: Duration) -> Answer {
    answer.headers_mut().insert(AGE, seconds(age.as_secs()));
    answer
}

/// A number of seconds; one below a minute, as almost every age is, costs no memory.
fn seconds(seconds: u64) -> HeaderValue {
    let small = usize::try_from(seconds).ok().and_then(|seconds| BELOW_A_MINUTE.get(seconds));
    small.map_or_else(|| HeaderValue::from(seconds), |text| HeaderValue::from_static(text))
}

fn plain(status: StatusCode, body: Bytes, media_type: HeaderValue) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, media_type);
    answer
}

/// Tags are numbers and paths are made of names, so the value is always one; a header that were none would be left out.
fn set(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
