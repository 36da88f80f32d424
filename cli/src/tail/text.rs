//! A record as a line for people. Pure. What comes from the topic never reaches a terminal as a control character.

use std::fmt::Write as _;

use serde_json::Value;

use crate::tail::change::Change;
use crate::tail::record::Record;

/// A value longer than this is cut.
const LONGEST: usize = 60;
/// What a line shows of a whole state.
const STATE: usize = 160;

/// Whether lines have colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Colour,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colour => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

/// The line without its end.
pub(crate) fn line(record: &Record, change: &Change, style: Style) -> String {
    let event = record.event.unwrap_or("?");
    let code = match event {
        "created" => "32",
        "updated" => "33",
        "deleted" => "31",
        "snapshot" => "36",
        _ => "2",
    };
    let version = record.version.as_deref().map_or_else(String::new, |version| format!("v{}", plain(version)));
    let mut line = format!(
        "{}  {}  {}",
        style.paint("2", &plain(record.time.as_deref().unwrap_or("-"))),
        style.paint(code, &format!("{event:<9}")),
        style.paint("1", &plain(&record.key)),
    );
    if !version.is_empty() {
        let _ = write!(line, "  {}", style.paint("2", &version));
    }
    if let Some(skipped) = &record.skipped {
        let told = match skipped.as_str() {
            "1" => "(1 version passed over)".to_owned(),
            "unknown" => "(versions may be passed over)".to_owned(),
            count => format!("({} versions passed over)", plain(count)),
        };
        let _ = write!(line, "  {}", style.paint("35", &told));
    }
    let content = content(record, change);
    if !content.is_empty() {
        let _ = write!(line, "  {content}");
    }
    line
}

fn content(record: &Record, change: &Change) -> String {
    match change {
        Change::Nothing => match &record.value {
            // Not an entity, so not ours: as it is.
            Some(value) if record.event.is_none() => shown(value),
            _ => String::new(),
        },
        Change::State(places) => {
            let all: Vec<String> =
                places.iter().map(|(place, value)| format!("{}={}", plain(place), shown(value))).collect();
            cut(&all.join(" "), STATE)
        }
        Change::Differences(places) if places.is_empty() => "nothing that is shown here changed".to_owned(),
        Change::Differences(places) => {
            let all: Vec<String> = places
                .iter()
                .map(|(place, before, after)| {
                    let place = plain(place);
                    match (before, after) {
                        (Some(before), Some(after)) => format!("{place}: {} → {}", shown(before), shown(after)),
                        (None, Some(after)) => format!("+{place}: {}", shown(after)),
                        (Some(before), None) => format!("-{place}: {}", shown(before)),
                        (None, None) => place,
                    }
                })
                .collect();
            all.join(", ")
        }
    }
}

fn shown(value: &Value) -> String {
    cut(&plain(&value.to_string()), LONGEST)
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// Without control characters, which could speak to the terminal.
fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, letter| {
        if letter.is_control() {
            plain.extend(letter.escape_default())
        } else {
            plain.push(letter)
        }
        plain
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tail::change::{differences, places};
    use crate::tail::record::tests::record;

    #[test]
    fn a_line_tells_when_what_which_and_how() {
        let value = json!({"id": "milk", "message": "one", "meta": {"version": "12"}});
        let created = record("shop/milk", "created", 12, Some(&value.to_string()));
        assert_eq!(
            line(&created, &Change::State(places(&value)), Style::Plain),
            "2030-01-01T10:00:00.123456Z  created    shop/milk  v12  message=\"one\""
        );
        let mut updated = record("shop/milk", "updated", 15, Some("{}"));
        updated.skipped = Some("2".to_owned());
        let change = differences(&places(&value), &places(&json!({"done": true, "message": "two"})));
        assert_eq!(
            line(&updated, &change, Style::Plain),
            "2030-01-01T10:00:00.123456Z  updated    shop/milk  v15  (2 versions passed over)  +done: true, message: \"one\" → \"two\""
        );
        let tombstone = record("shop/milk", "", 0, None);
        assert_eq!(line(&tombstone, &Change::Nothing, Style::Plain), "2030-01-01T10:00:00.000Z  tombstone  shop/milk");
    }

    #[test]
    fn nothing_in_a_record_speaks_to_the_terminal() {
        let mut hostile = record("a\u{1b}]0;x\u{7}", "updated", 1, Some("{}"));
        hostile.event = None;
        hostile.value = Some(json!("\u{9b}31m\u{1b}[2J"));
        let line = line(&hostile, &Change::Nothing, Style::Plain);
        assert!(line.chars().all(|letter| !letter.is_control()), "{line:?}");
    }

    #[test]
    fn what_is_long_is_cut_between_characters() {
        assert_eq!(cut(&"ä".repeat(70), 60).chars().count(), 61);
        assert_eq!(cut("short", 60), "short");
    }
}
