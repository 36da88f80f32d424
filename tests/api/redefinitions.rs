//! A kind's definition changes, goes and comes back while its entities are written and read all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use e2e::crd::Definition;
use e2e::entity_api::{Answer, Client};
use e2e::sidecar::Settings;
use e2e::wait;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::world::run;

const ENTITIES: usize = 4;
/// What goes on, one after the other.
const STEADY: usize = 0;
const CHANGING: usize = 1;
const REMOVED: usize = 2;
const BACK: usize = 3;
const OVER: usize = 4;

/// What callers share: what goes on, and what was wrong.
#[derive(Default)]
struct Board {
    phase: AtomicUsize,
    /// Uids of entities that were there before the definition went.
    before: Mutex<BTreeSet<String>>,
    wrong: Mutex<Vec<String>>,
    /// How often each status came in each phase.
    came: Mutex<BTreeMap<(usize, &'static str, u16), usize>>,
}

fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    fn phase(&self) -> usize {
        self.phase.load(Ordering::SeqCst)
    }

    /// Judges an answer to what was asked in a phase; answers the entities in it.
    fn judge(&self, what: &'static str, asked: usize, answer: &Answer) {
        let (answered, status) = (self.phase(), answer.status.as_u16());
        *locked(&self.came).entry((asked, what, status)).or_default() += 1;
        let steady = asked == answered && matches!(asked, STEADY | BACK);
        let allowed = match (what, status) {
            (_, 200 | 201 | 404) => true,
            // While the definition changes, reads go on.
            ("read", 503) => answered >= REMOVED && !steady,
            ("write", 429 | 503 | 504) => !steady,
            // The platform deletes what is written.
            ("write", 409) => answered >= REMOVED && !steady,
            _ => false,
        };
        let says_when = !matches!(status, 429 | 503) || !answer.header("retry-after").is_empty();
        if !allowed || !says_when {
            locked(&self.wrong)
                .push(format!("{what} in {asked}..{answered}: {status} {} {:?}", answer.body, answer.headers));
        }
        let items = answer.body["items"].as_array().map_or(std::slice::from_ref(&answer.body), Vec::as_slice);
        for uid in items.iter().filter_map(|item| item["meta"]["uid"].as_str()) {
            let mut before = locked(&self.before);
            if answered <= CHANGING {
                before.insert(uid.to_owned());
            } else if asked == BACK && before.contains(uid) {
                locked(&self.wrong).push(format!("{what} after the definition came back: {uid} was deleted with it"));
            }
        }
    }

    async fn write(&self, api: &Client, entity: usize) -> anyhow::Result<()> {
        for number in 0.. {
            let phase = self.phase();
            if phase == OVER {
                break;
            }
            let answer = api.put(&format!("/v1/tents/t-{entity}"), &json!({"name": format!("{number}")})).await?;
            self.judge("write", phase, &answer);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    async fn read(&self, api: &Client, path: &str) -> anyhow::Result<()> {
        loop {
            let phase = self.phase();
            if phase == OVER {
                return Ok(());
            }
            let answer = api.get(path).await?;
            self.judge("read", phase, &answer);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until so much was written in the phase that goes on that it was put to the test.
    async fn is_busy(&self) -> anyhow::Result<()> {
        wait::until("enough to be written", wait::LIMIT, || async {
            let came = locked(&self.came).clone();
            let writes = came.get(&(self.phase(), "write", 200)).copied().unwrap_or_default();
            ensure!(writes >= 20, "{came:?}");
            Ok(())
        })
        .await
    }

    fn enter(&self, phase: usize) {
        self.phase.store(phase, Ordering::SeqCst);
    }
}

#[test]
fn a_definition_changes_goes_and_comes_back_under_load() {
    run("redefined_under_load", async |world| {
        let field = |names: &[&str]| {
            let fields = names.iter().map(|name| ((*name).to_owned(), json!({"type": "string"}))).collect();
            json!({"type": "object", "properties": Value::Object(fields)})
        };
        let kind = Definition::new("Tent", "tents").spec(field(&["name"]));
        let wider = kind.clone().spec(field(&["name", "color"]));
        kind.install(&world.kube).await?;
        let sidecar = world.start(&Settings::new(&world.kubeconfig).kind(kind.served(true, &[&world.ns]))).await?;
        let (api, board) = (&sidecar.api, Board::default());
        let load = async {
            let writers = futures::future::try_join_all((0..ENTITIES).map(|entity| board.write(api, entity)));
            let readers = futures::future::try_join_all(
                ["/v1/tents", "/v1/tents/t-0", "/v1/tents/t-1"].map(|path| board.read(api, path)),
            );
            futures::future::try_join(writers, readers).await.map(drop)
        };
        let change = async {
            board.is_busy().await?;
            board.enter(CHANGING);
            wider.install(&world.kube).await?;
            wait::until("the new field to be taken", wait::LIMIT, || async {
                api.put("/v1/tents/colored", &json!({"color": "red"})).await.and_then(|answer| {
                    match answer.status.as_u16() {
                        200 | 201 => Ok(()),
                        status => anyhow::bail!("{status} {}", answer.body),
                    }
                })
            })
            .await?;
            sidecar.ready().await?;
            board.is_busy().await?;
            board.enter(REMOVED);
            wider.remove(&world.kube).await?;
            wait::until("reads to be refused", wait::LIMIT, || async { api.get("/v1/tents").await?.expect(503) })
                .await?;
            wider.install(&world.kube).await?;
            wait::until("writes to be taken again", wait::LIMIT, || async {
                let written = api.put("/v1/tents/again", &json!({"color": "blue"})).await?;
                ensure!(written.status.is_success(), "{} {}", written.status, written.body);
                Ok(())
            })
            .await?;
            sidecar.ready().await?;
            board.enter(BACK);
            board.is_busy().await?;
            board.enter(OVER);
            Ok(())
        };
        futures::future::try_join(load, change).await?;

        let wrong = locked(&board.wrong).clone();
        let first: Vec<&String> = wrong.iter().take(10).collect();
        ensure!(wrong.is_empty(), "{} wrong answers: {first:#?}\nof {:?}", wrong.len(), locked(&board.came));
        wait::until("the cache to have what is there", wait::LIMIT, || async {
            let there = kind.objects(&world.kube, Some(&world.ns)).list(&ListParams::default()).await?;
            let there: BTreeMap<String, String> = there
                .into_iter()
                .filter_map(|object| Some((object.metadata.name?, object.metadata.resource_version?)))
                .collect();
            let list = api.get("/v1/tents").await?.expect(200)?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let known: BTreeMap<String, String> = list.body["items"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|item| (text(&item["id"]), text(&item["meta"]["version"])))
                .collect();
            ensure!(known == there, "{known:?}, there is {there:?}");
            Ok(())
        })
        .await
    });
}
