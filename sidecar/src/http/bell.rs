//! A future that is looked at only when it has something to tell.
//!
//! A connection waits for its next bytes and for the end of the process. The end never comes while there are bytes, and to ask whether it has come takes
//! locks, with everything that arrives or is sent. So the end is asked once, and again when it has rung. `http` uses it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Wraps a future.
pub(super) struct Belled<F> {
    future: Pin<Box<F>>,
    bell: Option<Arc<Bell>>,
}

struct Bell {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the task is woken, so that it sees it.
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl<F> Belled<F> {
    pub(super) fn new(future: F) -> Self {
        Self { future: Box::pin(future), bell: None }
    }
}

impl<F: Future> Future for Belled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let known = self.bell.take().filter(|bell| bell.task.will_wake(cx.waker()));
        let bell = match known {
            Some(bell) if !bell.rung.load(Ordering::Acquire) => {
                self.bell = Some(bell);
                return Poll::Pending;
            }
            Some(bell) => {
                // Before the future is looked at: what it tells from here on rings again.
                bell.rung.store(false, Ordering::Release);
                bell
            }
            None => Arc::new(Bell { rung: AtomicBool::new(false), task: cx.waker().clone() }),
        };
        let waker = Waker::from(Arc::clone(&bell));
        self.bell = Some(bell);
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_future_is_polled_again_only_when_it_has_rung() {
        let (tell, told) = oneshot::channel::<u8>();
        let polled = Arc::new(AtomicUsize::new(0));
        let counted = {
            let (mut told, polled) = (told, Arc::clone(&polled));
            std::future::poll_fn(move |cx| {
                polled.fetch_add(1, Ordering::Relaxed);
                told.poll_unpin(cx)
            })
        };
        let mut belled = Belled::new(counted);
        for _ in 0..3 {
            assert!(std::future::poll_fn(|cx| Poll::Ready(belled.poll_unpin(cx))).await.is_pending());
        }
        assert_eq!(polled.load(Ordering::Relaxed), 1);
        tell.send(7).unwrap();
        assert_eq!(belled.await, Ok(7));
        assert_eq!(polled.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn another_task_that_takes_it_over_is_woken() {
        let (tell, told) = oneshot::channel::<u8>();
        let mut belled = Belled::new(told);
        assert!(std::future::poll_fn(|cx| Poll::Ready(belled.poll_unpin(cx))).await.is_pending());
        let waiting = tokio::spawn(belled);
        tokio::task::yield_now().await;
        tell.send(7).unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(7));
    }
}
