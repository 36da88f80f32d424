//! What the API server is told: allowed with warnings or a patch, or refused in words that people read in a terminal.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use contract::hook::{HookName, ValidateAnswer};
use contract::problem::FieldError;
use serde_json::{Value, json};

use super::review::API_VERSION;
use crate::kind::Kind;

/// The API server passes over longer ones.
const WARNING_LETTERS: usize = 256;
const WARNINGS: usize = 16;
/// What people read at once, and what fits into a status.
const MESSAGE_LETTERS: usize = 4096;
const ERRORS: usize = 64;
/// By which [`crate::refusal`] knows a hook that failed. The code beside it is 500, as when the API server itself cannot ask a webhook: at 503 some clients
/// try again for minutes without a word.
pub(crate) const UNDECIDED: &str = "ServiceUnavailable";

/// What becomes of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling {
    /// It goes on.
    Allowed {
        /// For whoever writes.
        warnings: Vec<String>,
        /// A JSON patch, where something is filled in.
        patch: Option<Vec<Value>>,
    },
    /// The app's rule refuses it.
    Refused {
        /// Why, for people.
        message: String,
        /// Places, as JSON pointers into the entity.
        errors: Vec<FieldError>,
        /// Said beside it.
        warnings: Vec<String>,
    },
    /// Nobody could decide: the hook failed, and its policy is to refuse then.
    Undecided {
        /// Which hook, and why, for people.
        message: String,
    },
}

impl Ruling {
    /// It goes on, and there is nothing to say.
    pub fn allowed() -> Self {
        Self::Allowed { warnings: Vec::new(), patch: None }
    }

    /// What the app's rule says.
    pub fn of(answer: ValidateAnswer) -> Self {
        if answer.allowed {
            return Self::Allowed { warnings: answer.warnings, patch: None };
        }
        let message = answer.message.filter(|message| !message.trim().is_empty());
        let message = message.unwrap_or_else(|| "the app's rule refuses this".to_owned());
        Self::Refused { message, errors: answer.errors, warnings: answer.warnings }
    }

    /// The hook failed, and its policy is to refuse.
    pub fn undecided(hook: HookName, why: &str) -> Self {
        Self::Undecided {
            message: format!("the app could not be asked (hook {}): {why}; try again later", hook.name()),
        }
    }

    /// The hook failed, and its policy is to let through.
    pub fn unchecked(hook: HookName, why: &str) -> Self {
        let warning = format!("the app was not asked (hook {}): {why}", hook.name());
        Self::Allowed { warnings: vec![warning], patch: None }
    }
}

/// The whole answer. Without a kind, places are told in the text alone.
pub fn body(kind: Option<&Kind>, uid: &str, ruling: &Ruling) -> Vec<u8> {
    let mut response = json!({"uid": uid});
    match ruling {
        Ruling::Allowed { warnings, patch } => {
            put(&mut response, "allowed", json!(true));
            warn(&mut response, warnings);
            if let Some(patch) = patch.as_ref().filter(|patch| !patch.is_empty()) {
                let patch = STANDARD.encode(Value::Array(patch.clone()).to_string());
                put(&mut response, "patchType", json!("JSONPatch"));
                put(&mut response, "patch", json!(patch));
            }
        }
        Ruling::Refused { message, errors, warnings } => {
            put(&mut response, "allowed", json!(false));
            warn(&mut response, warnings);
            put(&mut response, "status", refusal(kind, message, errors));
        }
        Ruling::Undecided { message } => {
            put(&mut response, "allowed", json!(false));
            let message = line(message, MESSAGE_LETTERS);
            put(&mut response, "status", json!({"code": 500, "reason": UNDECIDED, "message": message}));
        }
    }
    let review = json!({"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response});
    review.to_string().into_bytes()
}

/// Not 422 `Invalid`, of which `kubectl` shows the causes and leaves the message out.
fn refusal(kind: Option<&Kind>, message: &str, errors: &[FieldError]) -> Value {
    let mut text = message.trim().to_owned();
    let mut causes = Vec::new();
    for FieldError { pointer, detail } in errors.iter().take(ERRORS) {
        let detail = line(detail, MESSAGE_LETTERS);
        text.push_str("; ");
        if !pointer.is_empty() {
            text.push_str(&format!("{}: ", line(&rooted(pointer), MESSAGE_LETTERS)));
        }
        text.push_str(&detail);
        if let Some(kind) = kind {
            causes.push(json!({"reason": "FieldValueInvalid", "field": field(kind, pointer), "message": detail}));
        }
    }
    let mut status = json!({"code": 403, "reason": "Forbidden", "message": paragraph(&text)});
    if !causes.is_empty() {
        put(&mut status, "details", json!({"causes": causes}));
    }
    status
}

fn warn(response: &mut Value, warnings: &[String]) {
    let said: Vec<String> = warnings
        .iter()
        .map(|warning| line(warning, WARNING_LETTERS))
        .filter(|warning| !warning.is_empty())
        .take(WARNINGS)
        .collect();
    if !said.is_empty() {
        put(response, "warnings", json!(said));
    }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

/// One line of at most so many letters: a warning is a header's value.
fn line(text: &str, letters: usize) -> String {
    let flat: String = text.trim().chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    cut(&flat, letters)
}

/// Line breaks stay.
fn paragraph(text: &str) -> String {
    let plain: String =
        text.chars().map(|letter| if letter.is_control() && letter != '\n' { ' ' } else { letter }).collect();
    cut(&plain, MESSAGE_LETTERS)
}

fn cut(text: &str, letters: usize) -> String {
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    text.chars().take(letters.saturating_sub(1)).chain(['…']).collect()
}

/// A pointer begins with a slash; an app that leaves it out means the same.
fn rooted(pointer: &str) -> String {
    if pointer.is_empty() || pointer.starts_with('/') { pointer.to_owned() } else { format!("/{pointer}") }
}

/// A pointer into the business shape as Kubernetes' field path: `/when` is `spec.when`, `/items/2/name` is `spec.items[2].name`.
pub fn field(kind: &Kind, pointer: &str) -> String {
    let rooted = rooted(pointer);
    let names: Vec<String> = rooted.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match names.as_slice() {
        [] => if kind.has_spec { "spec" } else { "" }.to_owned(),
        ["id"] => "metadata.name".to_owned(),
        ["meta", "namespace"] => "metadata.namespace".to_owned(),
        ["meta", "labels", rest @ ..] => path("metadata.labels", rest),
        ["meta", "expiresAt"] => path("metadata.annotations", &[contract::names::EXPIRES_AT]),
        ["meta", ..] => "metadata".to_owned(),
        ["status", rest @ ..] => path("status", rest),
        all if kind.has_spec => path("spec", all),
        [first, rest @ ..] => path(first, rest),
    }
}

fn path(root: &str, names: &[&str]) -> String {
    let mut path = root.to_owned();
    for name in names {
        let is_index = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        if is_index {
            path.push_str(&format!("[{name}]"));
        } else if name.is_empty() || name.contains(['.', '[', ']', '"']) {
            path.push_str(&format!("[{name:?}]"));
        } else {
            path.push_str(&format!(".{name}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use contract::problem::Problem;
    use proptest::prelude::*;

    use super::*;
    use crate::entity::Key;
    use crate::kind::tests::{config_map, todo};
    use crate::refusal::{self, Conditional};

    fn response(ruling: &Ruling) -> Value {
        let review: Value = serde_json::from_slice(&body(Some(&todo()), "u-1", ruling)).unwrap();
        assert_eq!((&review["apiVersion"], &review["kind"]), (&json!(API_VERSION), &json!("AdmissionReview")));
        assert_eq!(review["response"]["uid"], json!("u-1"));
        review["response"].clone()
    }

    /// What the API server makes of a refusal, and the entity API of that.
    fn problem(ruling: &Ruling) -> Problem {
        let response = response(ruling);
        let mut status = response["status"].clone();
        let said = format!(
            "admission webhook \"validate.todos.k8sasbackend.com\" denied the request: {}",
            status["message"].as_str().unwrap()
        );
        status["kind"] = json!("Status");
        status["message"] = json!(said);
        let code = u16::try_from(status["code"].as_u64().unwrap()).unwrap();
        let key = Key { namespace: Some("shop".into()), id: "buy-milk".into() };
        refusal::problem(&todo(), &key, code, status.to_string().as_bytes(), Conditional::No, None)
    }

    #[test]
    fn what_is_allowed_says_so_and_no_more() {
        assert_eq!(response(&Ruling::allowed()), json!({"uid": "u-1", "allowed": true}));
        let warnings = vec!["line\r\nbreak\u{7}!".to_owned(), String::new(), "x".repeat(300)];
        let told = response(&Ruling::of(ValidateAnswer { allowed: true, warnings, ..Default::default() }));
        assert_eq!(told["warnings"][0], json!("line  break !"));
        assert_eq!(told["warnings"][1].as_str().unwrap().chars().count(), 256);
        assert_eq!(told["warnings"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_patch_travels_in_base64() {
        let patch = vec![json!({"op": "add", "path": "/spec/priority", "value": 3})];
        let told = response(&Ruling::Allowed { warnings: Vec::new(), patch: Some(patch.clone()) });
        assert_eq!(told["patchType"], json!("JSONPatch"));
        let decoded = STANDARD.decode(told["patch"].as_str().unwrap()).unwrap();
        assert_eq!(serde_json::from_slice::<Vec<Value>>(&decoded).unwrap(), patch);
        let empty = response(&Ruling::Allowed { warnings: Vec::new(), patch: Some(Vec::new()) });
        assert_eq!(empty.get("patch"), None);
    }

    #[test]
    fn a_refusal_is_one_text_for_people_and_a_problem_with_pointers() {
        let places = vec![
            FieldError { pointer: "/when".into(), detail: "is past".into() },
            FieldError { pointer: "items/2/na.me".into(), detail: "is empty".into() },
            FieldError { pointer: String::new(), detail: "too much".into() },
        ];
        let refused = Ruling::of(ValidateAnswer {
            allowed: false,
            message: Some("the shop is closed".into()),
            errors: places,
            ..Default::default()
        });
        let status = &response(&refused)["status"];
        let text = "the shop is closed; /when: is past; /items/2/na.me: is empty; too much";
        assert_eq!((&status["code"], &status["message"]), (&json!(403), &json!(text)));
        assert_eq!(status["details"]["causes"][1]["field"], json!("spec.items[2][\"na.me\"]"));
        let problem = problem(&refused);
        assert_eq!((problem.status, problem.detail.as_str()), (422, text));
        let pointers: Vec<(&str, &str)> =
            problem.errors.iter().map(|error| (error.pointer.as_str(), error.detail.as_str())).collect();
        assert_eq!(pointers, [("/when", "is past"), ("/items/2/na.me", "is empty"), ("", "too much")]);
    }

    #[test]
    fn a_refusal_without_a_reason_has_one() {
        let refused = Ruling::of(ValidateAnswer { allowed: false, message: Some(" ".into()), ..Default::default() });
        assert_eq!(response(&refused)["status"]["message"], json!("the app's rule refuses this"));
        assert_eq!(problem(&refused).detail, "the app's rule refuses this");
    }

    #[test]
    fn a_hook_that_failed_is_named_and_can_be_tried_again() {
        let undecided = Ruling::undecided(HookName::Validate, "the app did not answer in time");
        let problem = problem(&undecided);
        let text = "the app could not be asked (hook validate): the app did not answer in time; try again later";
        assert_eq!((problem.status, problem.detail.as_str()), (503, text));
        let unchecked = response(&Ruling::unchecked(HookName::Default, "the app does not take connections"));
        assert_eq!(unchecked["allowed"], json!(true));
        assert_eq!(
            unchecked["warnings"],
            json!(["the app was not asked (hook default): the app does not take connections"])
        );
    }

    #[test]
    fn pointers_become_field_paths() {
        for (pointer, expected) in [
            ("", "spec"),
            ("/when", "spec.when"),
            ("/items/2/name", "spec.items[2].name"),
            ("/a~1b/c~0d", "spec.a/b.c~d"),
            ("/id", "metadata.name"),
            ("/meta/labels/app.io~1name", "metadata.labels[\"app.io/name\"]"),
            ("/meta/expiresAt", "metadata.annotations[\"k8sasbackend.com/expires-at\"]"),
            ("/meta/version", "metadata"),
            ("/status/phase", "status.phase"),
        ] {
            assert_eq!(field(&todo(), pointer), expected, "{pointer}");
        }
        assert_eq!(field(&config_map(), "/data/a.b"), "data[\"a.b\"]");
        assert_eq!(field(&config_map(), ""), "");
    }

    proptest! {
        /// A pointer that the app gave is the one that the entity API's caller gets, whatever names are in it.
        #[test]
        fn a_pointer_survives_the_way_through_the_api_server(names in prop::collection::vec("[a-zA-Z_][-a-zA-Z0-9_./~]{0,6}|[0-9]{1,2}", 1..4)) {
            let first = &names[0];
            prop_assume!(!["id", "meta", "status"].contains(&first.as_str()));
            let pointer: String = names.iter().map(|name| format!("/{}", name.replace('~', "~0").replace('/', "~1"))).collect();
            let errors = vec![FieldError { pointer: pointer.clone(), detail: "is wrong".into() }];
            let refused = Ruling::Refused { message: "no".into(), errors, warnings: Vec::new() };
            prop_assert_eq!(&problem(&refused).errors[0].pointer, &pointer);
        }
    }
}
