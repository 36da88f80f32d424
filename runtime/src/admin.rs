//! The admin server: `/livez`, `/readyz`, `/metrics`, and nothing that reads or changes an entity.
//!
//! Listens on all addresses by default, because the kubelet and Prometheus come from outside the pod; hence it takes GET and HEAD only,
//! reads no body and tells no secret.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::readiness::Readiness;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Probes and one or two scrapers; more connections than this wait.
const CONNECTIONS: usize = 32;
const HEADER_TIME: Duration = Duration::from_secs(5);

/// Why the admin server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address is taken or not ours.
    #[error("failed to bind the admin address {address}")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The server, bound but not serving yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    readiness: Readiness,
    registry: Registry,
}

impl AdminServer {
    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(address: SocketAddr, readiness: Readiness, registry: Registry) -> Result<Self, AdminError> {
        let failed = |source| AdminError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, state: Arc::new(State { readiness, registry }) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; then closes without waiting for idle connections.
    ///
    /// # Errors
    /// None today: a connection that fails ends alone.
    pub async fn run(self, stop: CancellationToken) -> Result<(), Infallible> {
        let tracker = TaskTracker::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Some(accepted) = stop.run_until_cancelled(accept(&self.listener, &places)).await else { break };
            let Some((stream, place)) = accepted else { continue };
            let state = Arc::clone(&self.state);
            let stop = stop.clone();
            tracker.spawn(async move {
                let _place = place;
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(state.answer(&request)) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIME)
                    .serve_connection(TokioIo::new(stream), service);
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    // A client that breaks its connection off is its own business.
                    _ = connection.as_mut() => {}
                    () = stop.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        let _ = connection.await;
                    }
                }
            });
        }
        tracker.close();
        tracker.wait().await;
        Ok(())
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            // Out of file descriptors, most likely: give others a chance to close theirs.
            tracing::warn!(%error, "failed to accept an admin connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

impl State {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, media_type, body) = match request.uri().path() {
            "/livez" | "/readyz" | "/metrics" if !matches!(*request.method(), Method::GET | Method::HEAD) => {
                let mut refused = Response::new(Full::from("only GET and HEAD\n"));
                *refused.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
                return refused;
            }
            "/livez" => (StatusCode::OK, "text/plain; charset=utf-8", Bytes::from_static(b"ok\n")),
            "/readyz" => self.ready(),
            "/metrics" => self.metrics(),
            _ => (
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                Bytes::from_static(b"here are /livez, /readyz and /metrics\n"),
            ),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    }

    fn ready(&self) -> (StatusCode, &'static str, Bytes) {
        let report = self.readiness.report();
        let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match serde_json::to_vec(&report) {
            Ok(body) => (status, "application/json", body.into()),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "application/json", Bytes::new()),
        }
    }

    fn metrics(&self) -> (StatusCode, &'static str, Bytes) {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => (StatusCode::OK, OPENMETRICS, text.into()),
            Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, OPENMETRICS, Bytes::new()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::readiness::Need;

    async fn ask(address: SocketAddr, line: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn probes_and_metrics_are_answered_and_nothing_else() {
        let readiness = Readiness::new();
        let part = readiness.part("cache", Need::Required);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = AdminServer::bind(address, readiness, Registry::default()).await.unwrap();
        let address = server.address();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.run(stop.clone()));

        assert!(ask(address, "GET /livez").await.starts_with("HTTP/1.1 200"));
        let unready = ask(address, "GET /readyz").await;
        assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("\"starting\""), "{unready}");
        part.up();
        assert!(ask(address, "GET /readyz").await.starts_with("HTTP/1.1 200"));
        let metrics = ask(address, "GET /metrics").await;
        assert!(metrics.contains("openmetrics-text") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert!(ask(address, "POST /livez").await.starts_with("HTTP/1.1 405"));
        assert!(ask(address, "GET /v1/todos").await.starts_with("HTTP/1.1 404"));

        let _idle = TcpStream::connect(address).await.unwrap();
        stop.cancel();
        tokio::time::timeout(Duration::from_secs(2), serving).await.unwrap().unwrap().unwrap();
    }
}
