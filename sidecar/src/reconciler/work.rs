//! One look at one entity: observe it and its children, ask the app, do what it wants, record what came of it.
//!
//! Whatever is decided on the way is [`sidecar_core::reconcile`]'s. Before each effect it asks whether the Lease is still ours; the next one would do the
//! same work, so to leave off is always right.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use contract::hook::{Condition, EventAnswer, EventKind, HookName, ReconcileAnswer};
use contract::problem::Code;
use hyper::HeaderMap;
use jiff::Timestamp;
use sidecar_core::entity::{Entity, Key};
use sidecar_core::hook::{Outcome as CallOutcome, Verdict};
use sidecar_core::queue::{Outcome, Taken};
use sidecar_core::reconcile::child::{self, Applied, Parent, Place, Step};
use sidecar_core::reconcile::status::{self, Report, Takes};
use sidecar_core::reconcile::{self, Change, Work, body, pace};
use sidecar_core::recorder::{About, Action, Custom, Note, Reason};

use super::metrics::{Ended, Wrote};
use super::{Context, Hook};
use crate::hooks::Call;
use crate::store::Refused;

/// So many attempts may fail before people are told: the first few seconds.
const TOLD: u32 = 4;
/// When a write met another state than the one that it was made for: by then the watch has told.
const AGAIN: Duration = Duration::from_secs(1);
/// An entity whose app does not say when to ask again is asked again after this long whether it is finalized.
const FINALIZE_AGAIN: Duration = Duration::from_secs(10);
/// An entity that is not finalized for so long may need a person.
const OVERDUE: Duration = Duration::from_secs(300);

/// What is remembered of an entity from look to look. All of it may be forgotten: then a request more is made.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What was applied to its children last.
    applied: HashMap<Place, Applied>,
    /// Since when it is being finalized.
    finalizing: Option<Instant>,
}

impl Memory {
    pub(super) fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.finalizing.is_none()
    }
}

/// What one look came to.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) key: Key,
    /// Absent: the entity is gone.
    pub(super) uid: Option<Box<str>>,
    pub(super) outcome: Outcome,
    pub(super) ended: Ended,
    pub(super) memory: Memory,
}

/// Why a look ended before its end.
enum Stop {
    /// The Lease is another's.
    Lost,
    /// The entity is gone, or another one by now: the watch tells.
    Changed,
    /// The API server is away or refuses.
    Refused(Refused),
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Looks at an entity.
pub(super) async fn look(ctx: Arc<Context>, taken: Taken<Key>, memory: Memory) -> Done {
    let Some(entity) = ctx.view.find(&taken.key) else {
        let (outcome, ended) = (Outcome::Done, Ended::nothing);
        return Done { key: taken.key, uid: None, outcome, ended, memory: Memory::default() };
    };
    let uid = Some(entity.uid.clone());
    let mut look = Look { ctx: &ctx, entity, attempt: taken.attempt, memory };
    let (outcome, ended) = match look.whole().await {
        Ok(end) => end,
        Err(Stop::Lost) => (Outcome::Untried, Ended::untried),
        Err(Stop::Changed) => (Outcome::After(AGAIN), Ended::nothing),
        Err(Stop::Refused(Refused { problem, retry_after })) => {
            tracing::debug!(kind = %ctx.kind.full_name(), id = %taken.key.id, problem = problem.detail, "the API server did not let us reconcile");
            (Outcome::Retry(retry_after.map(Duration::from_secs)), Ended::failed)
        }
    };
    Done { key: taken.key, uid, outcome, ended, memory: look.memory }
}

struct Look<'a> {
    ctx: &'a Context,
    entity: Arc<Entity>,
    attempt: u32,
    memory: Memory,
}

/// What an answer's children came to.
#[derive(Default)]
struct Obeyed {
    changed: bool,
    hindrances: Vec<String>,
}

impl Look<'_> {
    async fn whole(&mut self) -> Result<(Outcome, Ended), Stop> {
        match reconcile::work(&self.entity, self.ctx.hooks()) {
            Work::Nothing => Ok((Outcome::Done, Ended::nothing)),
            Work::Release => {
                self.release().await?;
                Ok((Outcome::Done, Ended::done))
            }
            Work::Finalize => match &self.ctx.finalize {
                Some(hook) => self.ask(HookName::Finalize, hook).await,
                None => Ok((Outcome::Done, Ended::nothing)),
            },
            Work::Reconcile { finalizer } => {
                match finalizer {
                    Change::None => {}
                    Change::Add => self.protect().await?,
                    Change::Remove => self.release().await?,
                }
                match &self.ctx.reconcile {
                    Some(hook) => self.ask(HookName::Reconcile, hook).await,
                    None => Ok((Outcome::Done, Ended::done)),
                }
            }
        }
    }

    async fn ask(&mut self, name: HookName, hook: &Hook) -> Result<(Outcome, Ended), Stop> {
        let ctx = self.ctx;
        let children = ctx.children.of(&self.entity.uid);
        let shown: Vec<_> =
            children.iter().filter_map(|(place, child)| Some((&**ctx.children.kind(*place)?.0, &**child))).collect();
        let namespace = self.entity.key.namespace.as_deref();
        let related: Vec<_> = ctx
            .related
            .iter()
            .flat_map(|(kind, view)| {
                let views =
                    view.views().iter().filter(|view| view.namespace().is_none_or(|of| Some(&**of) == namespace));
                views.flat_map(|view| view.within(namespace)).map(move |related| (kind, related))
            })
            .collect();
        let related: Vec<_> = related.iter().map(|(kind, related)| (&***kind, &**related)).collect();
        let Ok(body) = body::request(&self.entity, &shown, &related, self.attempt) else {
            return Ok((Outcome::OnChange, Ended::rejected));
        };
        let call = Call {
            kind: Arc::clone(&ctx.name),
            hook: name,
            path: Arc::clone(&hook.path),
            body: body.into(),
            content_type: None,
            headers: HeaderMap::new(),
            attempt: self.attempt,
            deadline: hook.deadline,
            trace: crate::spans::of(self.entity.version),
        };
        self.leads()?;
        let answered = ctx.app.call(call).await;
        let (outcome, why) = match &answered {
            Ok(answer) => (answer.outcome(), body::refusal(answer.status, &answer.body)),
            Err(failure) => (CallOutcome::Failed(*failure), failure.to_string()),
        };
        let answer = match (outcome.verdict(), &answered) {
            (Verdict::Done, Ok(answer)) => match ctx.app.read::<ReconcileAnswer>(&ctx.name, name, answer) {
                Ok(read) => read,
                Err(unusable) => return self.failing(name, unusable.to_string(), None).await,
            },
            (Verdict::Rejected, _) => return self.rejected(name, "HookRejected", why).await,
            (Verdict::Failing { asked }, _) => return self.failing(name, why, asked).await,
            (Verdict::Done, Err(_)) => return Ok((Outcome::Retry(None), Ended::failed)),
        };
        self.obey(name, answer, &children).await
    }

    /// Does what the app wants, and records it.
    async fn obey(
        &mut self,
        name: HookName,
        answer: ReconcileAnswer,
        observed: &[(usize, Arc<Entity>)],
    ) -> Result<(Outcome, Ended), Stop> {
        let ctx = self.ctx;
        let again = body::requeue(answer.requeue_after);
        let mut obeyed = Obeyed::default();
        if let Some(children) = &answer.children {
            let parent = Parent { kind: &ctx.kind, entity: &self.entity };
            match child::wanted(parent, &ctx.children.kinds, children) {
                Ok(wanted) => obeyed = self.children(child::plan(wanted, observed, &self.memory.applied)).await?,
                Err(unusable) => return self.rejected(name, "ChildRefused", unusable.to_string()).await,
            }
        }
        self.tell_app_events(name, answer.events);
        let generation = reconcile::generation(&self.entity);
        let busy = ctx.pace.lock().reconciled(&self.entity.key, generation, obeyed.changed, Instant::now());
        if busy {
            obeyed.hindrances.push(format!(
                "its children were changed more than {} times in a minute though nobody changed it: the answer of the app must be the same for the same entity",
                pace::MOST
            ));
        }
        let finalized = name == HookName::Finalize && answer.finalized;
        let hindered = (!obeyed.hindrances.is_empty()).then(|| obeyed.hindrances.join("; "));
        let overdue = name == HookName::Finalize && !finalized && self.is_overdue();
        let report = self.report(answer.status, answer.conditions, hindered.clone(), busy, overdue);
        if finalized && hindered.is_none() {
            self.release().await?;
            return Ok((Outcome::Done, Ended::done));
        }
        let news = match self.record(report).await {
            Err(Stop::Refused(Refused { problem, .. })) if is_fault(problem.status) => {
                return self.rejected(name, "StatusRefused", problem.detail).await;
            }
            other => other?,
        };
        if let Some(text) = hindered {
            let reason = if busy { Reason::Stalled } else { Reason::HookFailing };
            self.tell(Note::warning(reason, action(name), text));
            let outcome = Outcome::Retry(busy.then_some(pace::PENALTY));
            return Ok((outcome, if busy { Ended::busy } else { Ended::failed }));
        }
        if overdue && news {
            let text = format!("not finalized within {} s", OVERDUE.as_secs());
            self.tell(Note::warning(Reason::Stalled, action(name), text));
        } else if self.attempt > TOLD {
            self.tell(Note::normal(Reason::Recovered, action(name), "the app deals with it again"));
        }
        let again = again.or((name == HookName::Finalize).then_some(FINALIZE_AGAIN));
        Ok((again.map_or(Outcome::Done, Outcome::After), Ended::done))
    }

    fn report(
        &self,
        status: Option<serde_json::Map<String, serde_json::Value>>,
        conditions: Vec<Condition>,
        hindered: Option<String>,
        busy: bool,
        overdue: bool,
    ) -> Report {
        match hindered {
            Some(message) => {
                let reason = if busy { "Busy" } else { "ChildRefused" };
                Report::Hindered { status, conditions, reason, message }
            }
            None if overdue => Report::Hindered {
                status,
                conditions,
                reason: "NotFinalized",
                message: format!(
                    "the app does not let it go; the annotation {}=true lets it go without the app",
                    contract::names::FORCE_FINALIZE
                ),
            },
            None => Report::Reconciled { status, conditions },
        }
    }

    /// Since it was first asked to be finalized here.
    fn is_overdue(&mut self) -> bool {
        self.memory.finalizing.get_or_insert_with(Instant::now).elapsed() >= OVERDUE
    }

    async fn children(&mut self, plan: child::Plan) -> Result<Obeyed, Stop> {
        let ctx = self.ctx;
        let mut obeyed = Obeyed::default();
        let uid = self.entity.uid.clone();
        obeyed.hindrances.extend(plan.taken.iter().map(|taken| taken.told(&ctx.children.kinds, &uid)));
        for step in plan.steps {
            self.leads()?;
            let (place, done) = match step {
                Step::Delete { place, uid, version } => {
                    let done = self.delete(&place, &uid, version).await;
                    (place, done)
                }
                Step::Apply { wanted, uid } => (wanted.place.clone(), self.apply(&wanted, Some(&uid)).await),
                Step::Look(wanted) => {
                    let Some((kind, _)) = ctx.children.kind(wanted.place.kind) else { continue };
                    let there = match ctx.store.look(kind, &wanted.place.key).await {
                        Ok(there) => there,
                        Err(refused) => {
                            obeyed.hindrances.push(told(ctx, &wanted.place, &hindrance(refused)?));
                            continue;
                        }
                    };
                    self.leads()?;
                    match child::found(&wanted, there.as_ref(), &uid) {
                        Ok(there) => (wanted.place.clone(), self.apply(&wanted, there.as_deref()).await),
                        Err(taken) => {
                            obeyed.hindrances.push(taken.told(&ctx.children.kinds, &uid));
                            continue;
                        }
                    }
                }
            };
            match done {
                Ok(changed) => obeyed.changed |= changed,
                Err(refused) => obeyed.hindrances.push(told(ctx, &place, &hindrance(refused)?)),
            }
        }
        Ok(obeyed)
    }

    /// Answers whether that changed anything.
    async fn apply(&mut self, wanted: &child::Wanted, uid: Option<&str>) -> Result<bool, Refused> {
        let Some((kind, view)) = self.ctx.children.kind(wanted.place.kind) else { return Ok(false) };
        let before = view.find(&wanted.place.key).map(|child| child.version);
        let child = self.ctx.store.apply(kind, &wanted.place.key, wanted.body(uid)).await?;
        let version = child.version;
        self.memory.applied.insert(wanted.place.clone(), Applied { digest: wanted.digest, version });
        view.written(child);
        let changed = before != Some(version);
        if changed {
            self.ctx.metrics.wrote(&self.ctx.name, Wrote::child_applied);
        }
        Ok(changed)
    }

    async fn delete(
        &mut self,
        place: &Place,
        uid: &str,
        version: sidecar_core::version::Version,
    ) -> Result<bool, Refused> {
        let Some((kind, view)) = self.ctx.children.kind(place.kind) else { return Ok(false) };
        match self.ctx.store.delete_object(kind, &place.key, uid).await? {
            Some(leaving) => view.written(leaving),
            None => view.deleted(&place.key, uid, Some(version), Instant::now()),
        }
        self.memory.applied.remove(place);
        self.ctx.metrics.wrote(&self.ctx.name, Wrote::child_deleted);
        Ok(true)
    }

    /// The app refuses the entity, or wants what cannot be: nothing more until the entity changes.
    async fn rejected(
        &mut self,
        name: HookName,
        reason: &'static str,
        message: String,
    ) -> Result<(Outcome, Ended), Stop> {
        self.record(Report::Stalled { reason, message: message.clone() }).await?;
        self.tell(Note::warning(Reason::HookRejected, action(name), message));
        Ok((Outcome::OnChange, Ended::rejected))
    }

    /// The app fails; people are told when it is not over soon, unless it is not there at all, which concerns no single entity.
    async fn failing(
        &mut self,
        name: HookName,
        message: String,
        asked: Option<Duration>,
    ) -> Result<(Outcome, Ended), Stop> {
        if self.ctx.app_is_away() {
            return Ok((Outcome::Untried, Ended::untried));
        }
        if self.attempt >= TOLD {
            let news = self.record(Report::Failing { reason: "HookFailing", message: message.clone() }).await?;
            if news {
                self.tell(Note::warning(Reason::HookFailing, action(name), message));
            }
        }
        Ok((Outcome::Retry(asked), Ended::failed))
    }

    /// Writes the status where it is another than before; answers whether it is.
    async fn record(&mut self, report: Report) -> Result<bool, Stop> {
        let ctx = self.ctx;
        if !ctx.kind.has_status {
            return Ok(false);
        }
        let takes = ctx.schema().map(|description| Takes::of(&description.schema)).unwrap_or_default();
        let generation = reconcile::generation(&self.entity);
        // The answer to our own write may be here already, and somebody may have written a status meanwhile: conditions are merged into what is there now.
        let present = ctx.view.find(&self.entity.key).filter(|present| present.uid == self.entity.uid);
        let present = present.unwrap_or_else(|| Arc::clone(&self.entity));
        let Some(status) = status::after(&present, generation, report, &takes, Timestamp::now()) else {
            return Ok(false);
        };
        self.leads()?;
        let (key, uid) = (&self.entity.key, &self.entity.uid);
        let written = ctx.store.put_status(&ctx.kind, key, uid, &status).await?;
        ctx.metrics.wrote(&ctx.name, Wrote::status);
        self.entity = written.ok_or(Stop::Changed)?;
        ctx.view.written(Arc::clone(&self.entity));
        Ok(true)
    }

    /// Puts our finalizer on.
    async fn protect(&mut self) -> Result<(), Stop> {
        self.leads()?;
        let written = self.ctx.store.add_finalizer(&self.ctx.kind, &self.entity).await?;
        self.ctx.metrics.wrote(&self.ctx.name, Wrote::finalizer);
        // What changed meanwhile comes by the watch, and with it the next look.
        self.entity = written.ok_or(Stop::Changed)?;
        self.ctx.view.written(Arc::clone(&self.entity));
        Ok(())
    }

    /// Takes our finalizer off.
    async fn release(&mut self) -> Result<(), Stop> {
        self.leads()?;
        let (key, uid) = (self.entity.key.clone(), self.entity.uid.clone());
        let left = self.ctx.store.remove_finalizer(&self.ctx.kind, &key, &uid).await?;
        self.ctx.metrics.wrote(&self.ctx.name, Wrote::finalizer);
        match left {
            Some(left) => {
                self.ctx.view.written(Arc::clone(&left));
                self.entity = left;
            }
            None => self.ctx.view.deleted(&key, &uid, Some(self.entity.version), Instant::now()),
        }
        self.memory = Memory::default();
        Ok(())
    }

    fn leads(&self) -> Result<(), Stop> {
        if self.ctx.leads() { Ok(()) } else { Err(Stop::Lost) }
    }

    fn tell(&self, note: Note) {
        let about = About::entity(&self.ctx.kind, &self.entity.key, &self.entity.uid);
        self.ctx.events.tell(&about, note);
    }

    fn tell_app_events(&self, name: HookName, events: Vec<EventAnswer>) {
        for EventAnswer { kind, reason, message } in events {
            let Ok(reason) = Custom::try_from(reason.as_str()) else {
                tracing::debug!(kind = %self.ctx.name, "the app told an event whose reason is no word in CamelCase");
                continue;
            };
            let reason = Reason::Custom(reason);
            self.tell(match kind {
                EventKind::Normal => Note::normal(reason, action(name), message),
                EventKind::Warning => Note::warning(reason, action(name), message),
            });
        }
    }
}

/// What keeps a child from being as the app wants it; with an API server that is away nothing is said of the child.
fn hindrance(refused: Refused) -> Result<String, Stop> {
    let away = [Code::Unavailable, Code::Timeout, Code::Internal, Code::BadGateway, Code::TooManyRequests];
    if away.iter().any(|code| code.status() == refused.problem.status) {
        return Err(Stop::Refused(refused));
    }
    Ok(refused.problem.detail)
}

/// Whether the API server finds fault with what the app wants.
fn is_fault(status: u16) -> bool {
    [Code::BadRequest, Code::Invalid, Code::TooLarge].iter().any(|code| code.status() == status)
}

fn told(ctx: &Context, place: &Place, why: &str) -> String {
    let kind = ctx.children.kind(place.kind).map_or("object", |(kind, _)| &kind.kind);
    format!("{kind} {:?}: {why}", &*place.key.id)
}

fn action(name: HookName) -> Action {
    match name {
        HookName::Finalize => Action::Finalize,
        _ => Action::Reconcile,
    }
}
