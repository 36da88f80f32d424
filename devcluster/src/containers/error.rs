//! Every way in which a cluster of containers can fail, worded for the person at the terminal.

use std::time::Duration;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// There is no daemon to talk to.
    #[error(
        "no Docker daemon answers at {address} ({detail}); start it, or install it (Debian or Ubuntu: apt-get install \
         docker.io), and make sure that this user may use it; DOCKER_HOST names another one"
    )]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What happened instead.
        detail: String,
    },
    /// The daemon runs on another machine, where 127.0.0.1 is not ours.
    #[error(
        "the Docker daemon at {0} is on another machine: the containers publish their ports on the loopback address of \
         the machine that they run on, so a daemon on this one is needed"
    )]
    Remote(String),
    /// Docker refused something.
    #[error("failed to {action}")]
    Docker {
        /// What was tried, as a verb.
        action: &'static str,
        /// Its answer.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An image is not here and could not be fetched.
    #[error("failed to pull the image {image}; {variable} may name another one")]
    Pull {
        /// The image.
        image: String,
        /// The variables that name images.
        variable: &'static str,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A container ended while it was being waited for.
    #[error("the container of {image} ended unexpectedly; the last lines of its log:\n{tail}")]
    Ended {
        /// Its image.
        image: String,
        /// Its last lines.
        tail: String,
    },
    /// A container did not serve in time.
    #[error("the container of {image} was not ready after {waited:?}: {last}; the last lines of its log:\n{tail}")]
    NotReady {
        /// Its image.
        image: String,
        /// How long was waited.
        waited: Duration,
        /// What the last check saw.
        last: String,
        /// Its last lines.
        tail: String,
    },
    /// The kubeconfig inside the container makes no sense.
    #[error("the kubeconfig of {image} is not what k3s writes: {detail}")]
    Kubeconfig {
        /// The image.
        image: String,
        /// What is missing in it.
        detail: String,
    },
}

impl ContainerError {
    pub(super) fn docker<E: std::error::Error + Send + Sync + 'static>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Docker { action, source: Box::new(source) }
    }
}
