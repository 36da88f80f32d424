//! The writers of the campaign: one at the API server, one through the sidecars. They decide by their dice and by what they were answered, and judge nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use reqwest::Method;
use serde_json::json;
use tokio::sync::RwLock;

use super::{PATIENCE, SIDECARS};
use crate::dice::Dice;
use crate::entity_api::Client;
use crate::{todos, wait};

/// Then a writer does not wait any longer, and nobody knows what became of its write.
const ANSWER: Duration = Duration::from_secs(4);
/// Before a refused or broken connection is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// Writes in a burst, one right after the other.
const BURST: usize = 25;

/// What the campaign and its writers share.
#[derive(Default)]
pub(super) struct Board {
    apis: Mutex<Vec<Client>>,
    /// Held for reading while a write is under way, so that the campaign can wait until none is.
    pub(super) gate: RwLock<()>,
    over: AtomicBool,
}

impl Board {
    /// A sidecar was started, for the first time or again.
    pub(super) fn started(&self, number: usize, api: Client) {
        let mut apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        match apis.get_mut(number) {
            Some(place) => *place = api,
            None => apis.push(api),
        }
    }

    /// All writers are to end.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    fn api(&self, number: usize) -> anyhow::Result<Client> {
        let apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        apis.get(number).cloned().ok_or_else(|| anyhow::anyhow!("there is no sidecar {number}"))
    }
}

/// By whom a writer writes.
pub(super) enum By {
    /// As kubectl does.
    ApiServer(Box<Api<DynamicObject>>),
    /// By one after the other.
    Sidecars,
}

/// What a writer does.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Create,
    Change,
    Delete,
}

/// The one writer of some entities.
pub(super) struct Writer {
    board: Arc<Board>,
    dice: Dice,
    name: &'static str,
    /// Whether each is there, as far as the writer knows.
    there: Vec<bool>,
    by: By,
    written: u64,
}

impl Writer {
    pub(super) fn new(board: Arc<Board>, dice: Dice, name: &'static str, entities: usize, by: By) -> Self {
        Self { board, dice, name, there: vec![false; entities], by, written: 0 }
    }

    pub(super) async fn act(mut self) -> anyhow::Result<()> {
        let mut burst = 0;
        let board = Arc::clone(&self.board);
        while !board.over.load(Ordering::Relaxed) {
            let open = board.gate.read().await;
            let answered = self.write().await?;
            drop(open);
            burst = if burst == 0 && self.dice.throw(100) == 0 { BURST } else { usize::saturating_sub(burst, 1) };
            if !answered {
                tokio::time::sleep(AGAIN).await;
            } else if burst == 0 {
                tokio::time::sleep(Duration::from_millis(self.dice.between(20, 100))).await;
            }
        }
        Ok(())
    }

    /// One write; whether it was answered.
    async fn write(&mut self) -> anyhow::Result<bool> {
        let which = self.dice.throw(self.there.len());
        let deed = match (self.there.get(which), self.dice.throw(8)) {
            (Some(true), 0) => Deed::Delete,
            (Some(true), _) => Deed::Change,
            _ => Deed::Create,
        };
        self.written += 1;
        let entity = entity(self.name, which);
        let message = format!("{}-{}", self.name, self.written);
        let status = match &self.by {
            By::ApiServer(todos) => at_api_server(todos, deed, &entity, &message).await?,
            By::Sidecars => {
                let api = self.board.api(self.dice.throw(SIDECARS))?;
                through_sidecar(&api, deed, &entity, &message, self.dice.throw(2) == 0).await
            }
        };
        let there = match (deed, status) {
            (Deed::Create | Deed::Change, Some(200..300)) | (Deed::Create, Some(409)) => Some(true),
            (Deed::Delete, Some(200..300)) | (Deed::Change | Deed::Delete, Some(404)) => Some(false),
            _ => None,
        };
        if let (Some(place), Some(there)) = (self.there.get_mut(which), there) {
            *place = there;
        }
        Ok(there.is_some())
    }
}

fn entity(writer: &str, number: usize) -> String {
    format!("{writer}-{number}")
}

async fn at_api_server(
    todos: &Api<DynamicObject>,
    deed: Deed,
    entity: &str,
    message: &str,
) -> anyhow::Result<Option<u16>> {
    let object = todos::object(entity, message)?;
    let asked = async {
        match deed {
            Deed::Create => todos.create(&PostParams::default(), &object).await.map(drop),
            Deed::Change => {
                let patch = Patch::Merge(json!({"spec": {"message": message}}));
                todos.patch(entity, &PatchParams::default(), &patch).await.map(drop)
            }
            Deed::Delete => todos.delete(entity, &DeleteParams::default()).await.map(drop),
        }
    };
    Ok(match tokio::time::timeout(ANSWER, asked).await {
        Ok(Ok(())) => Some(200),
        Ok(Err(kube::Error::Api(status))) => Some(status.code),
        Ok(Err(_)) | Err(_) => None,
    })
}

async fn through_sidecar(api: &Client, deed: Deed, entity: &str, message: &str, replace: bool) -> Option<u16> {
    let path = format!("/v1/todos/{entity}");
    let whole = json!({"id": entity, "when": "2030-01-01T10:00:00Z", "message": message}).to_string();
    let patch = json!({"message": message}).to_string();
    let merge = [("content-type", "application/merge-patch+json")];
    let asked = async {
        match deed {
            Deed::Create if replace => api.send(Method::PUT, &path, &[], Some(whole)).await,
            Deed::Create => api.send(Method::POST, "/v1/todos", &[], Some(whole)).await,
            Deed::Change if replace => api.send(Method::PUT, &path, &[], Some(whole)).await,
            Deed::Change => api.send(Method::PATCH, &path, &merge, Some(patch)).await,
            Deed::Delete => api.send(Method::DELETE, &path, &[], None).await,
        }
    };
    let answer = tokio::time::timeout(ANSWER, asked).await.ok()?.ok()?;
    Some(answer.status.as_u16())
}

/// A last write to each entity of a writer, which is answered: what there is in the end is then known to whoever reads the audit log.
pub(super) async fn last_word(
    todos: &Api<DynamicObject>,
    dice: &mut Dice,
    writer: &str,
    entities: usize,
) -> anyhow::Result<()> {
    for number in 0..entities {
        let (entity, delete) = (entity(writer, number), dice.throw(3) == 0);
        let object = todos::object(&entity, &format!("{writer}-last-{number}"))?;
        let (parameters, patch) = (PatchParams::apply("kab-test").force(), Patch::Apply(object));
        wait::until(&format!("the last write to {entity}"), PATIENCE, || async {
            tokio::time::timeout(ANSWER, todos.patch(&entity, &parameters, &patch)).await??;
            if delete {
                tokio::time::timeout(ANSWER, todos.delete(&entity, &DeleteParams::default())).await??;
                ensure!(todos.get_opt(&entity).await?.is_none(), "it is still there");
            }
            Ok::<(), anyhow::Error>(())
        })
        .await?;
    }
    Ok(())
}
