//! What a list costs: `cargo run --release -p sidecar-core --example lists [ENTITIES]`.
//!
//! Times a list of everything, and then filters, orders and projections over the same cache, as medians of five, each also as a multiple
//! of the plain list. It measures the decisions alone: no HTTP, no lock.

#![expect(clippy::print_stdout, reason = "a table for people")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use sidecar_core::cache::Cache;
use sidecar_core::fields::Fields;
use sidecar_core::filter::Filters;
use sidecar_core::kind::Kind;
use sidecar_core::list::render;
use sidecar_core::mapping;
use sidecar_core::query::ListQuery;
use sidecar_core::schema::Schema;
use sidecar_core::version::Version;

const QUERIES: [(&str, &str); 14] = [
    ("everything", ""),
    ("a page of 100", "limit=100"),
    ("label, one in 1,000", "labelSelector=team=t7"),
    ("id", "filter=id=='todo-4711'"),
    ("indexed field, one in 1,000", "filter=assignee=='a7'"),
    ("indexed date, about one in 500", "filter=when<timestamp('2026-01-01T20:00:00Z')"),
    ("unindexed field, one in 1,000", "filter=owner=='a7'"),
    ("unindexed text", "filter=message.contains('milk 77')"),
    ("pattern", "filter=message.matches('milk 77.$')"),
    (
        "unindexed, four conditions",
        "filter=!done%26%26message.startsWith('buy')%26%26priority>3%26%26meta.labels.team!='t1'",
    ),
    ("indexed and unindexed", "filter=message.contains('milk')%26%26assignee=='a7'"),
    ("in order", "orderBy=priority desc,when"),
    ("in order, a page of 100", "orderBy=priority desc,when&limit=100"),
    ("three members of each", "fields=id,when,meta.version"),
];

fn main() -> Result<(), String> {
    let entities: usize = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let document = json!({ "components": { "schemas": { "Todo": {
        "x-kubernetes-group-version-kind": [{ "group": "k8sasbackend.com", "version": "v1", "kind": "Todo" }],
        "x-kubernetes-selectable-fields": [{ "fieldPath": "spec.assignee" }, { "fieldPath": "spec.when" }],
        "type": "object",
        "properties": { "spec": { "type": "object", "properties": {
            "when": { "type": "string", "format": "date-time" }, "message": { "type": "string" }, "priority": { "type": "integer" },
            "done": { "type": "boolean" }, "assignee": { "type": "string" }, "owner": { "type": "string" },
        } }, "status": { "type": "object" } },
    } } } });
    let schema =
        Schema::from_openapi(&document, "k8sasbackend.com", "v1", "Todo").expect("the document above has the kind");
    let kind = Kind {
        group: "k8sasbackend.com".into(),
        version: "v1".into(),
        kind: "Todo".into(),
        plural: "todos".into(),
        namespaced: true,
        has_spec: true,
        has_status: true,
        owned: true,
    };
    let fields = Arc::new(Fields::new(&schema));
    let filters = Filters::new(Arc::clone(&fields));
    let mut cache = Cache::default();
    cache.index_by(fields);
    let begin = Instant::now();
    let all: Vec<_> =
        (0..entities).map(|number| Arc::new(mapping::entity(&kind, &todo(number)).expect("an object"))).collect();
    let mapped = begin.elapsed();
    cache.replace(Version(1_000_000), all);
    println!("{entities} entities: mapped in {mapped:.0?}, cached and indexed in {:.0?}", begin.elapsed() - mapped);
    println!("{} bytes, of which the index {}\n", cache.bytes(), cache.index().bytes());
    println!("{:32} {:>8} {:>10} {:>7}", "list", "items", "median", "ratio");
    let mut plain = None;
    for (name, query) in QUERIES {
        let query = ListQuery::parse(&query.replace(' ', "+"), &filters)
            .map_err(|problem| format!("{name}: {}", problem.detail))?;
        let mut times = Vec::new();
        let mut items = 0;
        for _ in 0..5 {
            let begin = Instant::now();
            let page = cache.list(&query).map_err(|problem| format!("{name}: {}", problem.detail))?;
            let body = render(&page, &query);
            times.push(begin.elapsed());
            items = page.items.len();
            assert!(!body.is_empty());
        }
        times.sort();
        let median = times.get(2).copied().unwrap_or_default();
        let plain: Duration = *plain.get_or_insert(median);
        println!("{name:32} {items:>8} {median:>10.1?} {:>7.3}", median.as_secs_f64() / plain.as_secs_f64());
    }
    Ok(())
}

fn todo(number: usize) -> Vec<u8> {
    let minute = number % 1_000_000;
    let object = json!({
        "apiVersion": "k8sasbackend.com/v1", "kind": "Todo",
        "metadata": {
            "name": format!("todo-{number}"), "namespace": "shop", "uid": format!("5d1b0f0e-6b1c-4b8e-9d0a-{number:012}"),
            "resourceVersion": (number + 1).to_string(), "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": { "team": format!("t{}", number % 1_000) },
            "managedFields": [{ "manager": "kab-sidecar", "operation": "Update", "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": {} } }],
        },
        "spec": {
            "when": format!("2026-{:02}-{:02}T{:02}:{:02}:00Z", 1 + minute / 40_320 % 12, 1 + minute / 1_440 % 28, minute / 60 % 24, minute % 60),
            "message": format!("buy milk {number} and two other things"), "priority": number % 7, "done": number.is_multiple_of(3),
            "assignee": format!("a{}", number % 1_000), "owner": format!("a{}", number % 1_000),
        },
        "status": { "phase": "Scheduled", "observedGeneration": 1 },
    });
    object.to_string().into_bytes()
}
