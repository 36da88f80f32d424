//! Reads an `AdmissionReview` (`admission.k8s.io/v1`), and says what the app is asked about it, if anything.

use bytes::Bytes;
use contract::entity::RESERVED_FIELDS;
use contract::hook::{Operation, User, ValidateRequest};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::entity::Entity;
use crate::kind::Kind;
use crate::mapping::{self, MappingError};

/// The one version of the API that is spoken.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// What the API server asks.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Review<'a> {
    /// To be said again in the answer.
    pub uid: String,
    /// Of which kind the object is.
    pub kind: GroupVersionKind,
    /// `status`, `scale` …; empty for the object itself.
    #[serde(default)]
    pub sub_resource: String,
    operation: String,
    #[serde(default)]
    user_info: UserInfo,
    #[serde(borrow, default)]
    object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    old_object: Option<&'a RawValue>,
    #[serde(default)]
    dry_run: Option<bool>,
}

/// A kind, as the API server names it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GroupVersionKind {
    /// Empty for the core group.
    #[serde(default)]
    pub group: String,
    /// Such as `v1`.
    pub version: String,
    /// Such as `Todo`.
    pub kind: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct UserInfo {
    username: String,
    groups: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    #[serde(borrow)]
    request: Option<Review<'a>>,
}

/// Why a body is no question.
#[derive(Debug, thiserror::Error)]
pub enum Garbled {
    /// It is no JSON of that shape.
    #[error("the body is no AdmissionReview")]
    Shape(#[from] serde_json::Error),
    /// Another version, another kind, or nothing is asked.
    #[error("the body is no AdmissionReview of {API_VERSION} with a request")]
    Foreign,
}

/// What is asked of the app about a write.
#[derive(Debug, Clone)]
pub struct Question {
    operation: Operation,
    entity: Option<Entity>,
    old: Option<Entity>,
    user: User,
    dry_run: bool,
}

impl<'a> Review<'a> {
    /// Reads a request's body.
    ///
    /// # Errors
    /// When it asks nothing that is understood.
    pub fn read(body: &'a [u8]) -> Result<Self, Garbled> {
        let envelope: Envelope<'a> = serde_json::from_slice(body)?;
        if envelope.api_version != API_VERSION || envelope.kind != "AdmissionReview" {
            return Err(Garbled::Foreign);
        }
        envelope.request.ok_or(Garbled::Foreign)
    }

    /// What to ask the app; `None` where nothing is: of `status` and other subresources, of a connection, and of a change of nothing that an app
    /// sees, such as finalizers and other people's annotations. An entity that is being deleted could not go if a rule kept its finalizer there.
    ///
    /// # Errors
    /// When the objects cannot be read.
    pub fn question(&self, kind: &Kind) -> Result<Option<Question>, MappingError> {
        if !self.sub_resource.is_empty() {
            return Ok(None);
        }
        let operation = match self.operation.as_str() {
            "CREATE" => Operation::Create,
            "UPDATE" => Operation::Update,
            "DELETE" => Operation::Delete,
            _ => return Ok(None),
        };
        let read = |object: Option<&RawValue>| {
            object.map(|object| mapping::proposed(kind, object.get().as_bytes())).transpose()
        };
        let (entity, old) = (read(self.object)?, read(self.old_object)?);
        let (entity, old) = match operation {
            Operation::Create => (entity, None),
            Operation::Update => (entity, old),
            Operation::Delete => (None, old),
        };
        if let (Some(entity), Some(old)) = (&entity, &old)
            && is_same(entity, old)
        {
            return Ok(None);
        }
        let user = User { name: self.user_info.username.clone(), groups: self.user_info.groups.clone() };
        Ok(Some(Question { operation, entity, old, user, dry_run: self.dry_run.unwrap_or(false) }))
    }

    /// The object as it came.
    pub fn object(&self) -> Option<&'a RawValue> {
        self.object
    }
}

/// Whether two states are one to a rule: fields, labels and expiry. The status is not a writer's business.
fn is_same(entity: &Entity, old: &Entity) -> bool {
    let own = |entity: &Entity| -> Vec<(String, String)> {
        mapping::shape_members(entity)
            .into_iter()
            .filter(|(name, _)| !RESERVED_FIELDS.contains(&name.as_ref()))
            .map(|(name, value)| (name.into_owned(), value.get().to_owned()))
            .collect()
    };
    own(entity) == own(old) && entity.labels == old.labels && mapping::expiry(entity) == mapping::expiry(old)
}

impl Question {
    /// What is to be done.
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The entity as it would be stored; absent when it is to go.
    pub fn entity(&self) -> Option<&Entity> {
        self.entity.as_ref()
    }

    /// The body of the hooks `validate` and `default`.
    ///
    /// # Errors
    /// Never: both entities' JSON was made here.
    pub fn body(&self) -> Result<Bytes, serde_json::Error> {
        let raw = |entity: &'_ Option<Entity>| -> Result<Option<Box<RawValue>>, serde_json::Error> {
            entity.as_ref().map(|entity| serde_json::from_slice(&entity.json)).transpose()
        };
        let (entity, old) = (raw(&self.entity)?, raw(&self.old)?);
        let request = ValidateRequest {
            operation: self.operation,
            entity: entity.as_deref(),
            old_entity: old.as_deref(),
            user: self.user.clone(),
            dry_run: self.dry_run,
        };
        serde_json::to_vec(&request).map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::kind::tests::todo;

    fn object(message: &str, version: Option<&str>) -> Value {
        let mut object = json!({
            "apiVersion": "k8sasbackend.com/v1", "kind": "Todo",
            "metadata": {"name": "buy-milk", "namespace": "shop", "uid": "u", "generation": 1, "creationTimestamp": "2026-11-22T18:00:00Z"},
            "spec": {"message": message},
        });
        if let Some(version) = version {
            object["metadata"]["resourceVersion"] = json!(version);
        }
        object
    }

    fn review(operation: &str, object: Value, old: Value) -> Value {
        json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "request": {
            "uid": "705ab4f5", "kind": {"group": "k8sasbackend.com", "version": "v1", "kind": "Todo"},
            "resource": {"group": "k8sasbackend.com", "version": "v1", "resource": "todos"},
            "name": "buy-milk", "namespace": "shop", "operation": operation,
            "userInfo": {"username": "jane", "uid": "x", "groups": ["dev"], "extra": {"a": ["b"]}},
            "object": object, "oldObject": old, "dryRun": false, "options": null,
        }})
    }

    fn asked(review: &Value) -> Option<Value> {
        let text = review.to_string();
        let question = Review::read(text.as_bytes()).unwrap().question(&todo()).unwrap()?;
        Some(serde_json::from_slice(&question.body().unwrap()).unwrap())
    }

    #[test]
    fn each_operation_is_asked_with_what_there_is() {
        let created = asked(&review("CREATE", object("milk", None), Value::Null)).unwrap();
        assert_eq!((&created["operation"], &created["oldEntity"]), (&json!("create"), &Value::Null));
        assert_eq!((&created["entity"]["id"], &created["entity"]["message"]), (&json!("buy-milk"), &json!("milk")));
        assert_eq!(created["user"], json!({"name": "jane", "groups": ["dev"]}));
        assert_eq!(created["dryRun"], json!(false));
        let updated = asked(&review("UPDATE", object("beer", Some("7")), object("milk", Some("7")))).unwrap();
        assert_eq!((&updated["entity"]["message"], &updated["oldEntity"]["message"]), (&json!("beer"), &json!("milk")));
        assert_eq!(updated["entity"]["meta"]["version"], json!("7"));
        let deleted = asked(&review("DELETE", Value::Null, object("milk", Some("7")))).unwrap();
        assert_eq!((&deleted["entity"], &deleted["oldEntity"]["message"]), (&Value::Null, &json!("milk")));
    }

    #[test]
    fn a_dry_run_is_passed_on() {
        let mut review = review("CREATE", object("milk", None), Value::Null);
        review["request"]["dryRun"] = json!(true);
        assert_eq!(asked(&review).unwrap()["dryRun"], json!(true));
    }

    #[test]
    fn what_no_rule_is_about_is_not_asked() {
        let mut status = review("UPDATE", object("beer", Some("7")), object("milk", Some("7")));
        for sub_resource in ["status", "scale"] {
            status["request"]["subResource"] = json!(sub_resource);
            assert_eq!(asked(&status), None, "{sub_resource}");
        }
        assert_eq!(asked(&review("CONNECT", object("milk", None), Value::Null)), None);
        let mut bookkeeping = object("milk", Some("8"));
        bookkeeping["metadata"]["finalizers"] = json!(["k8sasbackend.com/todos"]);
        bookkeeping["metadata"]["annotations"] = json!({"other": "x"});
        assert_eq!(asked(&review("UPDATE", bookkeeping, object("milk", Some("7")))), None);
    }

    #[test]
    fn a_change_of_labels_or_of_the_expiry_is_asked() {
        for (key, value) in [
            ("labels", json!({"a": "b"})),
            ("annotations", json!({"k8sasbackend.com/expires-at": "2026-12-24T10:00:00Z"})),
        ] {
            let mut changed = object("milk", Some("7"));
            changed["metadata"][key] = value;
            assert!(asked(&review("UPDATE", changed, object("milk", Some("7")))).is_some(), "{key}");
        }
    }

    #[test]
    fn an_object_whose_name_is_still_to_be_made_is_asked_too() {
        let mut nameless = object("milk", None);
        nameless["metadata"] = json!({"generateName": "buy-"});
        assert_eq!(asked(&review("CREATE", nameless, Value::Null)).unwrap()["entity"]["id"], json!(""));
    }

    #[test]
    fn what_is_no_review_is_refused() {
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}"#,
            r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}"#,
            r#"{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {}}"#,
            r#"{"apiVersion": "v1", "kind": "Pod", "request": null}"#,
        ] {
            assert!(Review::read(body.as_bytes()).is_err(), "{body}");
        }
        let wrong = review("CREATE", json!("x"), Value::Null).to_string();
        assert!(Review::read(wrong.as_bytes()).unwrap().question(&todo()).is_err());
    }
}
