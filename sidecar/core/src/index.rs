//! An index over the entities of a cache: by label and by the kind's selectable fields, so that a list asks only those that can match.
//!
//! Kept by `cache` with every change; `list` asks it for candidates. It only narrows: each candidate is still asked by the filter and the
//! label selector, so an index that knows too much costs time, and one that knows too little would be wrong.

mod keys;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

pub use self::keys::Keys;
use crate::entity::{ByKey, Entity, Key};
use crate::fields::{Fields, Indexed};
use crate::filter::{Found, IndexValue, Lookup};
use crate::path;

/// About what an entity takes in a set: a reference, and its share of what is left free.
const KEY_BYTES: usize = size_of::<ByKey>() * 9 / 8;

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
    values: BTreeMap<IndexValue, Keys>,
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
    pub fn insert(&mut self, entity: &Arc<Entity>) {
        for (name, value) in &entity.labels {
            let values = self.labels.entry(name.clone()).or_default();
            let keys = values.entry(value.clone()).or_insert_with(|| {
                self.bytes += VALUE_BYTES + value.len();
                Keys::default()
            });
            self.bytes += usize::from(keys.insert(ByKey(Arc::clone(entity)))) * KEY_BYTES;
        }
        let Some(fields) = self.fields.clone() else { return };
        for (slot, indexed) in self.slots.iter_mut().zip(fields.indexed()) {
            let keys = match found(entity, indexed) {
                Found::Nothing => continue,
                Found::Odd => &mut slot.odd,
                Found::Value(value) => {
                    let text = if let IndexValue::Text(text) = &value { text.len() } else { 0 };
                    slot.values.entry(value).or_insert_with(|| {
                        self.bytes += VALUE_BYTES + text;
                        Keys::default()
                    })
                }
            };
            self.bytes += usize::from(keys.insert(ByKey(Arc::clone(entity)))) * KEY_BYTES;
        }
    }

    /// The keys of the entities with this label, in their order.
    pub fn labelled(&self, name: &str, value: &str) -> impl Iterator<Item = &Key> {
        let keys = self.labels.get(name).and_then(|values| values.get(value));
        keys.into_iter().flat_map(|keys| keys.behind(None))
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
        for (slot, indexed) in self.slots.iter_mut().zip(fields.indexed()) {
            match found(entity, indexed) {
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

    /// The smallest sets that together hold everything that fits one of the lookups, or one of the labels with values, if they hold fewer
    /// than `most` keys. [`Lookup::Id`] is not answered here, for the cache itself finds ids.
    pub fn candidates<'i>(
        &'i self,
        lookups: impl Iterator<Item = &'i Lookup>,
        labels: impl Iterator<Item = (&'i str, &'i [String])>,
        most: usize,
    ) -> Option<Vec<&'i Keys>> {
        let mut best = Best { sets: None, most };
        labels.for_each(|(name, values)| best.offer(self.label(name, values)));
        let mut ranges: BTreeMap<usize, (Bound<&IndexValue>, Bound<&IndexValue>)> = BTreeMap::new();
        for lookup in lookups {
            match lookup {
                Lookup::Id(_) => {}
                Lookup::Label(name, values) => best.offer(self.label(name, values)),
                Lookup::Field(number, values) => {
                    let Some(slot) = self.slots.get(*number) else { continue };
                    best.offer(values.iter().filter_map(|value| slot.values.get(value)).chain([&slot.odd]));
                }
                Lookup::Range(number, begin, end) => {
                    let range = ranges.entry(*number).or_insert((Bound::Unbounded, Bound::Unbounded));
                    *range = (tighter(range.0, begin.as_ref(), true), tighter(range.1, end.as_ref(), false));
                }
            }
        }
        for (number, (begin, end)) in ranges {
            let Some(slot) = self.slots.get(number) else { continue };
            if is_empty(begin, end) {
                best.offer([&slot.odd].into_iter());
            } else {
                let within = slot.values.range::<IndexValue, _>((begin, end)).map(|(_, keys)| keys);
                best.offer([&slot.odd].into_iter().chain(within));
            }
        }
        best.sets
    }

    fn label<'i, S: AsRef<str>>(&'i self, name: &str, values: &[S]) -> impl Iterator<Item = &'i Keys> {
        let found = self.labels.get(name);
        values.iter().filter_map(move |value| found?.get(value.as_ref()))
    }
}

/// The smallest of the sets that were offered.
struct Best<'i> {
    sets: Option<Vec<&'i Keys>>,
    /// Only fewer keys than this are of use.
    most: usize,
}

impl<'i> Best<'i> {
    /// Stops looking as soon as there are too many.
    fn offer(&mut self, sets: impl Iterator<Item = &'i Keys>) {
        let mut taken = Vec::new();
        let mut keys = 0;
        for set in sets.filter(|set| !set.is_empty()) {
            keys += set.len();
            if keys >= self.most {
                return;
            }
            taken.push(set);
        }
        self.most = keys;
        self.sets = Some(taken);
    }
}

fn found(entity: &Entity, indexed: &Indexed) -> Found {
    path::find(&entity.json, &indexed.path).map_or(Found::Nothing, |raw| IndexValue::of_json(raw.get(), indexed.form))
}

/// The tighter of two bounds; `begins` says at which end.
fn tighter<'v>(one: Bound<&'v IndexValue>, other: Bound<&'v IndexValue>, begins: bool) -> Bound<&'v IndexValue> {
    // How far in a bound lies: by its value, and with the value left out a little further.
    let rank = |bound: Bound<&'v IndexValue>| match bound {
        Bound::Unbounded => None,
        Bound::Included(value) => Some((value, false)),
        Bound::Excluded(value) => Some((value, true)),
    };
    match (rank(one), rank(other)) {
        (None, _) => other,
        (_, None) => one,
        (Some((left, left_out)), Some((right, right_out))) => {
            let one_is_tighter = match left.cmp(right) {
                std::cmp::Ordering::Equal => left_out >= right_out,
                order => order.is_gt() == begins,
            };
            if one_is_tighter { one } else { other }
        }
    }
}

/// Whether anything can lie between them; a map refuses to look where nothing can.
fn is_empty(begin: Bound<&IndexValue>, end: Bound<&IndexValue>) -> bool {
    match (begin, end) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(begin), Bound::Included(end)) => begin > end,
        (Bound::Included(begin) | Bound::Excluded(begin), Bound::Included(end) | Bound::Excluded(end)) => begin >= end,
    }
}
