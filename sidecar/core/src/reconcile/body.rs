//! What goes to the app's reconcile and finalize hooks, and the small parts of what comes back: when to ask again, why it refused.

use std::time::Duration;

use contract::hook::ReconcileRequest;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::entity::Entity;
use crate::kind::Kind;

/// An app that wants to be asked again at once is asked ten times a second.
const SOONEST: Duration = Duration::from_millis(100);
/// What is later comes with a restart or a resync first.
const LATEST: Duration = Duration::from_secs(365 * 24 * 3600);
/// How much of a refusal is told, in characters.
const REFUSAL: usize = 512;

/// An entity's or an object's kind, and itself.
pub type Shown<'a> = (&'a Kind, &'a Entity);

/// The body of a call. `children` and `related` say their kind, since they may be of several.
///
/// # Errors
/// When an entity holds no JSON, which does not happen to those that were mapped.
pub fn request(
    entity: &Entity,
    children: &[Shown<'_>],
    related: &[Shown<'_>],
    attempt: u32,
) -> Result<Vec<u8>, serde_json::Error> {
    let of_kind = |all: &[Shown<'_>]| all.iter().map(|(kind, entity)| with_kind(kind, entity)).collect();
    let (children, related): (Result<Vec<_>, _>, Result<Vec<_>, _>) = (of_kind(children), of_kind(related));
    let (children, related): (Vec<Box<RawValue>>, Vec<Box<RawValue>>) = (children?, related?);
    serde_json::to_vec(&ReconcileRequest {
        entity: serde_json::from_slice(&entity.json)?,
        children: children.iter().map(|child| &**child).collect(),
        attempt,
        related: related.iter().map(|related| &**related).collect(),
    })
}

/// The business shape beside `apiVersion` and `kind`.
fn with_kind(kind: &Kind, entity: &Entity) -> Result<Box<RawValue>, serde_json::Error> {
    let shape: &RawValue = serde_json::from_slice(&entity.json)?;
    let members = shape.get().trim_start().trim_start_matches('{');
    RawValue::from_string(format!(
        "{{\"apiVersion\":{},\"kind\":{},{members}",
        json!(kind.api_version()),
        json!(kind.kind)
    ))
}

/// When an answer wants to be asked again; what is no time from now on is not there.
pub fn requeue(seconds: Option<f64>) -> Option<Duration> {
    let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds > 0.0)?;
    Some(Duration::from_secs_f64(seconds.min(LATEST.as_secs_f64())).max(SOONEST))
}

/// Why an app refused, in its own words where it has any: `detail` of a problem, or `message`.
pub fn refusal(status: u16, body: &[u8]) -> String {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Words {
        detail: Option<String>,
        message: Option<String>,
        title: Option<String>,
    }
    let words = serde_json::from_slice::<Words>(body).unwrap_or_default();
    match words.detail.or(words.message).or(words.title).filter(|words| !words.trim().is_empty()) {
        Some(words) => format!("the app answered {status}: {}", words.chars().take(REFUSAL).collect::<String>()),
        None => format!("the app answered {status}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::kind::tests::{config_map, todo};
    use crate::mapping;

    #[test]
    fn a_call_shows_the_entity_and_of_what_kind_its_children_are() {
        let object = |name: &str| {
            format!(r#"{{"metadata":{{"name":"{name}","resourceVersion":"1"}},"spec":{{"n":1.50}},"data":{{}}}}"#)
        };
        let todo_kind = todo();
        let entity = mapping::entity(&todo_kind, object("a").as_bytes()).unwrap();
        let (kind, child) = (config_map(), mapping::entity(&config_map(), object("c").as_bytes()).unwrap());
        let body = request(&entity, &[(&kind, &child)], &[(&todo_kind, &entity)], 3).unwrap();
        assert!(std::str::from_utf8(&body).unwrap().contains("1.50"), "no number loses a digit");
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["entity"]["id"], "a");
        assert_eq!((&body["children"][0]["kind"], &body["children"][0]["id"]), (&json!("ConfigMap"), &json!("c")));
        assert_eq!(body["related"][0]["apiVersion"], "k8sasbackend.com/v1");
        assert_eq!(body["attempt"], 3);
    }

    #[test]
    fn a_time_to_ask_again_is_one_from_now_on() {
        let millis = |seconds: f64| requeue(Some(seconds)).map(|after| after.as_millis());
        assert_eq!((millis(1.5), millis(0.001), millis(f64::MAX)), (Some(1500), Some(100), Some(31_536_000_000)));
        for none in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(millis(none), None, "{none}");
        }
        assert_eq!(requeue(None), None);
    }

    #[test]
    fn a_refusal_is_told_in_the_app_s_words() {
        assert_eq!(refusal(422, br#"{"title":"Invalid","detail":"no money"}"#), "the app answered 422: no money");
        assert_eq!(refusal(400, br#"{"message":"what?"}"#), "the app answered 400: what?");
        assert_eq!(refusal(404, b"<html>"), "the app answered 404");
        assert!(refusal(400, format!(r#"{{"message":"{}"}}"#, "x".repeat(9000)).as_bytes()).len() < 600);
    }
}
