//! A list: which entities of one or more caches a query asks for, in which order, and the page of them that is sent.
//!
//! In two steps, so that no lock is held while a filter is asked: [`Gathered::gather`] takes from a cache what may match (by the index where
//! it narrows), quickly; [`Gathered::page`] asks the filter, orders and cuts. The entity API calls both.
//!
//! A page begins behind the place at which the one before ended, which is a place in the order and not a number: an entity that nobody changes
//! in between is neither sent twice nor left out, whatever else comes, goes and changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use contract::problem::Problem;

use crate::cache::Cache;
use crate::entity::{Entity, Key};
use crate::filter::{Budget, FilterFault, Lookup};
use crate::order::Place;
use crate::query::{self, ListQuery};
use crate::version::Version;

/// Fetching by key costs a few times as much as passing by in order: the index is used for up to one of so many entities.
const WORTHWHILE: usize = 2;

/// A page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// The entities, in the order asked for.
    pub items: Vec<Arc<Entity>>,
    /// The place to go on behind, when there are more.
    pub next: Option<Place>,
    /// How far the caches had come.
    pub version: Version,
}

/// What may belong to a list, from as many caches as it reaches.
#[derive(Debug, Default)]
pub struct Gathered {
    /// In key order, as long as the caches are gathered in the order of their namespaces.
    entities: Vec<Arc<Entity>>,
    version: Option<Version>,
    fingerprint: u64,
}

impl Gathered {
    /// Adds what a cache has. Caches must come in the order of their namespaces.
    pub fn gather(&mut self, cache: &Cache, query: &ListQuery) {
        self.version = Some(self.version.map_or(cache.version(), |version| version.min(cache.version())));
        self.fingerprint = self.fingerprint.wrapping_add(cache.fingerprint());
        // Where nothing is asked of the entities, one more than the page shows whether anything follows.
        let room = match query.limit {
            Some(limit) if query.filter.is_none() && query.order.is_empty() => {
                (limit + 1).saturating_sub(self.entities.len())
            }
            _ => usize::MAX,
        };
        let fits = |entity: &&Arc<Entity>| query.selector.matches(entity);
        match candidates(cache, query) {
            Candidates::All => {
                let inside =
                    |entity: &&Arc<Entity>| query.namespace.is_none() || entity.key.namespace == query.namespace;
                let all = cache.range(begin(query)).take_while(inside);
                self.entities.extend(all.filter(fits).take(room).cloned());
            }
            Candidates::Keys(keys) => {
                let found = keys.into_iter().filter_map(|key| cache.find(key));
                self.entities.extend(found.filter(fits).take(room).cloned());
            }
            Candidates::Owned(keys) => {
                let found = keys.iter().filter_map(|key| cache.find(key));
                self.entities.extend(found.filter(fits).take(room).cloned());
            }
        }
    }

    /// How many entities [`Self::page`] may have to ask or to order; none where it only cuts.
    pub fn work(&self, query: &ListQuery) -> usize {
        if query.filter.is_none() && query.order.is_empty() { 0 } else { self.entities.len() }
    }

    /// What a weak `ETag` of the list's answer holds: it changes whenever the items could. It does not rest on how far the watch has come,
    /// which the answer tells too, so that a list stays the same while nothing happens; nor on this process, so that it outlives a restart.
    pub fn tag(&self, query: &ListQuery) -> String {
        format!("{:016x}{:016x}", self.fingerprint, query.answer_hash())
    }

    /// The page.
    ///
    /// # Errors
    /// 400 when the filter has no meaning for an entity, or costs too much.
    pub fn page(self, query: &ListQuery) -> Result<Page, Problem> {
        let version = self.version.unwrap_or_default();
        let refused = |fault: FilterFault| query::bad("filter", &fault.to_string());
        let limit = query.limit.unwrap_or(usize::MAX);
        if !query.order.is_empty() {
            return ordered(self.entities, query, limit, version).map_err(refused);
        }
        let mut items = Vec::new();
        let mut more = false;
        let mut budget = Budget::default();
        for entity in self.entities {
            if !matches(&entity, query, &mut budget).map_err(refused)? {
                continue;
            }
            more = items.len() >= limit;
            if more {
                break;
            }
            items.push(entity);
        }
        let last = items.last().filter(|_| more);
        let next = last.map(|last| Place { values: Vec::new(), key: last.key.clone() });
        Ok(Page { items, next, version })
    }
}

fn ordered(entities: Vec<Arc<Entity>>, query: &ListQuery, limit: usize, version: Version) -> Result<Page, FilterFault> {
    let mut budget = Budget::default();
    let mut placed = Vec::new();
    for entity in entities {
        if matches(&entity, query, &mut budget)? {
            let place = Place { values: query.order.values(&entity.json), key: entity.key.clone() };
            if query.after.as_ref().is_none_or(|after| query.order.compare(after, &place).is_lt()) {
                placed.push((place, entity));
            }
        }
    }
    let more = placed.len() > limit;
    if more {
        // Only what is sent is sorted.
        placed.select_nth_unstable_by(limit, |left, right| query.order.compare(&left.0, &right.0));
        placed.truncate(limit);
    }
    placed.sort_unstable_by(|left, right| query.order.compare(&left.0, &right.0));
    let next = placed.last().filter(|_| more).map(|(place, _)| place.clone());
    Ok(Page { items: placed.into_iter().map(|(_, entity)| entity).collect(), next, version })
}

fn matches(entity: &Entity, query: &ListQuery, budget: &mut Budget) -> Result<bool, FilterFault> {
    query.filter.as_ref().map_or(Ok(true), |filter| filter.matches(entity, budget))
}

/// The key behind which to begin; with the namespace's first key nothing is left out, for no id is empty.
fn begin(query: &ListQuery) -> Option<Key> {
    let first =
        query.namespace.as_ref().map(|namespace| Key { namespace: Some(Arc::clone(namespace)), id: Arc::from("") });
    // In another order the place of the page before says nothing of keys.
    let after = query.after.as_ref().filter(|_| query.order.is_empty()).map(|place| place.key.clone());
    after.max(first)
}

enum Candidates<'c> {
    /// Whatever is in the cache.
    All,
    /// These, in order.
    Keys(Vec<&'c Key>),
    /// The same, made for the purpose.
    Owned(Vec<Key>),
}

fn candidates<'c>(cache: &'c Cache, query: &'c ListQuery) -> Candidates<'c> {
    let lookups = || query.filter.iter().flat_map(|filter| filter.lookups());
    let begin = begin(query);
    let in_reach = |key: &Key| {
        begin.as_ref().is_none_or(|begin| key > begin)
            && (query.namespace.is_none() || key.namespace == query.namespace)
    };
    if let Some(ids) = lookups().find_map(|lookup| if let Lookup::Id(ids) = lookup { Some(ids) } else { None }) {
        let ids: BTreeSet<&str> = ids.iter().map(AsRef::as_ref).collect();
        let mut keys = Vec::new();
        for namespace in namespaces(cache, query) {
            keys.extend(
                ids.iter().map(|id| Key { namespace: namespace.clone(), id: Arc::from(*id) }).filter(&in_reach),
            );
        }
        return Candidates::Owned(keys);
    }
    let of_index = query.filter.as_ref().is_some_and(|filter| cache.index().is_of(filter.fields()));
    let usable = lookups().filter(|lookup| of_index || matches!(lookup, Lookup::Label(..)));
    let sets = cache.index().candidates(usable, query.selector.required(), cache.len() / WORTHWHILE);
    let Some(sets) = sets else { return Candidates::All };
    let inside = |key: &&Key| query.namespace.is_none() || key.namespace == query.namespace;
    let mut keys: Vec<&Key> = sets.iter().flat_map(|set| set.behind(begin.as_ref()).take_while(inside)).collect();
    if sets.len() > 1 {
        keys.sort_unstable();
        keys.dedup();
    }
    Candidates::Keys(keys)
}

/// The namespaces in which an id may stand, found by leaps.
fn namespaces(cache: &Cache, query: &ListQuery) -> Vec<Option<Arc<str>>> {
    if query.namespace.is_some() {
        return vec![query.namespace.clone()];
    }
    let mut found = Vec::new();
    let mut behind: Option<Key> = None;
    while let Some(entity) = cache.range(behind.take()).next() {
        let namespace = entity.key.namespace.clone();
        // No id is as long as this, so it stands behind all ids of the namespace.
        behind = Some(Key { namespace: namespace.clone(), id: Arc::from("\u{10ffff}") });
        found.push(namespace);
    }
    found
}

impl Cache {
    /// A page of this cache alone.
    ///
    /// # Errors
    /// 400 when the filter has no meaning for an entity, or costs too much.
    pub fn list(&self, query: &ListQuery) -> Result<Page, Problem> {
        let mut gathered = Gathered::default();
        gathered.gather(self, query);
        gathered.page(query)
    }
}

/// The list's body: `{"items":[…],"nextPageToken":…,"meta":{"version":"…"}}`, joined from the entities' own bytes.
pub fn render(page: &Page, query: &ListQuery) -> Bytes {
    // Neither a token (base64url) nor a version (a number) needs escaping.
    let token =
        page.next.as_ref().map_or_else(|| "null".to_owned(), |place| format!("\"{}\"", query.page_token(place)));
    let tail = format!("],\"nextPageToken\":{token},\"meta\":{{\"version\":\"{}\"}}}}", page.version);
    let head = b"{\"items\":[";
    let items: usize = page.items.iter().map(|entity| entity.json.len()).sum();
    let commas = page.items.len().saturating_sub(1);
    // With `fields` this is more than needed, but it is sent and gone.
    let mut out = Vec::with_capacity(head.len() + items + commas + tail.len());
    out.extend_from_slice(head);
    for (index, entity) in page.items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match &query.fields {
            Some(fields) => fields.write(&entity.json, &mut out),
            None => out.extend_from_slice(&entity.json),
        }
    }
    out.extend_from_slice(tail.as_bytes());
    Bytes::from(out)
}

#[cfg(test)]
mod tests;
