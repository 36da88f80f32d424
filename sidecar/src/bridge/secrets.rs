//! What must never be told: the values of secret properties, wherever they come from, and tokens.
//!
//! Owns the reading of secrets from files and the hiding of them in texts. librdkafka and this code keep secrets out of their messages by
//! themselves; hiding is the second line, for a value that a message quotes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::RwLock;

/// Shorter ones would be found in any text, and hide nothing then.
const SHORTEST: usize = 4;
/// As many as can be in use around a few replacements.
const KEPT: usize = 64;
const HIDDEN: &str = "***";

/// The secrets that were in use lately; clones share them.
#[derive(Clone, Default)]
pub(super) struct Secrets {
    values: Arc<RwLock<Vec<String>>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Those that stand in the configuration itself.
    pub(super) fn of(properties: &BTreeMap<String, String>) -> Self {
        let secrets = Self::default();
        for (_, value) in properties.iter().filter(|(name, _)| is_secret(name)) {
            secrets.keep(value);
        }
        secrets
    }

    /// A secret from a file, without the line's end that editors and `echo` add.
    pub(super) fn read(&self, file: &Path) -> std::io::Result<String> {
        let text = std::fs::read_to_string(file)?;
        let value = text.strip_suffix('\n').unwrap_or(&text);
        let value = value.strip_suffix('\r').unwrap_or(value);
        self.keep(value);
        Ok(value.to_owned())
    }

    /// The text without any of the secrets.
    pub(super) fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.values.read().iter().fold(Cow::Borrowed(text), |text, value| {
            if text.contains(value) { Cow::Owned(text.replace(value, HIDDEN)) } else { text }
        })
    }

    fn keep(&self, value: &str) {
        let mut values = self.values.write();
        if value.len() < SHORTEST || values.iter().any(|known| known == value) {
            return;
        }
        if values.len() == KEPT {
            values.remove(0);
        }
        values.push(value.to_owned());
    }
}

/// Whether a property's value is a secret, by its name; what stands in a file is one anyway.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "passphrase", "key.pem", "sasl.oauthbearer.config"].iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_come_from() {
        let properties = BTreeMap::from([
            ("sasl.password".to_owned(), "open sesame".to_owned()),
            ("sasl.username".to_owned(), "alice".to_owned()),
        ]);
        let secrets = Secrets::of(&properties);
        let file = std::env::temp_dir().join(format!("kab-secret-{}", std::process::id()));
        std::fs::write(&file, "first\r\n").unwrap();
        assert_eq!(secrets.read(&file).unwrap(), "first");
        std::fs::write(&file, "second\n").unwrap();
        secrets.read(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let text = "alice said open sesame, first and second";
        assert_eq!(secrets.hide(text), "alice said ***, *** and ***", "an old one is a secret still");
        assert_eq!(format!("{secrets:?}"), "Secrets");
        assert!(secrets.read(&file).is_err());
    }
}
