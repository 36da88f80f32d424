//! Why a sidecar cannot start or go on, and the exit code that goes with it.

use std::error::Error;

use runtime::admin::AdminError;
use runtime::kubernetes::ConnectError;
use runtime::tasks::TaskError;

use crate::admission::AdmissionError;
use crate::bridge::BridgeError;
use crate::http::{BindError, TokenError};
use crate::store::DiscoveryError;

/// Why there is no sidecar.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No Kubernetes client.
    #[error(transparent)]
    Kubernetes(#[from] ConnectError),
    /// The entity API's address is taken.
    #[error(transparent)]
    Api(#[from] BindError),
    /// The entity API's token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The admin server's address is taken.
    #[error("{0} (admin.address)")]
    Admin(#[source] AdminError),
    /// The admission webhook's address is taken.
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    /// A Kafka property is wrong.
    #[error(transparent)]
    Kafka(#[from] BridgeError),
    /// A kind clashes with the business shape.
    #[error("failed to serve a kind: {0}")]
    Unservable(#[source] DiscoveryError),
    /// Namespaces are configured for a kind that lives outside of them.
    #[error("wrong configuration: kinds: {kind} is cluster-scoped, so `namespaces` must be left out or be all")]
    ClusterScoped {
        /// The kind.
        kind: String,
    },
    /// What the kind's requests and its cache are made by has changed: its scope, its plural, whether it has a spec or a status subresource.
    #[error("the definition of {kind} is another one now: start again to serve it as it is")]
    Redefined {
        /// `PLURAL.GROUP`.
        kind: String,
    },
    /// A part ended.
    #[error(transparent)]
    Task(#[from] TaskError),
}

impl From<AdminError> for AppError {
    fn from(error: AdminError) -> Self {
        Self::Admin(error)
    }
}

impl AppError {
    /// Of the process: 64 for what only another configuration can cure.
    fn exit_code(&self) -> u8 {
        if self.is_configuration() { contract::names::EXIT_CONFIGURATION } else { 1 }
    }

    /// Logs it; answers the exit code.
    pub fn report(&self) -> u8 {
        tracing::error!("{}", self.chain());
        self.exit_code()
    }

    fn is_configuration(&self) -> bool {
        match self {
            Self::Task(TaskError::Failed { source, .. }) => match source.downcast_ref::<Self>() {
                Some(inner) => inner.is_configuration(),
                None => matches!(source.downcast_ref(), Some(BridgeError::Property { .. } | BridgeError::File { .. })),
            },
            Self::Task(_) | Self::Redefined { .. } => false,
            _ => true,
        }
    }

    /// The whole chain on one line; what a message says already is not said again.
    fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            let cause = error.to_string();
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
            source = error.source();
        }
        text
    }
}
