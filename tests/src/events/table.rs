//! What a reader of events knows, and whether what it is told next can be right. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Told;
use crate::acknowledged::State;

/// A reader's table. It goes on over connections, as the reader does.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// What there is, by id; the value is the entity's `message`.
    pub entities: BTreeMap<String, State>,
    /// Whether it is complete.
    pub synced: bool,
    /// How often it was told to start over.
    pub resets: usize,
    /// How many changes it was told.
    pub changes: usize,
    /// The place behind the last change.
    place: (u64, u64),
}

impl Table {
    /// The reader comes back without an id.
    pub fn start_over(&mut self) {
        self.entities.clear();
        self.synced = false;
        self.place = (0, 0);
    }

    /// Takes an event; answers the state of an entity that it shows.
    ///
    /// # Errors
    /// When it was told before, or something before it was not told.
    pub fn take(&mut self, told: &Told) -> Result<Option<(String, State)>, String> {
        match told.name.as_str() {
            "reset" => {
                self.start_over();
                self.resets += 1;
                return Ok(None);
            }
            "synced" if self.synced => return Err("synced twice".to_owned()),
            "synced" => {
                self.synced = true;
                return Ok(None);
            }
            _ => {}
        }
        let entity: Value = serde_json::from_str(&told.data).map_err(|error| format!("{error}: {told:?}"))?;
        let (id, state) = read(&entity).ok_or_else(|| format!("not an entity: {told:?}"))?;
        let known = self.entities.get(&id).map(|known| known.version);
        match (told.name.as_str(), known) {
            ("added", None) => {}
            ("modified", Some(known)) if self.synced && known < state.version => {}
            ("deleted", Some(_)) if self.synced => {}
            (name, _) => return Err(format!("{name} {id} in version {}, where {known:?} is known", state.version)),
        }
        if self.synced {
            let place = told.id.as_deref().and_then(place).ok_or_else(|| format!("no place: {told:?}"))?;
            if place <= self.place {
                return Err(format!("{place:?} after {:?}", self.place));
            }
            self.place = place;
            self.changes += 1;
        }
        if told.name == "deleted" {
            self.entities.remove(&id);
            return Ok(None);
        }
        self.entities.insert(id.clone(), state.clone());
        Ok(Some((id, state)))
    }
}

/// The id and the state of an entity.
pub fn read(entity: &Value) -> Option<(String, State)> {
    let version = entity.get("meta")?.get("version")?.as_str()?.parse().ok()?;
    let value = entity.get("message")?.as_str()?.to_owned();
    Some((entity.get("id")?.as_str()?.to_owned(), State { version, value }))
}

/// `1234`, or `1234.2`.
fn place(id: &str) -> Option<(u64, u64)> {
    let (version, more) = id.split_once('.').unwrap_or((id, "0"));
    Some((version.parse().ok()?, more.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, place: &str, version: u64) -> Told {
        let data = format!(r#"{{"id":"milk","message":"m","meta":{{"version":"{version}"}}}}"#);
        Told { name: name.to_owned(), id: (!place.is_empty()).then(|| place.to_owned()), data }
    }

    fn right(told: &[Told]) -> bool {
        let mut table = Table::default();
        told.iter().all(|told| table.take(told).is_ok())
    }

    #[test]
    fn each_change_is_told_once_and_in_order() {
        let begin = [told("added", "", 3), told("synced", "5", 0)];
        for (more, expected) in [
            (vec![told("modified", "6", 6), told("deleted", "7", 7), told("added", "9", 9)], true),
            (vec![told("modified", "6", 6), told("modified", "6", 6)], false),
            (vec![told("modified", "7", 7), told("modified", "6", 6)], false),
            (vec![told("added", "6", 6)], false),
            (vec![told("deleted", "6", 6), told("modified", "7", 7)], false),
            (vec![told("deleted", "6.1", 3), told("added", "6.2", 6), told("modified", "7", 7)], true),
            (vec![told("deleted", "6.2", 3), told("added", "6.1", 6)], false),
            (vec![told("modified", "", 6)], false),
            (vec![told("synced", "6", 0)], false),
            (vec![told("reset", "", 0), told("added", "", 2), told("synced", "2", 0), told("modified", "4", 4)], true),
            (vec![told("reset", "", 0), told("modified", "6", 6)], false),
        ] {
            assert_eq!(right(&[begin.to_vec(), more.clone()].concat()), expected, "{more:?}");
        }
    }
}
