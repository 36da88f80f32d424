//! The entity API over real connections, on views filled by hand and a fake API server.

use sidecar_core::budget::Limits;
use sidecar_core::kind::Kind;
use sidecar_core::mapping;
use sidecar_core::schema::Schema;
use sidecar_core::version::Version;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::fake::{self, Asked, Log, Reply, status, todo, todo_in};
use crate::kinds::{Kinds, Served};
use crate::store::Store;
use crate::view::{KindView, View};

const JSON: &str = "content-type: application/json";
const MERGE: &str = "content-type: application/merge-patch+json";
const PATCH: &str = "content-type: application/json-patch+json";
pub(super) const LIMITS: ApiLimits = ApiLimits {
    connections: 64,
    header_fields: 64,
    header_bytes: 32 << 10,
    header_time: Duration::from_secs(10),
    body_time: Duration::from_secs(30),
    stall_time: Duration::from_secs(15),
    idle_time: Duration::from_secs(75),
};

pub(super) struct Fixture {
    pub(super) address: SocketAddr,
    pub(super) log: Log,
    pub(super) views: Vec<Arc<View>>,
}

pub(super) fn kind(group: &str, owned: bool) -> Kind {
    Kind {
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: "Todo".to_owned(),
        plural: "todos".to_owned(),
        namespaced: true,
        has_spec: true,
        has_status: true,
        owned,
    }
}

pub(super) fn schema() -> Schema {
    let fields = serde_json::json!({"type": "object", "properties": {"message": {"type": "string"}}});
    let document = serde_json::json!({"components": {"schemas": {"Todo": {
        "type": "object", "properties": {"spec": fields},
        "x-kubernetes-group-version-kind": [{"group": "a.b", "version": "v1", "kind": "Todo"}],
    }}}});
    Schema::from_openapi(&document, "a.b", "v1", "Todo").unwrap()
}

pub(super) fn view(kind: &Kind, namespace: Option<&str>, version: u64, objects: &[String]) -> Arc<View> {
    let view = View::new(namespace.map(Arc::from));
    let entities = objects.iter().map(|object| Arc::new(mapping::entity(kind, object.as_bytes()).unwrap())).collect();
    view.fill(Version(version), entities, Instant::now());
    Arc::new(view)
}

/// Serves these kinds with these views.
pub(super) async fn serve(
    kinds: Vec<(Kind, Vec<Arc<View>>)>,
    api_server: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Fixture {
    serve_within(kinds, Limits::default(), api_server).await
}

/// The same with a budget for each kind.
pub(super) async fn serve_within(
    kinds: Vec<(Kind, Vec<Arc<View>>)>,
    limits: Limits,
    api_server: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Fixture {
    let (client, log) = fake::client(api_server);
    let mut registry = prometheus_client::registry::Registry::default();
    let store = Store::new(client, crate::store::Metrics::register(&mut registry));
    let all = Kinds::new(kinds.iter().map(|(kind, _)| kind.full_name()));
    let views = kinds.iter().flat_map(|(_, views)| views.clone()).collect();
    for (index, (kind, views)) in kinds.into_iter().enumerate() {
        let served = Served::new(Arc::new(kind), schema(), KindView::new(views));
        let served = served.with_budget(limits, crate::budget::Metrics::default()).reconciled(true);
        all.slot(index).unwrap().serve(served);
    }
    let api = Arc::new(Api::new(Arc::new(all), store, Metrics::register(&mut registry), LIMITS));
    let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), LIMITS).await.unwrap();
    let address = server.address();
    tokio::spawn(server.run(api, CancellationToken::new()));
    Fixture { address, log, views }
}

/// An owned kind in one namespace with one entity of version 5.
pub(super) async fn shop(api_server: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Fixture {
    let kind = kind("a.b", true);
    let view = view(&kind, Some("shop"), 9, &[todo("milk", 5, "buy milk")]);
    serve(vec![(kind, vec![view])], api_server).await
}

pub(super) fn unasked(asked: &Asked) -> Reply {
    panic!("nobody should have asked: {asked:?}")
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(super) fn detail(&self) -> String {
        self.json()["detail"].as_str().unwrap().to_owned()
    }
}

impl Fixture {
    pub(super) async fn ask(&self, line: &str, headers: &[&str], body: &str) -> Answer {
        let mut text = format!("{line} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for header in headers {
            text.push_str(&format!("{header}\r\n"));
        }
        text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(&format!("GET {path}"), &[], "").await
    }
}

#[tokio::test]
async fn one_entity_is_read_from_the_cache_with_its_tag_and_age() {
    let shop = shop(unasked).await;
    let answer = shop.get("/v1/todos/milk").await;
    assert_eq!((answer.status, answer.header("etag"), answer.header("age")), (200, Some("\"5\""), Some("0")));
    assert_eq!(answer.json()["message"], "buy milk");
    for tag in ["\"5\"", "W/\"5\"", "*", "\"4\", \"5\""] {
        let unchanged = shop.ask("GET /v1/todos/milk", &[&format!("if-none-match: {tag}")], "").await;
        assert_eq!(
            (unchanged.status, unchanged.body.as_str(), unchanged.header("etag")),
            (304, "", Some("\"5\"")),
            "{tag}"
        );
    }
    assert_eq!(shop.ask("GET /v1/todos/milk", &["if-none-match: \"4\""], "").await.status, 200);
    assert_eq!(shop.ask("GET /v1/todos/milk", &["if-match: \"4\""], "").await.status, 412);
    let head = shop.ask("HEAD /v1/todos/milk", &[], "").await;
    assert_eq!((head.status, head.body.as_str(), head.header("etag")), (200, "", Some("\"5\"")));
    assert_eq!(shop.get("/v1/todos.a.b/milk").await.status, 200);
    let missing = shop.get("/v1/todos/..%2f..%2fsecrets").await;
    assert_eq!((missing.status, missing.header("content-type")), (404, Some("application/problem+json")));
    assert_eq!(missing.json()["instance"], "/v1/todos/..%2f..%2fsecrets");
    assert_eq!(shop.get("/v1/todos/milk?verbose=1").await.status, 400);
}

#[tokio::test]
async fn a_list_is_tagged_and_an_own_write_changes_the_tag() {
    let shop = shop(|_| Reply::Json(201, todo("bread", 12, "buy bread"))).await;
    let list = shop.get("/v1/todos").await;
    let tag = list.header("etag").unwrap().to_owned();
    assert_eq!((list.status, list.json()["items"].as_array().unwrap().len()), (200, 1));
    assert_eq!(shop.ask("GET /v1/todos", &[&format!("if-none-match: {tag}")], "").await.status, 304);
    let created = shop.ask("POST /v1/todos", &[JSON], r#"{"id":"bread","message":"buy bread"}"#).await;
    assert_eq!(
        (created.status, created.header("location"), created.header("etag")),
        (201, Some("/v1/todos/bread"), Some("\"12\""))
    );
    let list = shop.ask("GET /v1/todos", &[&format!("if-none-match: {tag}")], "").await;
    assert_eq!((list.status, list.json()["items"].as_array().unwrap().len()), (200, 2), "read your own write");
}

#[tokio::test]
async fn a_write_is_one_request_with_field_manager_and_strict_validation() {
    let shop = shop(|asked| match asked.line.split(' ').next() {
        Some("DELETE") => {
            Reply::Json(200, r#"{"kind":"Status","status":"Success","details":{"uid":"u-milk"}}"#.to_owned())
        }
        _ => Reply::Json(200, todo("milk", 11, "buy more")),
    })
    .await;
    let replaced = shop.ask("PUT /v1/todos/milk", &[JSON, "if-match: \"5\""], r#"{"message":"buy more"}"#).await;
    assert_eq!((replaced.status, replaced.header("etag")), (200, Some("\"11\"")));
    let patched =
        shop.ask("PATCH /v1/todos/milk?dryRun=true", &[MERGE, "prefer: return=minimal"], r#"{"message":"x"}"#).await;
    assert_eq!(
        (patched.status, patched.body.as_str(), patched.header("preference-applied")),
        (204, "", Some("return=minimal"))
    );
    let deleted = shop.ask("DELETE /v1/todos/milk", &["if-match: \"11\""], "").await;
    assert_eq!((deleted.status, shop.get("/v1/todos/milk").await.status), (204, 404));
    let asked = shop.log.asked();
    let path = "/apis/a.b/v1/namespaces/shop/todos/milk";
    assert_eq!(
        asked.iter().map(|asked| asked.line.clone()).collect::<Vec<_>>(),
        [
            format!("PATCH {path}?fieldManager=kab-sidecar&fieldValidation=Strict"),
            format!("PATCH {path}?fieldManager=kab-sidecar&fieldValidation=Strict&dryRun=All"),
            format!("DELETE {path}"),
        ]
    );
    assert!(asked[0].body.contains("\"5\"") && asked[2].body.contains("\"11\""), "{asked:?}");
}

#[tokio::test]
async fn a_cache_that_is_behind_costs_one_read_more() {
    let shop = shop(|asked| match asked.line.split(' ').next() {
        Some("POST") => status(409, "AlreadyExists", "todos \\\"tea\\\" already exists"),
        Some("GET") => Reply::Json(200, todo("tea", 20, "there already")),
        _ => Reply::Json(200, todo("tea", 21, "replaced")),
    })
    .await;
    let answer = shop.ask("PUT /v1/todos/tea", &[JSON], r#"{"message":"replaced"}"#).await;
    assert_eq!((answer.status, answer.header("etag")), (200, Some("\"21\"")));
    let methods: Vec<String> = shop.log.lines().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(methods, ["POST", "GET", "PATCH"]);
}

#[tokio::test]
async fn preconditions_hold_also_where_the_cache_knows_nothing() {
    let shop = shop(|asked| match asked.line.split(' ').next() {
        Some("GET") => status(404, "NotFound", "not found"),
        Some("POST") => status(409, "AlreadyExists", "already exists"),
        other => panic!("{other:?}"),
    })
    .await;
    let put = async |header: &str| shop.ask("PUT /v1/todos/tea", &[JSON, header], r#"{"message":"m"}"#).await;
    assert_eq!(put("if-match: *").await.status, 412);
    assert_eq!(put("if-match: \"7\"").await.status, 412);
    assert_eq!(put("if-match: W/\"7\"").await.status, 412, "a weak tag never matches");
    assert_eq!(put("if-match: \"7\", \"8\"").await.status, 412);
    assert_eq!(put("if-none-match: *").await.status, 412, "it exists, says the API server");
    assert_eq!(put("if-none-match: \"7\"").await.status, 400);
    assert_eq!(put("if-match: seven").await.status, 400);
}

#[tokio::test]
async fn wrong_requests_never_reach_the_api_server() {
    let shop = shop(unasked).await;
    let large = format!("{{\"message\":\"{}\"}}", "x".repeat(body::LIMIT));
    let cases: Vec<(&str, Vec<&str>, &str, u16, &str)> = vec![
        ("POST /v1/todos", vec![], "{}", 415, "Content-Type is missing"),
        ("POST /v1/todos", vec!["content-type: text/plain"], "{}", 415, "taken is application/json"),
        ("PATCH /v1/todos/milk", vec![JSON], "{}", 415, "taken is application/merge-patch+json"),
        ("POST /v1/todos", vec![JSON], &large, 413, "1048590 bytes, the limit is 1048576"),
        ("POST /v1/todos", vec![JSON], "{", 400, ""),
        ("POST /v1/todos", vec![JSON], r#"{"message":"a","message":"b"}"#, 400, "twice"),
        ("PUT /v1/todos/milk", vec![JSON], r#"{"id":"bread"}"#, 400, "bread"),
        ("PUT /v1/todos/Milk", vec![JSON], "{}", 400, "lower-case"),
        ("POST /v1/todos?dryRun=yes", vec![JSON], "{}", 400, "dryRun"),
        ("POST /v1/todos?namespace=other", vec![JSON], "{}", 400, "only in shop"),
        ("PUT /v1/todos", vec![JSON], "{}", 405, "PUT"),
        ("POST /v1/todos/milk", vec![JSON], "{}", 405, "POST"),
        ("DELETE /v1", vec![], "", 405, "DELETE"),
        ("GET /v1/todos/milk/status", vec![], "", 405, "GET"),
        ("DELETE /v1/todos/milk/status", vec![], "", 405, "DELETE"),
        ("PATCH /v1/todos/milk", vec![PATCH], "{}", 400, "not an array"),
        ("PATCH /v1/todos/milk", vec![PATCH], r#"[{"op":"remove","path":"/id"}]"#, 422, "cannot be written"),
        ("PUT /v1/todos/milk/status", vec![JSON], "[]", 400, "not an object"),
        ("GET /v1/todos/milk/scale", vec![], "", 404, "/v1"),
        ("GET /v1/orders", vec![], "", 404, "/v1/todos"),
        ("GET /v1/todos", vec!["at-least-version: soon"], "", 400, "At-Least-Version"),
        ("GET /v1/todos", vec!["at-least-version: 99", "prefer: wait=0"], "", 504, "99"),
        ("GET /v1/todos", vec!["origin: http://evil.example"], "", 403, "origin"),
    ];
    for (line, headers, body, expected, told) in cases {
        let answer = shop.ask(line, &headers, body).await;
        assert_eq!(answer.status, expected, "{line} {headers:?}: {answer:?}");
        assert!(answer.detail().contains(told), "{line}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{line}");
    }
    assert_eq!(shop.ask("PUT /v1/todos", &[JSON], "{}").await.header("allow"), Some("GET, HEAD, POST"));
}

#[tokio::test]
async fn a_consumed_kind_is_read_only_and_says_so() {
    let kind = kind("a.b", false);
    let view = view(&kind, None, 9, &[todo("milk", 5, "m")]);
    let fixture = serve(vec![(kind, vec![view])], unasked).await;
    assert_eq!(fixture.get("/v1/todos/milk?namespace=shop").await.status, 200);
    for line in ["POST /v1/todos", "PUT /v1/todos/milk", "PATCH /v1/todos/milk", "DELETE /v1/todos/milk"] {
        let answer = fixture.ask(line, &[JSON], "{}").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{line}");
        assert!(answer.detail().contains("only consumed"), "{line}");
    }
}

#[tokio::test]
async fn a_json_patch_that_does_not_fit_is_a_conflict_and_tried_once_more_only_when_the_cache_was_behind() {
    for (present, requests) in [(5, vec!["PATCH", "GET"]), (6, vec!["PATCH", "GET", "PATCH", "GET"])] {
        let shop = shop(move |asked| match asked.line.split(' ').next() {
            Some("GET") => Reply::Json(200, todo("milk", present, "buy milk")),
            _ => status(422, "Invalid", "the server rejected our request due to an error in our request"),
        })
        .await;
        let patch = r#"[{"op":"test","path":"/message","value":"other"}]"#;
        let refused = shop.ask("PATCH /v1/todos/milk", &[PATCH], patch).await;
        assert_eq!(refused.status, 409, "{refused:?}");
        assert!(refused.detail().contains("a test does not hold"), "{refused:?}");
        let methods: Vec<String> =
            shop.log.lines().iter().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        assert_eq!(methods, requests);
        let stale = shop.ask("PATCH /v1/todos/milk", &[PATCH, "if-match: \"4\""], patch).await;
        assert_eq!(stale.status, 412, "{stale:?}");
    }
}

#[tokio::test]
async fn a_create_that_was_done_already_returns_the_first_result() {
    let (sent, kept) = (Arc::new(parking_lot::Mutex::new(String::new())), "idempotency-key: \"k-1\"");
    let memory = Arc::clone(&sent);
    let shop = shop(move |asked| match asked.line.split(' ').next() {
        Some("POST") if memory.lock().is_empty() => {
            let stored = asked
                .body
                .replace("\"metadata\":{", "\"metadata\":{\"resourceVersion\":\"12\",\"namespace\":\"shop\",");
            memory.lock().clone_from(&stored);
            Reply::BreakOff
        }
        Some("POST") => status(409, "AlreadyExists", "todos already exists"),
        _ => Reply::Json(200, memory.lock().clone()),
    })
    .await;
    let post = async |body| shop.ask("POST /v1/todos", &[JSON, kept], body).await;
    let first = post(r#"{"message":"m"}"#).await;
    assert!(matches!(first.status, 201 | 504), "{first:?}");
    let again = post(r#"{"message":"m"}"#).await;
    assert_eq!(
        (again.status, again.header("etag"), again.json()["message"].as_str()),
        (201, Some("\"12\""), Some("m"))
    );
    let id = again.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(again.header("location"), Some(format!("/v1/todos/{id}").as_str()));
    assert_eq!(shop.get(&format!("/v1/todos/{id}")).await.status, 200, "read your own write");
    let other = post(r#"{"message":"n"}"#).await;
    assert_eq!(
        (other.status, other.json()["type"].as_str()),
        (422, Some("urn:k8sasbackend:problem:idempotency-key-reused"))
    );
    let foreign = shop.ask("POST /v1/todos", &[JSON, "idempotency-key: k-2"], &format!("{{\"id\":\"{id}\"}}")).await;
    assert_eq!(foreign.status, 409, "{foreign:?}");
    assert_eq!(shop.ask("POST /v1/todos", &[JSON, kept, kept], "{}").await.status, 400);
    assert_eq!(shop.ask("POST /v1/todos", &[JSON, kept, "if-match: *"], "{}").await.status, 400);
}

#[tokio::test]
async fn a_batch_has_a_result_for_each_operation() {
    let shop = shop(|asked| match asked.line.split(' ').next() {
        Some("POST") => Reply::Json(201, todo("tea", 12, "t")),
        Some("DELETE") => status(404, "NotFound", "todos \\\"none\\\" not found"),
        _ => Reply::Json(200, todo("milk", 13, "buy more")),
    })
    .await;
    let operations = r#""operations":[
        {"op":"create","kind":"todos","body":{"id":"tea","message":"t"}},
        {"op":"delete","kind":"todos","id":"none"},
        {"op":"patch","kind":"todos","id":"milk","ifMatch":"5","body":[{"op":"add","path":"/message","value":"buy more"}]},
        {"op":"replace","kind":"orders","id":"a","body":{}}]"#;
    let told = shop.ask("POST /v1/batch", &[JSON], &format!("{{{operations}}}")).await;
    let results = told.json()["results"].clone();
    let statuses = |results: &serde_json::Value| -> Vec<u64> {
        results.as_array().unwrap().iter().map(|result| result["status"].as_u64().unwrap()).collect()
    };
    assert_eq!((told.status, statuses(&results)), (200, vec![201, 404, 200, 404]), "{told:?}");
    assert_eq!((&results[0]["location"], &results[0]["etag"]), (&"/v1/todos/tea".into(), &"\"12\"".into()));
    assert_eq!((&results[0]["entity"]["id"], &results[1]["problem"]["status"]), (&"tea".into(), &404.into()));
    assert_eq!(shop.get("/v1/todos/milk").await.json()["message"], "buy more", "read your own write");
    assert!(
        shop.log.asked().iter().any(|asked| asked.body.contains("\"resourceVersion\",\"value\":\"5\"")
            || asked.body.contains("\"value\":\"5\""))
    );

    let asked = shop.log.lines().len();
    let ordered = format!("{{\"ordered\":true,{operations}}}");
    let told = shop.ask("POST /v1/batch", &[JSON, "prefer: return=minimal"], &ordered).await;
    let results = told.json()["results"].clone();
    assert_eq!(
        (statuses(&results), told.header("preference-applied")),
        (vec![201, 404, 424, 424], Some("return=minimal"))
    );
    assert_eq!((results[0].get("entity"), &results[0]["etag"]), (None, &"\"12\"".into()));
    assert_eq!(shop.log.lines().len(), asked + 2, "nothing behind the first that failed");

    let before = shop.log.lines().len();
    for (line, body, expected) in [
        ("POST /v1/batch", "{}", 400),
        ("POST /v1/batch?dryRun=true", r#"{"operations":[]}"#, 400),
        ("GET /v1/batch", "", 405),
        ("POST /v1/batch", r#"{"operations":[{"op":"delete","kind":"todos","id":"milk"},{}]}"#, 400),
    ] {
        assert_eq!(shop.ask(line, &[JSON], body).await.status, expected, "{line} {body}");
    }
    let large = format!(
        r#"{{"operations":[{{"op":"create","kind":"todos","body":{{"message":"{}"}}}}]}}"#,
        "x".repeat(body::LIMIT)
    );
    let told = shop.ask("POST /v1/batch", &[JSON], &large).await;
    assert_eq!((told.status, &told.json()["results"][0]["status"]), (200, &413.into()));
    assert_eq!(shop.log.lines().len(), before);
}

#[tokio::test]
async fn a_status_is_written_to_its_subresource_in_one_request() {
    let done =
        |version| todo("milk", version, "buy milk").replace("\"spec\"", "\"status\":{\"phase\":\"Done\"},\"spec\"");
    let shop = shop(move |_| Reply::Json(200, done(11))).await;
    let replaced = shop.ask("PUT /v1/todos/milk/status", &[JSON, "if-match: \"5\""], r#"{"phase":"Done"}"#).await;
    assert_eq!((replaced.status, replaced.header("etag")), (200, Some("\"11\"")), "{replaced:?}");
    assert_eq!(shop.get("/v1/todos/milk").await.json()["status"]["phase"], "Done", "read your own write");
    shop.ask("PATCH /v1/todos/milk/status", &[MERGE], r#"{"phase":null}"#).await;
    shop.ask("PATCH /v1/todos/milk/status", &[PATCH], r#"[{"op":"remove","path":"/phase"}]"#).await;
    let asked = shop.log.asked();
    let path = "/apis/a.b/v1/namespaces/shop/todos/milk/status";
    let expected: Vec<(String, &str)> = [
        r#"[{"op":"add","path":"/status","value":{"phase":"Done"}},{"op":"add","path":"/metadata/resourceVersion","value":"5"}]"#,
        r#"{"status":{"phase":null}}"#,
        r#"[{"op":"remove","path":"/status/phase"}]"#,
    ]
    .map(|body| (format!("PATCH {path}?fieldManager=kab-sidecar&fieldValidation=Strict"), body))
    .to_vec();
    assert_eq!(asked.iter().map(|asked| (asked.line.clone(), asked.body.as_str())).collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_kind_without_a_status_of_its_own_says_so() {
    let kind = Kind { has_status: false, ..kind("a.b", true) };
    let views = vec![view(&kind, Some("shop"), 9, &[todo("milk", 5, "m")])];
    let fixture = serve(vec![(kind, views)], unasked).await;
    let refused = fixture.ask("PUT /v1/todos/milk/status", &[JSON], "{}").await;
    assert_eq!(refused.status, 404);
    assert!(refused.detail().contains("no status subresource"), "{refused:?}");
}

#[tokio::test]
async fn several_namespaces_need_to_be_told_apart() {
    let kind = kind("a.b", true);
    let views = vec![
        view(&kind, Some("shop"), 9, &[todo("milk", 5, "here")]),
        view(&kind, Some("bar"), 9, &[todo_in("bar", "milk", 6, "there")]),
    ];
    let fixture = serve(vec![(kind, views)], |_| Reply::Json(201, todo_in("bar", "new", 12, "m"))).await;
    let ambiguous = fixture.get("/v1/todos/milk").await;
    assert_eq!(ambiguous.status, 400);
    assert!(ambiguous.detail().contains("bar, shop"), "{ambiguous:?}");
    assert_eq!(fixture.get("/v1/todos/milk?namespace=bar").await.json()["message"], "there");
    assert_eq!(fixture.get("/v1/todos").await.json()["items"].as_array().unwrap().len(), 2);
    assert_eq!(fixture.get("/v1/todos?namespace=shop").await.json()["items"].as_array().unwrap().len(), 1);
    assert_eq!(fixture.get("/v1/todos?namespace=none").await.status, 400);
    let created = fixture.ask("POST /v1/todos?namespace=bar", &[JSON], r#"{"id":"new","message":"m"}"#).await;
    assert_eq!(created.header("location"), Some("/v1/todos/new?namespace=bar"));
    assert!(fixture.log.lines()[0].contains("/namespaces/bar/"), "{:?}", fixture.log.lines());
}

#[tokio::test]
async fn two_groups_with_one_plural_are_reached_by_their_full_names() {
    let (one, two) = (kind("a.b", true), kind("c.d", false));
    let views = |kind: &Kind, message| vec![view(kind, Some("shop"), 9, &[todo("milk", 5, message)])];
    let (ones, twos) = (views(&one, "one"), views(&two, "two"));
    let fixture = serve(vec![(one, ones), (two, twos)], unasked).await;
    let ambiguous = fixture.get("/v1/todos/milk").await;
    assert_eq!(ambiguous.status, 404);
    assert!(ambiguous.detail().contains("/v1/todos.a.b, /v1/todos.c.d"), "{ambiguous:?}");
    assert_eq!(fixture.get("/v1/todos.c.d/milk").await.json()["message"], "two");
    let kinds = fixture.get("/v1").await.json();
    assert_eq!((&kinds["items"][0]["path"], &kinds["items"][1]["owned"]), (&"/v1/todos.a.b".into(), &false.into()));
}

#[tokio::test]
async fn a_cache_that_is_not_filled_answers_503_and_reading_through_works() {
    let kind = kind("a.b", true);
    let view = Arc::new(View::new(Some("shop".into())));
    let fixture = serve(vec![(kind, vec![view])], |asked| {
        if asked.line.contains("/todos/milk") {
            return Reply::Json(200, todo("milk", 5, "m"));
        }
        let items = [todo("milk", 5, "m"), todo("tea", 6, "t")].join(",");
        Reply::Json(200, format!(r#"{{"kind":"TodoList","metadata":{{"resourceVersion":"9"}},"items":[{items}]}}"#))
    })
    .await;
    for path in ["/v1/todos", "/v1/todos/milk"] {
        let answer = fixture.get(path).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{path}");
    }
    let one = fixture.ask("GET /v1/todos/milk", &["cache-control: no-cache"], "").await;
    assert_eq!((one.status, one.header("etag"), one.header("age")), (200, Some("\"5\""), None));
    let list = fixture.ask("GET /v1/todos?limit=1", &["cache-control: no-cache"], "").await.json();
    assert_eq!((list["items"].as_array().unwrap().len(), list["nextPageToken"].is_string()), (1, true));
}

#[tokio::test]
async fn an_api_server_that_breaks_off_leaves_a_write_unknown_and_a_read_retryable() {
    let shop = shop(|_| Reply::BreakOff).await;
    let write = shop.ask("POST /v1/todos", &[JSON], r#"{"message":"m"}"#).await;
    assert_eq!((write.status, write.header("retry-after")), (504, None));
    assert!(write.detail().contains("not known"), "{write:?}");
    let read = shop.ask("GET /v1/todos/milk", &["cache-control: no-cache"], "").await;
    assert_eq!((read.status, read.header("retry-after")), (503, Some("2")));
    assert_eq!(shop.get("/v1/todos/milk").await.status, 200, "the cache still answers");
    assert!(!write.body.contains("reset"), "no cause leaks: {write:?}");
}

#[tokio::test]
async fn a_busy_api_server_passes_its_retry_after_on() {
    let shop = shop(|_| Reply::Later(7)).await;
    let answer = shop.ask("DELETE /v1/todos/milk", &[], "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
}

#[tokio::test]
async fn only_what_has_no_second_effect_is_tried_again() {
    /// The first request fails so; the others are answered so.
    async fn tried(
        first: fn() -> Reply,
        then: fn(&Asked) -> Reply,
        line: &str,
        headers: &[&str],
        body: &str,
    ) -> (u16, Vec<String>) {
        let failed = std::sync::atomic::AtomicBool::new(false);
        let shop = shop(
            move |asked| {
                if failed.swap(true, std::sync::atomic::Ordering::SeqCst) { then(asked) } else { first() }
            },
        )
        .await;
        let status = shop.ask(line, headers, body).await.status;
        let methods = shop.log.lines().iter().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
        (status, methods)
    }
    fn good(asked: &Asked) -> Reply {
        Reply::Json(if asked.line.starts_with("POST") { 201 } else { 200 }, todo("milk", 11, "m"))
    }
    fn conflict(_: &Asked) -> Reply {
        status(409, "Conflict", "the object has been modified")
    }
    let later: fn() -> Reply = || Reply::Later(0);
    let lost: fn() -> Reply = || Reply::BreakOff;
    let fault: fn() -> Reply = || status(500, "InternalError", "etcdserver: leader changed");
    let (named, unnamed, base) = (r#"{"id":"milk","message":"m"}"#, r#"{"message":"m"}"#, "if-match: \"5\"");
    for (first, then, line, headers, body, expected) in [
        (lost, good as fn(&Asked) -> Reply, "GET /v1/todos/milk", vec!["cache-control: no-cache"], "", (200, 2)),
        (fault, good, "GET /v1/todos/milk", vec!["cache-control: no-cache"], "", (200, 2)),
        (later, good, "POST /v1/todos", vec![JSON], unnamed, (201, 2)),
        (lost, good, "POST /v1/todos", vec![JSON], unnamed, (504, 1)),
        (fault, good, "POST /v1/todos", vec![JSON], unnamed, (503, 1)),
        (lost, good, "POST /v1/todos", vec![JSON], named, (201, 2)),
        (lost, conflict, "POST /v1/todos", vec![JSON], named, (504, 2)),
        (lost, good, "POST /v1/todos?dryRun=true", vec![JSON], unnamed, (201, 2)),
        (lost, good, "PUT /v1/todos/milk", vec![JSON], unnamed, (504, 1)),
        (lost, good, "PUT /v1/todos/milk", vec![JSON, base], unnamed, (200, 2)),
        (lost, conflict, "PUT /v1/todos/milk", vec![JSON, base], unnamed, (504, 2)),
        (fault, conflict, "PATCH /v1/todos/milk", vec![MERGE, base], unnamed, (504, 2)),
        (lost, good, "PATCH /v1/todos/milk", vec![MERGE], unnamed, (504, 1)),
        (later, conflict, "PUT /v1/todos/milk", vec![JSON, base], unnamed, (412, 2)),
    ] {
        let (status, methods) = tried(first, then, line, &headers, body).await;
        assert_eq!((status, methods.len()), expected, "{line} {headers:?} {body}: {methods:?}");
    }
}

#[tokio::test]
async fn a_delete_that_finalizers_hold_is_accepted_and_shown() {
    let held = todo("milk", 11, "m")
        .replace("\"generation\":1", "\"generation\":1,\"deletionTimestamp\":\"2026-11-22T00:00:01Z\"");
    let shop = shop(move |_| Reply::Json(200, held.clone())).await;
    let answer = shop.ask("DELETE /v1/todos/milk", &[], "").await;
    assert_eq!((answer.status, answer.json()["meta"]["deleting"].as_bool()), (202, Some(true)));
    assert_eq!(shop.get("/v1/todos/milk").await.json()["meta"]["deleting"], true);
}

#[tokio::test]
async fn waiting_for_a_version_ends_when_the_watch_brings_it() {
    let shop = shop(unasked).await;
    let view = Arc::clone(&shop.views[0]);
    let (answer, ()) = tokio::join!(shop.ask("GET /v1/todos", &["at-least-version: 40"], ""), async {
        tokio::task::yield_now().await;
        view.bookmark(Version(40), Instant::now());
    });
    assert_eq!((answer.status, answer.json()["meta"]["version"].as_str()), (200, Some("40")));
}
