//! The entity API: plain HTTP and business JSON on loopback (design §4).
//!
//! Owns the listening socket and the connections; what is asked for and what is answered is below, each concept in its module. Reads come from
//! the views, writes go to the store, and their result is in the view before the answer is sent. Never logs what an entity holds. `app`
//! constructs and runs it.

mod accept;
mod access;
mod answer;
mod at_once;
mod batch;
mod bell;
mod body;
mod conditions;
mod context;
mod docs;
mod events;
mod guard;
mod metrics;
mod order;
mod parameters;
mod places;
mod read;
mod route;
mod service;
mod settle;
mod socket;
mod steady;
mod token;
mod write;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, Ready, ready};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use access::Access;
pub use metrics::Metrics;
pub use service::Api;
pub use token::{Token, TokenError};

use crate::config::ApiLimits;
use bell::Belled;
use metrics::Recent;
use service::Reply;
use socket::Socket;
use steady::{Patience, Progress, Steady};

/// Why the entity API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be bound.
    #[error("failed to bind the entity API to {address} (api.address): {source}")]
    Address {
        /// As configured.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The socket cannot be bound.
    #[error("failed to bind the entity API to {path} (api.socket): {source}")]
    Socket {
        /// As configured.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// The server, bound but not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    socket: Option<Socket>,
    limits: ApiLimits,
}

enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Server {
    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, limits: ApiLimits) -> Result<Self, BindError> {
        let failed = |source| BindError::Address { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, socket: None, limits })
    }

    /// Binds a unix socket too; it is removed at the end.
    ///
    /// # Errors
    /// When it cannot be bound, because something else is there.
    pub fn with_socket(self, path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Socket { path: path.to_owned(), source };
        Ok(Self { socket: Some(Socket::bind(path).map_err(failed)?), ..self })
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
        let places = Arc::new(Semaphore::new(places::connections(self.limits.connections)));
        let limits = self.limits;
        loop {
            let Some(accepted) = stop.run_until_cancelled(self.accept(&places)).await else { break };
            let Some((connection, place)) = accepted else { continue };
            let (api, stop) = (Arc::clone(&api), stop.clone());
            tracker.spawn(async move {
                let _place = place;
                match connection {
                    Connection::Tcp(stream) => serve(stream, api, &stop, &limits).await,
                    Connection::Unix(stream) => serve(stream, api, &stop, &limits).await,
                }
            });
        }
        drop(self);
        tracker.close();
        tracker.wait().await;
        Ok(())
    }

    async fn accept(&self, places: &Arc<Semaphore>) -> Option<(Connection, OwnedSemaphorePermit)> {
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        let unix = async {
            match &self.socket {
                Some(socket) => socket.accept().await,
                None => std::future::pending().await,
            }
        };
        let accepted = tokio::select! {
            accepted = self.listener.accept() => accepted.map(|(stream, _)| {
                // Answers are written whole; waiting for more would only delay them.
                let _ = stream.set_nodelay(true);
                Connection::Tcp(stream)
            }),
            accepted = unix => accepted.map(Connection::Unix),
        };
        match accepted {
            Ok(connection) => Some((connection, place)),
            Err(error) => {
                // Out of file descriptors, most likely: give others a chance to close theirs.
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                None
            }
        }
    }
}

/// One connection's caller. Held by the connection alone, so that what a request needs of it is no other thread's.
struct Caller {
    api: Arc<Api>,
    stop: CancellationToken,
    progress: Progress,
    recent: Recent,
}

/// Answers the requests of one connection.
struct Answers(Arc<Caller>);

impl Service<Request<Incoming>> for Answers {
    type Response = Reply;
    type Error = Infallible;
    /// What cannot be answered at once is in a box: hyper has room for a future in each connection, and moves it there with each request.
    type Future = Either<Ready<Result<Reply, Infallible>>, BoxFuture<'static, Result<Reply, Infallible>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let Self(caller) = self;
        caller.progress.head();
        if let Some(answer) = caller.api.at_once(&mut request, &caller.recent) {
            caller.progress.answer();
            return Either::Left(ready(Ok(answer)));
        }
        let caller = Arc::clone(caller);
        Either::Right(Box::pin(async move {
            let answer = caller.api.answer(request, &caller.stop, &caller.recent).await;
            caller.progress.answer();
            Ok(answer)
        }))
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    api: Arc<Api>,
    stop: &CancellationToken,
    limits: &ApiLimits,
) {
    // A token of its own: each look at one takes its lock, and a connection looks with everything that arrives or is sent.
    let stop = stop.child_token();
    let progress = Progress::default();
    let patience = Patience { head: limits.header_time, stall: limits.stall_time, idle: limits.idle_time };
    let stream = Steady::new(stream, patience, progress.clone());
    let service = Answers(Arc::new(Caller { api, stop: stop.clone(), progress, recent: Recent::default() }));
    // No timer of hyper's: it would be set and taken down again with every request.
    let connection = http1::Builder::new()
        .max_headers(limits.header_fields)
        .max_buf_size(limits.header_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = Belled::new(stop.cancelled()) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

#[cfg(test)]
mod at_once_tests;
#[cfg(test)]
mod budget_tests;
#[cfg(test)]
mod events_tests;
#[cfg(test)]
mod refusal_tests;
#[cfg(test)]
mod security_tests;
#[cfg(test)]
mod settle_tests;
#[cfg(test)]
mod tests;
