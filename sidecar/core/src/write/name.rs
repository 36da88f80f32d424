//! The syntax of ids and namespaces, with messages that teach. Never asks whether one exists.

/// An id: a DNS-1123 subdomain.
///
/// # Errors
/// What an id looks like.
pub fn check(id: &str) -> Result<(), String> {
    let fits = (1..=253).contains(&id.len()) && id.split('.').all(is_label);
    if fits {
        return Ok(());
    }
    Err("an id has 1 to 253 lower-case letters, digits, '-' and '.', and each part between dots begins and ends with a letter or digit"
        .to_owned())
}

/// A namespace: a DNS-1123 label.
///
/// # Errors
/// What a namespace looks like.
pub fn check_namespace(namespace: &str) -> Result<(), String> {
    if namespace.len() <= 63 && is_label(namespace) {
        return Ok(());
    }
    Err("a namespace has 1 to 63 lower-case letters, digits and '-', and begins and ends with a letter or digit"
        .to_owned())
}

fn is_label(part: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dns_subdomains() {
        for good in ["a", "buy-milk", "a.b-c.0", &"a".repeat(253)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a.", "a/b", "ä", "a b", "..", &"a".repeat(254)] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn namespaces_are_dns_labels() {
        for (namespace, good) in
            [("shop", true), ("a.b", false), ("", false), ("Shop", false), (&"a".repeat(64), false)]
        {
            assert_eq!(check_namespace(namespace).is_ok(), good, "{namespace}");
        }
    }
}
