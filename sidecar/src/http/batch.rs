//! `POST /v1/batch`: several writes in one request, each with a result of its own; not atomic.

use contract::problem::{Code, Problem};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper::body::Incoming;
use hyper::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use hyper::{HeaderMap, Request, StatusCode};
use serde_json::json;
use serde_json::value::RawValue;
use sidecar_core::version::Version;
use sidecar_core::write::batch::{Batch, Op, Operation};
use sidecar_core::write::status;

use super::answer::{self, Fault, Outcome};
use super::body;
use super::conditions::Tags;
use super::context::Context;
use super::order::{Action, Done, Order};
use super::parameters;
use super::service::Api;
use super::write::check_id;
use crate::kinds::{Lookup, Served};

/// A batch is as large as eight of the largest bodies, or five hundred of 16 KiB.
const LIMIT: usize = 8 << 20;
/// Requests to the API server at the same time for one batch: enough to hide the way there, few enough to leave it room for others.
const IN_FLIGHT: usize = 16;

/// What an operation came to.
type Attempt = Result<Done, Box<Fault>>;

impl Api {
    /// Carries a batch out.
    pub(super) async fn batch(&self, request: Request<Incoming>, context: &Context) -> Outcome {
        if let Some(query) = request.uri().query().filter(|query| !query.is_empty()) {
            let detail = format!(
                "a batch takes no parameters, and {query:?} is given; namespace and dryRun are members of an operation"
            );
            return Err(Problem::new(Code::BadRequest, detail).into());
        }
        body::check_type(request.headers(), body::Taken::Json)?;
        let bytes = body::read(request, LIMIT, self.limits.body_time).await?;
        let Batch { ordered, operations } = Batch::parse(&bytes)?;
        let results = if ordered { self.one_by_one(&operations).await } else { self.together(&operations).await };
        let results: Vec<String> = results.into_iter().map(|result| told(result, context.minimal)).collect();
        let body = format!("{{\"results\":[{}]}}", results.join(","));
        let answer = answer::json(StatusCode::OK, body.into());
        Ok(if context.minimal { answer::applied(answer) } else { answer })
    }

    async fn one_by_one(&self, operations: &[Operation<'_>]) -> Vec<Attempt> {
        let mut results = Vec::with_capacity(operations.len());
        let mut failed = None;
        for (index, operation) in operations.iter().enumerate() {
            let result = match failed {
                Some(failed) => Err(not_attempted(failed).into()),
                None => self.operate(operation).await,
            };
            if result.is_err() && failed.is_none() {
                failed = Some(index);
            }
            results.push(result);
        }
        results
    }

    async fn together(&self, operations: &[Operation<'_>]) -> Vec<Attempt> {
        let mut waiting = operations.iter().enumerate();
        let mut under_way = FuturesUnordered::new();
        let mut results = Vec::with_capacity(operations.len());
        loop {
            under_way.extend(
                waiting.by_ref().take(IN_FLIGHT - under_way.len()).map(|(index, one)| self.numbered(index, one)),
            );
            let Some(result) = under_way.next().await else { break };
            results.push(result);
        }
        results.sort_unstable_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, result)| result).collect()
    }

    async fn numbered(&self, index: usize, operation: &Operation<'_>) -> (usize, Attempt) {
        (index, self.operate(operation).await)
    }

    async fn operate(&self, operation: &Operation<'_>) -> Attempt {
        let served = self.owned(&operation.kind)?;
        if let Some(namespace) = &operation.namespace {
            parameters::check(namespace)?;
        }
        let key = parameters::key(served, operation.namespace.as_deref(), &operation.id)?;
        if !operation.id.is_empty() {
            check_id(&operation.id)?;
        }
        if operation.body.len() > body::LIMIT {
            return Err(body::too_large(&operation.body.len().to_string(), body::LIMIT).into());
        }
        let action = action(operation.op);
        if matches!(action, Action::ReplaceStatus | Action::MergeStatus | Action::PatchStatus) {
            status::check(&served.kind)?;
        }
        let if_match = tags(&IF_MATCH, operation.if_match.as_deref())?;
        let if_none_match = tags(&IF_NONE_MATCH, operation.if_none_match.as_deref())?;
        let order = Order {
            action,
            key,
            body: operation.body,
            if_match: if_match.as_ref(),
            if_none_match: if_none_match.as_ref(),
            idempotency_key: operation.idempotency_key.as_deref(),
            dry_run: operation.dry_run,
        };
        self.carry_out(served, order).await
    }

    fn owned(&self, kind: &str) -> Result<&Served, Box<Fault>> {
        match self.kinds.find(kind) {
            Lookup::Found(served) if served.kind.owned => Ok(served),
            Lookup::Found(_) => Err(Problem::new(
                Code::MethodNotAllowed,
                format!("{kind} is only consumed here: this app is not its owner, so it cannot be written"),
            )
            .into()),
            _ => Err(self.no_kind(kind)),
        }
    }
}

fn action(op: Op) -> Action {
    match op {
        Op::Create => Action::Create,
        Op::Replace => Action::Replace,
        Op::Merge => Action::Merge,
        Op::Patch => Action::Patch,
        Op::Delete => Action::Delete,
        Op::ReplaceStatus => Action::ReplaceStatus,
        Op::MergeStatus => Action::MergeStatus,
        Op::PatchStatus => Action::PatchStatus,
    }
}

/// A conditional header's value; a bare version is a tag that lost its quotes.
fn tags(name: &HeaderName, value: Option<&str>) -> Result<Option<Tags>, Problem> {
    let Some(value) = value else { return Ok(None) };
    let text = if value.parse::<Version>().is_ok() { format!("\"{value}\"") } else { value.to_owned() };
    let bad = |_| Problem::new(Code::BadRequest, format!("{name} is no text that a header can hold"));
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_str(&text).map_err(bad)?);
    Tags::read(&headers, name)
}

fn not_attempted(failed: usize) -> Problem {
    Problem::new(Code::NotAttempted, format!("operation {failed} failed, and the batch is ordered"))
}

/// A result as JSON.
fn told(result: Attempt, minimal: bool) -> String {
    // Warnings are headers, which a result of a batch has not.
    let Done { status, entity, location, .. } = match result {
        Ok(done) => done,
        Err(fault) => {
            let (problem, retry_after) = fault.told();
            let mut result = json!({ "status": problem.status, "problem": problem });
            if let (Some(seconds), Some(members)) = (retry_after, result.as_object_mut()) {
                members.insert("retryAfter".to_owned(), json!(seconds));
            }
            return result.to_string();
        }
    };
    let mut text = format!("{{\"status\":{}", status.as_u16());
    if let Some(location) = location {
        text.push_str(&format!(",\"location\":{}", json!(location)));
    }
    if let Some(entity) = &entity {
        // A dry run of a create has no version.
        if entity.version != Version::default() {
            text.push_str(&format!(",\"etag\":{}", json!(format!("\"{}\"", entity.version))));
        }
        // The cache holds JSON, which is not read again for this.
        if let (false, Ok(entity)) = (minimal, serde_json::from_slice::<&RawValue>(&entity.json)) {
            text.push_str(",\"entity\":");
            text.push_str(entity.get());
        }
    }
    text.push('}');
    text
}
