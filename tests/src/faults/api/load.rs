//! The actors of the campaign: writers, readers, and readers of events. They decide by their dice and by what they were answered, and judge nothing.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::SIDECARS;
use super::board::Board;
use crate::acknowledged::replies::Wish;
use crate::acknowledged::{Came, Reflects, Span, State, Write};
use crate::dice::Dice;
use crate::entity_api::Answer;
use crate::events::Events;
use crate::events::table::{self, Table};

/// Who wants a version waits for it so long: far longer than a cache takes, unless something is wrong.
const PREFER: (&str, &str) = ("prefer", "wait=15");
/// Before a refused or broken connection is tried again.
const AGAIN: Duration = Duration::from_millis(100);
const WHEN: &str = "2030-01-01T10:00:00Z";

/// What a writer knows of one of its entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It has to look.
    Unsure,
    /// It is not there.
    Absent,
    /// It is this version.
    At(u64),
}

impl Known {
    fn of(state: Option<&State>) -> Self {
        state.map_or(Self::Absent, |state| Self::At(state.version))
    }
}

/// The one writer of some entities, through any sidecar.
pub(super) struct Writer {
    pub(super) board: Arc<Board>,
    pub(super) dice: Dice,
    pub(super) entities: Vec<(String, Known)>,
    pub(super) name: String,
}

impl Writer {
    pub(super) async fn act(mut self) -> anyhow::Result<()> {
        let (mut era, mut count) = (0, 0_u64);
        let board = Arc::clone(&self.board);
        while !board.is_over() {
            let open = board.gate.read().await;
            if board.is_over() {
                break;
            }
            if board.era() != era {
                era = board.era();
                self.entities.iter_mut().for_each(|(_, known)| *known = Known::Unsure);
            }
            let which = self.dice.throw(self.entities.len());
            let sidecar = self.dice.throw(SIDECARS);
            let Some((entity, known)) = self.entities.get(which).cloned() else { break };
            count += 1;
            let value = format!("{}-{count}", self.name);
            let known = match known {
                Known::Unsure => look(&board, &entity, sidecar).await?,
                known => {
                    let deed = Deed::choose(&mut self.dice, known);
                    let came = write(&board, sidecar, &entity, deed, &value).await?;
                    match came {
                        Came::Stored(version) => Known::At(version),
                        Came::Deleted => Known::Absent,
                        Came::Refused(429 | 503) => known,
                        Came::Refused(_) | Came::Unknown => Known::Unsure,
                    }
                }
            };
            if let Some(place) = self.entities.get_mut(which) {
                place.1 = known;
            }
            drop(open);
            let pause = if known == Known::Unsure { AGAIN } else { Duration::from_millis(self.dice.between(5, 35)) };
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }
}

/// What a writer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deed {
    /// What must not be there.
    Create,
    /// Whatever is there.
    Replace,
    /// What is this version.
    ReplaceOnly(u64),
    /// Whatever is there.
    Patch,
    /// What is this version.
    PatchOnly(u64),
    /// What is this version.
    Delete(u64),
}

impl Deed {
    fn choose(dice: &mut Dice, known: Known) -> Self {
        match (known, dice.throw(12)) {
            (Known::At(version), 0..=3) => Self::ReplaceOnly(version),
            (Known::At(version), 4 | 5) => Self::PatchOnly(version),
            (Known::At(version), 6) => Self::Delete(version),
            (Known::At(_), 7 | 8) => Self::Patch,
            (Known::At(_), _) => Self::Replace,
            (_, 0..=5) => Self::Create,
            (_, _) => Self::Replace,
        }
    }
}

/// Looks at the API server how it is.
async fn look(board: &Board, entity: &str, sidecar: usize) -> anyhow::Result<Known> {
    let era = board.era();
    let path = format!("/v1/todos/{entity}");
    let fresh = [("cache-control", "no-cache")];
    let (span, answer) = board.ask((sidecar, Wish::Fresh), Method::GET, &path, &fresh, None).await?;
    let Some(answer) = answer else { return Ok(Known::Unsure) };
    let state = board.read(entity, sidecar, (span, era), Reflects::All, &answer)?;
    Ok(state.map_or(Known::Unsure, |state| Known::of(state.as_ref())))
}

/// One write, written down with what came of it.
pub(super) async fn write(
    board: &Board,
    sidecar: usize,
    entity: &str,
    deed: Deed,
    value: &str,
) -> anyhow::Result<Came> {
    let era = board.era();
    let whole = json!({"id": entity, "when": WHEN, "message": value});
    let (method, body) = match deed {
        Deed::Create => (Method::POST, Some(whole)),
        Deed::Replace | Deed::ReplaceOnly(_) => (Method::PUT, Some(whole)),
        Deed::Patch | Deed::PatchOnly(_) => (Method::PATCH, Some(json!({"message": value}))),
        Deed::Delete(_) => (Method::DELETE, None),
    };
    let base = match deed {
        Deed::ReplaceOnly(version) | Deed::PatchOnly(version) | Deed::Delete(version) => Some(version),
        Deed::Create | Deed::Replace | Deed::Patch => None,
    };
    let tag = base.map(|base| format!("\"{base}\""));
    let mut headers: Vec<(&str, &str)> = tag.as_deref().map(|tag| ("if-match", tag)).into_iter().collect();
    if method == Method::PATCH {
        headers.push(("content-type", "application/merge-patch+json"));
    }
    let path = if deed == Deed::Create { "/v1/todos".to_owned() } else { format!("/v1/todos/{entity}") };
    let (span, answer) = board.ask((sidecar, Wish::Write), method, &path, &headers, body).await?;
    let came = came(answer.as_ref())?;
    let value = (!matches!(deed, Deed::Delete(_))).then(|| value.to_owned());
    board.wrote(Write { entity: entity.to_owned(), value, base, sidecar, era, span, came });
    Ok(came)
}

fn came(answer: Option<&Answer>) -> anyhow::Result<Came> {
    let Some(answer) = answer else { return Ok(Came::Unknown) };
    let detail = answer.body.get("detail").and_then(Value::as_str).unwrap_or_default();
    Ok(match answer.status.as_u16() {
        200 | 201 => {
            let (_, state) = table::read(&answer.body)
                .ok_or_else(|| anyhow::anyhow!("a write was answered with {}", answer.body))?;
            Came::Stored(state.version)
        }
        204 => Came::Deleted,
        status @ 400..500 => Came::Refused(status),
        // What it says is taken at its word.
        503 if detail.contains("nothing was stored") => Came::Refused(503),
        _ => Came::Unknown,
    })
}

/// A reader at one sidecar.
pub(super) struct Reader {
    pub(super) board: Arc<Board>,
    pub(super) dice: Dice,
    pub(super) sidecar: usize,
    /// Whether it wants more than what the cache has.
    pub(super) demanding: bool,
}

impl Reader {
    pub(super) async fn act(mut self) -> anyhow::Result<()> {
        while !self.board.is_over() {
            let answered = if self.demanding { self.demand().await? } else { self.read().await? };
            let pause = if answered { Duration::from_millis(self.dice.between(5, 25)) } else { AGAIN };
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    fn entity(&mut self) -> String {
        self.dice.pick(self.board.entities()).cloned().unwrap_or_default()
    }

    /// From the cache; whether it was answered.
    async fn read(&mut self) -> anyhow::Result<bool> {
        let (era, entity) = (self.board.era(), self.entity());
        let list = self.dice.throw(5) == 0;
        let path = if list { "/v1/todos".to_owned() } else { format!("/v1/todos/{entity}") };
        let (span, answer) = self.board.ask((self.sidecar, Wish::Cached), Method::GET, &path, &[], None).await?;
        let Some(answer) = answer else { return Ok(false) };
        let at = (span, era);
        if list {
            return Ok(self.board.listed(self.sidecar, at, Reflects::Own, &answer)?.is_some());
        }
        Ok(self.board.read(&entity, self.sidecar, at, Reflects::Own, &answer)?.is_some())
    }

    /// What somebody was told elsewhere, or what the API server has.
    async fn demand(&mut self) -> anyhow::Result<bool> {
        let (era, entity) = (self.board.era(), self.entity());
        let newest = self.board.newest(&entity).filter(|_| self.dice.throw(3) > 0);
        let least = newest.unwrap_or_default().to_string();
        let (headers, reflects) = match newest {
            Some(version) => (vec![("at-least-version", least.as_str()), PREFER], Reflects::AtLeast(version)),
            None => (vec![("cache-control", "no-cache")], Reflects::All),
        };
        let path = format!("/v1/todos/{entity}");
        let (span, answer) = self.board.ask((self.sidecar, Wish::Fresh), Method::GET, &path, &headers, None).await?;
        let Some(answer) = answer else { return Ok(false) };
        Ok(self.board.read(&entity, self.sidecar, (span, era), reflects, &answer)?.is_some())
    }
}

/// A reader of events at one sidecar.
pub(super) struct Follower {
    pub(super) board: Arc<Board>,
    pub(super) number: usize,
    pub(super) sidecar: usize,
    /// After how many events it breaks off and comes back, if it does.
    pub(super) comes_back: Option<usize>,
}

impl Follower {
    pub(super) async fn act(self) -> anyhow::Result<()> {
        let board = Arc::clone(&self.board);
        tokio::select! {
            outcome = self.follow() => outcome,
            () = board.ended() => Ok(()),
        }
    }

    async fn follow(self) -> anyhow::Result<()> {
        let mut last = String::new();
        loop {
            let (api, _) = self.board.api(self.sidecar)?;
            if last.is_empty() {
                self.table(Table::start_over);
            }
            let Ok(mut events) = Events::open(api.base(), "/v1/todos", &last).await else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            let mut count = 0;
            // The connection breaks with the sidecar.
            while let Ok(Some(told)) = events.next().await {
                let (call, era) = (self.board.now(), self.board.era());
                match self.table(|table| table.take(&told)) {
                    Ok(None) => {}
                    Ok(Some((entity, state))) => {
                        let span = Span { call, answered: self.board.now() };
                        self.board.saw(&entity, self.sidecar, (span, era), Reflects::Nothing, Some(state));
                    }
                    Err(wrong) => {
                        let wrong = format!("reader {} of events at {}: {wrong}", self.number, self.sidecar);
                        self.board.record().wrong.push(wrong);
                    }
                }
                count += 1;
                if self.comes_back.is_some_and(|often| count >= often) && !events.last_id.is_empty() {
                    break;
                }
            }
            last = events.last_id;
        }
    }

    fn table<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let mut record = self.board.record();
        match record.tables.get_mut(self.number) {
            Some((_, table)) => change(table),
            None => change(&mut Table::default()),
        }
    }
}
