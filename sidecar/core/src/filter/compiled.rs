//! Filters that were compiled before, a bounded number of them: one text is compiled once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Filter, SyntaxFault};
use crate::fields::Fields;

/// An app asks a handful of different filters, unless it writes values into the text: then the oldest go.
const KEPT: usize = 64;

/// The filters of one kind.
#[derive(Debug)]
pub struct Filters {
    fields: Arc<Fields>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    filters: HashMap<Box<str>, (u64, Arc<Filter>)>,
    uses: u64,
}

impl Filters {
    /// None yet, for a kind with these fields. A kind whose schema changes gets new ones.
    pub fn new(fields: Arc<Fields>) -> Self {
        Self { fields, kept: Mutex::default() }
    }

    /// The kind's fields.
    pub fn fields(&self) -> &Arc<Fields> {
        &self.fields
    }

    /// The filter of a text: kept from before, or compiled now.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn filter(&self, text: &str) -> Result<Arc<Filter>, SyntaxFault> {
        {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.uses += 1;
            let now = kept.uses;
            if let Some((last, filter)) = kept.filters.get_mut(text) {
                *last = now;
                return Ok(Arc::clone(filter));
            }
        }
        // Not under the lock; two at once compile twice, and one of them stays.
        let filter = Arc::new(Filter::compile(text, &self.fields)?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.filters.len() >= KEPT {
            let oldest = kept.filters.iter().min_by_key(|(_, (last, _))| *last).map(|(text, _)| text.clone());
            if let Some(oldest) = oldest {
                kept.filters.remove(&oldest);
            }
        }
        let now = kept.uses;
        kept.filters.insert(text.into(), (now, Arc::clone(&filter)));
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_compiled_once_and_the_oldest_goes() {
        let filters = Filters::new(Arc::new(Fields::unknown()));
        let first = filters.filter("a == 0").unwrap();
        for n in 1..KEPT {
            filters.filter(&format!("a == {n}")).unwrap();
            assert!(Arc::ptr_eq(&first, &filters.filter("a == 0").unwrap()));
        }
        filters.filter("a == 100").unwrap();
        let kept = filters.kept.lock().unwrap();
        assert_eq!(kept.filters.len(), KEPT);
        assert!(kept.filters.contains_key("a == 0") && kept.filters.contains_key("a == 100"));
        assert!(!kept.filters.contains_key("a == 1"));
    }
}
