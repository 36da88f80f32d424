//! The admission webhook: the API server asks here, over TLS, whether a write of an owned kind may be stored and what is to be filled in.
//!
//! Owns the port and its connections. It answers whoever can reach it, so it reveals and changes nothing: it only asks the app, within bounds of size, time
//! and number. What is asked and what is told is decided in [`sidecar_core::admission`]; `app` constructs and runs it.

mod body;
mod certificate;
mod metrics;
mod reviewer;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use certificate::Renewal;
pub use metrics::Metrics;
pub use reviewer::{Guarded, Reviewer};

/// An API server holds a connection for each review that is under way, and keeps a few.
const CONNECTIONS: usize = 128;
/// For the handshake, and again for the first request.
const GREETING: Duration = Duration::from_secs(10);
/// An API server closes what was idle for 90 seconds. If this side did so before, a review might just be on its way, and fail.
const IDLE: Duration = Duration::from_secs(150);
const HEADER_FIELDS: usize = 64;
const HEADER_BYTES: usize = 32 << 10;

/// Why the webhook cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError {
    /// The address is taken or not ours.
    #[error("failed to bind the admission webhook to {address} (admission.address): {source}")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No TLS.
    #[error("failed to prepare TLS for the admission webhook")]
    Tls(#[from] runtime::tls::TlsError),
}

/// The server, bound but not serving yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: TlsAcceptor,
}

impl Server {
    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, certificate: &runtime::tls::Certificate) -> Result<Self, AdmissionError> {
        let failed = |source| AdmissionError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let tls = TlsAcceptor::from(Arc::new(certificate.server_config()?));
        Ok(Self { listener, address, tls })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; then takes no more connections, answers what is under way, and closes.
    ///
    /// # Errors
    /// None: a connection that fails ends alone.
    pub async fn run(self, reviewer: Arc<Reviewer>, stop: CancellationToken) -> Result<(), Infallible> {
        let tracker = TaskTracker::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Some(accepted) = stop.run_until_cancelled(self.accept(&places)).await else { break };
            let Some((stream, place)) = accepted else { continue };
            let (reviewer, stop, tls) = (Arc::clone(&reviewer), stop.clone(), self.tls.clone());
            tracker.spawn(async move {
                let _place = place;
                serve(stream, &tls, reviewer, &stop).await;
            });
        }
        drop(self.listener);
        tracker.close();
        tracker.wait().await;
        Ok(())
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((stream, _)) => Some((stream, place)),
            Err(error) => {
                // Out of file descriptors, most likely: give others a chance to close theirs.
                tracing::warn!(%error, "failed to accept a connection to the admission webhook");
                tokio::time::sleep(Duration::from_millis(100)).await;
                None
            }
        }
    }
}

async fn serve(stream: TcpStream, tls: &TlsAcceptor, reviewer: Arc<Reviewer>, stop: &CancellationToken) {
    // Answers are written whole; waiting for more would only delay them.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(GREETING, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            reviewer.metrics().no_handshake();
            tracing::debug!(%error, "no handshake with the admission webhook");
            return;
        }
        Err(_) => return reviewer.metrics().no_handshake(),
    };
    let spoken = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&spoken);
    let service = service_fn(move |request| {
        let (reviewer, heard) = (Arc::clone(&reviewer), Arc::clone(&heard));
        async move {
            heard.store(true, Ordering::Relaxed);
            let mut answer = reviewer.answer(request).await;
            // Whoever asks what is no review need not stay.
            if !answer.status().is_success() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_headers(HEADER_FIELDS)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let silent = async {
        tokio::time::sleep(GREETING).await;
        if spoken.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    };
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = silent => return,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the admission webhook broke off");
    }
}

#[cfg(test)]
mod tests;
