//! Reads a review's body: within its size, its time, and the memory that there is for all of them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Two objects as large as etcd takes one, with what the API server adds.
pub(super) const LIMIT: usize = 4 << 20;
/// For all that are being read or answered: eight of the largest, hundreds of usual ones.
const MEMORY: usize = 32 << 20;
const PIECE: usize = 1 << 10;
/// An API server sends it at once.
const TIME: Duration = Duration::from_secs(5);

/// Memory for bodies.
#[derive(Debug)]
pub(super) struct Room(Semaphore);

/// A body, and its share of the memory.
pub(super) struct Held<'a> {
    pub(super) bytes: Bytes,
    _room: SemaphorePermit<'a>,
}

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoBody {
    TooLarge,
    Late,
    Broken,
}

impl Room {
    pub(super) fn new() -> Self {
        Self(Semaphore::new(MEMORY / PIECE))
    }

    /// The whole body.
    pub(super) async fn read(&self, body: Incoming) -> Result<Held<'_>, NoBody> {
        let announced = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
        if announced.is_some_and(|size| size > LIMIT) {
            return Err(NoBody::TooLarge);
        }
        let pieces = u32::try_from(announced.unwrap_or(LIMIT).div_ceil(PIECE)).unwrap_or(u32::MAX);
        let reading = async {
            // The semaphore is never closed.
            let room = self.0.acquire_many(pieces).await.map_err(|_| NoBody::Broken)?;
            let bytes = whole(body, announced.unwrap_or(0)).await?;
            Ok(Held { bytes, _room: room })
        };
        tokio::time::timeout(TIME, reading).await.unwrap_or(Err(NoBody::Late))
    }
}

async fn whole(mut body: Incoming, announced: usize) -> Result<Bytes, NoBody> {
    let mut buffer = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| NoBody::Broken)?;
        let Some(data) = frame.data_ref() else { continue };
        if buffer.len() + data.len() > LIMIT {
            return Err(NoBody::TooLarge);
        }
        buffer.extend_from_slice(data);
    }
    Ok(buffer.freeze())
}
