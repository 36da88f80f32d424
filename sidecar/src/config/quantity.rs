//! Numbers as Kubernetes writes them (`10k`, `50Mi`, `0.5`, `500m`): exact, never through a float. `check` reads sizes, counts and rates with it.

/// Suffixes and what they stand for. Exponents (`1e3`) are not taken: nobody writes a bound so.
const UNITS: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

/// A whole number: what is written with a fraction has to come out even, as in `1.5Ki`.
pub(super) fn whole(text: &str) -> Option<u64> {
    let thousandths = thousandths(text)?;
    (thousandths % 1000 == 0).then_some(thousandths / 1000)
}

/// A number's thousandths: there may be no smaller part.
pub(super) fn thousandths(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor.checked_mul(1000)?)));
    let (digits, factor) = unit.or_else(|| Some((text.strip_suffix('m')?, 1))).unwrap_or((text, 1000));
    let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
    let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    // A fraction this long would not come out even anyway.
    if before.is_empty() || !is_number(before) || !is_number(behind) || behind.len() > 9 || digits.ends_with('.') {
        return None;
    }
    let whole = before.parse::<u64>().ok()?.checked_mul(factor)?;
    let part = if behind.is_empty() { 0 } else { behind.parse::<u128>().ok()? * u128::from(factor) };
    let scale = 10_u128.pow(u32::try_from(behind.len()).ok()?);
    (part % scale == 0).then_some(())?;
    whole.checked_add(u64::try_from(part / scale).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_exactly_or_not_at_all() {
        for (text, expected) in [
            ("0", Some(0)),
            ("10000", Some(10_000)),
            ("10k", Some(10_000)),
            ("50Mi", Some(50 << 20)),
            (" 1.5Ki ", Some(1536)),
            ("1Ti", Some(1 << 40)),
            ("2M", Some(2_000_000)),
            ("1000m", Some(1)),
            ("0.5", None),
            ("500m", None),
            ("1.3333Ki", None),
            ("", None),
            ("k", None),
            (".5", None),
            ("5.", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("1K", None),
            ("1 Mi", None),
            ("10 000", None),
            ("1.0000000000", None),
            ("99999999999999999999", None),
            ("99999999999Ti", None),
        ] {
            assert_eq!(whole(text), expected, "{text:?}");
        }
        for (text, expected) in
            [("50", Some(50_000)), ("0.5", Some(500)), ("500m", Some(500)), ("0.0005", None), ("0.5m", None)]
        {
            assert_eq!(thousandths(text), expected, "{text:?}");
        }
    }
}
