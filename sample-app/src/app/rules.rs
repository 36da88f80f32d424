//! What the business demands of a todo: pure decisions, made before each write.
//!
//! Only what needs the clock or other todos stands here. What a todo has to be in itself is part of its schema
//! (`todo::TodoSpec`) and binds also those who write past this app.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::problem::FieldError;
use crate::todo::TodoSpec;

/// The day (UTC) on which the write adds an open todo, if it does: that day's limit then has a say.
pub(super) fn day_joined(old: Option<&TodoSpec>, new: &TodoSpec) -> Option<Date> {
    let joined = |old: &TodoSpec| old.done || day(old) != day(new);
    (!new.done && old.is_none_or(joined)).then(|| day(new))
}

/// The day (UTC) of a todo.
pub(super) fn day(todo: &TodoSpec) -> Date {
    todo.when.to_zoned(TimeZone::UTC).date()
}

/// What is wrong with turning `old` (absent: a new todo) into `new`; empty if nothing is.
///
/// `open_on_day` counts the other open todos of the day joined. Two writes at the same moment may both see room for
/// one: the limit is for people who plan too much, not a lock.
pub(super) fn violations(
    old: Option<&TodoSpec>,
    new: &TodoSpec,
    open_on_day: usize,
    open_per_day: usize,
    now: Timestamp,
) -> Vec<FieldError> {
    let mut violations = Vec::new();
    let mut violation = |detail: String| violations.push(FieldError { pointer: "/when".to_owned(), detail });
    let planned_anew = !new.done && old.is_none_or(|old| old.when != new.when);
    if planned_anew && new.when < now {
        violation("a todo cannot be planned in the past".to_owned());
    }
    if let Some(day) = day_joined(old, new)
        && open_on_day >= open_per_day
    {
        violation(format!("{open_on_day} todos are open on {day} already, and {open_per_day} a day are enough"));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-22T12:00:00Z";

    fn todo(when: &str, done: bool) -> TodoSpec {
        TodoSpec { when: when.parse().unwrap(), message: "x".to_owned(), done }
    }

    #[track_caller]
    fn check(old: Option<TodoSpec>, new: TodoSpec, open_on_day: usize, expected: &[&str]) {
        let found = violations(old.as_ref(), &new, open_on_day, 3, NOW.parse().unwrap());
        let found: Vec<&str> = found.iter().map(|violation| violation.detail.as_str()).collect();
        assert_eq!(found, expected, "from {old:?} to {new:?} with {open_on_day} open");
    }

    #[test]
    fn nothing_is_planned_in_the_past() {
        const PAST: &[&str] = &["a todo cannot be planned in the past"];
        check(None, todo("2026-11-22T11:59:59Z", false), 0, PAST);
        check(None, todo("2026-11-22T12:30:00+01:00", false), 0, PAST);
        check(None, todo(NOW, false), 0, &[]);
        check(None, todo("2020-01-01T00:00:00Z", true), 0, &[]);
        check(Some(todo("2030-01-01T00:00:00Z", false)), todo("2020-01-01T00:00:00Z", false), 0, PAST);
    }

    #[test]
    fn what_has_become_past_by_itself_can_be_changed_and_reopened() {
        let past = "2020-01-01T00:00:00Z";
        check(Some(todo(past, false)), todo(past, true), 0, &[]);
        check(Some(todo(past, false)), TodoSpec { message: "y".to_owned(), ..todo(past, false) }, 0, &[]);
        check(Some(todo(past, true)), todo(past, false), 0, &[]);
    }

    #[test]
    fn a_day_takes_so_many_open_todos() {
        const FULL: &[&str] = &["3 todos are open on 2030-01-01 already, and 3 a day are enough"];
        let (morning, evening) = ("2030-01-01T08:00:00Z", "2030-01-01T20:00:00Z");
        check(None, todo(morning, false), 2, &[]);
        check(None, todo(morning, false), 3, FULL);
        check(None, todo(morning, true), 3, &[]);
        check(Some(todo(morning, true)), todo(morning, false), 3, FULL);
        check(Some(todo("2030-01-02T08:00:00Z", false)), todo(morning, false), 3, FULL);
        check(Some(todo(morning, false)), todo(evening, false), 3, &[]);
    }
}
