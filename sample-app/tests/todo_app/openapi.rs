//! The OpenAPI document and the pages against the app that they describe.

use reqwest::Method;
use serde_json::Value;

use crate::{Beside, header, milk};

#[tokio::test]
async fn each_documented_operation_exists_and_answers_as_documented() {
    let app = Beside::new().await;
    let document: Value = app.get("/openapi.json").await.json().await.unwrap();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap().iter().filter(|(_, value)| value["operationId"].is_string())
        {
            let method: Method = verb.to_uppercase().parse().unwrap();
            let body = if operation["requestBody"].is_null() { Value::Null } else { milk() };
            let answer = app.send(method, &path.replace("{id}", "buy-milk"), &[], body).await;
            let documented = &operation["responses"][answer.status().as_str()];
            assert!(documented.is_object(), "{verb} {path} answered {}, which is not documented", answer.status());
            operations += 1;
        }
    }
    assert_eq!(operations, 6);
}

#[tokio::test]
async fn references_in_the_document_lead_somewhere_and_kubernetes_is_not_named() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = sample_app::app::openapi::document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    assert!(!document.to_string().contains("kubernetes"));
}

#[tokio::test]
async fn the_pages_load_nothing_from_other_hosts() {
    let app = Beside::new().await;
    for path in ["/", "/docs"] {
        let page = app.get(path).await;
        assert!(header(&page, "content-security-policy").contains("default-src 'none'"));
        let html = page.text().await.unwrap();
        assert!(html.contains("<title>Todos") && !html.contains("://"), "{path} names another host");
    }
}
