//! What of an object's metadata decides about reconciling and is not in the business shape, in one byte: a cache holds it of every entity.
//!
//! `mapping` reads it; `reconcile` asks.

use std::borrow::Cow;

use contract::names::{FINALIZER, FORCE_FINALIZE, PARENT, PAUSED};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Marks that an object has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Marks(u8);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mark {
    /// It has finalizers, whose ever.
    Finalizers = 1,
    /// One of them is ours.
    Finalizer = 1 << 1,
    /// It is to be left alone.
    Paused = 1 << 2,
    /// It is to go although it is not finalized.
    Forced = 1 << 3,
    /// Some object is its controller.
    Controlled = 1 << 4,
    /// Its controller is the parent that its label names.
    Child = 1 << 5,
}

/// Of `metadata.ownerReferences`.
#[derive(Debug, Deserialize)]
pub(crate) struct OwnerReference<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(default)]
    controller: Option<bool>,
}

impl Marks {
    /// Whether this mark is there.
    pub fn has(self, mark: Mark) -> bool {
        self.0 & mark as u8 != 0
    }

    /// With this mark too, if so.
    #[must_use]
    pub fn with(self, mark: Mark, so: bool) -> Self {
        Self(self.0 | if so { mark as u8 } else { 0 })
    }

    /// Those of an object's metadata.
    pub(crate) fn read(
        finalizers: &[Cow<'_, str>],
        owners: &[OwnerReference<'_>],
        labels: impl Fn(&str) -> Option<String>,
        annotations: &[(Cow<'_, str>, &RawValue)],
    ) -> Self {
        let says = |name: &str| annotations.iter().any(|(given, value)| given == name && value.get() == "\"true\"");
        let controller = owners.iter().find(|owner| owner.controller == Some(true));
        Self::default()
            .with(Mark::Finalizers, !finalizers.is_empty())
            .with(Mark::Finalizer, finalizers.iter().any(|finalizer| finalizer == FINALIZER))
            .with(Mark::Paused, says(PAUSED))
            .with(Mark::Forced, says(FORCE_FINALIZE))
            .with(Mark::Controlled, controller.is_some())
            .with(Mark::Child, controller.is_some_and(|owner| labels(PARENT).is_some_and(|uid| owner.uid == uid)))
    }
}
