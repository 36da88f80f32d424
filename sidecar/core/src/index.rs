//! An index over the entities of a cache: ids by label and by the kind's selectable fields, so that a list asks only those that can match.
//!
//! Kept by `cache` with every change; `list` asks it for candidates. It only narrows: each candidate is still asked by the filter and the
//! label selector, so an index that knows too much costs time, and one that knows too little would be wrong.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::entity::{Entity, Key};
use crate::fields::Fields;
use crate::filter::{Found, IndexValue, Lookup};
use crate::path;

/// Keys of entities, in their order.
type Keys = BTreeSet<Key>;

/// About what a key takes in a set: itself, and its share of a tree node that is on average three quarters full.
const KEY_BYTES: usize = size_of::<Key>() * 3 / 2;

/// About what a value takes in a map, beside its text.
const VALUE_BYTES: usize = 96;

/// The index of one cache.
#[derive(Debug, Default)]
pub struct Index {
    fields: Option<Arc<Fields>>,
    slots: Vec<Slot>,
    labels: HashMap<Box<str>, HashMap<Box<str>, Keys>>,
    bytes: usize,
}

/// The values of one indexed field.
#[derive(Debug, Default)]
struct Slot {
    values: HashMap<IndexValue, Keys>,
    /// Entities that only an evaluation can compare.
    odd: Keys,
}

impl Index {
    /// An empty index of these fields, and of labels.
    pub fn new(fields: Arc<Fields>) -> Self {
        let slots = fields.indexed().iter().map(|_| Slot::default()).collect();
        Self { fields: Some(fields), slots, ..Self::default() }
    }

    /// Whether it answers for a filter that was compiled with these fields.
    pub fn is_of(&self, fields: &Arc<Fields>) -> bool {
        self.fields.as_ref().is_some_and(|own| Arc::ptr_eq(own, fields) || own == fields)
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes an entity in. Its predecessor under the same key must be out.
    pub fn insert(&mut self, entity: &Entity) {
        for (name, value) in &entity.labels {
            let values = self.labels.entry(name.clone()).or_default();
            let keys = values.entry(value.clone()).or_insert_with(|| {
                self.bytes += VALUE_BYTES + value.len();
                Keys::new()
            });
            self.bytes += usize::from(keys.insert(entity.key.clone())) * KEY_BYTES;
        }
        let Some(fields) = self.fields.clone() else { return };
        for (slot, path) in self.slots.iter_mut().zip(fields.indexed()) {
            let keys = match found(entity, path) {
                Found::Nothing => continue,
                Found::Odd => &mut slot.odd,
                Found::Value(value) => {
                    let text = if let IndexValue::Text(text) = &value { text.len() } else { 0 };
                    slot.values.entry(value).or_insert_with(|| {
                        self.bytes += VALUE_BYTES + text;
                        Keys::new()
                    })
                }
            };
            self.bytes += usize::from(keys.insert(entity.key.clone())) * KEY_BYTES;
        }
    }

    /// Takes an entity out, exactly as it was taken in.
    pub fn remove(&mut self, entity: &Entity) {
        for (name, value) in &entity.labels {
            let Some(values) = self.labels.get_mut(name) else { continue };
            let Some(keys) = values.get_mut(value) else { continue };
            self.bytes -= usize::from(keys.remove(&entity.key)) * KEY_BYTES;
            if keys.is_empty() {
                values.remove(value);
                self.bytes -= VALUE_BYTES + value.len();
            }
            if values.is_empty() {
                self.labels.remove(name);
            }
        }
        let Some(fields) = self.fields.clone() else { return };
        for (slot, path) in self.slots.iter_mut().zip(fields.indexed()) {
            match found(entity, path) {
                Found::Nothing => {}
                Found::Odd => self.bytes -= usize::from(slot.odd.remove(&entity.key)) * KEY_BYTES,
                Found::Value(value) => {
                    let Some(keys) = slot.values.get_mut(&value) else { continue };
                    self.bytes -= usize::from(keys.remove(&entity.key)) * KEY_BYTES;
                    if keys.is_empty() {
                        let text = if let IndexValue::Text(text) = &value { text.len() } else { 0 };
                        slot.values.remove(&value);
                        self.bytes -= VALUE_BYTES + text;
                    }
                }
            }
        }
    }

    /// Forgets every entity.
    pub fn clear(&mut self) {
        self.labels.clear();
        self.slots.iter_mut().for_each(|slot| *slot = Slot::default());
        self.bytes = 0;
    }

    /// The smallest sets that together hold everything that fits one of the lookups, or one of the labels with values. `None` when nothing
    /// narrows the list. [`Lookup::Id`] is not answered here, for the cache itself finds ids.
    pub fn candidates<'i>(
        &'i self,
        lookups: impl Iterator<Item = &'i Lookup>,
        labels: impl Iterator<Item = (&'i str, &'i [String])>,
    ) -> Option<Vec<&'i BTreeSet<Key>>> {
        let by_label = labels.map(|(name, values)| self.label(name, values).collect());
        let by_lookup = lookups.filter_map(|lookup| match lookup {
            Lookup::Id(_) => None,
            Lookup::Label(name, values) => Some(self.label(name, values).collect()),
            Lookup::Field(number, values) => {
                let slot = self.slots.get(*number)?;
                let found = values.iter().filter_map(|value| slot.values.get(value));
                Some(found.chain((!slot.odd.is_empty()).then_some(&slot.odd)).collect())
            }
        });
        by_label.chain(by_lookup).min_by_key(|sets: &Vec<&Keys>| sets.iter().map(|keys| keys.len()).sum::<usize>())
    }

    fn label<'i, S: AsRef<str>>(&'i self, name: &str, values: &[S]) -> impl Iterator<Item = &'i Keys> {
        let found = self.labels.get(name);
        values.iter().filter_map(move |value| found?.get(value.as_ref()))
    }
}

fn found(entity: &Entity, path: &[Box<str>]) -> Found {
    path::find(&entity.json, path).map_or(Found::Nothing, |raw| IndexValue::of_json(raw.get()))
}
