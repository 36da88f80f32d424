//! Reconciling and finalizing one entity: what is to be done with it now, what changes make that worthwhile, and what an app's answer comes to.
//!
//! Owns every decision between an entity, its children as they were observed, and the app's answer; `queue` says when, the driver `reconciler` carries out.
//! Each part is a function of what is passed: [`work`] (which call), [`child`] (children to be applied and deleted), [`status`] (status and conditions),
//! [`finalizer`] (patches of the metadata), [`pace`] (an entity that keeps itself busy).

pub mod body;
pub mod child;
pub mod finalizer;
pub mod pace;
pub mod status;

use serde::Deserialize;

use crate::entity::Entity;
use crate::marks::Mark;

/// Which hooks an entity's kind has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hooks {
    /// `reconcile`.
    pub reconcile: bool,
    /// `finalize`.
    pub finalize: bool,
}

/// What is to be done with an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Nothing.
    Nothing,
    /// The reconcile hook is asked.
    Reconcile {
        /// What happens to our finalizer before.
        finalizer: Change,
    },
    /// The finalize hook is asked: the entity is being deleted.
    Finalize,
    /// Our finalizer is taken off, and no hook is asked.
    Release,
}

/// What happens to our finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is as it should be.
    None,
    /// It is missing, and must be there before anything is done that would have to be cleaned up.
    Add,
    /// It stands there from a time when there was a finalize hook.
    Remove,
}

/// What is to be done with an entity as it is now.
pub fn work(entity: &Entity, hooks: Hooks) -> Work {
    let ours = entity.marks.has(Mark::Finalizer);
    let paused = entity.marks.has(Mark::Paused);
    if entity.deleting {
        return match (ours, hooks.finalize) {
            (false, _) => Work::Nothing,
            (true, true) if entity.marks.has(Mark::Forced) => Work::Release,
            (true, true) if paused => Work::Nothing,
            (true, true) => Work::Finalize,
            (true, false) => Work::Release,
        };
    }
    let finalizer = match (ours, hooks.finalize) {
        (false, true) => Change::Add,
        (true, false) => Change::Remove,
        _ => Change::None,
    };
    match (paused, hooks.reconcile, finalizer) {
        (true, _, _) | (false, false, Change::None) => Work::Nothing,
        (false, false, Change::Remove) => Work::Release,
        (false, true, _) | (false, false, Change::Add) => Work::Reconcile { finalizer },
    }
}

/// Whether a change may call for work. That the status changed does not: it is what the work itself writes. `before` is absent for an entity that is new or was not seen.
pub fn matters(before: Option<&Entity>, after: &Entity, deleted: bool) -> bool {
    let Some(before) = before else { return true };
    deleted
        || before.uid != after.uid
        || before.deleting != after.deleting
        || [Mark::Paused, Mark::Forced].iter().any(|mark| before.marks.has(*mark) != after.marks.has(*mark))
        // That we put it on calls for nothing; that somebody took it off does.
        || (before.marks.has(Mark::Finalizer) && !after.marks.has(Mark::Finalizer))
        || before.labels != after.labels
        || facts(before) != facts(after)
}

/// What of the shape's `meta` a change can be told by.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Facts {
    generation: i64,
    expires_at: Option<String>,
}

fn facts(entity: &Entity) -> Facts {
    #[derive(Deserialize)]
    struct Shape {
        meta: Facts,
    }
    serde_json::from_slice::<Shape>(&entity.json).map(|shape| shape.meta).unwrap_or_default()
}

/// The entity's `meta.generation`.
pub fn generation(entity: &Entity) -> i64 {
    facts(entity).generation
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kind::tests::todo;
    use crate::mapping;
    use crate::marks::Marks;

    pub(super) fn entity(metadata: &str, rest: &str) -> Arc<Entity> {
        let object = format!(
            r#"{{"metadata":{{"name":"a","namespace":"shop","uid":"u","resourceVersion":"7"{metadata}}}{rest}}}"#
        );
        Arc::new(mapping::entity(&todo(), object.as_bytes()).unwrap())
    }

    #[test]
    fn what_is_to_be_done_follows_from_the_entity_and_the_hooks() {
        let reconcile = |finalizer| Work::Reconcile { finalizer };
        let (both, only_reconcile) =
            (Hooks { reconcile: true, finalize: true }, Hooks { reconcile: true, finalize: false });
        let (only_finalize, none) =
            (Hooks { reconcile: false, finalize: true }, Hooks { reconcile: false, finalize: false });
        let cases: [(&[Mark], bool, Hooks, Work); 18] = [
            (&[], false, only_reconcile, reconcile(Change::None)),
            (&[], false, both, reconcile(Change::Add)),
            (&[Mark::Finalizer], false, both, reconcile(Change::None)),
            (&[Mark::Finalizer], false, only_reconcile, reconcile(Change::Remove)),
            (&[], false, only_finalize, reconcile(Change::Add)),
            (&[Mark::Finalizer], false, only_finalize, Work::Nothing),
            (&[Mark::Finalizer], false, none, Work::Release),
            (&[], false, none, Work::Nothing),
            (&[Mark::Paused], false, both, Work::Nothing),
            (&[Mark::Paused, Mark::Finalizer], false, only_reconcile, Work::Nothing),
            (&[Mark::Forced], false, only_reconcile, reconcile(Change::None)),
            (&[], true, both, Work::Nothing),
            (&[Mark::Finalizers], true, both, Work::Nothing),
            (&[Mark::Finalizer], true, both, Work::Finalize),
            (&[Mark::Finalizer, Mark::Paused], true, both, Work::Nothing),
            (&[Mark::Finalizer, Mark::Forced], true, both, Work::Release),
            (&[Mark::Finalizer, Mark::Forced, Mark::Paused], true, both, Work::Release),
            (&[Mark::Finalizer, Mark::Paused], true, only_reconcile, Work::Release),
        ];
        for (marks, deleting, hooks, expected) in cases {
            let mut entity = Entity::clone(&entity("", ""));
            entity.marks = marks.iter().fold(Marks::default(), |all, mark| all.with(*mark, true));
            entity.deleting = deleting;
            assert_eq!(work(&entity, hooks), expected, "{marks:?} deleting={deleting} {hooks:?}");
        }
    }

    #[test]
    fn a_change_of_status_alone_calls_for_no_work() {
        let base = r#","generation":3,"labels":{"a":"1"}"#;
        let before = entity(base, r#","spec":{"x":1},"status":{"phase":"A"}"#);
        for (metadata, rest, expected) in [
            (base, r#","spec":{"x":1},"status":{"phase":"B"}"#, false),
            (r#","generation":4,"labels":{"a":"1"}"#, r#","spec":{"x":2}"#, true),
            (r#","generation":3,"labels":{"a":"2"}"#, r#","spec":{"x":1}"#, true),
            (r#","generation":3,"labels":{"a":"1"},"deletionTimestamp":"2026-01-01T00:00:00Z""#, "", true),
            (r#","generation":3,"labels":{"a":"1"},"finalizers":["k8sasbackend.com/finalize"]"#, "", false),
            (r#","generation":3,"labels":{"a":"1"},"annotations":{"k8sasbackend.com/paused":"true"}"#, "", true),
            (
                r#","generation":3,"labels":{"a":"1"},"annotations":{"k8sasbackend.com/expires-at":"2027-01-01T00:00:00Z"}"#,
                "",
                true,
            ),
            (r#","generation":3,"labels":{"a":"1"},"annotations":{"other":"true"}"#, "", false),
        ] {
            assert_eq!(matters(Some(&before), &entity(metadata, rest), false), expected, "{metadata} {rest}");
        }
        let ours = entity(r#","generation":3,"labels":{"a":"1"},"finalizers":["k8sasbackend.com/finalize"]"#, "");
        assert!(matters(Some(&ours), &before, false), "somebody took it off");
        assert!(matters(None, &before, false));
        assert!(matters(Some(&before), &before, true));
    }
}
