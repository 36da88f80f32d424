//! Logs: text for people or JSON for machines, on standard error.
//!
//! Never logs the content of an entity: callers give keys, versions and errors. `main` calls it once, before anything else runs.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::TryInitError;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is no filter.
    #[error(
        "failed to read the log level {level:?}: expected error, warn, info, debug, trace or directives such as info,sidecar=debug"
    )]
    Level {
        /// As given.
        level: String,
        /// What the parser said.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Another subscriber is in place.
    #[error("failed to install the log subscriber")]
    Install(#[from] TryInitError),
}

/// kube logs each request that fails as an error of its own; whoever made the request tells it already, and only once.
const SILENCED: &str = "kube_client::client::builder=off";

/// Checks a level or a list of directives without installing anything.
///
/// # Errors
/// When it is none.
pub fn check_level(level: &str) -> Result<(), TelemetryError> {
    filter(level).map(|_| ())
}

/// Installs the subscriber. `level` is a level or a list of `target=level` directives; `RUST_LOG`, where set, wins.
///
/// # Errors
/// When the level cannot be read or a subscriber is already there.
pub fn init(level: &str, format: Format) -> Result<(), TelemetryError> {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::util::SubscriberInitExt;

    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|value| !value.trim().is_empty());
    let filter = filter(wanted.as_deref().unwrap_or(level))?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Text => registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init()?,
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    // Without this `verbose` would pass as the name of a module, and nothing would be logged.
    let bare_word = !level.contains(['=', ',', '[']) && level.parse::<tracing::level_filters::LevelFilter>().is_err();
    let text = if bare_word { format!("={level}") } else { format!("{SILENCED},{level}") };
    EnvFilter::try_new(text).map_err(|source| TelemetryError::Level { level: level.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_directives_are_taken_and_a_bare_word_is_not() {
        for good in ["info", "WARN", "off", "info,sidecar=debug", "sidecar::http=trace"] {
            assert!(check_level(good).is_ok(), "{good}");
        }
        for bad in ["verbose", "info,x=loud"] {
            assert!(check_level(bad).is_err(), "{bad}");
        }
    }
}
