//! Whether a text is a point in time as RFC 3339 writes it. Never converts one: the API server keeps the text.

/// Whether `text` is an RFC 3339 date-time of a day that exists.
pub(super) fn is_rfc3339(text: &str) -> bool {
    let Some((date, rest)) = text.split_once(['T', 't']) else { return false };
    let offset_at = rest.find(['Z', 'z', '+', '-']);
    let Some((time, offset)) = offset_at.and_then(|at| rest.split_at_checked(at)) else { return false };
    is_date(date) && is_time(time) && is_offset(offset)
}

fn is_date(date: &str) -> bool {
    let Some([year, month, day]) = numbers(date, '-', [4, 2, 2]) else { return false };
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=days).contains(&day)
}

fn is_time(time: &str) -> bool {
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, Some(fraction)),
        None => (time, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // 60 is a leap second.
    numbers(time, ':', [2, 2, 2]).is_some_and(|[hour, minute, second]| hour < 24 && minute < 60 && second <= 60)
        && fraction.is_none_or(digits)
}

fn is_offset(offset: &str) -> bool {
    match offset.strip_prefix(['+', '-']) {
        Some(offset) => numbers(offset, ':', [2, 2]).is_some_and(|[hours, minutes]| hours < 24 && minutes < 60),
        None => matches!(offset, "Z" | "z"),
    }
}

/// Numbers of fixed widths between separators, and nothing else.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[u32; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_real_points_in_time_pass() {
        for good in [
            "2026-12-24T10:00:00Z",
            "2026-12-24t10:00:00z",
            "2026-12-24T10:00:00.123456789+01:00",
            "2024-02-29T23:59:60-23:59",
            "2000-02-29T00:00:00Z",
        ] {
            assert!(is_rfc3339(good), "{good}");
        }
        for bad in [
            "",
            "tomorrow",
            "2026-12-24",
            "2026-12-24 10:00:00Z",
            "2026-12-24T10:00:00",
            "2026-12-24T10:00Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+1:00",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00Zjunk",
            "26-01-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00ä",
        ] {
            assert!(!is_rfc3339(bad), "{bad}");
        }
    }
}
