//! A load on one HTTP server: a fixed request, again and again, on so many keep-alive connections.
//!
//! Made to cost little itself, so that the server is what is measured: the request is written as it is, the answer is read to its end
//! and not looked at beyond status and length.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::{Buf, BytesMut};
use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest latency that is told apart, in microseconds.
const LONGEST: u64 = 60_000_000;

/// What a load did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Answers a second.
    pub(crate) rate: f64,
    /// Time from a request's first byte sent to its answer's last byte read, in microseconds.
    pub(crate) latencies: Histogram<u64>,
}

impl Outcome {
    /// A quantile of the latencies in milliseconds.
    pub(crate) fn milliseconds(&self, quantile: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "microseconds below a minute are exact")]
        let micros = self.latencies.value_at_quantile(quantile) as f64;
        micros / 1000.0
    }
}

/// A GET of `path` with a `Host` that every server here takes.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").into_bytes()
}

/// Sends `request` on `connections` connections for `duration`, after a tenth of it as a warm-up that does not count.
///
/// # Errors
/// When the server answers anything but a success, or not at all.
pub(crate) async fn run(
    server: SocketAddr,
    request: &[u8],
    connections: usize,
    duration: Duration,
) -> anyhow::Result<Outcome> {
    let begin = Instant::now() + duration / 10;
    let end = begin + duration;
    let tasks: Vec<_> = (0..connections).map(|_| tokio::spawn(one(server, request.to_vec(), begin, end))).collect();
    let mut latencies = Histogram::new_with_bounds(1, LONGEST, 3)?;
    for task in tasks {
        latencies.add(task.await??)?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of answers is far below 2^52")]
    let answers = latencies.len() as f64;
    Ok(Outcome { rate: answers / duration.as_secs_f64(), latencies })
}

async fn one(server: SocketAddr, request: Vec<u8>, begin: Instant, end: Instant) -> anyhow::Result<Histogram<u64>> {
    let mut latencies = Histogram::new_with_bounds(1, LONGEST, 3)?;
    let mut stream = TcpStream::connect(server).await.with_context(|| format!("failed to connect to {server}"))?;
    stream.set_nodelay(true)?;
    let mut buffer = BytesMut::with_capacity(1 << 16);
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok(latencies);
        }
        stream.write_all(&request).await?;
        answer(&mut stream, &mut buffer).await?;
        if start >= begin {
            let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(LONGEST);
            latencies.saturating_record(micros.max(1));
        }
    }
}

/// Sends `request` so many times, each on a connection of its own, on `at_once` of them at a time.
///
/// # Errors
/// When the server answers anything but a success, or not at all.
pub(crate) async fn reconnect(server: SocketAddr, request: &[u8], at_once: usize, times: usize) -> anyhow::Result<()> {
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let request = request.to_vec();
            tokio::spawn(async move {
                for _ in 0..times / at_once {
                    let mut stream = TcpStream::connect(server).await.context("failed to connect again")?;
                    stream.write_all(&request).await?;
                    answer(&mut stream, &mut BytesMut::with_capacity(1 << 12)).await?;
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(())
}

/// Reads one answer to its end; it must be a success with a length or in chunks.
async fn answer(stream: &mut TcpStream, buffer: &mut BytesMut) -> anyhow::Result<()> {
    let (head, length) = loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut headers);
        if let httparse::Status::Complete(head) = response.parse(buffer)? {
            let status = response.code.unwrap_or_default();
            ensure!((200..300).contains(&status), "the server answered {status}");
            let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
            let length = length.map(|length| std::str::from_utf8(length.value)).transpose()?;
            break (head, length.map(str::parse::<usize>).transpose()?);
        }
        more(stream, buffer).await?;
    };
    buffer.advance(head);
    match length {
        Some(length) => skip(stream, buffer, length).await,
        None => chunks(stream, buffer).await,
    }
}

/// Reads chunks up to and with the empty one.
async fn chunks(stream: &mut TcpStream, buffer: &mut BytesMut) -> anyhow::Result<()> {
    loop {
        match httparse::parse_chunk_size(buffer) {
            Err(_) => bail!("the answer has neither a content-length nor chunks"),
            Ok(httparse::Status::Partial) => more(stream, buffer).await?,
            Ok(httparse::Status::Complete((head, size))) => {
                buffer.advance(head);
                skip(stream, buffer, usize::try_from(size)? + "\r\n".len()).await?;
                if size == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// Passes over so many bytes.
async fn skip(stream: &mut TcpStream, buffer: &mut BytesMut, mut open: usize) -> anyhow::Result<()> {
    loop {
        let here = open.min(buffer.len());
        buffer.advance(here);
        open -= here;
        if open == 0 {
            return Ok(());
        }
        more(stream, buffer).await?;
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut BytesMut) -> anyhow::Result<()> {
    buffer.reserve(1 << 16);
    if stream.read_buf(buffer).await? == 0 {
        bail!("the server closed the connection");
    }
    Ok(())
}
