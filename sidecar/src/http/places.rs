//! How many connections there may be: as many as the process may have files open for, up to a bound. `http` and `http::events` ask.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The app, a few tools beside it, and a few thousand readers of events; each connection costs some kilobytes.
const MOST: u64 = 4096;
/// Open files for all else: connections to the API server and to Kafka, listeners, tokens and certificates.
const OTHERS: u64 = 256;
/// The app must be served, whatever else cannot be done.
const LEAST: u64 = 64;

/// Connections that may be served at once. More wait to be accepted.
pub(super) fn connections() -> usize {
    static CONNECTIONS: OnceLock<usize> = OnceLock::new();
    *CONNECTIONS.get_or_init(|| usize::try_from(of_files(files(MOST + OTHERS))).unwrap_or(usize::MAX))
}

fn of_files(files: u64) -> u64 {
    files.saturating_sub(OTHERS).clamp(LEAST, MOST)
}

/// Makes sure that so many files can be open, as far as the platform lets us, and says how many can: platforms start programs with 1,024, and let them have
/// more when they ask for it.
fn files(wanted: u64) -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if soft >= wanted {
        return soft;
    }
    let more = wanted.min(hard);
    match setrlimit(Resource::RLIMIT_NOFILE, more, hard) {
        Ok(()) => more,
        Err(error) => {
            tracing::warn!(%error, files = soft, "failed to raise the limit of open files");
            soft
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_everything_else() {
        for (files, connections) in [(0, 64), (300, 64), (1024, 768), (4352, 4096), (1_048_576, 4096)] {
            assert_eq!(of_files(files), connections, "{files}");
        }
        assert!(connections() >= 64);
    }
}
