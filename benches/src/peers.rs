//! The servers that ours is held against over HTTP, each asked for the same entity or list.

use std::net::SocketAddr;

use e2e::entity_api::Answer;

use crate::load;
use crate::system::{NAMESPACE, Server, System};

/// A server, and the request for what is measured.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) request: Vec<u8>,
    server: Server,
}

impl Peer {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address
    }
}

/// hyper alone, which answers with these bytes and headers whatever it is asked.
pub(crate) async fn bare_hyper(system: &System, path: &str, answer: &Answer) -> anyhow::Result<Peer> {
    let server = system.reference(answer, None).await?;
    Ok(Peer { name: "bare hyper", request: load::get(path), server })
}

/// axum with a path extractor and a map of all todos, in which this one is looked up.
pub(crate) async fn axum(system: &System, path: &str, answer: &Answer) -> anyhow::Result<Peer> {
    let server = system.reference(answer, Some(path)).await?;
    Ok(Peer { name: "axum with a map", request: load::get(path), server })
}

/// `kubectl proxy`, for todos behind `suffix`.
pub(crate) async fn kubectl_proxy(system: &System, suffix: &str) -> anyhow::Result<Peer> {
    let path = format!("/apis/k8sasbackend.com/v1/namespaces/{NAMESPACE}/todos{suffix}");
    Ok(Peer { name: "kubectl proxy", request: load::get(&path), server: system.kubectl_proxy().await? })
}
