//! How soon a sidecar that starts has everything, against a bare client that reads the same list and does nothing with it.
#![expect(clippy::print_stdout, reason = "progress of a benchmark")]

use std::time::{Duration, Instant};

use anyhow::ensure;
use e2e::wait;
use http_body_util::BodyExt;
use hyper::Request;
use kube::client::Body;

use crate::figures::{Figure, Goal};
use crate::system::{NAMESPACE, System};

/// The request by which a sidecar reads its first list: the state as a stream, behind which the changes follow.
const STREAM: &str =
    "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&timeoutSeconds=290";
/// Marks the bookmark behind the state.
const END: &[u8] = b"k8s.io/initial-events-end";
/// A bookmark is shorter.
const TAIL: usize = 1024;
/// Until all is there.
const LIMIT: Duration = Duration::from_secs(120);

/// Measures both in turns.
pub(crate) async fn measure(
    system: &System,
    count: usize,
    rounds: usize,
    figures: &mut Vec<Figure>,
) -> anyhow::Result<()> {
    println!("the first list of {count}, {rounds} rounds …");
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(read(system).await?);
        ours.push(start(system, count).await?);
        println!("  {ours:.2?} s, bare {bare:.2?} s");
    }
    let name = format!("first list of {count}: from start to ready");
    figures.push(Figure::against(name, &ours, "s", "bare client", &bare, Goal::AtMost(1.3)));
    Ok(())
}

/// Seconds until a bare client has read the state to its end.
async fn read(system: &System) -> anyhow::Result<f64> {
    let start = Instant::now();
    let uri = format!("/apis/k8sasbackend.com/v1/namespaces/{NAMESPACE}/todos?{STREAM}");
    let request = Request::get(uri).header("accept", "application/json").body(Body::empty())?;
    let answer = system.kube.send(request).await?;
    ensure!(answer.status().is_success(), "the API server answers {}", answer.status());
    let mut body = answer.into_body();
    let mut seen = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            // Nothing follows the bookmark for now, so it stands at the end; to look through everything would count as reading.
            seen.extend_from_slice(data.get(data.len().saturating_sub(TAIL)..).unwrap_or_default());
            seen.drain(..seen.len().saturating_sub(TAIL));
            if seen.windows(END.len()).any(|window| window == END) {
                return Ok(start.elapsed().as_secs_f64());
            }
        }
    }
    anyhow::bail!("the stream ended before the state did")
}

/// Seconds from a sidecar's start until it is ready.
async fn start(system: &System, count: usize) -> anyhow::Result<f64> {
    let start = Instant::now();
    let sidecar = system.another().await?;
    wait::until("the sidecar to be ready", LIMIT, || async {
        let answer = sidecar.admin.get("/readyz").await?;
        ensure!(answer.status.is_success(), "{}", answer.body);
        Ok(())
    })
    .await?;
    let took = start.elapsed().as_secs_f64();
    let held = sidecar.metric("kab_cache_entities").await?;
    #[expect(clippy::cast_precision_loss, reason = "a hundred thousand")]
    let all = held >= count as f64;
    ensure!(all, "ready with {held} entities");
    drop(sidecar.terminate().await);
    Ok(took)
}
