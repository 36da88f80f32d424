//! After a write: `Prefer: wait=N` and `Prefer: respond-async` (RFC 7240) where the app's reconcile hook has something to do with what was written.
//!
//! Owns when such a write is answered, and with what status. Who reconciles, which may be another replica, is not asked: the status that it
//! writes comes back on the watch.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use sidecar_core::entity::Entity;
use sidecar_core::observed::Generations;

use super::context::Context;
use super::order::{Action, Done};
use crate::kinds::Served;
use crate::view::View;

/// What a wait came to.
enum Outcome {
    /// The hook has dealt with what was written; the entity as it is then.
    Settled(Arc<Entity>),
    /// It is gone, or another of its name has come.
    Gone,
}

/// Waits as the caller prefers. Answers also which preference was heeded.
pub(super) async fn settle(
    served: &Served,
    view: &View,
    done: Done,
    action: Action,
    context: &Context,
) -> (Done, Option<String>) {
    let Some(entity) = done.entity.clone() else { return (done, None) };
    let patience = match (context.asked_wait, context.respond_async) {
        (Some(wait), _) => wait,
        (None, true) => Duration::ZERO,
        (None, false) => return (done, None),
    };
    match action {
        Action::ReplaceStatus | Action::MergeStatus | Action::PatchStatus => (done, None),
        Action::Delete => match reached(view, &entity, None, patience).await {
            Some(Outcome::Gone) => {
                let gone = Done { status: StatusCode::NO_CONTENT, entity: None, location: None, ..done };
                (gone, Some(format!("wait={}", patience.as_secs())))
            }
            // 202 is what a delete is answered anyway while finalizers run.
            _ => (done, context.respond_async.then(|| "respond-async".to_owned())),
        },
        _ if !served.reconciled => (done, None),
        _ => {
            let generation = Generations::of(&entity.json).current;
            match reached(view, &entity, generation, patience).await {
                Some(Outcome::Settled(entity)) => {
                    (Done { entity: Some(entity), ..done }, Some(format!("wait={}", patience.as_secs())))
                }
                Some(Outcome::Gone) | None => {
                    let latest = view.find(&entity.key).filter(|latest| latest.uid == entity.uid).unwrap_or(entity);
                    let applied = context.respond_async.then(|| "respond-async".to_owned());
                    (Done { status: StatusCode::ACCEPTED, entity: Some(latest), ..done }, applied)
                }
            }
        }
    }
}

/// Waits until the hook has dealt with the generation, or the entity is gone; `None` when that takes too long.
async fn reached(view: &View, entity: &Entity, generation: Option<u64>, patience: Duration) -> Option<Outcome> {
    let mut looked = None;
    let wait = view.until(&entity.key, |latest| match latest {
        Some(latest) if latest.uid == entity.uid => {
            if looked.replace(latest.version) == Some(latest.version) {
                return None;
            }
            let generation = generation?;
            Generations::of(&latest.json).has_observed(generation).then(|| Outcome::Settled(Arc::clone(latest)))
        }
        _ => Some(Outcome::Gone),
    });
    if patience.is_zero() {
        return None;
    }
    tokio::time::timeout(patience, wait).await.ok()
}
