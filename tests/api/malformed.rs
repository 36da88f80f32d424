//! What a wrong request gets: the exact problem, and nothing in the cluster has changed behind it. What is not even HTTP ends its own
//! connection and nothing else.

use std::time::Duration;

use anyhow::Context;
use e2e::sidecar::Sidecar;
use e2e::todos;
use kube::api::ListParams;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{World, run};

/// A header line.
type Header = (&'static str, &'static str);

/// Method and path; headers; body; status, the last part of the problem's type, the pointer of the first place (or `-`), a part of the detail.
type Case<'a> = (&'a str, &'a [Header], &'a [u8], u16, &'a str, &'a str, &'a str);

const JSON: Header = ("content-type", "application/json");
const MERGE: Header = ("content-type", "application/merge-patch+json");
const PATCH: Header = ("content-type", "application/json-patch+json");
const GOOD: &[u8] = br#"{"when":"2030-01-01T10:00:00Z","message":"x"}"#;

/// A body with the two needed fields and more.
macro_rules! todo {
    ($more:literal) => {
        concat!(r#"{"when":"2030-01-01T10:00:00Z","message":"x","#, $more, "}").as_bytes()
    };
}

#[rustfmt::skip]
const BODIES: &[Case<'_>] = &[
    ("POST /v1/todos", &[JSON], b"", 400, "bad-request", "-", "the body is empty"),
    ("POST /v1/todos", &[JSON], b" \r\n\t", 400, "bad-request", "-", "the body is empty"),
    ("POST /v1/todos", &[JSON], b"{", 400, "bad-request", "-", "line 1, column 1"),
    ("POST /v1/todos", &[JSON], b"{\"id\":\"a\",}", 400, "bad-request", "-", "trailing comma (line 1, column 11)"),
    ("POST /v1/todos", &[JSON], b"{'id':'a'}", 400, "bad-request", "-", "key must be a string"),
    ("POST /v1/todos", &[JSON], b"{\"id\":\"a\"} {}", 400, "bad-request", "-", "trailing characters"),
    ("POST /v1/todos", &[JSON], b"{\"message\":NaN}", 400, "bad-request", "-", "is not JSON"),
    ("POST /v1/todos", &[JSON], b"{\"message\":\"\xff\"}", 400, "bad-request", "-", "invalid unicode"),
    ("POST /v1/todos", &[JSON], b"{\"message\":\"\\ud800\"}", 400, "bad-request", "-", "is not JSON"),
    ("POST /v1/todos", &[JSON], b"\xef\xbb\xbf{}", 400, "bad-request", "-", "byte order mark"),
    ("POST /v1/todos", &[JSON], b"\x1f\x8b\x08\0", 400, "bad-request", "-", "is not JSON"),
    ("POST /v1/todos", &[JSON], b"[]", 400, "bad-request", "", "not an object"),
    ("POST /v1/todos", &[JSON], b"\"text\"", 400, "bad-request", "", "not an object"),
    ("POST /v1/todos", &[JSON], b"null", 400, "bad-request", "", "not an object"),
    ("POST /v1/todos", &[JSON], br#"{"id":"a","id":"b"}"#, 400, "bad-request", "/id", "given twice"),
    ("POST /v1/todos", &[JSON], br#"{"meta":{"labels":{"a/b":"1","a/b":"2"}}}"#, 400, "bad-request", "/meta/labels/a~1b", "given twice"),
    ("POST /v1/todos", &[JSON], br#"{"status":[{"a":1,"a":2}]}"#, 400, "bad-request", "/status/0/a", "given twice"),
    ("POST /v1/todos", &[JSON], br#"{"id":5}"#, 400, "bad-request", "/id", "a string"),
    ("POST /v1/todos", &[JSON], br#"{"id":null}"#, 400, "bad-request", "/id", "a string"),
    ("POST /v1/todos", &[JSON], todo!(r#""id":"""#), 400, "bad-request", "/id", "1 to 253"),
    ("POST /v1/todos", &[JSON], todo!(r#""id":"A b""#), 400, "bad-request", "/id", "lower-case"),
    ("POST /v1/todos", &[JSON], todo!(r#""id":"../x""#), 400, "bad-request", "/id", "begins and ends"),
    ("POST /v1/todos", &[JSON], todo!(r#""colour":"red""#), 400, "bad-request", "/colour", "not a known field"),
    ("POST /v1/todos", &[JSON], todo!(r#""spec":{}"#), 400, "bad-request", "/spec", "not a known field"),
    ("POST /v1/todos", &[JSON], todo!(r#""metadata":{"name":"a"}"#), 400, "bad-request", "/metadata", "not a known field"),
    ("POST /v1/todos", &[JSON], todo!(r#""apiVersion":"v1""#), 400, "bad-request", "/apiVersion", "not a known field"),
    ("POST /v1/todos", &[JSON], todo!(r#""meta":5"#), 400, "bad-request", "/meta", "an object"),
    ("POST /v1/todos", &[JSON], todo!(r#""meta":{"owner":"me"}"#), 400, "bad-request", "/meta/owner", "no such field"),
    ("POST /v1/todos", &[JSON], todo!(r#""meta":{"labels":{"a":1}}"#), 400, "bad-request", "/meta/labels/a", "a string"),
    ("POST /v1/todos", &[JSON], todo!(r#""meta":{"labels":{"not ok":"1"}}"#), 422, "invalid", "/meta/labels", "alphanumeric"),
    ("POST /v1/todos", &[JSON], todo!(r#""meta":{"expiresAt":"soon"}"#), 400, "bad-request", "/meta/expiresAt", "RFC 3339"),
    ("POST /v1/todos", &[JSON], todo!(r#""meta":{"namespace":"other"}"#), 400, "bad-request", "/meta/namespace", "\"other\""),
    ("PATCH /v1/todos/milk", &[MERGE], br#"{"meta":{"namespace":null}}"#, 400, "bad-request", "/meta/namespace", "cannot be removed"),
    ("POST /v1/todos", &[JSON], todo!(r#""done":"yes""#), 422, "invalid", "/done", "boolean"),
    ("POST /v1/todos", &[JSON], br#"{"message":"x"}"#, 422, "invalid", "/when", "required"),
    ("POST /v1/todos", &[JSON], br#"{"when":"tomorrow","message":"x"}"#, 422, "invalid", "/when", "date-time"),
    ("POST /v1/todos", &[JSON], br#"{"when":"2030-01-01T10:00:00Z","message":["x"]}"#, 422, "invalid", "/message", "string"),
    ("POST /v1/todos", &[JSON], br#"{"when":"2030-01-01T10:00:00Z","message":" "}"#, 422, "invalid", "/message", "not blank"),
    ("PUT /v1/todos/milk", &[JSON], todo!(r#""id":"bread""#), 400, "bad-request", "/id", "\"bread\", the one in the path \"milk\""),
    ("PATCH /v1/todos/milk", &[MERGE], br#"{"meta":null}"#, 400, "bad-request", "/meta", "cannot be removed"),
    ("PATCH /v1/todos/milk", &[MERGE], br#"{"message":null}"#, 422, "invalid", "/message", "required"),
    ("PATCH /v1/todos/milk", &[MERGE], b"[]", 400, "bad-request", "", "not an object"),
    ("PATCH /v1/todos/milk", &[PATCH], b"{}", 400, "bad-request", "", "not an array"),
    ("PATCH /v1/todos/milk", &[PATCH], br#"[{"op":"jump","path":"/message"}]"#, 400, "bad-request", "/0/op", "op is add"),
    ("PATCH /v1/todos/milk", &[PATCH], br#"[{"op":"add","path":"/message"}]"#, 400, "bad-request", "/0", "value is missing"),
    ("PATCH /v1/todos/milk", &[PATCH], br#"[{"op":"remove","path":"/id"}]"#, 422, "invalid", "/id", "cannot be written"),
    ("PATCH /v1/todos/milk", &[PATCH], br#"[{"op":"remove","path":"message"}]"#, 422, "invalid", "/message", "begins with a slash"),
    ("PATCH /v1/todos/milk", &[PATCH], br#"[{"op":"remove","path":"/nothing"}]"#, 409, "conflict", "-", "does not fit"),
    ("PUT /v1/todos/milk/status", &[JSON], br#"{"phase":"Lost"}"#, 422, "invalid", "/status/phase", "supported values"),
];

#[rustfmt::skip]
const QUERIES: &[Case<'_>] = &[
    ("GET /v1/todos?colour=red", &[], b"", 400, "bad-request", "-", "no query parameter \"colour\""),
    ("GET /v1/todos?Limit=1", &[], b"", 400, "bad-request", "-", "no query parameter \"Limit\""),
    ("GET /v1/todos?dryRun=true", &[], b"", 400, "bad-request", "-", "no query parameter \"dryRun\""),
    ("GET /v1/todos/milk?limit=1", &[], b"", 400, "bad-request", "-", "known: namespace"),
    ("GET /v1/todos?limit=0", &[], b"", 400, "bad-request", "-", "1 to 10000"),
    ("GET /v1/todos?limit=10001", &[], b"", 400, "bad-request", "-", "1 to 10000"),
    ("GET /v1/todos?limit=%2B1", &[], b"", 400, "bad-request", "-", "1 to 10000"),
    ("GET /v1/todos?limit=1&limit=1", &[], b"", 400, "bad-request", "-", "\"limit\" cannot be used: it is given twice"),
    ("GET /v1/todos?limit=%", &[], b"", 400, "bad-request", "-", "two hexadecimal digits"),
    ("GET /v1/todos?%ff=1", &[], b"", 400, "bad-request", "-", "UTF-8"),
    ("GET /v1/todos?namespace=", &[], b"", 400, "bad-request", "-", "1 to 63"),
    ("GET /v1/todos?namespace=kube-system", &[], b"", 400, "bad-request", "-", "not served in the namespace \"kube-system\""),
    ("DELETE /v1/todos/milk?namespace=kube-system", &[], b"", 400, "bad-request", "-", "not served in the namespace"),
    ("GET /v1/todos?labelSelector=a%3D%3D%3Db", &[], b"", 400, "bad-request", "-", "position 4"),
    ("GET /v1/todos?labelSelector=a+in+b", &[], b"", 400, "bad-request", "-", "a list of values"),
    ("GET /v1/todos?filter=", &[], b"", 400, "bad-request", "-", "a filter is an expression"),
    ("GET /v1/todos?filter=(", &[], b"", 400, "bad-request", "-", "at character 2"),
    ("GET /v1/todos?filter=colour", &[], b"", 400, "bad-request", "-", "unknown field \"colour\""),
    ("GET /v1/todos?filter=message", &[], b"", 400, "bad-request", "-", "true or false"),
    ("GET /v1/todos?orderBy=", &[], b"", 400, "bad-request", "-", "name is missing"),
    ("GET /v1/todos?orderBy=colour", &[], b"", 400, "bad-request", "-", "unknown field colour"),
    ("GET /v1/todos?orderBy=id+up", &[], b"", 400, "bad-request", "-", "asc or desc"),
    ("GET /v1/todos?fields=id,,when", &[], b"", 400, "bad-request", "-", "name is missing"),
    ("GET /v1/todos?fields=colour", &[], b"", 400, "bad-request", "-", "unknown field colour"),
    ("GET /v1/todos?pageToken=abc", &[], b"", 400, "bad-request", "-", "not one that a list gave"),
    ("POST /v1/todos?dryRun=yes", &[JSON], GOOD, 400, "bad-request", "-", "true or false"),
    ("POST /v1/todos?dryRun=true&dryRun=false", &[JSON], GOOD, 400, "bad-request", "-", "given twice"),
];

#[rustfmt::skip]
const HEADERS: &[Case<'_>] = &[
    ("PUT /v1/todos/milk", &[], GOOD, 415, "unsupported-media-type", "-", "Content-Type is missing"),
    ("PUT /v1/todos/milk", &[("content-type", "text/plain")], GOOD, 415, "unsupported-media-type", "-", "application/json"),
    ("PUT /v1/todos/milk", &[("content-type", "application/x-www-form-urlencoded")], GOOD, 415, "unsupported-media-type", "-", "application/json"),
    ("PUT /v1/todos/milk", &[MERGE], GOOD, 415, "unsupported-media-type", "-", "merge-patch"),
    ("PATCH /v1/todos/milk", &[JSON], b"{}", 415, "unsupported-media-type", "-", "application/json-patch+json"),
    ("PUT /v1/todos/milk", &[JSON, ("content-encoding", "gzip")], GOOD, 415, "unsupported-media-type", "-", "gzip"),
    ("PUT /v1/todos/milk", &[JSON, ("if-match", "1")], GOOD, 400, "bad-request", "-", "with its quotes"),
    ("PUT /v1/todos/milk", &[JSON, ("if-match", "")], GOOD, 400, "bad-request", "-", "with its quotes"),
    ("DELETE /v1/todos/milk", &[("if-match", "*, \"1\"")], b"", 400, "bad-request", "-", "with its quotes"),
    ("DELETE /v1/todos/milk", &[("if-match", "\"1\"")], b"", 412, "precondition-failed", "-", "milk"),
    ("PUT /v1/todos/milk/status", &[JSON, ("if-match", "\"0\"")], b"{}", 412, "precondition-failed", "-", "versions"),
    ("DELETE /v1/todos/milk", &[("if-match", "W/\"1\"")], b"", 412, "precondition-failed", "-", "versions"),
    ("PUT /v1/todos/milk", &[JSON, ("if-none-match", "\"1\"")], GOOD, 400, "bad-request", "-", "PUT only"),
    ("PUT /v1/todos/milk", &[JSON, ("if-none-match", "*")], GOOD, 412, "precondition-failed", "-", "exists already"),
    ("PUT /v1/todos/milk", &[JSON, ("if-none-match", "*"), ("if-match", "*")], GOOD, 412, "precondition-failed", "-", "both never hold"),
    ("POST /v1/todos", &[JSON, ("if-match", "\"1\"")], GOOD, 400, "bad-request", "-", "to be created"),
    ("POST /v1/todos", &[JSON, ("if-none-match", "*")], GOOD, 400, "bad-request", "-", "PUT only"),
    ("POST /v1/todos", &[JSON, ("idempotency-key", "")], GOOD, 400, "bad-request", "-", "Idempotency-Key"),
    ("PUT /v1/todos/none", &[JSON, ("if-match", "*")], GOOD, 412, "precondition-failed", "-", "there is no todo"),
    ("PUT /v1/todos/none", &[JSON, ("if-match", "\"1\"")], GOOD, 412, "precondition-failed", "-", "none"),
    ("PATCH /v1/todos/none", &[MERGE, ("if-match", "*")], b"{}", 404, "not-found", "-", "there is no todo"),
    ("GET /v1/todos", &[("accept", "text/html")], b"", 406, "not-acceptable", "-", "application/json"),
    ("GET /v1/todos/milk", &[("accept", "text/event-stream")], b"", 406, "not-acceptable", "-", "application/json"),
    ("POST /v1/todos", &[JSON, ("accept", "application/json;q=0, */*")], GOOD, 406, "not-acceptable", "-", "application/json"),
    ("DELETE /v1/todos/milk", &[("accept", "image/*")], b"", 406, "not-acceptable", "-", "application/json"),
    ("GET /docs", &[("accept", "application/json")], b"", 406, "not-acceptable", "-", "text/html"),
    ("GET /v1/todos", &[("at-least-version", "new")], b"", 400, "bad-request", "-", "a number such as 1234"),
    ("GET /v1/todos/milk", &[("at-least-version", "-1")], b"", 400, "bad-request", "-", "a number such as 1234"),
    ("GET /v1/todos/milk", &[("at-least-version", "99999999999999999999")], b"", 400, "bad-request", "-", "a number such as 1234"),
    ("DELETE /v1/todos/milk", &[("host", "example.com")], b"", 403, "forbidden", "-", "Host"),
    ("DELETE /v1/todos/milk", &[("origin", "null")], b"", 403, "forbidden", "-", "origin"),
];

#[rustfmt::skip]
const PLACES: &[Case<'_>] = &[
    ("DELETE /v1/todos/Milk", &[], b"", 400, "bad-request", "-", "\"Milk\" cannot be used"),
    ("DELETE /v1/todos/%2e%2e", &[], b"", 400, "bad-request", "-", "\"..\" cannot be used"),
    ("DELETE /v1/todos/a%2Fb", &[], b"", 400, "bad-request", "-", "\"a/b\" cannot be used"),
    ("DELETE /v1/todos/a%00", &[], b"", 400, "bad-request", "-", "cannot be used"),
    ("GET /v1/todos/a%00", &[], b"", 404, "not-found", "-", "there is no todo"),
    ("GET /v1/todos/%ff", &[], b"", 404, "not-found", "-", "nothing at"),
    ("GET /v1/todos/%zz", &[], b"", 404, "not-found", "-", "nothing at"),
    ("GET /v1/todos/", &[], b"", 404, "not-found", "-", "nothing at"),
    ("GET /v1//milk", &[], b"", 404, "not-found", "-", "nothing at"),
    ("GET /v1/todos/milk/finalize", &[], b"", 404, "not-found", "-", "nothing at"),
    ("GET /", &[], b"", 404, "not-found", "-", "/v1"),
    ("GET /v2", &[], b"", 404, "not-found", "-", "/v1"),
    ("GET /v1/Todos", &[], b"", 404, "not-found", "-", "served are /v1/todos"),
    ("GET /v1/secrets", &[], b"", 404, "not-found", "-", "served are /v1/todos"),
    ("GET /v1/todos%2f..%2fsecrets", &[], b"", 404, "not-found", "-", "served are /v1/todos"),
    ("GET /api/v1/secrets", &[], b"", 404, "not-found", "-", "nothing at"),
    ("GET /apis/k8sasbackend.com/v1/todos", &[], b"", 404, "not-found", "-", "nothing at"),
    ("POST /v1/todos/milk", &[JSON], GOOD, 405, "method-not-allowed", "-", "POST"),
    ("PUT /v1/todos", &[JSON], GOOD, 405, "method-not-allowed", "-", "PUT"),
    ("DELETE /v1/todos", &[], b"", 405, "method-not-allowed", "-", "DELETE"),
    ("TRACE /v1/todos/milk", &[("if-match", "")], b"", 405, "method-not-allowed", "-", "TRACE"),
    ("delete /v1/todos/milk", &[], b"", 405, "method-not-allowed", "-", "delete"),
    ("BREW /v1/todos/milk", &[], b"", 405, "method-not-allowed", "-", "BREW"),
    ("DELETE /v1/todos/milk/status", &[], b"", 405, "method-not-allowed", "-", "DELETE"),
    ("POST /v1", &[JSON], GOOD, 405, "method-not-allowed", "-", "POST"),
    ("DELETE /openapi.json", &[], b"", 405, "method-not-allowed", "-", "DELETE"),
];

/// Everything of the kind in the test's namespace, as the API server has it.
async fn stored(world: &World) -> anyhow::Result<Vec<Value>> {
    let list = todos::api(&world.kube, &world.ns).list(&ListParams::default()).await?;
    list.items.iter().map(|item| Ok(serde_json::to_value(item)?)).collect()
}

/// Sends bytes, ends its own side when `last`, and reads until the other side ends or is silent.
async fn exchange(sidecar: &Sidecar, bytes: &[u8], last: bool) -> anyhow::Result<String> {
    const SILENCE: Duration = Duration::from_secs(2);
    let address = sidecar.api.base().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.context("the entity API takes no connection any more")?;
    // What is refused early may be closed before all of it is sent.
    if stream.write_all(bytes).await.is_ok() && last {
        drop(stream.shutdown().await);
    }
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(Ok(count @ 1..)) = tokio::time::timeout(SILENCE, stream.read(&mut buffer)).await {
        answer.extend(buffer.iter().take(count));
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// A request in full, and its answer.
async fn ask(sidecar: &Sidecar, case: &Case<'_>) -> anyhow::Result<(u16, String, Value)> {
    let (line, headers, body, ..) = case;
    let mut request = format!("{line} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    if !headers.iter().any(|(name, _)| *name == "host") {
        request.push_str("host: localhost\r\n");
    }
    for (name, value) in *headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let bytes = [request.as_bytes(), b"\r\n", body].concat();
    let answer = exchange(sidecar, &bytes, false).await?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no answer but {answer:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no status")?;
    Ok((status, head.to_ascii_lowercase(), serde_json::from_str(body).unwrap_or_default()))
}

#[test]
fn a_malformed_request_gets_its_problem_and_changes_nothing() {
    run("malformed", async |world| {
        let sidecar = world.sidecar().await?;
        sidecar.api.put("/v1/todos/milk", &serde_json::from_slice(GOOD)?).await?.expect(201)?;
        let before = stored(world).await?;
        let nested = [b"{\"x\":".as_slice(), &b"[".repeat(100_000), &b"]".repeat(100_000), b"}"].concat();
        let large = [b"{\"message\":\"".as_slice(), &b"x".repeat(1 << 20), b"\"}"].concat();
        let size = format!("the body has {} bytes, the limit is {}", large.len(), 1 << 20);
        let more: [Case<'_>; 2] = [
            ("POST /v1/todos", &[JSON], &nested, 400, "bad-request", &format!("/x{}", "/0".repeat(63)), "64 levels"),
            ("POST /v1/todos", &[JSON], &large, 413, "too-large", "-", &size),
        ];
        let (mut wrong, mut count) = (Vec::new(), 0);
        for case in [BODIES, QUERIES, HEADERS, PLACES, &more].into_iter().flatten() {
            let (line, headers, body, status, code, pointer, detail) = case;
            let (found, head, problem) = ask(&sidecar, case).await.with_context(|| (*line).to_owned())?;
            let place = problem["errors"][0]["pointer"].as_str().unwrap_or("-");
            let fits = found == *status
                && head.contains("content-type: application/problem+json")
                && problem["type"] == format!("urn:k8sasbackend:problem:{code}")
                && problem["status"] == *status
                && place == *pointer
                && problem["detail"].as_str().is_some_and(|found| found.contains(detail))
                && problem["instance"] == line.split([' ', '?']).nth(1).unwrap_or_default()
                && (*status != 405 || head.contains("allow: "));
            if !fits {
                let body = String::from_utf8_lossy(body.get(..200).unwrap_or(body)).into_owned();
                wrong.push(format!(
                    "{line} {headers:?} {body}\n    {found} {problem}\n    not {status} {code} {pointer} {detail:?}"
                ));
            }
            count += 1;
        }
        assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
        assert!(count >= 100, "{count} cases");
        assert_eq!(stored(world).await?, before);
        Ok(())
    });
}

#[test]
fn what_is_no_http_ends_its_own_connection_and_nothing_else() {
    const HOST: &str = "host: localhost\r\n";
    const JSON: &str = "content-type: application/json\r\n";
    run("garbage", async |world| {
        let sidecar = world.sidecar().await?;
        sidecar.api.put("/v1/todos/milk", &serde_json::from_slice(GOOD)?).await?.expect(201)?;
        let before = stored(world).await?;
        let post = format!("POST /v1/todos HTTP/1.1\r\n{HOST}{JSON}");
        let chunked = format!("{post}transfer-encoding: chunked\r\n\r\n");
        let good = String::from_utf8_lossy(GOOD);
        let many: String = (0..500).map(|number| format!("x-{number}: 1\r\n")).collect();
        let text = |text: String| text.into_bytes();
        // Bytes; whether the caller then ends its side; the statuses that come back, in their order.
        let table: Vec<(&str, Vec<u8>, bool, &[u16])> = vec![
            ("nothing", vec![], true, &[]),
            ("half a head", text("DELETE /v1/todos/milk HTTP/1.1\r\nhos".into()), true, &[]),
            ("a head without its end", text(format!("DELETE /v1/todos/milk HTTP/1.1\r\n{HOST}")), true, &[]),
            ("NULs", vec![0; 300], false, &[400]),
            ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(20), false, &[400]),
            ("HTTP/0.9", text("GET /v1/todos\r\n\r\n".into()), false, &[400]),
            ("HTTP/9.9", text(format!("DELETE /v1/todos/milk HTTP/9.9\r\n{HOST}\r\n")), false, &[400]),
            ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), true, &[]),
            (
                "a huge header",
                text(format!("GET /v1 HTTP/1.1\r\n{HOST}x: {}\r\n\r\n", "a".repeat(600_000))),
                false,
                &[431],
            ),
            ("many headers", text(format!("GET /v1 HTTP/1.1\r\n{HOST}{many}\r\n")), false, &[431]),
            ("a long path", text(format!("GET /v1/{} HTTP/1.1\r\n{HOST}\r\n", "a".repeat(600_000))), false, &[431]),
            (
                "a NUL in a header",
                text(format!("DELETE /v1/todos/milk HTTP/1.1\r\n{HOST}x: a\0b\r\n\r\n")),
                false,
                &[400],
            ),
            (
                "a folded header",
                text(format!("DELETE /v1/todos/milk HTTP/1.1\r\n{HOST}x: a\r\n b\r\n\r\n")),
                false,
                &[400],
            ),
            (
                "a space before the colon",
                text("DELETE /v1/todos/milk HTTP/1.1\r\nhost : localhost\r\n\r\n".into()),
                false,
                &[400],
            ),
            ("no host", text("DELETE /v1/todos/milk HTTP/1.1\r\n\r\n".into()), false, &[403]),
            ("two hosts", text(format!("DELETE /v1/todos/milk HTTP/1.1\r\n{HOST}{HOST}\r\n")), false, &[403]),
            (
                "another host's URL",
                text(format!("DELETE http://example.com/v1/todos/milk HTTP/1.1\r\n{HOST}\r\n")),
                false,
                &[403],
            ),
            ("a negative length", text(format!("{post}content-length: -1\r\n\r\n{good}")), false, &[400]),
            (
                "two lengths",
                text(format!("{post}content-length: 2\r\ncontent-length: 45\r\n\r\n{good}")),
                false,
                &[400],
            ),
            ("a body that breaks off", text(format!("{post}content-length: 4500\r\n\r\n{good}")), true, &[400]),
            ("a chunk of no size", text(format!("{chunked}zz\r\n{good}\r\n0\r\n\r\n")), false, &[400]),
            ("a chunk of any size", text(format!("{chunked}ffffffffffffffff\r\n{good}\r\n0\r\n\r\n")), true, &[400]),
            ("chunks without an end", text(format!("{chunked}2d\r\n{good}\r\n")), true, &[400]),
            (
                "a request within a body",
                text(format!("{post}content-length: 40\r\n\r\nDELETE /v1/todos/milk HTTP/1.1\r\n{HOST}\r\n")),
                false,
                &[400, 400],
            ),
            (
                "three at once, one wrong",
                text(format!(
                    "GET /v1 HTTP/1.1\r\n{HOST}\r\nGET /v1/a HTTP/1.1\r\n{HOST}\r\nDELETE /v1/todos/milk HTTP/1.1\r\nhost: a\r\n\r\n"
                )),
                false,
                &[200, 404, 403],
            ),
        ];
        for (what, bytes, last, expected) in &table {
            let answer = exchange(&sidecar, bytes, *last).await.with_context(|| (*what).to_owned())?;
            let statuses: Vec<u16> = answer
                .split("HTTP/1.")
                .skip(1)
                .filter_map(|answer| answer.split(' ').nth(1).and_then(|status| status.parse().ok()))
                .collect();
            // After the first refusal the connection may end; whoever ends it first may get nothing at all.
            let answered = *last || statuses.is_empty() == expected.is_empty();
            assert!(expected.starts_with(&statuses) && answered, "{what}: not {expected:?} but {answer:?}");
        }
        // Many of them at once, and then an ordinary request.
        let noise: Vec<u8> =
            (0..20_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        futures::future::join_all(
            (0..100).map(|from| exchange(&sidecar, noise.get(from * 100..).unwrap_or_default(), true)),
        )
        .await;
        sidecar.api.get("/v1/todos/milk").await?.expect(200)?;
        assert!(sidecar.program.is_running());
        assert_eq!(stored(world).await?, before);
        Ok(())
    });
}
