//! Bounded waiting for a state. What was last seen is part of the error, so that a failure explains itself.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything in a test may take before it counts as broken.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Asks `probe` again and again until it answers `Ok`; its `Err` says what was seen instead.
///
/// # Errors
/// After `limit`, with `what` and the last thing seen.
pub async fn until<T, Probe, Answer, Seen>(what: &str, limit: Duration, mut probe: Probe) -> anyhow::Result<T>
where
    Probe: FnMut() -> Answer,
    Answer: Future<Output = Result<T, Seen>>,
    Seen: std::fmt::Display,
{
    let start = Instant::now();
    loop {
        match probe().await {
            Ok(answer) => return Ok(answer),
            Err(seen) if start.elapsed() > limit => {
                anyhow::bail!("waited {} s for {what}; last seen: {seen:#}", limit.as_secs())
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
