//! What all actors of the campaign share: where the sidecars are, what is going on, and everything that was answered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use reqwest::Method;
use serde_json::Value;
use tokio::sync::{RwLock, watch};

use crate::acknowledged::replies::{Reply, Trouble, Window, Wish};
use crate::acknowledged::{Came, History, Reflects, Seen, Span, State, Write};
use crate::entity_api::{Answer, Client};
use crate::events::table::{self, Table};

/// A sidecar gives the API server half a minute; nothing else takes that long.
const ANSWER: Duration = Duration::from_secs(60);

/// Shared by all.
pub(super) struct Board {
    start: Instant,
    /// All entities, but for those that a writer has yet to create.
    entities: Vec<String>,
    record: Mutex<Record>,
    /// Held for reading while a write is under way, so that the campaign can wait until none is.
    pub(super) gate: RwLock<()>,
    over: watch::Sender<bool>,
}

/// What has happened so far.
#[derive(Default)]
pub(super) struct Record {
    /// Where each sidecar is now, and how often it was started before.
    apis: Vec<(Client, usize)>,
    /// The era that has certainly begun, and the one that may have.
    pub(super) eras: (usize, usize),
    /// Of each entity: the newest version that anybody was told.
    newest: BTreeMap<String, u64>,
    pub(super) history: History,
    pub(super) replies: Vec<Reply>,
    pub(super) windows: Vec<Window>,
    /// How often each life of each sidecar answered with each status.
    pub(super) tally: BTreeMap<(usize, usize, u16), u64>,
    /// What readers of events know, with their sidecars.
    pub(super) tables: Vec<(usize, Table)>,
    /// What they were told that cannot be.
    pub(super) wrong: Vec<String>,
}

impl Board {
    pub(super) fn new(entities: Vec<String>, followers: &[usize]) -> Self {
        let tables = followers.iter().map(|sidecar| (*sidecar, Table::default())).collect();
        Self {
            start: Instant::now(),
            entities,
            record: Mutex::new(Record { tables, ..Record::default() }),
            gate: RwLock::new(()),
            over: watch::Sender::new(false),
        }
    }

    /// Nobody waits while this is held.
    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn entities(&self) -> &[String] {
        &self.entities
    }

    /// A sidecar was started, for the first time or again.
    pub(super) fn started(&self, sidecar: usize, api: Client) {
        let mut record = self.record();
        match record.apis.get_mut(sidecar) {
            Some(place) => *place = (api, place.1 + 1),
            None => record.apis.push((api, 0)),
        }
    }

    /// Where a sidecar is, and how often it was started before.
    pub(super) fn api(&self, sidecar: usize) -> anyhow::Result<(Client, usize)> {
        self.record().apis.get(sidecar).cloned().with_context(|| format!("there is no sidecar {sidecar}"))
    }

    /// All actors are to end.
    pub(super) fn end(&self) {
        self.over.send_replace(true);
    }

    pub(super) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Returns when all actors are to end.
    pub(super) async fn ended(&self) {
        let mut over = self.over.subscribe();
        // The sender lives as long as the board.
        let _ = over.wait_for(|over| *over).await;
    }

    pub(super) fn begin(&self, trouble: Trouble) -> usize {
        let span = Span { call: self.now(), answered: u64::MAX };
        let mut record = self.record();
        record.windows.push(Window { trouble, span });
        record.windows.len() - 1
    }

    pub(super) fn well_again(&self, window: usize) {
        let now = self.now();
        if let Some(window) = self.record().windows.get_mut(window) {
            window.span.answered = now;
        }
    }

    /// Asks, and writes down what came; `None`: no answer.
    pub(super) async fn ask(
        &self,
        (sidecar, wish): (usize, Wish),
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> anyhow::Result<(Span, Option<Answer>)> {
        let (api, life) = self.api(sidecar)?;
        let call = self.now();
        let asked = api.send(method.clone(), path, headers, body.map(|body| body.to_string()));
        let answer = tokio::time::timeout(ANSWER, asked)
            .await
            .with_context(|| {
                format!("no answer within {} s: {method} {path} {headers:?} at {sidecar}", ANSWER.as_secs())
            })?
            .ok();
        let span = Span { call, answered: self.now() };
        let mut record = self.record();
        record.replies.push(Reply {
            sidecar,
            wish,
            span,
            status: answer.as_ref().map(|answer| answer.status.as_u16()),
            retry_after: answer.as_ref().is_some_and(|answer| !answer.header("retry-after").is_empty()),
            problem: answer
                .as_ref()
                .is_some_and(|answer| answer.header("content-type").starts_with("application/problem+json")),
        });
        if let Some(answer) = &answer {
            *record.tally.entry((sidecar, life, answer.status.as_u16())).or_default() += 1;
        }
        Ok((span, answer))
    }

    /// The newest version of an entity that anybody was told.
    pub(super) fn newest(&self, entity: &str) -> Option<u64> {
        self.record().newest.get(entity).copied()
    }

    pub(super) fn wrote(&self, write: Write) {
        let mut record = self.record();
        if let Came::Stored(version) = write.came {
            let newest = record.newest.entry(write.entity.clone()).or_default();
            *newest = (*newest).max(version);
        }
        record.history.writes.push(write);
    }

    /// The answer to a read of one entity; absent where it says nothing about it.
    pub(super) fn read(
        &self,
        entity: &str,
        sidecar: usize,
        at: (Span, usize),
        reflects: Reflects,
        answer: &Answer,
    ) -> anyhow::Result<Option<Option<State>>> {
        let state = match answer.status.as_u16() {
            200 => Some(table::read(&answer.body).with_context(|| format!("not an entity: {}", answer.body))?.1),
            404 => None,
            _ => return Ok(None),
        };
        self.saw(entity, sidecar, at, reflects, state.clone());
        Ok(Some(state))
    }

    /// The answer to a list: all entities that there can be are in it or not.
    pub(super) fn listed(
        &self,
        sidecar: usize,
        at: (Span, usize),
        reflects: Reflects,
        answer: &Answer,
    ) -> anyhow::Result<Option<BTreeMap<String, State>>> {
        if answer.status != 200 {
            return Ok(None);
        }
        let items = answer
            .body
            .get("items")
            .and_then(Value::as_array)
            .with_context(|| format!("not a list: {}", answer.body))?;
        let states: Option<BTreeMap<String, State>> = items.iter().map(table::read).collect();
        let states = states.with_context(|| format!("not a list of entities: {}", answer.body))?;
        for entity in &self.entities {
            self.saw(entity, sidecar, at, reflects, states.get(entity).cloned());
        }
        Ok(Some(states))
    }

    /// `at`: when, and the era in which it was asked.
    pub(super) fn saw(
        &self,
        entity: &str,
        sidecar: usize,
        (span, era): (Span, usize),
        reflects: Reflects,
        state: Option<State>,
    ) {
        let mut record = self.record();
        let eras = (era, record.eras.1);
        record.history.seen.push(Seen { entity: entity.to_owned(), sidecar, span, eras, state, reflects });
    }

    /// The era that has certainly begun.
    pub(super) fn era(&self) -> usize {
        self.record().eras.0
    }

    /// The store is about to be restored: what anybody was told of versions means nothing from now on.
    pub(super) fn era_ends(&self) {
        let mut record = self.record();
        record.eras.1 += 1;
        record.newest.clear();
    }

    /// Everybody knows of the restored store.
    pub(super) fn era_begins(&self, inherited: BTreeMap<String, State>) {
        let mut record = self.record();
        record.eras.0 = record.eras.1;
        let era = record.eras.0;
        record.history.inherited.push((era, inherited));
    }
}
