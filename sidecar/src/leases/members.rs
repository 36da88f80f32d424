//! The marks by which the replicas of a kind and scope know of each other: one request renews this one's and reads all.
//!
//! Decides nothing: who counts as there is [`sidecar_core::shard::roster`]'s. [`super::council`] asks it, only where a kind has several shards.

use std::collections::BTreeMap;

use sidecar_core::lease::Failure;
use sidecar_core::shard::mark::{self, Mark};

use super::request::{Requests, Trouble, nonsense};

/// Renews the mark, takes those of `forgotten` away, and reads all.
pub(super) async fn exchange(
    requests: Requests,
    own: Mark,
    forgotten: Vec<String>,
) -> Result<BTreeMap<String, Mark>, Trouble> {
    let told = match requests.patch(mark::body(&own.replica, Some(&own), &forgotten, None)).await {
        Err(Trouble { failure: Failure::Conflict, .. }) => {
            requests.create(mark::body(&own.replica, Some(&own), &[], Some(&requests.name))).await?
        }
        told => told?,
    };
    mark::read(&told).map_err(|error| nonsense(&error))
}

/// Takes the mark away, so that others need not wait until it counts as dead.
pub(super) async fn leave(requests: Requests, replica: String) {
    if let Err(trouble) = requests.patch(mark::body(&replica, None, &[], None)).await {
        tracing::debug!(
            lease = requests.name,
            detail = trouble.detail,
            "failed to take the mark away, leaving it to be forgotten"
        );
    }
}
