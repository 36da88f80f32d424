//! How far the app's reconcile hook has come with an entity: `meta.generation`, and `status.observedGeneration` beside it.
//!
//! Owns what settled means for whoever waits after a write (`Prefer: wait`). Reads the entity's JSON without building a tree.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// The two numbers of an entity; absent where there is none, or nothing that is a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generations {
    /// Counts the changes of what the app's users want.
    pub current: Option<u64>,
    /// The one that the hook was last called for, and answered to.
    pub observed: Option<u64>,
}

impl Generations {
    /// Of an entity's JSON; of anything else none.
    pub fn of(json: &[u8]) -> Self {
        let told: Told = serde_json::from_slice(json).unwrap_or_default();
        Self { current: told.meta.0, observed: told.status.0 }
    }

    /// Whether the hook has dealt with `generation`, or with a later one.
    pub fn has_observed(self, generation: u64) -> bool {
        self.observed.is_some_and(|observed| observed >= generation)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    meta: Member<Current>,
    status: Member<Observed>,
}

/// Which member of an object is of interest.
trait Name {
    const NAME: &'static str;
}

struct Current;
struct Observed;

impl Name for Current {
    const NAME: &'static str = "generation";
}

impl Name for Observed {
    const NAME: &'static str = "observedGeneration";
}

/// One number of an object. The app decides what a status is, so it may be of any type.
struct Member<N>(Option<u64>, std::marker::PhantomData<N>);

impl<N> Default for Member<N> {
    fn default() -> Self {
        Self(None, std::marker::PhantomData)
    }
}

impl<'de, N: Name> Deserialize<'de> for Member<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Find<N>(std::marker::PhantomData<N>);
        impl<'de, N: Name> Visitor<'de> for Find<N> {
            type Value = Member<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut found = Member::default();
                while let Some(name) = map.next_key::<std::borrow::Cow<'_, str>>()? {
                    if name == N::NAME {
                        let number: serde_json::Value = map.next_value()?;
                        found.0 = number.as_u64();
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(found)
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Member::default())
            }
        }
        deserializer.deserialize_any(Find(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_numbers_are_found_wherever_they_stand() {
        let json = br#"{"generation":7,"id":"tea","meta":{"labels":{"generation":"9"},"generation":3},
            "status":{"phase":"Due","observedGeneration":2,"deep":{"observedGeneration":8}}}"#;
        let generations = Generations::of(json);
        assert_eq!(generations, Generations { current: Some(3), observed: Some(2) });
        assert!(generations.has_observed(2) && !generations.has_observed(3));
    }

    #[test]
    fn what_is_not_there_or_no_number_is_none() {
        for json in ["{}", r#"{"meta":{},"status":null}"#, r#"{"status":{"observedGeneration":"2"}}"#, "[]", ""] {
            assert_eq!(Generations::of(json.as_bytes()), Generations::default(), "{json}");
        }
    }
}
