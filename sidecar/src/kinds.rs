//! The kinds of the configuration, and how far each has come: not found yet, or served.
//!
//! `app` fills it, once for each kind, as discovery finds them; `http` reads it with every request. Never asks anybody.

use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use sidecar_core::budget::Limits;
use sidecar_core::fields::Fields;
use sidecar_core::filter::Filters;
use sidecar_core::kind::Kind;
use sidecar_core::schema::Schema;

use crate::budget::{Keeper, Metrics};
use crate::view::KindView;

/// `/v1/batch` carries out several writes.
const BATCH: &str = "batch";

/// All kinds of the configuration, in its order.
#[derive(Debug)]
pub struct Kinds {
    slots: Vec<Slot>,
}

/// One kind of the configuration.
#[derive(Debug)]
pub struct Slot {
    /// `KIND of GROUP/VERSION`.
    name: String,
    served: OnceLock<Served>,
    waiting: RwLock<String>,
}

/// A kind that is found.
#[derive(Debug)]
pub struct Served {
    /// The kind.
    pub kind: Arc<Kind>,
    /// Its fields, as last read.
    description: RwLock<Arc<Description>>,
    /// Its entities.
    pub view: KindView,
    /// `PLURAL.GROUP`: the metrics' label.
    pub full_name: String,
    /// What writes may use, where that is bounded.
    pub budget: Option<Keeper>,
    /// Whether the app reconciles it.
    pub reconciled: bool,
}

/// A kind's fields, which a change of its definition changes.
#[derive(Debug)]
pub struct Description {
    /// Its fields.
    pub schema: Schema,
    /// What lists ask of them.
    pub filters: Filters,
}

/// What a name in a path leads to.
#[derive(Debug)]
pub enum Lookup<'a> {
    /// One kind.
    Found(&'a Served),
    /// More than one kind has this plural: their full names.
    Ambiguous(Vec<&'a str>),
    /// None that is found; these are still waited for, and why.
    Waiting(Vec<String>),
    /// None.
    Unknown,
}

impl Kinds {
    /// None is found yet. `names` are `KIND of GROUP/VERSION`.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let slot = |name| Slot { name, served: OnceLock::new(), waiting: RwLock::new("not looked up yet".to_owned()) };
        Self { slots: names.into_iter().map(slot).collect() }
    }

    /// The kind at this place in the configuration.
    pub fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    /// Those that are found.
    pub fn served(&self) -> impl Iterator<Item = &Served> {
        self.slots.iter().filter_map(|slot| slot.served.get())
    }

    /// By plural, or by `PLURAL.GROUP`.
    pub fn find(&self, name: &str) -> Lookup<'_> {
        if let Some(served) = self.served().find(|served| served.full_name == name) {
            // A kind of the core group has its plural as its full name, which another group's may share.
            if served.full_name.contains('.') {
                return Lookup::Found(served);
            }
        }
        let same = || self.served().filter(|served| served.kind.plural == name);
        let mut first_two = same();
        match (first_two.next(), first_two.next()) {
            (Some(one), None) => Lookup::Found(one),
            (None, _) => {
                let waiting: Vec<String> = self.slots.iter().filter_map(Slot::waiting).collect();
                if waiting.is_empty() { Lookup::Unknown } else { Lookup::Waiting(waiting) }
            }
            (Some(_), Some(_)) => Lookup::Ambiguous(same().map(|served| served.full_name.as_str()).collect()),
        }
    }

    /// What stands behind `/v1/` for a kind: its plural, or its full name where another has the same plural, or where something else is found there.
    pub fn path<'a>(&self, served: &'a Served) -> &'a str {
        let same = self.served().filter(|other| other.kind.plural == served.kind.plural).count();
        if same > 1 || served.kind.plural == BATCH { &served.full_name } else { &served.kind.plural }
    }
}

impl Served {
    /// A kind as discovery found it, and its views, which are indexed by its selectable fields from here on.
    pub fn new(kind: Arc<Kind>, schema: Schema, view: KindView) -> Self {
        let description = RwLock::new(describe(schema, &view));
        let full_name = kind.full_name();
        Self { kind, description, view, full_name, budget: None, reconciled: false }
    }

    /// Bounds what writes may use.
    #[must_use]
    pub fn with_budget(self, limits: Limits, metrics: Metrics) -> Self {
        let budget = (!limits.is_empty()).then(|| Keeper::new(limits, metrics));
        Self { budget, ..self }
    }

    /// Whether the app reconciles it.
    #[must_use]
    pub fn reconciled(self, reconciled: bool) -> Self {
        Self { reconciled, ..self }
    }

    /// Its fields, as last read.
    pub fn description(&self) -> Arc<Description> {
        Arc::clone(&self.description.read())
    }

    /// Its fields have been read again; answers whether they are others than before.
    pub fn redescribe(&self, schema: Schema) -> bool {
        if self.description.read().schema == schema {
            return false;
        }
        *self.description.write() = describe(schema, &self.view);
        true
    }
}

fn describe(schema: Schema, view: &KindView) -> Arc<Description> {
    let fields = Arc::new(Fields::new(&schema));
    view.index_by(&fields);
    Arc::new(Description { schema, filters: Filters::new(fields) })
}

impl Slot {
    /// The kind, once it is found.
    pub fn served(&self) -> Option<&Served> {
        self.served.get()
    }

    /// The kind is found; only the first call counts.
    pub fn serve(&self, served: Served) {
        // Discovery runs once, and a kind that was found stays.
        let _ = self.served.set(served);
    }

    /// Why it is not found yet.
    pub fn wait(&self, why: String) {
        *self.waiting.write() = why;
    }

    fn waiting(&self) -> Option<String> {
        self.served.get().is_none().then(|| format!("{}: {}", self.name, self.waiting.read()))
    }
}
