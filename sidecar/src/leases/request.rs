//! Requests for one Lease, whatever for: each bounded in time and size, refusals in words that help.
//!
//! Decides nothing; [`super::election`] and [`super::members`] make them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use kube::Client;
use kube::client::Body;
use sidecar_core::lease::Failure;

/// A Lease is some hundred bytes; one with the marks of a thousand replicas some hundred thousand.
const ANSWER_BYTES: usize = 512 << 10;

/// Why a request had no result.
pub(super) struct Trouble {
    pub(super) failure: Failure,
    /// For people; empty where there is nothing to tell them.
    pub(super) detail: String,
}

/// How to ask for one Lease.
#[derive(Clone)]
pub(super) struct Requests {
    pub(super) client: Client,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) limit: Duration,
}

impl Requests {
    /// The Lease, or `None` where there is none.
    pub(super) async fn read(&self) -> Result<Option<Bytes>, Trouble> {
        let path = format!("{}/{}", self.collection(), self.name);
        match self.ask(Method::GET, &path, "application/json", Vec::new()).await? {
            (StatusCode::OK, body) => Ok(Some(body)),
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, body) => Err(refused(status, &body)),
        }
    }

    /// Creates it; a conflict if it is there.
    pub(super) async fn create(&self, body: Vec<u8>) -> Result<Bytes, Trouble> {
        let path = format!("{}?fieldManager={}", self.collection(), contract::names::FIELD_MANAGER);
        match self.ask(Method::POST, &path, "application/json", body).await? {
            (StatusCode::OK | StatusCode::CREATED, body) => Ok(body),
            (StatusCode::CONFLICT, _) => Err(conflict()),
            (status, body) => Err(refused(status, &body)),
        }
    }

    /// Merges into it; a conflict if it is not there, or not the one that the patch is based on.
    pub(super) async fn patch(&self, body: Vec<u8>) -> Result<Bytes, Trouble> {
        let path = format!("{}/{}?fieldManager={}", self.collection(), self.name, contract::names::FIELD_MANAGER);
        match self.ask(Method::PATCH, &path, "application/merge-patch+json", body).await? {
            (StatusCode::OK, body) => Ok(body),
            (StatusCode::CONFLICT | StatusCode::NOT_FOUND, _) => Err(conflict()),
            (status, body) => Err(refused(status, &body)),
        }
    }

    fn collection(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), Trouble> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .map_err(|error| unknown(error.to_string()))?;
        let exchange = async {
            let answer = self.client.send(request).await.map_err(|error| unknown(away(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
            Ok((status, body.map_err(|error| unknown(error.to_string()))?.to_bytes()))
        };
        tokio::time::timeout(self.limit, exchange)
            .await
            .unwrap_or_else(|_| Err(unknown(format!("no answer within {:?}", self.limit))))
    }
}

/// What was answered is no Lease.
pub(super) fn nonsense(error: &dyn std::error::Error) -> Trouble {
    let cause = error.source().map_or_else(String::new, |cause| format!(": {cause}"));
    unknown(format!("{error}{cause}"))
}

fn refused(status: StatusCode, body: &[u8]) -> Trouble {
    #[derive(serde::Deserialize)]
    struct Told {
        message: String,
    }
    let why = serde_json::from_slice::<Told>(body).map_or_else(|_| status.to_string(), |told| told.message);
    let advice = if status == StatusCode::FORBIDDEN {
        "; let the sidecar's user get, create and patch leases of coordination.k8s.io there"
    } else {
        ""
    };
    unknown(format!("{why}{advice}"))
}

fn conflict() -> Trouble {
    Trouble { failure: Failure::Conflict, detail: String::new() }
}

fn unknown(detail: String) -> Trouble {
    Trouble { failure: Failure::Unknown, detail: format!("the Lease cannot be read or written: {detail}") }
}

/// The innermost cause: the outer ones only say that a request failed.
fn away(error: &kube::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
