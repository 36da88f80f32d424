//! Several clients at several sidecars, one of which is killed in the middle, write and read the same few entities; what they saw is
//! checked with Porcupine.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use e2e::entity_api::{Answer, Client};
use e2e::linearizability::{Checker, Deed, Operation, Outcome};
use e2e::program::Scratch;
use e2e::sidecar::{Settings, Sidecar};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::run;

const ENTITIES: [&str; 3] = ["bread", "milk", "tea"];
const SIDECARS: usize = 3;
const CLIENTS_EACH: usize = 2;
/// How long they are at it, and how much they do at most: what takes the checker seconds, not minutes.
const TIME: Duration = Duration::from_secs(10);
const MOST: usize = 400;

/// A write that was answered: its version, and when it was sent.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    version: i64,
    call: i64,
}

/// What all clients share.
struct Board {
    start: Instant,
    /// Of each sidecar: where it is now.
    apis: Mutex<Vec<Client>>,
    /// Of each entity: the newest version that anybody was told, which all clients then ask for.
    told: Mutex<[Told; 3]>,
    history: Mutex<Vec<Operation>>,
}

fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    fn now(&self) -> i64 {
        i64::try_from(self.start.elapsed().as_nanos()).unwrap_or(i64::MAX)
    }
}

/// One client: the next thing to do follows from its own numbers, so that a run differs from another in its timing only.
struct Actor<'a> {
    board: &'a Board,
    number: usize,
    dice: u64,
}

impl Actor<'_> {
    /// A number below `faces`.
    fn throw(&mut self, faces: usize) -> usize {
        // An LCG with Knuth's constants.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.dice >> 33).unwrap_or_default() % faces
    }

    async fn act(mut self) -> anyhow::Result<()> {
        let mut done = 0;
        while self.board.start.elapsed() < TIME && done < MOST {
            let api = locked(&self.board.apis).get(self.number % SIDECARS).cloned().context("there is a sidecar")?;
            let (entity, value) = (self.throw(ENTITIES.len()), format!("{}-{done}", self.number));
            match self.throw(12) {
                0..=3 => self.compare_and_swap(&api, entity, value).await?,
                4 => self.write(&api, entity, Deed::Replace, 0, value).await?,
                5 => self.write(&api, entity, Deed::Patch, 0, value).await?,
                6 => self.write(&api, entity, Deed::Delete, 0, String::new()).await?,
                7 => self.write(&api, entity, Deed::Create, 0, value).await?,
                8 | 9 => drop(self.read(&api, entity, self.throw_fresh()).await?),
                _ => self.list(&api, entity).await?,
            }
            done += 1;
        }
        Ok(())
    }

    fn throw_fresh(&self) -> bool {
        self.dice & 1 << 40 == 0
    }

    /// Writes, changes or deletes what was read just before, if nobody has done so meanwhile.
    async fn compare_and_swap(&mut self, api: &Client, entity: usize, value: String) -> anyhow::Result<()> {
        let Some(version) = self.read(api, entity, self.throw_fresh()).await? else { return Ok(()) };
        let deed = [Deed::Replace, Deed::Replace, Deed::Patch, Deed::Patch, Deed::Delete];
        let deed = deed.get(self.throw(deed.len())).copied().unwrap_or(Deed::Replace);
        self.write(api, entity, deed, version, if deed == Deed::Delete { String::new() } else { value }).await
    }

    async fn write(&self, api: &Client, entity: usize, deed: Deed, base: i64, value: String) -> anyhow::Result<()> {
        let name = ENTITIES.get(entity).copied().unwrap_or_default();
        let path = format!("/v1/todos/{name}");
        let tag = format!("\"{base}\"");
        let mut headers = if base == 0 { vec![] } else { vec![("if-match", tag.as_str())] };
        let whole = json!({"id": name, "when": "2030-01-01T10:00:00Z", "message": value});
        let (method, path, body) = match deed {
            Deed::Create => (Method::POST, "/v1/todos", Some(whole)),
            Deed::Replace => (Method::PUT, path.as_str(), Some(whole)),
            Deed::Delete => (Method::DELETE, path.as_str(), None),
            Deed::Patch | Deed::Read => {
                headers.push(("content-type", "application/merge-patch+json"));
                (Method::PATCH, path.as_str(), Some(json!({"message": value})))
            }
        };
        let call = self.board.now();
        let answer = api.send(method, path, &headers, body.map(|body| body.to_string())).await;
        let answered = self.board.now();
        let (outcome, version) = match &answer {
            Ok(answer) => match (answer.status.as_u16(), deed) {
                (200 | 201, _) => (Outcome::Done, version(&answer.body)?),
                (204, _) => (Outcome::Done, 0),
                (404, _) => (Outcome::Absent, 0),
                (409, Deed::Create) => (Outcome::Exists, 0),
                (412, _) => (Outcome::Stale, 0),
                // Refused for good, such as a write that met too many others: as if it had never been asked.
                (409 | 429, _) => return Ok(()),
                (500.., _) => (Outcome::Unknown, 0),
                (status, _) => anyhow::bail!("{deed:?} {path} {headers:?}: {status} {}", answer.body),
            },
            // Where nobody listens nothing takes effect. Each write of which that is not known doubles what has to be checked.
            Err(error) if unheard(error) => {
                pause(true).await;
                return Ok(());
            }
            Err(_) => (Outcome::Unknown, 0),
        };
        if version > 0 {
            let mut told = locked(&self.board.told);
            if let Some(told) = told.get_mut(entity).filter(|told| told.version < version) {
                *told = Told { version, call };
            }
        }
        let operation = Operation {
            client: self.number,
            call,
            answered,
            entity: name.to_owned(),
            deed,
            base,
            at_least: 0,
            value,
            outcome,
            version,
        };
        locked(&self.board.history).push(operation);
        pause(answer.is_err()).await;
        Ok(())
    }

    /// A read past the cache, or one from the cache that must be as new as what anybody was told. Answers the version.
    async fn read(&self, api: &Client, entity: usize, through: bool) -> anyhow::Result<Option<i64>> {
        let name = ENTITIES.get(entity).copied().unwrap_or_default();
        let told = locked(&self.board.told).get(entity).copied().unwrap_or_default();
        let (call, answer) = self.look(api, &format!("/v1/todos/{name}"), told, through).await;
        let Some(answer) = answer else { return Ok(None) };
        let found = match answer.status.as_u16() {
            200 => Some(&answer.body),
            404 => None,
            _ => return Err(anyhow::anyhow!("reading {name}: {} {}", answer.status, answer.body)),
        };
        let version = found.map(version).transpose()?;
        self.saw(name, call, if through { 0 } else { told.version }, found)?;
        Ok(version)
    }

    /// A list sees all entities, each at some moment since the write of the version that was asked for.
    async fn list(&mut self, api: &Client, entity: usize) -> anyhow::Result<()> {
        let through = self.throw(3) == 0;
        let told = locked(&self.board.told).get(entity).copied().unwrap_or_default();
        let (call, answer) = self.look(api, "/v1/todos", told, through).await;
        let Some(answer) = answer else { return Ok(()) };
        let items = answer.expect(200)?.body["items"].as_array().cloned().unwrap_or_default();
        for (index, name) in ENTITIES.iter().enumerate() {
            let at_least = if index == entity && !through { told.version } else { 0 };
            self.saw(name, call, at_least, items.iter().find(|item| item["id"] == *name))?;
        }
        Ok(())
    }

    /// Answers when the earliest moment was that may be seen, and what came. Nothing came while a sidecar was away or its cache not filled.
    async fn look(&self, api: &Client, path: &str, told: Told, through: bool) -> (i64, Option<Answer>) {
        let least = told.version.to_string();
        let fresh = ("cache-control", "no-cache");
        let headers = if through { [fresh] } else { [("at-least-version", least.as_str())] };
        let call = if through { self.board.now() } else { told.call };
        let answer = api.send(Method::GET, path, &headers, None).await.ok();
        let answer = answer.filter(|answer| answer.status.as_u16() != 503);
        pause(answer.is_none()).await;
        (call, answer)
    }

    fn saw(&self, name: &str, call: i64, at_least: i64, found: Option<&Value>) -> anyhow::Result<()> {
        let operation = Operation {
            client: self.number,
            call,
            answered: self.board.now(),
            entity: name.to_owned(),
            deed: Deed::Read,
            base: 0,
            // What was deleted since has no version to compare.
            at_least: if found.is_some() { at_least } else { 0 },
            value: found.and_then(|found| found["message"].as_str()).unwrap_or_default().to_owned(),
            outcome: if found.is_some() { Outcome::Done } else { Outcome::Absent },
            version: found.map(version).transpose()?.unwrap_or_default(),
        };
        locked(&self.board.history).push(operation);
        Ok(())
    }
}

fn version(entity: &Value) -> anyhow::Result<i64> {
    let version = entity["meta"]["version"].as_str().and_then(|version| version.parse().ok());
    version.with_context(|| format!("no version in {entity}"))
}

/// No connection was made, so nothing was sent.
fn unheard(error: &anyhow::Error) -> bool {
    error.chain().filter_map(|cause| cause.downcast_ref::<reqwest::Error>()).any(reqwest::Error::is_connect)
}

/// Where the sidecar is away there is nothing to be gained by asking again at once.
async fn pause(away: bool) {
    if away {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn what_clients_of_several_sidecars_see_is_linearizable() {
    run("linearizable", async |world| {
        let kind =
            json!({"apiVersion": "k8sasbackend.com/v1", "kind": "Todo", "owned": true, "namespaces": [world.ns]});
        let settings = Settings::new(&world.kubeconfig).kind(kind);
        let mut sidecars: Vec<Sidecar> = Vec::new();
        for _ in 0..SIDECARS {
            sidecars.push(world.start(&settings).await?);
        }
        let board = Board {
            start: Instant::now(),
            apis: Mutex::new(sidecars.iter().map(|sidecar| sidecar.api.clone()).collect()),
            told: Mutex::default(),
            history: Mutex::default(),
        };
        let actors = (0..SIDECARS * CLIENTS_EACH).map(|number| {
            let dice = u64::try_from(number).unwrap_or_default().wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Actor { board: &board, number, dice }.act()
        });
        let killing = async {
            tokio::time::sleep(TIME / 4).await;
            let killed = sidecars.pop().context("there are sidecars")?;
            killed.kill().await?;
            let next = world.start(&settings).await?;
            if let Some(api) = locked(&board.apis).last_mut() {
                *api = next.api.clone();
            }
            sidecars.push(next);
            Ok(())
        };
        futures::future::try_join(futures::future::try_join_all(actors), killing).await?;

        let history = board.history.into_inner().unwrap_or_else(PoisonError::into_inner);
        let count = |wanted: &dyn Fn(&Operation) -> bool| history.iter().filter(|found| wanted(found)).count();
        let swapped = count(&|found| found.base > 0 && found.outcome == Outcome::Done);
        let stale = count(&|found| found.outcome == Outcome::Stale);
        let cached = count(&|found| found.at_least > 0);
        ensure!(
            history.len() > 300 && swapped > 20 && stale > 5 && cached > 50,
            "too little happened: {} operations, {swapped} swaps, {stale} stale, {cached} reads from caches",
            history.len()
        );
        let checker = Checker::build(world.scratch.folder())?;
        if let Some(refusal) = checker.refusal(&history).context("what was seen")? {
            anyhow::bail!("of {} operations:\n{refusal}", history.len());
        }

        // The same history with one lie in it. Which lies can be told from the truth depends on what else was going on: a swap that
        // lost against a write beside it could as well have come before it, and a write without an answer excuses more still. That
        // somebody read what nobody ever wrote is false in any history; the other lies are told to the checker in the test below.
        let mut lie = history.clone();
        let read = lie.iter_mut().find(|found| found.deed == Deed::Read && found.outcome == Outcome::Done);
        "nobody wrote this".clone_into(&mut read.context("a read of what is there")?.value);
        ensure!(
            checker.refusal(&lie).context("with a lie")?.is_some(),
            "a read of what was never written was not noticed"
        );
        Ok(())
    });
}

/// An operation on milk, by two clients in turn.
fn operation(deed: Deed, (call, answered): (i64, i64), outcome: Outcome, value: &str, version: i64) -> Operation {
    let (entity, value) = ("milk".to_owned(), value.to_owned());
    Operation { client: 0, call, answered, entity, deed, base: 0, at_least: 0, value, outcome, version }
}

#[test]
fn the_checker_of_histories_refuses_the_wrong_ones() -> anyhow::Result<()> {
    use Deed::{Create, Delete, Read, Replace};
    use Outcome::{Absent, Done, Stale, Unknown};
    let scratch = Scratch::new(&format!("checker-{}", e2e::program::unique()))?;
    let checker = Checker::build(scratch.folder())?;
    let born = operation(Create, (0, 10), Done, "a", 1);
    let second = operation(Replace, (20, 30), Done, "b", 2);
    let swap =
        |times, outcome, value, version| Operation { base: 1, ..operation(Replace, times, outcome, value, version) };
    let table = [
        ("a read of what is there", vec![operation(Read, (40, 50), Done, "b", 2)], true),
        ("a stale read", vec![operation(Read, (40, 50), Done, "a", 1)], false),
        ("a read beside the write, of before", vec![operation(Read, (15, 25), Done, "a", 1)], true),
        ("a read of what was never written", vec![operation(Read, (40, 50), Done, "c", 3)], false),
        ("a read of nothing", vec![operation(Read, (40, 50), Absent, "", 0)], false),
        ("a read from a cache, since the first write", vec![operation(Read, (0, 50), Done, "a", 1)], true),
        (
            "the same, though more was asked for",
            vec![Operation { at_least: 2, ..operation(Read, (0, 50), Done, "a", 1) }],
            false,
        ),
        ("a lost update", vec![swap((40, 50), Done, "c", 3)], false),
        ("an update that is refused for good reason", vec![swap((40, 50), Stale, "c", 0)], true),
        (
            "one that is refused for none",
            vec![Operation { base: 2, ..operation(Replace, (40, 50), Stale, "c", 0) }],
            false,
        ),
        (
            "a deletion that comes back",
            vec![operation(Delete, (40, 50), Done, "", 0), operation(Read, (60, 70), Done, "b", 2)],
            false,
        ),
        (
            "a write without an answer, seen",
            vec![operation(Replace, (40, 50), Unknown, "c", 0), operation(Read, (60, 70), Done, "c", 3)],
            true,
        ),
        (
            "one not seen",
            vec![operation(Replace, (40, 50), Unknown, "c", 0), operation(Read, (60, 70), Done, "b", 2)],
            true,
        ),
        (
            "one seen and then no more",
            vec![
                operation(Replace, (40, 50), Unknown, "c", 0),
                operation(Read, (60, 70), Done, "c", 3),
                operation(Read, (80, 90), Done, "b", 2),
            ],
            false,
        ),
    ];
    for (what, more, right) in table {
        let history = [vec![born.clone(), second.clone()], more].concat();
        let refusal = checker.refusal(&history)?;
        ensure!(refusal.is_none() == right, "{what}: {refusal:?}");
    }
    scratch.remove();
    Ok(())
}
