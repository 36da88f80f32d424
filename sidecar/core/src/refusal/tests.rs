//! The API server's own refusals, and the problems that they become.

use serde_json::json;

use super::*;
use crate::kind::tests::todo;

fn key() -> Key {
    Key { namespace: Some("shop".into()), id: "buy-milk".into() }
}

fn refuse(code: u16, status: serde_json::Value, conditional: Conditional) -> Problem {
    let mut status = status;
    status["kind"] = json!("Status");
    status["code"] = json!(code);
    let problem = problem(&todo(), &key(), code, status.to_string().as_bytes(), conditional, Some(1_600_000));
    for inside in ["spec.", "metadata.", "Go ", "serviceaccount", "://", "10.0.0.1"] {
        assert!(!serde_json::to_string(&problem).unwrap().contains(inside), "{inside} gets through: {problem:?}");
    }
    problem
}

fn check(code: u16, status: serde_json::Value, expected: (u16, &str)) -> Problem {
    let problem = refuse(code, status, Conditional::No);
    assert_eq!((problem.status, problem.detail.as_str()), expected);
    problem
}

fn places(problem: &Problem) -> Vec<(&str, &str)> {
    problem.errors.iter().map(|error| (error.pointer.as_str(), error.detail.as_str())).collect()
}

#[test]
fn unknown_fields_are_pointed_at() {
    let problem = check(
        400,
        json!({"reason": "BadRequest", "message": "Todo in version \"v1\" cannot be handled as a Todo: strict decoding error: unknown field \"spec.foo\", unknown field \"spec.items[0].bar\""}),
        (400, "/foo: is not a known field; /items/0/bar: is not a known field"),
    );
    assert_eq!(places(&problem), [("/foo", "is not a known field"), ("/items/0/bar", "is not a known field")]);
}

#[test]
fn unknown_fields_in_a_patch_are_the_same_problem_and_the_patch_is_not_shown() {
    let message = r#"" is invalid: patch: Invalid value: "{\"spec\":{\"foo\":\"secret\"}}": strict decoding error: unknown field "spec.foo""#;
    let problem = check(
        422,
        json!({"reason": "Invalid", "message": message, "details": {"causes": [{"reason": "FieldValueInvalid", "message": "Invalid value: …", "field": "patch"}]}}),
        (400, "/foo: is not a known field"),
    );
    assert_eq!(places(&problem), [("/foo", "is not a known field")]);
}

#[test]
fn a_wrong_type_in_a_built_in_kind_is_pointed_at_without_words_of_go() {
    let said = "json: cannot unmarshal number into Go struct field ConfigMap.data of type string";
    let body = json!({"kind": "Status", "reason": "BadRequest", "message": format!("ConfigMap in version \"v1\" cannot be handled as a ConfigMap: {said}")});
    let config_map = crate::kind::tests::config_map();
    let problem = super::problem(&config_map, &key(), 400, body.to_string().as_bytes(), Conditional::No, None);
    assert_eq!((problem.status, places(&problem)), (400, vec![("/data", "must be a string")]));
    let cause = format!("Invalid value: \"{{}}\": {said}");
    let body = json!({"kind": "Status", "reason": "Invalid", "message": format!(" \"\" is invalid: patch: {cause}"), "details": {"causes": [{"message": cause, "field": "patch"}]}});
    let problem = super::problem(&config_map, &key(), 422, body.to_string().as_bytes(), Conditional::No, None);
    assert_eq!((problem.status, places(&problem)), (422, vec![("/data", "must be a string")]));
    let body = json!({"kind": "Status", "message": "x", "details": {"causes": [{"message": "Invalid value: \"{}\": json: trouble", "field": "patch"}]}});
    let problem = super::problem(&config_map, &key(), 422, body.to_string().as_bytes(), Conditional::No, None);
    assert_eq!(places(&problem)[0].0, "");
}

#[test]
fn every_wrong_field_is_pointed_at() {
    let problem = check(
        422,
        json!({
            "reason": "Invalid",
            "message": "Todo.k8sasbackend.com \"buy-milk\" is invalid: [spec.when: Invalid value: …]",
            "details": {"name": "buy-milk", "group": "k8sasbackend.com", "kind": "Todo", "causes": [
                {"reason": "FieldValueInvalid", "message": "Invalid value: \"x\": spec.when in body must be of type date-time: \"x\"", "field": "spec.when"},
                {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.message"},
                {"reason": "FieldValueInvalid", "message": "Invalid value: \"object\": the message says nothing", "field": "spec"},
                {"reason": "FieldValueInvalid", "message": "Invalid value: \"object\": the message says nothing", "field": "spec"},
                {"reason": "FieldValueInvalid", "message": "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation", "field": "<nil>"},
            ]}
        }),
        (
            422,
            "the todo \"buy-milk\" is not valid: /when: must be of type date-time: \"x\"; /message: is required; the message says nothing",
        ),
    );
    assert_eq!(
        places(&problem),
        [("/when", "must be of type date-time: \"x\""), ("/message", "is required"), ("", "the message says nothing")]
    );
}

#[test]
fn the_id_is_pointed_at_for_what_kubernetes_says_of_the_name() {
    let problem = refuse(
        422,
        json!({"reason": "Invalid", "message": "…", "details": {"causes": [{"message": "Invalid value: \"B\": a lowercase RFC 1123 subdomain must consist of …", "field": "metadata.name"}]}}),
        Conditional::No,
    );
    assert_eq!(places(&problem), [("/id", "a lowercase RFC 1123 subdomain must consist of …")]);
}

#[test]
fn a_rule_s_words_pass_whatever_status_the_webhook_chose() {
    for code in [400, 403, 422, 500] {
        check(
            code,
            json!({"message": "admission webhook \"todos.k8sasbackend.com\" denied the request: milk is sold out: try oat"}),
            (422, "milk is sold out: try oat"),
        );
    }
    check(
        422,
        json!({"reason": "Invalid", "message": "todos.k8sasbackend.com \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not on Sundays"}),
        (422, "not on Sundays"),
    );
    check(
        403,
        json!({"message": "admission webhook \"x\" denied the request without explanation"}),
        (422, "a rule refuses this and does not say why"),
    );
    let problem = refuse(
        422,
        json!({"message": "admission webhook \"x\" denied the request: no", "details": {"causes": [{"message": "too late", "field": "/when"}, {"message": "no"}]}}),
        Conditional::No,
    );
    assert_eq!(places(&problem), [("/when", "too late")]);
}

#[test]
fn a_rule_that_cannot_be_asked_is_told_without_its_address() {
    check(
        500,
        json!({"reason": "InternalError", "message": "Internal error occurred: failed calling webhook \"x\": failed to call webhook: Post \"https://10.0.0.1:3602/admission/validate\": dial tcp 10.0.0.1:3602: connect: connection refused"}),
        (503, "a rule that guards the kind Todo cannot be asked for now: try again later"),
    );
}

#[test]
fn conflicts_are_told_apart() {
    check(
        409,
        json!({"reason": "AlreadyExists", "message": "todos.k8sasbackend.com \"buy-milk\" already exists"}),
        (409, "the todo \"buy-milk\" exists already"),
    );
    check(
        409,
        json!({"reason": "AlreadyExists", "message": "object is being deleted: todos.k8sasbackend.com \"buy-milk\" already exists"}),
        (409, "the todo \"buy-milk\" is still being deleted: try again when it is gone"),
    );
    let modified = json!({"reason": "Conflict", "message": "Operation cannot be fulfilled on todos.k8sasbackend.com \"buy-milk\": the object has been modified; please apply your changes to the latest version and try again"});
    check(409, modified.clone(), (409, "the todo \"buy-milk\" was changed by someone else just now: try again"));
    let problem = refuse(409, modified, Conditional::Yes);
    assert_eq!(problem.status, 412);
    assert_eq!(
        problem.detail,
        "the todo \"buy-milk\" has changed since the version that If-Match names: read it again"
    );
    // A JSON patch is applied before the version is compared.
    let gone =
        json!({"reason": "Invalid", "message": "the server rejected our request due to an error in our request"});
    assert_eq!(refuse(422, gone.clone(), Conditional::Yes).status, 412);
    assert_eq!(refuse(422, gone, Conditional::No).status, 409);
}

#[test]
fn a_missing_right_names_no_account() {
    check(
        403,
        json!({"reason": "Forbidden", "message": "todos.k8sasbackend.com is forbidden: User \"system:serviceaccount:shop:default\" cannot create resource \"todos\" in API group \"k8sasbackend.com\" in the namespace \"shop\""}),
        (403, "the platform does not give the sidecar the right to do this with todos in the namespace \"shop\""),
    );
    check(
        403,
        json!({"reason": "Forbidden", "message": "todos.k8sasbackend.com \"x\" is forbidden: exceeded quota: todos, requested: count/todos=1, used: count/todos=3, limited: count/todos=3"}),
        (403, "exceeded quota: todos, requested: count/todos=1, used: count/todos=3, limited: count/todos=3"),
    );
    check(
        403,
        json!({"reason": "Forbidden", "message": "todos.k8sasbackend.com \"x\" is forbidden: unable to create new content in namespace shop because it is being terminated"}),
        (403, "unable to create new content in namespace shop because it is being terminated"),
    );
}

#[test]
fn what_is_not_there_is_named() {
    check(
        404,
        json!({"reason": "NotFound", "message": "todos.k8sasbackend.com \"buy-milk\" not found", "details": {"kind": "todos"}}),
        (404, "there is no todo \"buy-milk\""),
    );
    check(
        404,
        json!({"reason": "NotFound", "message": "namespaces \"shop\" not found", "details": {"kind": "namespaces"}}),
        (404, "there is no namespace \"shop\""),
    );
    let uninstalled = (503, "the cluster does not know the kind todos.k8sasbackend.com: its CRD is not installed");
    check(
        404,
        json!({"reason": "NotFound", "message": "the server could not find the requested resource", "details": {}}),
        uninstalled,
    );
    let problem = problem(&todo(), &key(), 404, b"404 page not found\n", Conditional::No, None);
    assert_eq!((problem.status, problem.detail.as_str()), uninstalled);
}

#[test]
fn what_is_too_large_says_the_limit() {
    check(
        413,
        json!({"reason": "RequestEntityTooLarge", "message": "Request entity too large: limit is 3145728"}),
        (
            413,
            "the todo \"buy-milk\" is larger than the API server takes: 1600000 bytes were sent, the limit is 3145728",
        ),
    );
    for message in [
        "etcdserver: request is too large",
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max (3150000 vs. 2097152)",
    ] {
        let problem = refuse(500, json!({"message": message}), Conditional::No);
        assert_eq!(problem.status, 413, "{message}");
        assert!(problem.detail.contains("1600000 bytes were sent, the limit is usually 1572864"), "{}", problem.detail);
    }
}

#[test]
fn what_cannot_be_created_now_or_ever_is_told_apart() {
    let terminating = "create not allowed while custom resource definition is terminating";
    let forbidden = format!("todos.k8sasbackend.com \"x\" is forbidden: {terminating}");
    for (code, reason, message) in [(405, "MethodNotAllowed", terminating), (403, "Forbidden", &*forbidden)] {
        let problem = refuse(code, json!({"reason": reason, "message": message}), Conditional::No);
        assert_eq!(problem.status, 503);
        assert!(problem.detail.contains("todos.k8sasbackend.com is being removed"), "{}", problem.detail);
    }
    let read_only = "the server does not allow this method on the requested resource";
    let problem = refuse(405, json!({"reason": "MethodNotAllowed", "message": read_only}), Conditional::No);
    assert_eq!((problem.status, problem.detail.contains("does not let")), (403, true));
}

#[test]
fn faults_of_the_api_server_say_nothing_of_its_inside() {
    for (code, status) in
        [(401, 503), (410, 503), (429, 429), (500, 503), (502, 503), (503, 503), (504, 503), (418, 502)]
    {
        let message = "panic at https://10.0.0.1:6443 goroutine 1 metadata.x User \"system:serviceaccount:a:b\"";
        let problem = refuse(code, json!({"message": message}), Conditional::No);
        assert_eq!(problem.status, status, "{code}");
    }
    let problem =
        refuse(500, json!({"reason": "Timeout", "message": "Timeout: request did not complete"}), Conditional::No);
    assert!(problem.detail.contains("may have been stored"));
    let full = refuse(500, json!({"message": "etcdserver: mvcc: database space exceeded"}), Conditional::No);
    assert!(full.detail.contains("store is full"));
}

#[test]
fn an_answer_that_is_no_status_cannot_be_used() {
    for body in ["", "<html>", "{}", "[1]", r#"{"kind":"Todo"}"#] {
        assert_eq!(problem(&todo(), &key(), 400, body.as_bytes(), Conditional::No, None).status, 502, "{body}");
        assert_eq!(problem(&todo(), &key(), 503, body.as_bytes(), Conditional::No, None).status, 503, "{body}");
    }
}

#[test]
fn the_wait_that_the_api_server_asks_for_is_found() {
    let body = br#"{"kind":"Status","message":"busy","details":{"retryAfterSeconds":7}}"#;
    assert_eq!((retry_after(body), message(body).as_deref()), (Some(Duration::from_secs(7)), Some("busy")));
    assert_eq!(retry_after(br#"{"kind":"Status"}"#), None);
}
