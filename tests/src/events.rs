//! A reader of server-sent events.

pub mod table;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::wait;

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// `added`, `modified`, `deleted`, `synced` or `reset`.
    pub name: String,
    /// The id that came with it.
    pub id: Option<String>,
    /// Its data.
    pub data: String,
}

impl Told {
    /// Its data as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json(&self) -> anyhow::Result<Value> {
        serde_json::from_str(&self.data).with_context(|| format!("{self:?}"))
    }
}

/// A reader, connected.
#[derive(Debug)]
pub struct Events {
    answer: reqwest::Response,
    buffer: Vec<u8>,
    /// What it would send as `Last-Event-ID`.
    pub last_id: String,
}

impl Events {
    /// Connects, with the id that it had reached, if any.
    ///
    /// # Errors
    /// When the answer is not 200.
    pub async fn open(base: &str, path: &str, last_id: &str) -> anyhow::Result<Self> {
        let mut request = reqwest::Client::new().get(format!("{base}{path}")).header("accept", "text/event-stream");
        if !last_id.is_empty() {
            request = request.header("last-event-id", last_id);
        }
        let answer = request.send().await?;
        let status = answer.status();
        if status != 200 {
            anyhow::bail!("{status}: {}", answer.text().await?);
        }
        Ok(Self { answer, buffer: Vec::new(), last_id: last_id.to_owned() })
    }

    /// The next event; waits for it within [`wait::LIMIT`]. `None`: the stream has ended.
    ///
    /// # Errors
    /// When nothing comes, or the connection breaks.
    pub async fn next(&mut self) -> anyhow::Result<Option<Told>> {
        loop {
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                if let Some(told) = self.read(std::str::from_utf8(&block)?) {
                    return Ok(Some(told));
                }
            }
            let chunk = tokio::time::timeout(wait::LIMIT, self.answer.chunk()).await;
            match chunk
                .with_context(|| format!("no event within {} s, behind {:?}", wait::LIMIT.as_secs(), self.last_id))??
            {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }

    /// The events up to and with the first of this name.
    ///
    /// # Errors
    /// When it does not come.
    pub async fn until(&mut self, name: &str) -> anyhow::Result<Vec<Told>> {
        let mut all = Vec::new();
        loop {
            let told = self.next().await?;
            ensure!(told.is_some(), "the stream ended before {name}, after {all:?}");
            all.extend(told);
            if all.last().is_some_and(|last| last.name == name) {
                return Ok(all);
            }
        }
    }

    /// As the specification of server-sent events has it: an id counts also without data, an event without data is none.
    fn read(&mut self, block: &str) -> Option<Told> {
        let (mut name, mut id, mut data) = ("message", None, None);
        for line in block.lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => name = value,
                "data" => data = Some(value.to_owned()),
                "id" => {
                    self.last_id = value.to_owned();
                    id = Some(value.to_owned());
                }
                _ => {}
            }
        }
        data.map(|data| Told { name: name.to_owned(), id, data })
    }
}
