//! Statuses by example, and that a second look at what was written changes nothing.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::reconcile::tests::entity;

fn schema(status: Value) -> Takes {
    Takes::of(&Schema {
        fields: json!({}),
        status: Some(status),
        has_spec: true,
        fields_required: false,
        selectable: vec![],
    })
}

fn full() -> Takes {
    schema(json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}))
}

fn with(status: &Value) -> Arc<Entity> {
    entity(r#","generation":3"#, &format!(r#","spec":{{}},"status":{status}"#))
}

fn now(second: u32) -> Timestamp {
    format!("2026-11-22T18:00:{second:02}.7Z").parse().unwrap()
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn reconciled(status: Value) -> Report {
    Report::Reconciled { status: Some(map(status)), conditions: vec![] }
}

fn stated(kind: &str, status: ConditionStatus) -> Condition {
    condition(kind, status, "Because", "text".to_owned())
}

#[test]
fn a_status_is_what_the_app_says_and_what_we_add() {
    let report = Report::Reconciled {
        status: Some(map(json!({"phase": "Due", "observedGeneration": 99, "conditions": [], "gone": null}))),
        conditions: vec![stated("Ready", ConditionStatus::True)],
    };
    let before = with(&json!({"phase": "Scheduled", "old": 1}));
    assert_eq!(
        Value::from(after(&before, 3, report, &full(), now(1)).unwrap()),
        json!({"phase": "Due", "observedGeneration": 3, "conditions": [
            {"type": "Ready", "status": "True", "reason": "Because", "message": "text", "lastTransitionTime": "2026-11-22T18:00:01Z", "observedGeneration": 3},
            {"type": "Reconciled", "status": "True", "reason": "Reconciled", "message": "", "lastTransitionTime": "2026-11-22T18:00:01Z", "observedGeneration": 3},
        ]})
    );
}

#[test]
fn conditions_are_merged_by_type_and_keep_their_time_while_they_stay_on_one_side() {
    let first = after(
        &with(&json!({})),
        3,
        Report::Reconciled {
            status: None,
            conditions: vec![stated("Ready", ConditionStatus::False), stated("Warm", ConditionStatus::True)],
        },
        &full(),
        now(1),
    );
    let first = Value::from(first.unwrap());
    let next = Report::Reconciled {
        status: None,
        conditions: vec![
            stated("Ready", ConditionStatus::True),
            condition("Warm", ConditionStatus::True, "", "other".to_owned()),
        ],
    };
    let next = Value::from(after(&with(&first), 4, next, &full(), now(9)).unwrap());
    let times: Vec<_> = next["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["type"].as_str().unwrap(),
                one["lastTransitionTime"].as_str().unwrap(),
                one["reason"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        times,
        [
            ("Ready", "2026-11-22T18:00:09Z", "Because"),
            ("Warm", "2026-11-22T18:00:01Z", "Warm"),
            ("Reconciled", "2026-11-22T18:00:01Z", "Reconciled"),
        ]
    );
    let silent = Report::Reconciled { status: None, conditions: vec![] };
    assert_eq!(after(&with(&next), 4, silent, &full(), now(20)), None, "what the app does not name stays");
}

#[test]
fn a_refusal_stalls_until_the_app_takes_it() {
    let refusal = || Report::Stalled { reason: "HookRejected", message: "no".to_owned() };
    let stalled = Value::from(after(&with(&json!({"phase": "Due"})), 3, refusal(), &full(), now(1)).unwrap());
    let entity = with(&stalled);
    assert_eq!((stalled["phase"].as_str(), observed(&entity)), (Some("Due"), Some(3)));
    assert_eq!((says(&entity, RECONCILED), is_stalled(&entity)), (Some(ConditionStatus::False), true));
    assert_eq!(after(&entity, 3, refusal(), &full(), now(5)), None);
    let well = with(&Value::from(after(&entity, 4, reconciled(json!({"phase": "Due"})), &full(), now(6)).unwrap()));
    assert_eq!((says(&well, RECONCILED), says(&well, STALLED)), (Some(ConditionStatus::True), None));
}

#[test]
fn while_the_app_fails_nothing_counts_as_observed() {
    let failing = Report::Failing { reason: "HookFailing", message: "500".to_owned() };
    let status = after(&with(&json!({"observedGeneration": 2})), 3, failing, &full(), now(1)).unwrap();
    let entity = with(&Value::from(status));
    assert_eq!((observed(&entity), says(&entity, RECONCILED)), (Some(2), Some(ConditionStatus::False)));
}

#[test]
fn what_the_schema_does_not_take_is_not_written() {
    let silent = || Report::Reconciled { status: None, conditions: vec![stated("Ready", ConditionStatus::True)] };
    let closed = schema(json!({"type": "object", "properties": {"phase": {"type": "string"}}}));
    assert_eq!(after(&with(&json!({})), 3, silent(), &closed, now(1)), None);
    assert!(!closed.observes());
    let items = json!({"type": "object", "properties": {"type": {}, "status": {}, "reason": {}}});
    let some = schema(
        json!({"type": "object", "properties": {"conditions": {"type": "array", "items": items}, "observedGeneration": {}}}),
    );
    let status = Value::from(after(&with(&json!({})), 3, silent(), &some, now(1)).unwrap());
    assert_eq!(status["conditions"][0], json!({"type": "Ready", "status": "True", "reason": "Because"}));
    assert_eq!(status["observedGeneration"], 3);
}

#[test]
fn a_long_message_is_cut_between_characters() {
    let report = Report::Stalled { reason: "HookRejected", message: "ä".repeat(5000) };
    let status = Value::from(after(&with(&json!({})), 3, report, &full(), now(1)).unwrap());
    assert_eq!(status["conditions"][0]["message"].as_str().unwrap().chars().count(), MESSAGE + 1);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        Just(json!(1.0)),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_written_is_not_written_again(
        status in prop::collection::btree_map("[a-c]", value(), 0..3),
        ready in prop::option::of(any::<bool>()),
    ) {
        let conditions: Vec<Condition> = ready
            .map(|ready| stated("Ready", if ready { ConditionStatus::True } else { ConditionStatus::False }))
            .into_iter()
            .collect();
        let report = || Report::Reconciled { status: Some(status.clone().into_iter().collect()), conditions: conditions.clone() };
        let written = after(&with(&json!({})), 3, report(), &full(), now(1));
        prop_assert!(written.is_some());
        let entity = with(&Value::from(written.unwrap()));
        prop_assert_eq!(after(&entity, 3, report(), &full(), now(30)), None);
    }
}
