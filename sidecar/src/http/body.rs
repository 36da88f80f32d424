//! Reads a request's body: within its limit, its time, and only of a media type that is taken.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use contract::problem::{Code, Problem};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::{HeaderMap, Request};

use super::answer::Fault;

/// What etcd takes by default is 1.5 MiB; this leaves room for what the platform adds.
pub(super) const LIMIT: usize = 1 << 20;
/// A body without a length is counted so far, to tell its real size.
const COUNTED: usize = 16 << 20;

/// What a body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// JSON.
    Json,
    /// A merge patch or a JSON patch.
    Patches,
}

impl Taken {
    /// The header that tells callers (RFC 9110 §12.5.1, RFC 5789 §3.1), and its value.
    fn header(self) -> (HeaderName, &'static str) {
        match self {
            Self::Json => (ACCEPT, "application/json"),
            Self::Patches => {
                (HeaderName::from_static("accept-patch"), "application/merge-patch+json, application/json-patch+json")
            }
        }
    }
}

/// Checks that the body is of a media type that is taken; parameters such as `charset` do not matter.
pub(super) fn check_type(headers: &HeaderMap, taken: Taken) -> Result<(), Box<Fault>> {
    let given = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let bare = given.map(|given| given.split(';').next().unwrap_or_default().trim());
    let encoded = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?").trim());
    if let Some(encoded) = encoded.filter(|encoded| !encoded.is_empty() && !encoded.eq_ignore_ascii_case("identity")) {
        let detail = format!("the body is encoded with {encoded:?} (Content-Encoding); it is taken only as it is");
        return Err(Fault::media_type((ACCEPT_ENCODING, "identity"), detail));
    }
    let (name, types) = taken.header();
    let unsupported = |what: String| {
        let detail = format!("{what}; taken is {}", types.replace(", ", " or "));
        Err(Fault::media_type((name.clone(), types), detail))
    };
    match bare {
        Some(bare) if types.split(", ").any(|taken| taken.eq_ignore_ascii_case(bare)) => Ok(()),
        Some(bare) => unsupported(format!("the body is {bare:?}")),
        None => unsupported("the header Content-Type is missing".to_owned()),
    }
}

/// The whole body, within its size and its time.
pub(super) async fn read(request: Request<Incoming>, limit: usize, time: Duration) -> Result<Bytes, Problem> {
    let mut body = request.into_body();
    let announced = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
    if let Some(size) = announced.filter(|size| *size > limit) {
        return Err(too_large(&size.to_string(), limit));
    }
    let all = async {
        let mut buffer = BytesMut::with_capacity(announced.unwrap_or(0));
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::new(Code::BadRequest, "the body broke off"))?;
            let Some(data) = frame.data_ref() else { continue };
            size += data.len();
            if size <= limit {
                buffer.extend_from_slice(data);
            } else if size > COUNTED {
                return Err(too_large(&format!("more than {COUNTED}"), limit));
            }
        }
        if size > limit { Err(too_large(&size.to_string(), limit)) } else { Ok(buffer.freeze()) }
    };
    let late = || Problem::new(Code::BadRequest, format!("the body was not there within {} s", time.as_secs()));
    tokio::time::timeout(time, all).await.unwrap_or_else(|_| Err(late()))
}

/// 413 with the real size.
pub(super) fn too_large(size: &str, limit: usize) -> Problem {
    Problem::new(Code::TooLarge, format!("the body has {size} bytes, the limit is {limit}"))
}
