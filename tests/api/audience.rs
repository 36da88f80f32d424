//! Thousands of readers of events at one sidecar: what they are told is rendered once, and nobody has a queue.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::sidecar::{Settings, Sidecar};
use e2e::wait;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::run;

const READERS: usize = 2_000;
const CHANGES: usize = 30;
/// Of each change; all readers together get so much of each.
const BYTES: usize = 4_000;
/// What one reader may cost: its connection, and a piece on its way.
const EACH: u64 = 96 << 10;
/// From the first change until everybody has all of them, for a debug build on a loaded machine.
const TIME: Duration = Duration::from_secs(120);

/// A reader that keeps nothing but what it waits for.
struct Reader {
    stream: TcpStream,
    /// The end of what came, long enough for any of the words that are counted.
    tail: Vec<u8>,
    changes: usize,
}

impl Reader {
    async fn open(address: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let request = "GET /v1/configmaps HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        Ok(Self { stream, tail: Vec::new(), changes: 0 })
    }

    /// Reads until a word has come.
    async fn until(&mut self, word: &str) -> anyhow::Result<()> {
        const CHANGE: &[u8] = b"event: modified\n";
        let mut buffer = [0; 16 << 10];
        loop {
            let read = tokio::time::timeout(TIME, self.stream.read(&mut buffer)).await;
            let read = read.with_context(|| format!("nothing comes, {word:?} has not come"))??;
            ensure!(read > 0, "the stream ended before {word:?}");
            self.tail.extend_from_slice(&buffer[..read]);
            // What is only the beginning of a word at the end is counted when the rest has come.
            let whole = self.tail.len().saturating_sub(CHANGE.len().max(word.len()) - 1);
            self.changes += self.tail.windows(CHANGE.len()).take(whole).filter(|found| *found == CHANGE).count();
            let come = self.tail.windows(word.len()).any(|found| found == word.as_bytes());
            self.tail.drain(..whole.min(self.tail.len()));
            if come {
                return Ok(());
            }
        }
    }
}

/// Resident bytes of a process.
fn resident(sidecar: &Sidecar) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", sidecar.program.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes << 10)
}

/// Here too each reader is an open file.
fn enough_files() -> anyhow::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = 2 * READERS as u64;
    ensure!(
        hard >= wanted,
        "at most {hard} files can be open here, this test needs {wanted}: raise the hard limit (ulimit -Hn)"
    );
    Ok(setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted), hard)?)
}

#[test]
fn two_thousand_readers_share_one_rendering() {
    run("audience", async |world| {
        enough_files()?;
        let kind = json!({"apiVersion": "v1", "kind": "ConfigMap", "owned": true, "namespaces": [world.ns]});
        let sidecar = world.start(&Settings::new(&world.kubeconfig).kind(kind)).await?;
        let map = |text: &str| json!({"id": "news", "data": {"text": text}});
        sidecar.api.post("/v1/configmaps", &map("first")).await?.expect(201)?;
        let address = sidecar.api.base().trim_start_matches("http://").to_owned();
        let alone = resident(&sidecar)?;
        let mut readers = Vec::new();
        for _ in 0..READERS {
            readers.push(Reader::open(&address).await?);
        }
        let readers: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                tokio::spawn(async move {
                    reader.until("event: synced\n").await?;
                    Ok::<_, anyhow::Error>(reader)
                })
            })
            .collect();
        let mut connected = Vec::new();
        for reader in readers {
            connected.push(reader.await??);
        }
        wait::until("all readers to be counted", wait::LIMIT, || async {
            let streams = sidecar.metric("kab_api_event_streams").await?;
            ensure!(streams as usize == READERS, "{streams}");
            Ok(())
        })
        .await?;

        let begun = Instant::now();
        let told: Vec<_> = connected
            .into_iter()
            .map(|mut reader| {
                tokio::spawn(async move {
                    reader.until("the last one").await?;
                    Ok::<_, anyhow::Error>(reader.changes)
                })
            })
            .collect();
        let mut most = 0;
        for number in 0..CHANGES {
            let text = format!("{number} {}", "x".repeat(BYTES));
            sidecar.api.put("/v1/configmaps/news", &map(&text)).await?.expect(200)?;
            most = most.max(resident(&sidecar)?);
        }
        sidecar.api.put("/v1/configmaps/news", &map("the last one")).await?.expect(200)?;
        for reader in told {
            let changes = reader.await??;
            ensure!(changes == CHANGES + 1, "a reader was told {changes} changes");
        }
        let took = begun.elapsed();
        most = most.max(resident(&sidecar)?);
        let each = most.saturating_sub(alone) / READERS as u64;
        eprintln!("{READERS} readers: {CHANGES} changes in {took:?}, {each} bytes for each reader");
        ensure!(took < TIME, "it took {took:?}");
        ensure!(each < EACH, "each reader costs {each} bytes: {alone} before, {most} at most");
        // The others are served as well.
        sidecar.api.get("/v1/configmaps/news").await?.expect(200)?;
        Ok(())
    });
}
