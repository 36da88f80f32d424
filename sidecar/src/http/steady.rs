//! A connection whose other end must go on: one that takes nothing of an answer for a while, lets a request's head trickle in, or is idle for
//! long, is closed.
//!
//! Without it a caller that stands still keeps its connection, and what is to be sent to it, for ever. How long a body may take is not decided
//! here. A request costs no timer: the one that waits for the next head is set once for the connection, and when it rings it is looked at whether
//! anything has moved since.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What is written as one piece although it comes in several: to copy so little costs less than to have the kernel put it together.
const LITTLE: usize = 4 << 10;

thread_local! {
    /// Room for it; nothing stays in it between two writes.
    static JOINED: RefCell<Vec<u8>> = RefCell::new(Vec::with_capacity(LITTLE));
}

/// Puts several pieces together, if that is little.
fn join(slices: &[IoSlice<'_>], joined: &mut Vec<u8>) -> bool {
    let size: usize = slices.iter().map(|slice| slice.len()).sum();
    if slices.len() < 2 || size > LITTLE {
        return false;
    }
    joined.clear();
    slices.iter().for_each(|slice| joined.extend_from_slice(slice));
    true
}

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
        one_more(&self.0.heads);
    }

    /// Its answer has been found; it need not have been sent.
    pub(super) fn answer(&self) {
        one_more(&self.0.answers);
    }
}

/// Each number is counted up by the connection's own task alone, so no processor has to keep others from it.
fn one_more(count: &AtomicUsize) {
    count.store(count.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// How long the other end may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From a head's first byte to its last.
    pub(super) head: Duration,
    /// While it takes nothing.
    pub(super) stall: Duration,
    /// While nothing is asked and nothing is answered.
    pub(super) idle: Duration,
}

/// Wraps a connection.
pub(super) struct Steady<S> {
    stream: S,
    patience: Patience,
    progress: Progress,
    /// The heads that have been noticed.
    heads: usize,
    /// Whether a head has begun.
    arriving: bool,
    /// Since when the next head, or the rest of it, has been waited for.
    since: Option<Instant>,
    /// Rings when a head may be late; where it rings too early, it is set again.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Runs while the other end takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Steady<S> {
    /// `progress` is to be told of each head and each answer.
    pub(super) fn new(stream: S, patience: Patience, progress: Progress) -> Self {
        Self { stream, patience, progress, heads: 0, arriving: false, since: None, waiting: None, stalled: None }
    }
}

impl<S: Unpin> Steady<S> {
    /// Ready with an error when the next head is late.
    fn late(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let (patience, fault) = if self.arriving {
            (self.patience.head, "the head of a request takes too long")
        } else {
            (self.patience.idle, "the connection is idle")
        };
        let due = *self.since.get_or_insert_with(Instant::now) + patience;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if waiting.deadline() > due {
            waiting.as_mut().reset(due);
        }
        loop {
            ready!(waiting.as_mut().poll(cx));
            if waiting.deadline() >= due {
                return Poll::Ready(io::Error::new(ErrorKind::TimedOut, fault));
            }
            waiting.as_mut().reset(due);
        }
    }

    fn watched<T>(
        &mut self,
        cx: &mut Context<'_>,
        attempt: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let outcome = attempt(Pin::new(&mut self.stream), cx);
        if outcome.is_ready() {
            self.stalled = None;
            if !self.arriving {
                self.since = None;
            }
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
            self.arriving = false;
            self.since = None;
        }
        if heads != self.progress.0.answers.load(Ordering::Relaxed) {
            return outcome;
        }
        if outcome.is_pending() {
            return self.late(cx).map(Err);
        }
        if buffer.filled().len() > before && !self.arriving {
            self.arriving = true;
            self.since = None;
        }
        outcome
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
        JOINED.with_borrow_mut(|joined| {
            self.watched(cx, |stream, cx| match join(slices, joined) {
                true => stream.poll_write(cx, joined),
                false => stream.poll_write_vectored(cx, slices),
            })
        })
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

    const PATIENCE: Patience =
        Patience { head: Duration::from_secs(5), stall: Duration::from_secs(10), idle: Duration::from_secs(100) };

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
    async fn an_idle_connection_is_given_up_when_nothing_went_either_way_for_long() {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let progress = Progress::default();
        let mut steady = Steady::new(ours, PATIENCE, progress.clone());
        let begun = tokio::time::Instant::now();
        let mut taken = [0; 1];
        for _ in 0..3 {
            // Each time the timer of the time before is still set.
            let idle = tokio::time::timeout(Duration::from_secs(70), steady.read(&mut taken)).await;
            assert!(idle.is_err(), "a request was there before it was long");
            theirs.write_all(b"G").await.unwrap();
            steady.read_exact(&mut taken).await.unwrap();
            progress.head();
            let body = tokio::time::timeout(Duration::from_secs(500), steady.read(&mut taken)).await;
            assert!(body.is_err(), "who waits for an answer is not idle");
            progress.answer();
        }
        for _ in 0..3 {
            let idle = tokio::time::timeout(Duration::from_secs(90), steady.read(&mut taken)).await;
            assert!(idle.is_err(), "something was sent before it was long");
            steady.write_all(b":").await.unwrap();
        }
        assert_eq!(steady.read(&mut taken).await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(begun.elapsed(), Duration::from_secs(3 * (70 + 500) + 3 * 90 + 100));
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
