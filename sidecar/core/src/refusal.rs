//! From the API server's refusal (a Kubernetes `Status`) to a problem in the business shape's words.
//!
//! Owns which refusal is which problem, and that nothing of Kubernetes' wording, no address, account, token or stack gets through. The store calls it
//! for every answer that is not a success. Texts of rules (CEL, webhooks, admission policies) were written for people and pass.

mod path;
mod wording;

use std::time::Duration;

use contract::problem::{Code, Problem};
use serde::Deserialize;

use crate::admission::response::UNDECIDED;
use crate::entity::Key;
use crate::kind::Kind;

/// All that the API server says of a JSON patch that cannot be applied.
const INAPPLICABLE: &str = "the server rejected our request due to an error in our request";

/// Whether the write carried a version that had to match: decides between 409 and 412.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditional {
    /// `If-Match` was given.
    Yes,
    /// It was not.
    No,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    kind: String,
    message: String,
    reason: String,
    details: Option<Details>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    kind: String,
    causes: Vec<Cause>,
    retry_after_seconds: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Cause {
    message: String,
    field: String,
}

/// What a refusal is about.
struct Refused<'a> {
    kind: &'a Kind,
    key: &'a Key,
    status: Status,
    conditional: Conditional,
    sent: Option<usize>,
}

/// The problem for an answer of the API server that is not a success. Field paths are translated (`spec.when` → `/when`,
/// `spec.items[2].name` → `/items/2/name`, `metadata.labels` → `/meta/labels`); no address, token or stack gets through.
/// A body that is no `Status` gives 502, unless the HTTP status says enough (404, 429, 5xx).
/// `sent` is the size of what was sent to it.
pub fn problem(
    kind: &Kind,
    key: &Key,
    http_status: u16,
    body: &[u8],
    conditional: Conditional,
    sent: Option<usize>,
) -> Problem {
    let status = read(body);
    let readable = status.is_some();
    let refused = Refused { kind, key, status: status.unwrap_or_default(), conditional, sent };
    if let Some(problem) = refused.by_a_rule().or_else(|| refused.by_the_store()) {
        return problem;
    }
    match http_status {
        401 => unavailable("the API server does not accept the sidecar's credentials for now"),
        404 => refused.not_found(readable),
        429 => Problem::new(Code::TooManyRequests, "the API server takes no more requests for now: try again later"),
        503 => unavailable("the API server does not serve for now: try again later"),
        // 504 is a timeout of the API server itself.
        504 => refused.unknown_outcome(),
        500..=599 if matches!(refused.status.reason.as_str(), "Timeout" | "ServerTimeout") => refused.unknown_outcome(),
        500..=599 => unavailable("the API server has a fault: try again later"),
        _ if !readable => bad_gateway(http_status),
        400 => refused.bad_request(),
        403 | 405 if refused.status.message.contains("definition is terminating") => unavailable(&format!(
            "the definition of the kind {} is being removed, so nothing of it can be created: try again when it is installed anew",
            kind.full_name()
        )),
        403 => refused.forbidden(),
        405 => refused.not_supported(),
        409 => refused.conflict(),
        410 => unavailable("the API server no longer knows that state: try again"),
        413 => refused.too_large(),
        422 => refused.invalid(),
        _ => bad_gateway(http_status),
    }
}

/// Whether a JSON patch could not be applied to the object as it is; what did not fit, the API server keeps for itself.
pub fn inapplicable(http_status: u16, body: &[u8]) -> bool {
    http_status == 422
        && read(body).is_some_and(|status| {
            status.message.contains(INAPPLICABLE) && status.details.is_none_or(|details| details.causes.is_empty())
        })
}

/// How long the API server asks to wait in a refusal's body, if it does.
pub fn retry_after(body: &[u8]) -> Option<Duration> {
    let seconds = read(body)?.details?.retry_after_seconds;
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

/// The refusal's own message, for the sidecar's log alone.
pub fn message(body: &[u8]) -> Option<String> {
    read(body).map(|status| status.message)
}

fn read(body: &[u8]) -> Option<Status> {
    serde_json::from_slice(body).ok().filter(|status: &Status| status.kind == "Status")
}

fn unavailable(detail: &str) -> Problem {
    Problem::new(Code::Unavailable, detail)
}

fn bad_gateway(http_status: u16) -> Problem {
    Problem::new(Code::BadGateway, format!("the API server answered {http_status}, which the sidecar cannot explain"))
}

impl Refused<'_> {
    /// `the todo "buy-milk"`, or `the todo` while it has no id.
    fn entity(&self) -> String {
        if self.key.id.is_empty() {
            format!("the {}", self.kind.noun())
        } else {
            format!("the {} {:?}", self.kind.noun(), &*self.key.id)
        }
    }

    /// A webhook or an admission policy said no, whatever the status that it chose, or could not be asked.
    fn by_a_rule(&self) -> Option<Problem> {
        let message = &self.status.message;
        if message.contains("failed calling webhook") || message.contains("failed to call webhook") {
            let detail =
                format!("a rule that guards the kind {} cannot be asked for now: try again later", self.kind.kind);
            return Some(unavailable(&detail));
        }
        let said = wording::denial(message)?;
        if self.status.reason == UNDECIDED {
            // It was asked, and could not decide for now: so says a webhook of ours whose app is away.
            return Some(unavailable(&said));
        }
        let problem = Problem::new(Code::Invalid, said);
        Some(self.causes().into_iter().fold(problem, |problem, (pointer, detail)| problem.at(pointer, detail)))
    }

    /// etcd and the way to it answer in their own words, with differing statuses.
    fn by_the_store(&self) -> Option<Problem> {
        let message = &self.status.message;
        if message.contains("request is too large") || message.contains("trying to send message larger than max") {
            // 1.5 MiB unless somebody has told etcd otherwise; it does not say which.
            let detail = format!(
                "{} is larger than the cluster stores: {}the limit is usually 1572864, with all that Kubernetes adds",
                self.entity(),
                self.size()
            );
            return Some(Problem::new(Code::TooLarge, detail));
        }
        if message.contains("database space exceeded") {
            return Some(unavailable(
                "the cluster's store is full and takes no writes: its administrators must make room",
            ));
        }
        None
    }

    fn not_found(&self, readable: bool) -> Problem {
        let details = self.status.details.as_ref();
        if !readable || self.status.message.contains("could not find the requested resource") {
            return unavailable(&format!(
                "the cluster does not know the kind {}: its CRD is not installed",
                self.kind.full_name()
            ));
        }
        match (&self.key.namespace, details.map(|details| details.kind.as_str())) {
            (Some(namespace), Some("namespaces")) => {
                Problem::new(Code::NotFound, format!("there is no namespace {:?}", &**namespace))
            }
            _ => Problem::new(Code::NotFound, format!("there is no {} {:?}", self.kind.noun(), &*self.key.id)),
        }
    }

    fn unknown_outcome(&self) -> Problem {
        unavailable(
            "the API server did not answer in time; a write may have been stored all the same: read before trying again",
        )
    }

    fn bad_request(&self) -> Problem {
        if let Some(problem) = self.unknown_fields() {
            return problem;
        }
        if let Some((path, said)) = wording::mistyped(&self.status.message) {
            let pointer = path::pointer(self.kind, path);
            return Problem::new(Code::BadRequest, format!("{pointer}: {said}")).at(pointer, said);
        }
        let said = wording::plain(&self.status.message);
        let detail =
            said.unwrap_or_else(|| format!("a value has a type that the kind {} does not take", self.kind.kind));
        Problem::new(Code::BadRequest, detail)
    }

    fn forbidden(&self) -> Problem {
        let here = match &self.key.namespace {
            Some(namespace) => format!(" in the namespace {:?}", &**namespace),
            None => String::new(),
        };
        let right =
            format!("the platform does not give the sidecar the right to do this with {}{here}", self.kind.plural);
        let said = self.status.message.split_once(" is forbidden: ").map(|(_, said)| said);
        Problem::new(Code::Forbidden, said.and_then(wording::plain).unwrap_or(right))
    }

    fn conflict(&self) -> Problem {
        if self.status.reason == "AlreadyExists" {
            let detail = if self.status.message.contains("object is being deleted") {
                format!("{} is still being deleted: try again when it is gone", self.entity())
            } else {
                format!("{} exists already", self.entity())
            };
            return Problem::new(Code::Conflict, detail);
        }
        self.changed()
    }

    fn changed(&self) -> Problem {
        match self.conditional {
            Conditional::Yes => {
                let detail =
                    format!("{} has changed since the version that If-Match names: read it again", self.entity());
                Problem::new(Code::PreconditionFailed, detail)
            }
            Conditional::No => Problem::new(
                Code::Conflict,
                format!("{} was changed by someone else just now: try again", self.entity()),
            ),
        }
    }

    /// `1600000 bytes were sent, `, where that is known.
    fn size(&self) -> String {
        self.sent.map_or_else(String::new, |bytes| format!("{bytes} bytes were sent, "))
    }

    /// Some built-in kinds can only be read.
    fn not_supported(&self) -> Problem {
        let detail = format!("the cluster does not let {} be written in this way", self.kind.full_name());
        Problem::new(Code::Forbidden, detail)
    }

    fn too_large(&self) -> Problem {
        let limit = self.status.message.rsplit_once("limit is ").map(|(_, limit)| limit.trim());
        let limit = limit.filter(|limit| !limit.is_empty() && limit.bytes().all(|byte| byte.is_ascii_digit()));
        let detail = match limit {
            Some(limit) => {
                format!("{} is larger than the API server takes: {}the limit is {limit}", self.entity(), self.size())
            }
            None => {
                format!("{} is larger than the API server takes: {}leave something out", self.entity(), self.size())
            }
        };
        Problem::new(Code::TooLarge, detail)
    }

    fn invalid(&self) -> Problem {
        if let Some(problem) = self.unknown_fields() {
            return problem;
        }
        let causes = self.causes();
        if causes.is_empty() {
            // A JSON patch whose place is gone: what it was made for has changed.
            if self.status.message.contains(INAPPLICABLE) {
                return self.changed();
            }
            let said = wording::plain(&self.status.message);
            return Problem::new(Code::Invalid, said.unwrap_or_else(|| format!("{} is not valid", self.entity())));
        }
        let list: Vec<String> = causes
            .iter()
            .map(|(pointer, detail)| if pointer.is_empty() { detail.clone() } else { format!("{pointer}: {detail}") })
            .collect();
        let problem = Problem::new(Code::Invalid, format!("{} is not valid: {}", self.entity(), list.join("; ")));
        causes.into_iter().fold(problem, |problem, (pointer, detail)| problem.at(pointer, detail))
    }

    /// Strict decoding: what the schema does not have, which the API server says in one text.
    fn unknown_fields(&self) -> Option<Problem> {
        let (_, said) = self.status.message.rsplit_once("strict decoding error: ")?;
        let errors: Vec<(String, &str)> =
            wording::strict(said).into_iter().map(|(what, field)| (path::pointer(self.kind, &field), what)).collect();
        let list: Vec<String> = errors.iter().map(|(pointer, what)| format!("{pointer}: {what}")).collect();
        let problem = Problem::new(Code::BadRequest, list.join("; "));
        Some(errors.into_iter().fold(problem, |problem, (pointer, what)| problem.at(pointer, what)))
    }

    /// Pointer and text of each cause; those that say the same are one.
    fn causes(&self) -> Vec<(String, String)> {
        let mut causes: Vec<(String, String)> = Vec::new();
        for cause in self.status.details.iter().flat_map(|details| &details.causes) {
            let repeated = cause.field.is_empty() && self.status.message.ends_with(&cause.message);
            if repeated || cause.message.contains("some validation rules were not checked") {
                continue;
            }
            let cause = match wording::mistyped(&cause.message) {
                Some((path, said)) => (path::pointer(self.kind, path), said.to_owned()),
                // The patch as a whole is no field.
                None if cause.field == "patch" => (String::new(), wording::cause(&cause.field, &cause.message)),
                None => (path::pointer(self.kind, &cause.field), wording::cause(&cause.field, &cause.message)),
            };
            if !causes.contains(&cause) {
                causes.push(cause);
            }
        }
        causes
    }
}

#[cfg(test)]
mod tests;
