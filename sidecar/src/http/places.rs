//! How many connections there may be: as many as the process may have files open for, up to a bound. `http` and `http::events` ask.

use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Open files for all else: connections to the API server and to Kafka, listeners, tokens and certificates.
const OTHERS: u64 = 256;
/// The app must be served, whatever else cannot be done.
const LEAST: u64 = 64;

/// Connections that may be served at once, `most` if they can. More wait to be accepted.
pub(super) fn connections(most: u64) -> usize {
    static FILES: OnceLock<u64> = OnceLock::new();
    let files = *FILES.get_or_init(|| files(most + OTHERS));
    usize::try_from(of_files(files, most)).unwrap_or(usize::MAX)
}

fn of_files(files: u64, most: u64) -> u64 {
    files.saturating_sub(OTHERS).max(LEAST).min(most)
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
            assert_eq!(of_files(files, 4096), connections, "{files}");
        }
        assert_eq!(of_files(4352, 16), 16, "as configured");
        assert!(connections(4096) >= 64);
    }
}
