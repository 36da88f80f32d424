//! Label selectors, in kubectl's syntax: `a=b,c!=d,e in (f,g),h notin (i),j,!k`.

use crate::entity::Entity;

/// A selector, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    // requirements
}

impl LabelSelector {
    /// Reads a selector.
    ///
    /// # Errors
    /// What is wrong and where, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let _ = text;
        todo!()
    }

    /// Whether the entity's labels fit.
    pub fn matches(&self, entity: &Entity) -> bool {
        let _ = entity;
        todo!()
    }
}
