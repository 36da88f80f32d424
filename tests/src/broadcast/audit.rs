//! Reads the API server's audit log: which writes to one resource it received, and what came of each.
//!
//! A write is there twice, when it was received and when it was done. One that is only received was under way when the API server was killed.

use std::collections::BTreeMap;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::{Came, Moment, State, Write};

/// Statuses that say that a write had no effect. After any other error it may have had one.
const REFUSED: [u64; 13] = [400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 422, 429];

/// The writes to a resource, in the order in which they were received.
///
/// # Errors
/// When there is something else in it than an audit log with whole answers has.
pub fn writes(log: &str, resource: &str) -> anyhow::Result<Vec<Write>> {
    let mut known: BTreeMap<String, Option<Write>> = BTreeMap::new();
    for line in log.lines() {
        let Some(event) = parse(line) else { continue };
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if text("/objectRef/resource") != resource || text("/requestURI").contains("dryRun=All") {
            continue;
        }
        let id = text("/auditID").to_owned();
        let came = came(&event).with_context(|| format!("in the audit log: {line}"))?;
        let received = moment(text("/requestReceivedTimestamp"))?;
        let write = came.map(|came| Write { key: key(&event), received, came });
        // What was answered counts more than what was received.
        if text("/stage") == "RequestReceived" {
            known.entry(id).or_insert(write);
        } else {
            known.insert(id, write);
        }
    }
    let mut writes: Vec<Write> = known.into_values().flatten().collect();
    writes.sort_by_key(|write| write.received);
    Ok(writes)
}

/// A moment as Kubernetes and CloudEvents write it.
///
/// # Errors
/// When it is none.
pub fn moment(text: &str) -> anyhow::Result<Moment> {
    let time: jiff::Timestamp = text.parse().with_context(|| format!("{text:?} is no time"))?;
    Ok(Moment::try_from(time.as_millisecond())?)
}

/// A state, from an entity's version and the parts of it in Kubernetes' or in business shape.
///
/// # Errors
/// When a part is missing.
pub(super) fn state(version: &Value, generation: &Value, message: &Value) -> anyhow::Result<State> {
    let version = version.as_str().context("no version")?.parse()?;
    let generation = generation.as_u64().context("no generation")?;
    Ok(State { version, generation, message: message.as_str().context("no message")?.to_owned() })
}

/// An API server that is killed may leave half a line, to which the next one appends.
fn parse(line: &str) -> Option<Value> {
    let whole = serde_json::from_str(line).ok();
    whole.or_else(|| serde_json::from_str(line.get(line.rfind("{\"kind\":\"Event\"")?..)?).ok())
}

/// What came of it; `None`: it had no effect.
fn came(event: &Value) -> anyhow::Result<Option<Came>> {
    let at = |pointer: &str| event.pointer(pointer).unwrap_or(&Value::Null);
    if at("/stage") != "ResponseComplete" {
        return Ok(Some(Came::Maybe));
    }
    let status = at("/responseStatus/code").as_u64().unwrap_or_default();
    if REFUSED.contains(&status) {
        return Ok(None);
    }
    if !(200..300).contains(&status) {
        return Ok(Some(Came::Maybe));
    }
    match at("/verb").as_str().unwrap_or_default() {
        "create" | "update" | "patch" => {
            let uid = at("/responseObject/metadata/uid").as_str().context("no uid")?.to_owned();
            let version = at("/responseObject/metadata/resourceVersion");
            let generation = at("/responseObject/metadata/generation");
            Ok(Some(Came::Stored(uid, state(version, generation, at("/responseObject/spec/message"))?)))
        }
        "delete" => {
            let uid = [at("/responseObject/details/uid"), at("/responseObject/metadata/uid")];
            let uid = uid.into_iter().find_map(Value::as_str).context("no uid")?;
            // While finalizers run it is still there.
            ensure!(at("/responseObject/metadata/deletionTimestamp").is_null(), "a deletion that is not done");
            Ok(Some(Came::Deleted(uid.to_owned())))
        }
        verb => bail!("a write of another kind: {verb:?}"),
    }
}

/// Its name stands in the path, or in what was sent, or in what was answered.
fn key(event: &Value) -> Option<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let name =
        text("/objectRef/name").or(text("/responseObject/metadata/name")).or(text("/requestObject/metadata/name"))?;
    Some(contract::record::key(text("/objectRef/namespace"), name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(id: &str, stage: &str, verb: &str, more: Value) -> String {
        let mut event = json!({
            "auditID": id, "stage": stage, "verb": verb, "requestURI": "/apis/g/v1/namespaces/shop/todos/milk",
            "objectRef": {"resource": "todos", "namespace": "shop", "name": "milk"},
            "requestReceivedTimestamp": "2026-01-01T00:00:00.001500Z",
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        event.to_string().replacen('{', "{\"kind\":\"Event\",", 1)
    }

    fn stored(id: &str, status: u64) -> String {
        let object =
            json!({"metadata": {"uid": "u", "resourceVersion": "7", "generation": 2}, "spec": {"message": "a"}});
        line(id, "ResponseComplete", "patch", json!({"responseStatus": {"code": status}, "responseObject": object}))
    }

    fn read(lines: &[String]) -> Vec<Came> {
        let writes = writes(&lines.join("\n"), "todos").unwrap();
        assert!(writes.iter().all(|write| write.received == 1_767_225_600_001), "{writes:?}");
        writes.into_iter().map(|write| write.came).collect()
    }

    fn state() -> Came {
        Came::Stored("u".to_owned(), State { version: 7, generation: 2, message: "a".to_owned() })
    }

    #[test]
    fn what_was_answered_is_known_and_what_was_only_received_may_have_been() {
        assert_eq!(read(&[line("1", "RequestReceived", "patch", json!({}))]), [Came::Maybe]);
        assert_eq!(read(&[line("1", "RequestReceived", "patch", json!({})), stored("1", 200)]), [state()]);
        assert_eq!(read(&[stored("1", 200), line("1", "RequestReceived", "patch", json!({}))]), [state()]);
        assert_eq!(read(&[line("1", "Panic", "patch", json!({}))]), [Came::Maybe]);
    }

    #[test]
    fn what_was_refused_is_no_write_and_any_other_error_says_nothing() {
        for (status, expected) in [(409, vec![]), (429, vec![]), (500, vec![Came::Maybe]), (504, vec![Came::Maybe])] {
            assert_eq!(read(&[line("1", "RequestReceived", "patch", json!({})), stored("1", status)]), expected);
        }
    }

    #[test]
    fn a_deletion_names_the_uid_and_one_that_waits_for_finalizers_is_not_understood() {
        let deleted = |answer: Value| {
            line("1", "ResponseComplete", "delete", json!({"responseStatus": {"code": 200}, "responseObject": answer}))
        };
        for answer in [json!({"kind": "Status", "details": {"uid": "u"}}), json!({"metadata": {"uid": "u"}})] {
            assert_eq!(read(&[deleted(answer)]), [Came::Deleted("u".to_owned())]);
        }
        let waits = deleted(json!({"metadata": {"uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"}}));
        assert!(writes(&waits, "todos").is_err());
    }

    #[test]
    fn half_a_line_is_passed_over_and_what_follows_it_is_read() {
        let whole = stored("1", 200);
        assert_eq!(read(&[format!("{}{whole}", &stored("2", 200)[..60])]), [state()]);
        assert_eq!(read(&[whole[..60].to_owned(), whole.clone()]), [state()]);
    }

    #[test]
    fn other_resources_and_dry_runs_are_no_writes() {
        let other = line("1", "ResponseComplete", "patch", json!({"objectRef": {"resource": "leases"}}));
        let dry = line("2", "ResponseComplete", "patch", json!({"requestURI": "/x?dryRun=All"}));
        assert_eq!(read(&[other, dry]), []);
    }

    #[test]
    fn a_creation_that_was_only_received_is_of_an_unknown_entity() {
        let reference = json!({"objectRef": {"resource": "todos", "namespace": "shop"}});
        let writes = writes(&line("1", "RequestReceived", "create", reference), "todos").unwrap();
        assert_eq!(writes[0].key, None);
    }
}
