//! From signals to a token: SIGTERM and SIGINT ask for an orderly end, a second one ends at once.
//!
//! Never ends anything itself before the second signal: [`crate::tasks::Tasks`] listens and drains.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The process's wish to end; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
}

impl Shutdown {
    /// One that only [`Shutdown::request`] asks for: for tests and for processes that own their end.
    pub fn manual() -> Self {
        Self::default()
    }

    /// One that the first SIGTERM or SIGINT asks for. The second ends the process at once with 128 + the signal's number.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn on_signals() -> io::Result<Self> {
        let shutdown = Self::default();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        // The one task that is not supervised: it must outlive the supervisor, and it ends the process itself.
        tokio::spawn(listen(shutdown.clone(), terminate, interrupt));
        Ok(shutdown)
    }

    /// Asks for the end.
    pub fn request(&self) {
        self.token.cancel();
    }

    /// Whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns when the end is asked for.
    pub async fn requested(&self) {
        self.token.cancelled().await;
    }
}

async fn listen(shutdown: Shutdown, mut terminate: Signal, mut interrupt: Signal) {
    let mut first = true;
    loop {
        let (name, number) = tokio::select! {
            _ = terminate.recv() => ("SIGTERM", SignalKind::terminate().as_raw_value()),
            _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt().as_raw_value()),
        };
        if !first {
            tracing::warn!(signal = name, "second signal, ending at once");
            std::process::exit(128 + number);
        }
        first = false;
        tracing::info!(signal = name, "shutting down");
        shutdown.request();
    }
}
