//! The document as a whole: the sample kind's golden file, a kind with every construct, several kinds together.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::fields::Fields;
use crate::filter::Filters;
use crate::query::ListQuery;

/// What a real API server (1.36) answers at `/openapi/v3/apis/…`, cut to the kind and what it refers to.
fn fixture(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/openapi").join(file);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn kind(group: &str, version: &str, kind: &str, plural: &str) -> Kind {
    Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
        namespaced: true,
        has_spec: true,
        has_status: true,
        owned: true,
    }
}

fn todo() -> (Kind, Schema) {
    let document = fixture("todos.k8sasbackend.com-v1.json");
    (
        kind("k8sasbackend.com", "v1", "Todo", "todos"),
        Schema::from_openapi(&document, "k8sasbackend.com", "v1", "Todo").unwrap(),
    )
}

fn everything() -> (Kind, Schema) {
    let document = fixture("networkpolicies.shop.example.com-v1beta1.json");
    let schema = Schema::from_openapi(&document, "shop.example.com", "v1beta1", "NetworkPolicy").unwrap();
    (Kind { namespaced: false, ..kind("shop.example.com", "v1beta1", "NetworkPolicy", "networkpolicies") }, schema)
}

/// Compares with a file of the project, or writes it when `UPDATE` is set.
fn golden(path: &str, found: &Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let text = format!("{}\n", serde_json::to_string_pretty(found).unwrap());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == text, "{path} is not what the code says: UPDATE=1 cargo test -p sidecar-core openapi");
}

/// Every keyword that begins so, with the place where it stands.
fn keywords(value: &Value, prefix: &str) -> Vec<String> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| {
                name.starts_with(prefix)
                    .then(|| name.clone())
                    .into_iter()
                    .chain(keywords(value, prefix))
                    .collect::<Vec<_>>()
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(|item| keywords(item, prefix)).collect(),
        _ => Vec::new(),
    }
}

fn operation_ids(document: &Value) -> Vec<&str> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|of| of["operationId"].as_str().unwrap())
        .collect()
}

#[test]
fn the_sample_kinds_document_is_the_one_in_docs() {
    let (kind, schema) = todo();
    let namespaces = [Arc::from("default")];
    let served = Served { kind: &kind, schema: &schema, path: "todos", namespaces: Namespaces::These(&namespaces) };
    golden("docs/openapi/entity-api.json", &document(&[served]));
}

#[test]
fn the_fixture_shows_the_sample_crd_as_it_is_now() {
    let crd = include_str!("../../../../manifests/crds/todos.k8sasbackend.com.yaml");
    let crd: Value = serde_saphyr::from_str(crd).unwrap();
    let written = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties").unwrap();
    let fixture = fixture("todos.k8sasbackend.com-v1.json");
    let answered = fixture.pointer("/components/schemas/com.k8sasbackend.v1.Todo/properties").unwrap();
    for part in ["spec", "status"] {
        assert_eq!(answered[part], written[part], "refresh sidecar/core/fixtures/openapi, see the README there");
    }
}

#[test]
fn every_construct_of_a_structural_schema_has_its_place() {
    let (kind, schema) = everything();
    let served = Served { kind: &kind, schema: &schema, path: "networkpolicies", namespaces: Namespaces::None };
    let document = document(&[served]);
    assert_eq!(keywords(&document, "x-kubernetes-"), Vec::<String>::new());
    assert_eq!(keywords(&document, "nullable"), Vec::<String>::new());
    golden("sidecar/core/fixtures/openapi/every-construct.golden.json", &document["components"]["schemas"]);
}

#[test]
fn every_reference_leads_somewhere_and_operation_ids_are_unique() {
    let ((todo, todo_schema), (other, other_schema)) = (todo(), everything());
    let same = Kind { group: "other.example.com".to_owned(), ..todo.clone() };
    let several = [Arc::from("a"), Arc::from("b")];
    let document = document(&[
        Served {
            kind: &todo,
            schema: &todo_schema,
            path: "todos.k8sasbackend.com",
            namespaces: Namespaces::These(&several),
        },
        Served { kind: &same, schema: &todo_schema, path: "todos.other.example.com", namespaces: Namespaces::All },
        Served { kind: &other, schema: &other_schema, path: "networkpolicies", namespaces: Namespaces::None },
    ]);
    for reference in references::all(&document) {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    let mut ids = operation_ids(&document);
    assert!(ids.contains(&"listTodosK8sasbackendCom") && ids.contains(&"listNetworkPolicies"), "{ids:?}");
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

#[test]
fn a_consumed_kind_can_only_be_read() {
    let (owned, schema) = todo();
    let kind = Kind { owned: false, ..owned };
    let document = document(&[Served { kind: &kind, schema: &schema, path: "todos", namespaces: Namespaces::All }]);
    let mut ids = operation_ids(&document);
    ids.sort_unstable();
    assert_eq!(ids, ["listKinds", "listTodos", "readTodo"]);
    for unused in
        ["schemas/TodoWrite", "schemas/MetaWrite", "parameters/IfMatch", "headers/Location", "responses/Conflict"]
    {
        assert_eq!(document.pointer(&format!("/components/{unused}")), None);
    }
}

#[test]
fn a_namespace_is_asked_for_where_there_is_a_choice() {
    let (kind, schema) = todo();
    let several = [Arc::from("a"), Arc::from("b")];
    let one = [Arc::from("a")];
    let table = [
        (Namespaces::None, None),
        (Namespaces::These(&one), Some((false, json!({ "type": "string", "enum": ["a"] })))),
        (Namespaces::These(&several), Some((true, json!({ "type": "string", "enum": ["a", "b"] })))),
        (Namespaces::All, Some((true, shared::namespace()))),
    ];
    for (namespaces, expected) in table {
        let document = document(&[Served { kind: &kind, schema: &schema, path: "todos", namespaces }]);
        let parameters = document["paths"]["/v1/todos/{id}"]["get"]["parameters"].as_array().unwrap();
        let found = parameters.iter().find(|found| found["name"] == "namespace");
        let found = found.map(|found| (found["required"].as_bool().unwrap(), found["schema"].clone()));
        assert_eq!(found, expected, "{namespaces:?}");
    }
}

#[test]
fn fields_that_a_missing_spec_would_lack_are_not_promised() {
    let (kind, schema) = todo();
    let schema = Schema { fields_required: false, ..schema };
    let document = document(&[Served { kind: &kind, schema: &schema, path: "todos", namespaces: Namespaces::All }]);
    assert_eq!(document.pointer("/components/schemas/Todo/required"), Some(&json!(["id", "meta"])));
    assert_eq!(document.pointer("/components/schemas/TodoWrite/required"), Some(&json!(["message", "when"])));
}

#[test]
fn the_shared_names_are_the_shared_schemas() {
    let schemas = shared::schemas();
    let mut names: Vec<&str> = schemas.keys().map(String::as_str).collect();
    names.extend(batch::schemas().map(|(name, _)| name));
    names.sort_unstable();
    assert_eq!(names, shared::SCHEMAS);
}

#[test]
fn a_list_documents_the_parameters_that_it_reads() {
    let (kind, schema) = todo();
    let filters = Filters::new(Arc::new(Fields::new(&schema)));
    let refusal = ListQuery::parse("nothing=1", &filters).unwrap_err().detail;
    let mut read: Vec<&str> = refusal.split("known: ").nth(1).unwrap().split(", ").collect();
    let document = document(&[Served { kind: &kind, schema: &schema, path: "todos", namespaces: Namespaces::All }]);
    let parameters = document["paths"]["/v1/todos"]["get"]["parameters"].as_array().unwrap();
    let mut documented: Vec<&str> = parameters
        .iter()
        .map(|of| {
            of["$ref"].as_str().map_or(of, |reference| document.pointer(reference.trim_start_matches('#')).unwrap())
        })
        .filter(|parameter| parameter["in"] == "query")
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    read.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, read);
}

#[test]
fn a_token_is_asked_for_by_every_operation_and_only_where_there_is_one() {
    let (kind, schema) = todo();
    let open = document(&[Served { kind: &kind, schema: &schema, path: "todos", namespaces: Namespaces::All }]);
    assert_eq!((&open["security"], open["components"].get("securitySchemes")), (&json!([]), None));
    let guarded = with_token(open);
    assert_eq!(guarded["security"], json!([{ "token": [] }]));
    assert_eq!(guarded["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    assert_eq!(
        guarded["components"]["responses"]["Unauthorized"]["headers"]["WWW-Authenticate"]["schema"]["type"],
        "string"
    );
    let operations = guarded["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values());
    for operation in operations {
        assert_eq!(operation["responses"]["401"]["$ref"], "#/components/responses/Unauthorized", "{operation}");
    }
}
