//! The `Idempotency-Key` of a create: the retry of a create whose answer was lost finds the first one's entity.
//!
//! Nothing is remembered here, so that it holds across restarts and in every sidecar: without an `id` the entity's is made from the key, so that both tries
//! name the same object; and an annotation of the object keeps what key and what body it was made with. The store looks at it when the object
//! exists already.

use contract::names::IDEMPOTENCY;
use contract::problem::{Code, Problem};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::entity::Key;
use crate::kind::Kind;

/// Long enough for any scheme of keys, short enough for a log line.
const LONGEST: usize = 255;
/// Bytes of a hash that are kept: nobody finds two texts with the same.
const KEPT: usize = 16;
/// Letters of a made id behind the kind: 80 bits.
const LETTERS: usize = 16;

/// What a create with a key leaves at the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Of kind, namespace and key.
    origin: [u8; 32],
    /// Of the request's body.
    body: [u8; 32],
}

/// What an object that exists already says of a create with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was made by this very create.
    Same,
    /// It was made with this key and another body.
    OtherBody,
    /// It has nothing to do with the key.
    Foreign,
}

impl Mark {
    /// The mark of a create in `key`'s namespace. `header` is the value of `Idempotency-Key`, with or without the quotes of a structured field's string.
    ///
    /// # Errors
    /// 400 when it is empty, longer than 255 characters, or not printable ASCII.
    pub fn new(kind: &Kind, key: &Key, header: &str, body: &[u8]) -> Result<Self, Problem> {
        let text = header.trim();
        let text = text.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(text);
        if text.is_empty() || text.len() > LONGEST || !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            let detail =
                format!("Idempotency-Key has 1 to {LONGEST} printable ASCII characters, such as those of a UUID");
            return Err(Problem::new(Code::BadRequest, detail));
        }
        // None of the three holds a zero byte.
        let namespace = key.namespace.as_deref().unwrap_or_default();
        let origin = format!("{}\0{namespace}\0{text}", kind.full_name());
        Ok(Self { origin: Sha256::digest(origin).into(), body: Sha256::digest(body).into() })
    }

    /// The id of an entity that is created without one.
    pub fn id(&self, kind: &Kind) -> String {
        // Without vowels no words come about, as in the names that Kubernetes makes up.
        const ALPHABET: [char; 32] = [
            'b', 'c', 'd', 'f', 'g', 'h', 'j', 'k', 'l', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x', 'z', '0',
            '1', '2', '3', '4', '5', '6', '7', '8', '9', 'y', 'u',
        ];
        let letters = self.origin.iter().rev().take(LETTERS).filter_map(|byte| ALPHABET.get(usize::from(byte % 32)));
        format!("{}-{}", kind.noun(), letters.collect::<String>())
    }

    /// What the annotation holds.
    pub(super) fn annotation(&self) -> String {
        format!("{}-{}", hex(&self.origin), hex(&self.body))
    }

    /// What an object of the API server says of this create.
    pub fn judge(&self, object: &[u8]) -> Verdict {
        #[derive(Deserialize)]
        struct Object {
            metadata: Metadata,
        }
        #[derive(Deserialize)]
        struct Metadata {
            #[serde(default)]
            annotations: Value,
        }
        let object: Option<Object> = serde_json::from_slice(object).ok();
        let found = object.as_ref().and_then(|object| object.metadata.annotations.get(IDEMPOTENCY)?.as_str());
        match found {
            Some(found) if *found == self.annotation() => Verdict::Same,
            Some(found) if found.starts_with(&hex(&self.origin)) => Verdict::OtherBody,
            _ => Verdict::Foreign,
        }
    }
}

/// 422, as the draft of the header's standard has it.
pub fn reused() -> Problem {
    Problem::new(
        Code::KeyReused,
        "an entity was created with this Idempotency-Key and another body: send the same bytes again, or use a new key",
    )
}

fn hex(hash: &[u8]) -> String {
    hash.iter().take(KEPT).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::{config_map, todo};
    use crate::write::body::Body;
    use crate::write::{create_once, name};

    fn place() -> Key {
        Key { namespace: Some("shop".into()), id: "".into() }
    }

    fn mark(key: &str, body: &str) -> Mark {
        Mark::new(&todo(), &place(), key, body.as_bytes()).unwrap()
    }

    #[test]
    fn the_id_follows_from_kind_namespace_and_key_alone() {
        let id = mark("k-1", "{}").id(&todo());
        assert_eq!(id, mark("\"k-1\"", "{\"a\":1}").id(&todo()), "quotes do not matter, nor the body");
        assert_eq!(id.len(), "todo-".len() + LETTERS);
        assert_eq!(name::check(&id), Ok(()));
        assert_ne!(id, mark("k-2", "{}").id(&todo()));
        let elsewhere = Key { namespace: Some("bar".into()), id: "".into() };
        assert_ne!(id, Mark::new(&todo(), &elsewhere, "k-1", b"{}").unwrap().id(&todo()));
        assert_ne!(mark("k-1", "").origin, Mark::new(&config_map(), &place(), "k-1", b"").unwrap().origin);
    }

    #[test]
    fn an_object_tells_whether_this_create_made_it() {
        let body = r#"{"message":"m","meta":{"expiresAt":"2027-01-01T00:00:00Z"}}"#;
        let parsed = Body::parse(body.as_bytes()).unwrap();
        let key = Key { id: mark("k", body).id(&todo()).into(), ..place() };
        let object = create_once(&todo(), &key, &parsed, &mark("k", body)).unwrap().body;
        assert_eq!(mark("k", body).judge(&object), Verdict::Same);
        assert_eq!(mark("k", "{}").judge(&object), Verdict::OtherBody);
        assert_eq!(mark("other", body).judge(&object), Verdict::Foreign);
        let text = String::from_utf8(object).unwrap();
        assert!(text.contains("k8sasbackend.com/expires-at"), "{text}");
        for foreign in [r#"{"metadata":{}}"#, r#"{"metadata":{"annotations":{"a":"b"}}}"#, "", "[]"] {
            assert_eq!(mark("k", body).judge(foreign.as_bytes()), Verdict::Foreign, "{foreign}");
        }
    }

    #[test]
    fn keys_are_short_and_printable() {
        for good in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", "\"with quotes\"", &"a".repeat(LONGEST)] {
            assert!(Mark::new(&todo(), &place(), good, b"").is_ok(), "{good}");
        }
        for bad in ["", "\"\"", "  ", "ä", "a\tb", &"a".repeat(LONGEST + 1)] {
            assert_eq!(Mark::new(&todo(), &place(), bad, b"").unwrap_err().status, 400, "{bad}");
        }
    }
}
