//! The API server did not answer: whether the request can have had an effect decides what the caller is told.

use std::error::Error;

use contract::problem::{Code, Problem};
use hyper_util::client::legacy;

use super::{RETRY_SECONDS, Refused};

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Away {
    /// The request did not get there.
    #[error("failed to reach the API server: {0}")]
    Unsent(String),
    /// The request may have got there.
    #[error("failed to read the API server's answer: {0}")]
    Unknown(String),
}

impl Away {
    pub(super) fn of(error: &kube::Error) -> Self {
        let mut text = String::new();
        let mut connecting = matches!(error, kube::Error::Auth(_));
        let mut cause: Option<&dyn Error> = Some(error);
        while let Some(error) = cause {
            connecting |= error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect);
            text = error.to_string();
            cause = error.source();
        }
        if connecting { Self::Unsent(text) } else { Self::Unknown(text) }
    }

    /// What the caller is told. A read has no effect, so it can always be tried again.
    pub(super) fn refused(&self, safe: bool) -> Refused {
        match self {
            Self::Unknown(_) if !safe => unknown(),
            _ => Refused {
                problem: Problem::new(Code::Unavailable, "the API server cannot be reached; nothing was stored"),
                retry_after: Some(RETRY_SECONDS),
            },
        }
    }
}

/// Whether the write was stored is not known, and trying again could not find out.
pub(super) fn unknown() -> Refused {
    Refused {
        problem: Problem::new(
            Code::Timeout,
            "the API server broke off before its answer; whether the write was stored is not known, read before you try again",
        ),
        retry_after: None,
    }
}
