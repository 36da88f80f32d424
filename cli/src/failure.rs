//! Why a command ends without having done its work: what people are told, and the exit code that a script sees.
//!
//! The codes are those of `sysexits.h`, so that each has one meaning; `kab tail --help` lists them.

use std::io;
use std::process::ExitCode;

use contract::names::EXIT_CONFIGURATION;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The command line, or a file that it names, cannot be used.
    #[error("{0}")]
    Usage(String),
    /// What was asked for is not there.
    #[error("{0}")]
    Missing(String),
    /// Kafka does not answer, or not any more.
    #[error("{0}")]
    Unavailable(String),
    /// Kafka does not let us.
    #[error("{0}")]
    Denied(String),
    /// The result cannot be written.
    #[error("failed to write the output: {0}")]
    Output(#[source] io::Error),
}

impl Failure {
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => EXIT_CONFIGURATION,
            Self::Missing(_) => 66,
            Self::Unavailable(_) => 69,
            Self::Output(_) => 74,
            Self::Denied(_) => 77,
        })
    }
}
