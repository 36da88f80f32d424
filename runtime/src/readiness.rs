//! What a process needs to be ready, part by part, and what each part says of itself.
//!
//! Parts are made at start and known for the life of the process; whoever owns a part tells its state. The admin server reads.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// Whether the process is unready while a part is down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// It is.
    Required,
    /// It is not: the part is only shown.
    Reported,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Condition {
    Up,
    Down,
}

#[derive(Debug, Clone, Serialize)]
struct Row {
    name: String,
    need: Need,
    state: Condition,
    #[serde(skip_serializing_if = "String::is_empty")]
    detail: String,
}

/// The body of `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether every required part is up.
    pub ready: bool,
    parts: Vec<Row>,
}

impl Report {
    /// The required parts that are down, `NAME: DETAIL` each: for a wait that says what it last saw.
    pub fn missing(&self) -> Vec<String> {
        self.parts
            .iter()
            .filter(|row| row.need == Need::Required && row.state == Condition::Down)
            .map(|row| format!("{}: {}", row.name, row.detail))
            .collect()
    }
}

/// All parts; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    rows: Arc<Mutex<Vec<Row>>>,
}

impl Readiness {
    /// No parts yet, hence ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part, down until it says otherwise.
    pub fn part(&self, name: impl Into<String>, need: Need) -> Part {
        let name = name.into();
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.push(Row { name: name.clone(), need, state: Condition::Down, detail: "starting".to_owned() });
        Part { readiness: self.clone(), index: rows.len() - 1, name }
    }

    /// The state now.
    pub fn report(&self) -> Report {
        let parts = self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ready = parts.iter().all(|row| row.need == Need::Reported || row.state == Condition::Up);
        Report { ready, parts }
    }

    /// Whether every required part is up.
    pub fn is_ready(&self) -> bool {
        self.report().ready
    }
}

/// One part, held by whoever knows its state; clones speak for the same part.
#[derive(Debug, Clone)]
pub struct Part {
    readiness: Readiness,
    index: usize,
    name: String,
}

impl Part {
    /// It works.
    pub fn up(&self) {
        self.set(Condition::Up, String::new());
    }

    /// It works, and there is something to say of it.
    pub fn up_with(&self, detail: impl Into<String>) {
        self.set(Condition::Up, detail.into());
    }

    /// It does not work; `detail` says why and what to do. Shown to whoever can reach the admin port.
    pub fn down(&self, detail: impl Into<String>) {
        self.set(Condition::Down, detail.into());
    }

    /// Logged when it changes between up and down, or why it is down changes.
    fn set(&self, state: Condition, detail: String) {
        let mut rows = self.readiness.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(row) = rows.get_mut(self.index) else { return };
        let told = match (row.state, state) {
            (Condition::Down, Condition::Down) => row.detail != detail,
            (before, now) => before != now,
        };
        row.state = state;
        row.detail.clone_from(&detail);
        drop(rows);
        match state {
            Condition::Up if told => tracing::info!(part = %self.name, detail, "part is up"),
            Condition::Down if told => tracing::warn!(part = %self.name, detail, "part is down"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_required_parts_decide() {
        let readiness = Readiness::new();
        let cache = readiness.part("cache todos", Need::Required);
        let kafka = readiness.part("kafka todos", Need::Reported);
        kafka.down("no broker answers");
        assert_eq!(readiness.report().missing(), ["cache todos: starting"]);
        cache.up();
        assert!(readiness.is_ready());
        let shown = serde_json::to_value(readiness.report()).unwrap();
        assert_eq!(
            shown,
            serde_json::json!({"ready": true, "parts": [
                {"name": "cache todos", "need": "required", "state": "up"},
                {"name": "kafka todos", "need": "reported", "state": "down", "detail": "no broker answers"},
            ]})
        );
        cache.down("the watch is silent");
        assert!(!readiness.is_ready());
    }
}
