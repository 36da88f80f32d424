//! The two objects that make the API server ask: which writes it puts to the sidecar's webhook, and what it does when nobody answers.
//!
//! Pure: whoever installs the sidecar fills in where it is reached, and writes the objects into the cluster.

use std::time::Duration;

use contract::hook::HookName;
use serde_json::{Value, json};

/// Where these never look: a cluster that cannot heal itself helps nobody.
const SPARED: &str = "kube-system";
/// The API server has this much longer than the app, so that the sidecar's own words reach whoever writes.
const MARGIN: Duration = Duration::from_secs(1);

/// How the API server reaches the webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Through a Service.
    Service {
        /// Its name.
        name: String,
        /// Its namespace.
        namespace: String,
        /// Its port.
        port: u16,
    },
    /// By a URL without a path: a process outside the cluster.
    Url(String),
}

/// A kind with a hook at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guarded {
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// The namespaces whose writes are put to the hook; empty for all.
    pub namespaces: Vec<String>,
    /// Whether a write may be stored.
    pub validate: Option<Guard>,
    /// To fill in values.
    pub default: Option<Guard>,
}

/// One hook at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// What the app has.
    pub deadline: Duration,
    /// Whether a write is refused when the sidecar itself cannot be asked.
    pub fails: bool,
    /// The account whose writes are left out; absent: none.
    pub except: Option<String>,
}

/// The objects, named `NAME`: a `ValidatingWebhookConfiguration` and a `MutatingWebhookConfiguration`, each where some kind needs it.
/// `authority` is the certificate in PEM that the webhook's own is signed by, in base64.
pub fn objects(name: &str, reach: &Reach, authority: &str, kinds: &[Guarded]) -> Vec<Value> {
    let configuration = |kind: &str, hook: HookName| {
        let webhooks: Vec<Value> =
            kinds.iter().filter_map(|guarded| webhook(guarded, hook, reach, authority)).collect();
        (!webhooks.is_empty()).then(|| {
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": kind,
                "metadata": {"name": name},
                "webhooks": webhooks,
            })
        })
    };
    [
        configuration("MutatingWebhookConfiguration", HookName::Default),
        configuration("ValidatingWebhookConfiguration", HookName::Validate),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn webhook(guarded: &Guarded, hook: HookName, reach: &Reach, authority: &str) -> Option<Value> {
    let (guard, operations, extra) = match hook {
        HookName::Default => (guarded.default.as_ref()?, json!(["CREATE", "UPDATE"]), Some("IfNeeded")),
        _ => (guarded.validate.as_ref()?, json!(["CREATE", "UPDATE", "DELETE"]), None),
    };
    let group = if guarded.group.is_empty() { "core" } else { &guarded.group };
    let path = format!("/admission/{}", hook.name());
    let mut client = match reach {
        Reach::Service { name, namespace, port } => {
            json!({"service": {"name": name, "namespace": namespace, "port": port, "path": path}})
        }
        Reach::Url(url) => json!({"url": format!("{}{path}", url.trim_end_matches('/'))}),
    };
    let mut put = |name: &str, value: Value| {
        if let Some(members) = client.as_object_mut() {
            members.insert(name.to_owned(), value);
        }
    };
    put("caBundle", json!(authority));
    let except = guard.except.iter().map(|account| {
        json!({"name": "not-by-this-app", "expression": format!("request.userInfo.username != {}", quoted(account))})
    });
    let mut expressions = vec![json!({
        "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": [SPARED],
    })];
    if !guarded.namespaces.is_empty() {
        expressions.push(json!({
            "key": "kubernetes.io/metadata.name", "operator": "In", "values": guarded.namespaces,
        }));
    }
    let mut webhook = json!({
        "name": format!("{}.{}.{group}", hook.name(), guarded.plural),
        "admissionReviewVersions": ["v1"],
        "clientConfig": client,
        "rules": [{
            "apiGroups": [guarded.group],
            "apiVersions": [guarded.version],
            "operations": operations,
            "resources": [guarded.plural],
            "scope": if guarded.namespaced { "Namespaced" } else { "Cluster" },
        }],
        // A write in another version of the kind is put to it too, converted into this one.
        "matchPolicy": "Equivalent",
        "matchConditions": except.collect::<Vec<_>>(),
        "namespaceSelector": {"matchExpressions": expressions},
        "failurePolicy": if guard.fails { "Fail" } else { "Ignore" },
        "sideEffects": "None",
        "timeoutSeconds": (guard.deadline + MARGIN).as_secs().clamp(1, 30),
    });
    if let (Some(policy), Some(members)) = (extra, webhook.as_object_mut()) {
        members.insert("reinvocationPolicy".to_owned(), json!(policy));
    }
    Some(webhook)
}

/// A text as CEL writes it: JSON's quoting is a part of CEL's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn todos(validate: Option<Guard>, default: Option<Guard>) -> Guarded {
        Guarded {
            group: "k8sasbackend.com".into(),
            version: "v1".into(),
            plural: "todos".into(),
            namespaced: true,
            namespaces: vec!["shop".into()],
            validate,
            default,
        }
    }

    fn guard(seconds: u64, fails: bool, except: Option<&str>) -> Guard {
        Guard { deadline: Duration::from_secs(seconds), fails, except: except.map(str::to_owned) }
    }

    #[test]
    fn a_kind_is_guarded_where_it_is_configured_and_nowhere_else() {
        let reach = Reach::Service { name: "todo-app".into(), namespace: "shop".into(), port: 443 };
        let account = "system:serviceaccount:shop:todo-app";
        let objects = objects("todo-app", &reach, "Q0E=", &[todos(Some(guard(2, true, Some(account))), None)]);
        let expected = json!([{
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "todo-app"},
            "webhooks": [{
                "name": "validate.todos.k8sasbackend.com",
                "admissionReviewVersions": ["v1"],
                "clientConfig": {
                    "service": {"name": "todo-app", "namespace": "shop", "port": 443, "path": "/admission/validate"},
                    "caBundle": "Q0E=",
                },
                "rules": [{
                    "apiGroups": ["k8sasbackend.com"], "apiVersions": ["v1"], "resources": ["todos"],
                    "operations": ["CREATE", "UPDATE", "DELETE"], "scope": "Namespaced",
                }],
                "matchPolicy": "Equivalent",
                "matchConditions": [{
                    "name": "not-by-this-app",
                    "expression": "request.userInfo.username != \"system:serviceaccount:shop:todo-app\"",
                }],
                "namespaceSelector": {"matchExpressions": [
                    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]},
                    {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]},
                ]},
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "timeoutSeconds": 3,
            }],
        }]);
        assert_eq!(Value::Array(objects), expected);
    }

    #[test]
    fn defaults_are_filled_in_before_and_never_at_a_deletion() {
        let reach = Reach::Url("https://127.0.0.1:3602/".into());
        let both = objects("x", &reach, "", &[todos(Some(guard(29, true, None)), Some(guard(1, false, None)))]);
        let [default, validate] = both.as_slice() else { panic!("two objects, not {both:?}") };
        assert_eq!(default["kind"], json!("MutatingWebhookConfiguration"));
        let hook = &default["webhooks"][0];
        assert_eq!(hook["clientConfig"]["url"], json!("https://127.0.0.1:3602/admission/default"));
        assert_eq!(hook["rules"][0]["operations"], json!(["CREATE", "UPDATE"]));
        assert_eq!((&hook["failurePolicy"], &hook["reinvocationPolicy"]), (&json!("Ignore"), &json!("IfNeeded")));
        assert_eq!((&hook["timeoutSeconds"], &hook["matchConditions"]), (&json!(2), &json!([])));
        assert_eq!(validate["webhooks"][0]["timeoutSeconds"], json!(30));
    }

    #[test]
    fn kinds_of_all_namespaces_and_of_the_core_group_have_names_too() {
        let config_maps = Guarded {
            group: String::new(),
            plural: "configmaps".into(),
            namespaces: Vec::new(),
            ..todos(Some(guard(2, true, None)), None)
        };
        let made = objects("x", &Reach::Url("https://h:1".into()), "", &[config_maps, todos(None, None)]);
        let [validate] = made.as_slice() else { panic!("one object, not {made:?}") };
        assert_eq!(validate["webhooks"][0]["name"], json!("validate.configmaps.core"));
        let spared = json!([{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]);
        assert_eq!(validate["webhooks"][0]["namespaceSelector"]["matchExpressions"], spared);
    }
}
