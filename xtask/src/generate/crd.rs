//! The CustomResourceDefinition of the sample kind, made from the sample app's own types.
//!
//! Owns what a CRD has beside its schema: names, printer columns, selectable fields. Never touches a file; called by
//! `generate` alone.

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_core::schema::{OptionalEnum, StructuralSchemaRewriter};
use sample_app::todo::{TodoSpec, TodoStatus};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Value, json};

/// `todos.k8sasbackend.com`, as YAML.
pub(crate) fn todos() -> anyhow::Result<String> {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("todos.{}", contract::names::GROUP) },
        "spec": {
            "group": contract::names::GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "Todo", "plural": "todos", "singular": "todo", "listKind": "TodoList", "shortNames": ["td"]
            },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "description": "Something to be done at some time.",
                    "required": ["spec"],
                    "properties": { "spec": structural::<TodoSpec>()?, "status": structural::<TodoStatus>()? }
                } },
                "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    { "name": "When", "type": "string", "jsonPath": ".spec.when" },
                    { "name": "Message", "type": "string", "jsonPath": ".spec.message" },
                    { "name": "Done", "type": "boolean", "jsonPath": ".spec.done" },
                    { "name": "Phase", "type": "string", "jsonPath": ".status.phase" },
                    { "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" }
                ],
                "selectableFields": [
                    { "jsonPath": ".spec.done" },
                    { "jsonPath": ".spec.when" },
                    { "jsonPath": ".status.phase" }
                ]
            }]
        }
    });
    // The typed round trip refuses a misspelt key here rather than at the API server.
    let typed: CustomResourceDefinition = serde_json::from_value(crd.clone()).context("failed to read the CRD back")?;
    anyhow::ensure!(
        serde_json::to_value(typed)? == crd,
        "the CRD has a key that CustomResourceDefinition does not know"
    );
    Ok(serde_saphyr::to_string(&crd)?)
}

/// The schema of `T` under Kubernetes' rules for structural schemas: no references, no `oneOf`, OpenAPI 3.0's `nullable`.
fn structural<T: JsonSchema>() -> anyhow::Result<Value> {
    let mut settings = SchemaSettings::openapi3();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    let schema = settings
        .with_transform(AddNullable::default())
        .with_transform(StructuralSchemaRewriter)
        .with_transform(OptionalEnum)
        .into_generator()
        .into_root_schema_for::<T>();
    let mut schema = serde_json::to_value(schema)?;
    if let Some(object) = schema.as_object_mut() {
        object.remove("title");
    }
    Ok(schema)
}
