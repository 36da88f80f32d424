//! Discovery against a fake API server; writes are tested through the entity API.

use prometheus_client::registry::Registry;
use sidecar_core::schema::SchemaError;

use super::*;
use crate::fake::{self, Asked, Reply, status};

const RESOURCES: &str = r#"{"kind":"APIResourceList","groupVersion":"a.b/v1","resources":[
    {"name":"todos/status","namespaced":true,"kind":"Todo"},
    {"name":"todos","singularName":"todo","namespaced":true,"kind":"Todo"},
    {"name":"shelves","namespaced":false,"kind":"Shelf"}]}"#;

fn document(fields: &str) -> String {
    format!(
        r#"{{"components":{{"schemas":{{"b.a.v1.Todo":{{"type":"object","properties":{{"spec":{{"type":"object","properties":{{{fields}}}}}}},
        "x-kubernetes-group-version-kind":[{{"group":"a.b","version":"v1","kind":"Todo"}}]}}}}}}}}"#
    )
}

async fn discover(
    kind: &str,
    api_server: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Result<Discovery, DiscoveryError> {
    let (client, _) = fake::client(api_server);
    let store = Store::new(client, Metrics::register(&mut Registry::default()));
    let wanted = Wanted { group: "a.b".to_owned(), version: "v1".to_owned(), kind: kind.to_owned(), owned: true };
    store.discover(&wanted).await
}

fn serve(openapi: String) -> impl Fn(&Asked) -> Reply + Send + Sync + 'static {
    move |asked| match asked.line.as_str() {
        "GET /apis/a.b/v1" => Reply::Json(200, RESOURCES.to_owned()),
        "GET /openapi/v3/apis/a.b/v1" => Reply::Json(200, openapi.clone()),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_kind_is_found_with_plural_scope_status_and_schema() {
    let found = discover("Todo", serve(document(r#""message":{"type":"string"}"#))).await.unwrap();
    let kind = found.kind;
    assert_eq!(
        (kind.plural.as_str(), kind.namespaced, kind.has_status, kind.has_spec, kind.owned),
        ("todos", true, true, true, true)
    );
    assert!(found.schema.fields.pointer("/properties/message").is_some(), "{:?}", found.schema);
}

#[tokio::test]
async fn what_can_be_cured_by_waiting_is_told_apart_from_what_cannot() {
    let missing = |kind: &str| DiscoveryError::Missing { api_version: "a.b/v1".to_owned(), kind: kind.to_owned() };
    assert_eq!(discover("Todo", |_| status(404, "NotFound", "not found")).await, Err(missing("Todo")));
    assert_eq!(discover("Order", serve(document(""))).await, Err(missing("Order")));
    assert!(missing("Todo").to_string().contains("apply its CustomResourceDefinition"));

    let no_schema = discover("Shelf", serve(document(""))).await.unwrap_err();
    assert!(matches!(no_schema, DiscoveryError::NoSchema { .. }) && !no_schema.is_final(), "{no_schema}");
    let away = discover("Todo", |_| Reply::BreakOff).await.unwrap_err();
    assert!(matches!(away, DiscoveryError::Away(_)) && !away.is_final(), "{away}");
    let refused = discover("Todo", |_| status(403, "Forbidden", "no")).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "{refused}");

    let clash = discover("Todo", serve(document(r#""id":{"type":"string"}"#))).await.unwrap_err();
    assert!(matches!(clash, DiscoveryError::Unservable(SchemaError::Reserved { .. })) && clash.is_final(), "{clash}");
    assert!(clash.to_string().contains("\"id\""), "{clash}");
}
