//! Names that look like one that does not exist. Pure.

/// Alike enough to be worth a line.
const ALIKE: f64 = 0.55;
/// More would be a list, not a hint.
const MOST: usize = 5;

/// Those of `names` that look like `wanted`, the most alike first.
pub(crate) fn similar<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let score = |name: &str| {
        let name = name.to_lowercase();
        // `todos` is meant for `k8sasbackend.com.todos`, however long the rest is.
        let contained = name.split(['.', '-', '_']).any(|part| part == wanted) || name.contains(&wanted);
        if contained { 1.0 } else { strsim::normalized_damerau_levenshtein(&wanted, &name) }
    };
    let mut found: Vec<(f64, &str)> = names.into_iter().map(|name| (score(name), name)).collect();
    found.retain(|(score, _)| *score >= ALIKE);
    found.sort_by(|left, right| right.0.total_cmp(&left.0).then_with(|| left.1.cmp(right.1)));
    found.into_iter().take(MOST).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPICS: [&str; 4] =
        ["k8sasbackend.com.todos", "shop.example.orders", "kab.positions", "k8sasbackend.com.notes"];

    #[test]
    fn a_slip_of_the_finger_and_a_bare_plural_are_understood() {
        assert_eq!(similar("k8sasbackend.com.todo", TOPICS).first(), Some(&"k8sasbackend.com.todos"));
        assert_eq!(similar("todos", TOPICS), ["k8sasbackend.com.todos"]);
        assert_eq!(similar("Orders", TOPICS), ["shop.example.orders"]);
        assert_eq!(similar("zzz", TOPICS), [""; 0]);
    }
}
