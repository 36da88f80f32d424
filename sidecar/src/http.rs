//! The entity API: plain HTTP and business JSON on loopback (design §4).
//!
//! Owns the listening socket and the connections; what is asked for and what is answered is below, each concept in its module. Reads come from
//! the views, writes go to the store, and their result is in the view before the answer is sent. Never logs what an entity holds. `app`
//! constructs and runs it.

mod answer;
mod batch;
mod body;
mod conditions;
mod context;
mod docs;
mod events;
mod guard;
mod metrics;
mod order;
mod parameters;
mod read;
mod route;
mod service;
mod steady;
mod write;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use metrics::Metrics;
pub use service::Api;
use steady::Steady;

/// The app and a few tools beside it; each connection costs some kilobytes. More than these wait to be accepted.
const CONNECTIONS: usize = 1024;
/// Between accepting a connection, or the answer before, and a whole head: also how long an idle connection is kept.
const HEADER_TIME: Duration = Duration::from_secs(75);

/// How long a caller may take nothing of an answer that it asked for.
const STALL: Duration = Duration::from_secs(15);

/// Why the entity API cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("failed to bind the entity API to {address} (api.address): {source}")]
pub struct BindError {
    /// As configured.
    pub address: SocketAddr,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// The server, bound but not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; then takes no more connections, answers the requests that are under way, and closes.
    ///
    /// # Errors
    /// None: a connection that fails ends alone.
    pub async fn run(self, api: Arc<Api>, stop: CancellationToken) -> Result<(), Infallible> {
        let tracker = TaskTracker::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Some(accepted) = stop.run_until_cancelled(self.accept(&places)).await else { break };
            let Some((stream, place)) = accepted else { continue };
            let (api, stop) = (Arc::clone(&api), stop.clone());
            tracker.spawn(async move {
                let _place = place;
                serve(stream, api, stop).await;
            });
        }
        drop(self.listener);
        tracker.close();
        tracker.wait().await;
        Ok(())
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        match self.listener.accept().await {
            Ok((stream, _)) => {
                // Answers are written whole; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                Some((stream, place))
            }
            Err(error) => {
                // Out of file descriptors, most likely: give others a chance to close theirs.
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                None
            }
        }
    }
}

async fn serve(stream: TcpStream, api: Arc<Api>, stop: CancellationToken) {
    let ending = stop.clone();
    let service = service_fn(move |request| {
        let (api, stop) = (Arc::clone(&api), ending.clone());
        async move { Ok::<_, Infallible>(api.answer(request, stop).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .serve_connection(TokioIo::new(Steady::new(stream, STALL)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

#[cfg(test)]
mod events_tests;
#[cfg(test)]
mod tests;
