//! A connection whose other end must go on: one that takes nothing of an answer for a while, or lets a request's head trickle in, is closed.
//!
//! Without it a caller that stands still keeps its connection, and what is to be sent to it, for ever. How long an idle connection is kept is
//! not decided here, and how long a body may take neither.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How many heads have arrived on a connection, and how many answers have been found: while these differ, what arrives is no head. Shared with
/// whoever answers.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    heads: AtomicUsize,
    answers: AtomicUsize,
}

impl Progress {
    /// A head has arrived.
    pub(super) fn head(&self) {
        self.0.heads.fetch_add(1, Ordering::Relaxed);
    }

    /// Its answer has been found; it need not have been sent.
    pub(super) fn answer(&self) {
        self.0.answers.fetch_add(1, Ordering::Relaxed);
    }
}

/// How long the other end may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From a head's first byte to its last.
    pub(super) head: Duration,
    /// While it takes nothing.
    pub(super) stall: Duration,
}

/// Wraps a connection.
pub(super) struct Steady<S> {
    stream: S,
    patience: Patience,
    progress: Progress,
    /// The heads that have been noticed.
    heads: usize,
    /// Runs while a head arrives.
    arriving: Option<Pin<Box<Sleep>>>,
    /// Runs while the other end takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Steady<S> {
    /// `progress` is to be told of each head and each answer.
    pub(super) fn new(stream: S, patience: Patience, progress: Progress) -> Self {
        Self { stream, patience, progress, heads: 0, arriving: None, stalled: None }
    }
}

impl<S: Unpin> Steady<S> {
    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let outcome = attempt(Pin::new(&mut self.stream), cx);
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let patience = self.patience.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the other end takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Steady<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let heads = self.progress.0.heads.load(Ordering::Relaxed);
        if heads != self.heads {
            self.heads = heads;
            self.arriving = None;
        }
        if heads != self.progress.0.answers.load(Ordering::Relaxed) {
            return outcome;
        }
        if outcome.is_ready() && buffer.filled().len() > before && self.arriving.is_none() {
            self.arriving = Some(Box::pin(tokio::time::sleep(self.patience.head)));
        }
        match (&mut self.arriving, outcome.is_pending()) {
            (Some(arriving), true) => {
                ready!(arriving.as_mut().poll(cx));
                Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the head of a request takes too long")))
            }
            _ => outcome,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Steady<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.watched(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watched(cx, |stream, cx| stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(cx, |stream, cx| stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(cx, |stream, cx| stream.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const PATIENCE: Patience = Patience { head: Duration::from_secs(5), stall: Duration::from_secs(10) };

    #[tokio::test(start_paused = true)]
    async fn a_head_that_trickles_in_is_given_up_and_a_body_or_an_idle_connection_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let progress = Progress::default();
        let mut steady = Steady::new(ours, PATIENCE, progress.clone());
        let begun = tokio::time::Instant::now();
        let mut taken = [0; 1];
        let idle = tokio::time::timeout(Duration::from_secs(60), steady.read(&mut taken)).await;
        assert!(idle.is_err(), "nothing has begun");
        theirs.write_all(b"G").await.unwrap();
        steady.read_exact(&mut taken).await.unwrap();
        progress.head();
        let body = tokio::time::timeout(Duration::from_secs(20), steady.read(&mut taken)).await;
        assert!(body.is_err(), "the head is there");
        progress.answer();
        let idle = tokio::time::timeout(Duration::from_secs(60), steady.read(&mut taken)).await;
        assert!(idle.is_err(), "the answer may go on for long, and the connection be idle");
        theirs.write_all(b"G").await.unwrap();
        steady.read_exact(&mut taken).await.unwrap();
        progress.head();
        progress.answer();
        let idle = tokio::time::timeout(Duration::from_secs(60), steady.read(&mut taken)).await;
        assert!(idle.is_err(), "also when the answer was there at once");
        theirs.write_all(b"G").await.unwrap();
        steady.read_exact(&mut taken).await.unwrap();
        let (refused, ()) = tokio::join!(
            async {
                loop {
                    if let Err(error) = steady.read_exact(&mut taken).await {
                        break error;
                    }
                }
            },
            async {
                for _ in 0..2 {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                    theirs.write_all(b"E").await.unwrap();
                }
            }
        );
        assert_eq!(refused.kind(), ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), Duration::from_secs(60 + 20 + 60 + 60 + 5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_given_up_when_its_other_end_takes_nothing() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let mut steady = Steady::new(ours, PATIENCE, Progress::default());
        let begun = tokio::time::Instant::now();
        steady.write_all(b"12345678").await.unwrap();
        // It waits as long as something is taken now and then.
        let (written, ()) = tokio::join!(steady.write_all(b"1234"), async {
            let mut taken = [0; 2];
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                theirs.read_exact(&mut taken).await.unwrap();
            }
        });
        written.unwrap();
        assert_eq!(steady.write_all(b"123456789").await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), Duration::from_secs(9 + 9 + 10));
    }
}
