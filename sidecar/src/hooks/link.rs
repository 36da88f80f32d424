//! One connection to the app. Whoever uses it drives it: no task of its own, no wake-up between threads, and dropping it closes it.
//!
//! Knows nothing of hooks. [`super`] opens, uses and keeps them.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A head of an answer is short; what is longer is no answer of a hook.
const HEAD_BYTES: usize = 32 << 10;

type Driven = Pin<Box<Connection<TokioIo<TcpStream>, Full<Bytes>>>>;

/// A connection, idle or in use by one call.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    /// Gone when it has ended.
    connection: Option<Driven>,
    used: bool,
    since: Instant,
}

/// Why there is no answer on a connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    /// It had been used before, and ended without a word.
    #[error("an idle connection ended when it was used again: {0}")]
    Unanswered(#[source] hyper::Error),
    /// It broke off, or what came is no HTTP.
    #[error("the connection broke off: {0}")]
    Broken(#[source] hyper::Error),
    /// The answer is larger than it may be.
    #[error("the answer is too large")]
    TooLarge,
}

impl Link {
    /// To the first of the addresses where somebody listens.
    pub(super) async fn open(addresses: &[SocketAddr]) -> io::Result<Self> {
        let stream = TcpStream::connect(addresses).await?;
        // Requests are written whole; waiting for more would only delay them.
        stream.set_nodelay(true)?;
        let built = http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = built.map_err(io::Error::other)?;
        Ok(Self { sender, connection: Some(Box::pin(connection)), used: false, since: Instant::now() })
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.since.elapsed()
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Lost> {
        let used = std::mem::replace(&mut self.used, true);
        let sent = self.sender.send_request(request);
        drive(&mut self.connection, sent)
            .await
            .map_err(|error| if used && !error.is_parse() { Lost::Unanswered(error) } else { Lost::Broken(error) })
    }

    /// Reads an answer's body, of at most `limit` bytes; no more than that is kept.
    pub(super) async fn read(&mut self, mut body: Incoming, limit: usize) -> Result<Bytes, Lost> {
        let announced = body.size_hint().lower();
        if usize::try_from(announced).unwrap_or(usize::MAX) > limit {
            return Err(Lost::TooLarge);
        }
        let whole = async {
            let mut first: Option<Bytes> = None;
            let mut rest = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.map_err(Lost::Broken)?.into_data() else { continue };
                let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
                if so_far + data.len() > limit {
                    return Err(Lost::TooLarge);
                }
                if first.is_none() {
                    first = Some(data);
                } else {
                    rest.extend_from_slice(&data);
                }
            }
            let first = first.unwrap_or_default();
            if rest.is_empty() {
                return Ok(first);
            }
            Ok([first, rest.freeze()].concat().into())
        };
        let read = drive(&mut self.connection, whole).await;
        self.since = Instant::now();
        read
    }

    /// Whether another request can be sent on it, as far as can be told at once.
    pub(super) async fn is_free(&mut self) -> bool {
        let Self { sender, connection, .. } = self;
        poll_fn(|cx| {
            let ended = connection.as_mut().is_none_or(|driven| driven.as_mut().poll(cx).is_ready());
            if ended {
                *connection = None;
                return Poll::Ready(false);
            }
            Poll::Ready(matches!(sender.poll_ready(cx), Poll::Ready(Ok(()))))
        })
        .await
    }
}

/// Waits for what rests on a connection, which moves only while somebody does.
async fn drive<T>(connection: &mut Option<Driven>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(done);
        }
        if let Some(driven) = connection
            && driven.as_mut().poll(cx).is_ready()
        {
            // What waits for it hears of its end when it is gone.
            *connection = None;
        }
        work.as_mut().poll(cx)
    })
    .await
}
