//! What reconciling asks of the API server: children applied and deleted, the status, our finalizer.
//!
//! Each request names the object that it means by its uid, so that one which took its name meanwhile is left alone; so each may be sent twice. The answers of the
//! entity API's own writes are in [`super`].

use std::sync::Arc;

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};
use sidecar_core::entity::{Entity, Key};
use sidecar_core::kind::Kind;
use sidecar_core::reconcile::child::Found;
use sidecar_core::reconcile::finalizer;
use sidecar_core::refusal::{self, Conditional};
use sidecar_core::retry::Twice;
use sidecar_core::write::JSON_PATCH;

use super::metrics::Verb;
use super::{Answer, Refused, Store, Written, entity, refused, written};
use crate::resource;

/// Server-side apply takes YAML, of which JSON is a part.
const APPLY: &str = "application/apply-patch+yaml";
const PATCH_QUERY: &str = "?fieldManager=kab-sidecar&fieldValidation=Strict";
/// A field that somebody else has changed is put back.
const APPLY_QUERY: &str = "?fieldManager=kab-sidecar&fieldValidation=Strict&force=true";
/// Between reading the finalizers and taking ours off, others may take theirs.
const ATTEMPTS: usize = 5;

impl Store {
    /// Applies an object, whose key says where.
    ///
    /// # Errors
    /// When the API server cannot be asked, or refuses.
    pub async fn apply(&self, kind: &Kind, key: &Key, body: Vec<u8>) -> Result<Arc<Entity>, Refused> {
        let path = resource::object(kind, key) + APPLY_QUERY;
        let sent = body.len();
        let answer = self.send(kind, Verb::patch, Method::PATCH, path, Some((APPLY, body.into()))).await?;
        match answer.status.is_success() {
            true => entity(kind, &answer.body),
            false => Err(refused(kind, key, &answer, Conditional::No, Some(sent))),
        }
    }

    /// Whose the object of a key is; absent where there is none.
    ///
    /// # Errors
    /// When the API server cannot be asked, or refuses.
    pub async fn look(&self, kind: &Kind, key: &Key) -> Result<Option<Found>, Refused> {
        let answer = self.send(kind, Verb::get, Method::GET, resource::object(kind, key), None).await?;
        match answer.status {
            StatusCode::OK => Ok(Found::read(&answer.body).ok()),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refused(kind, key, &answer, Conditional::No, None)),
        }
    }

    /// Deletes that very object; what it waits for is answered, absent when it is gone or another has its name.
    ///
    /// # Errors
    /// When the API server cannot be asked, or refuses.
    pub async fn delete_object(&self, kind: &Kind, key: &Key, uid: &str) -> Result<Option<Arc<Entity>>, Refused> {
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": { "uid": uid },
            "propagationPolicy": "Background",
        });
        let body = Some(("application/json", Bytes::from(options.to_string())));
        let answer = self.send(kind, Verb::delete, Method::DELETE, resource::object(kind, key), body).await?;
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => Ok(None),
            status if status.is_success() => match written(kind, &answer)? {
                // What went at once is answered too by some kinds, as it was.
                Written::Stored { entity, .. } => Ok(Some(entity).filter(|entity| entity.deleting)),
                Written::Gone { .. } => Ok(None),
            },
            _ => Err(refused(kind, key, &answer, Conditional::No, None)),
        }
    }

    /// Sets the whole status of that very entity; absent when it is gone.
    ///
    /// # Errors
    /// When the API server cannot be asked, or refuses.
    pub async fn put_status(
        &self,
        kind: &Kind,
        key: &Key,
        uid: &str,
        status: &Map<String, Value>,
    ) -> Result<Option<Arc<Entity>>, Refused> {
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "add", "path": "/status", "value": status},
        ]);
        let path = resource::object(kind, key) + "/status" + PATCH_QUERY;
        self.patch(kind, key, path, patch.to_string().into_bytes()).await.map(|(entity, _)| entity)
    }

    /// Puts our finalizer on an entity; absent when it is gone or another by now.
    ///
    /// # Errors
    /// When the API server cannot be asked, or refuses.
    pub async fn add_finalizer(&self, kind: &Kind, entity: &Entity) -> Result<Option<Arc<Entity>>, Refused> {
        let path = resource::object(kind, &entity.key) + PATCH_QUERY;
        let (patched, answer) = self.patch(kind, &entity.key, path, finalizer::add(entity)).await?;
        match answer.status {
            // The cache is behind; what is newer comes by the watch.
            StatusCode::CONFLICT => Ok(None),
            _ => Ok(patched),
        }
    }

    /// Takes our finalizer off that very entity. Answers what is left of it: absent when it is gone.
    ///
    /// # Errors
    /// When the API server cannot be asked, or refuses.
    pub async fn remove_finalizer(&self, kind: &Kind, key: &Key, uid: &str) -> Result<Option<Arc<Entity>>, Refused> {
        for _ in 0..ATTEMPTS {
            let read = self.send(kind, Verb::get, Method::GET, resource::object(kind, key), None).await?;
            let patch = match read.status {
                StatusCode::OK => finalizer::remove(&read.body, uid).ok().flatten(),
                StatusCode::NOT_FOUND => return Ok(None),
                _ => return Err(refused(kind, key, &read, Conditional::No, None)),
            };
            let Some(patch) = patch else {
                return entity(kind, &read.body).map(|there| Some(there).filter(|there| *there.uid == *uid));
            };
            let path = resource::object(kind, key) + PATCH_QUERY;
            match self.patch(kind, key, path, patch).await? {
                (Some(patched), _) => {
                    let waits = patched.marks.has(sidecar_core::marks::Mark::Finalizers) || !patched.deleting;
                    return Ok(Some(patched).filter(|_| waits));
                }
                (None, answer) if answer.status == StatusCode::NOT_FOUND => return Ok(None),
                (None, _) => {}
            }
        }
        let detail = "others change the finalizers at the same time";
        Err(contract::problem::Problem::new(contract::problem::Code::Conflict, detail).into())
    }

    /// A JSON patch; no entity where it cannot be applied to what is there, or nothing is.
    async fn patch(
        &self,
        kind: &Kind,
        key: &Key,
        path: String,
        body: Vec<u8>,
    ) -> Result<(Option<Arc<Entity>>, Answer), Refused> {
        let sent = body.len();
        let body = Some((JSON_PATCH, Bytes::from(body)));
        let (answer, _) = self.exchange(kind, Verb::patch, Method::PATCH, path, body, Twice::Harmless).await?;
        let status = answer.status.as_u16();
        match status {
            200..=299 => Ok((Some(entity(kind, &answer.body)?), answer)),
            404 | 409 => Ok((None, answer)),
            _ if refusal::inapplicable(status, &answer.body) => Ok((None, answer)),
            _ => Err(refused(kind, key, &answer, Conditional::No, Some(sent))),
        }
    }
}
