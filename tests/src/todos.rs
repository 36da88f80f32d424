//! Todos as another writer (kubectl, GitOps) makes them: straight at the API server.

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, Config};
use serde_json::json;
use std::path::Path;

use crate::wait;

/// The generated CRD of the sample kind.
pub const CRD: &str = include_str!("../../manifests/crds/todos.k8sasbackend.com.yaml");

/// A client with the rights of a kubeconfig.
///
/// # Errors
/// When the file cannot be used.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Installs a CRD and waits until its resources can be used.
///
/// # Errors
/// When the API server refuses it or does not establish it in time.
pub async fn install(client: &Client, yaml: &str) -> anyhow::Result<()> {
    let crd: CustomResourceDefinition = serde_saphyr::from_str(yaml).context("the CRD is not YAML")?;
    let name = crd.metadata.name.clone().context("the CRD has no name")?;
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    api.patch(&name, &PatchParams::apply("kab-test").force(), &Patch::Apply(&crd)).await?;
    wait::until(&format!("{name} to be established"), wait::LIMIT, || async {
        let found = api.get(&name).await?;
        let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
        let established = conditions.iter().any(|found| found.type_ == "Established" && found.status == "True");
        anyhow::ensure!(established, "{conditions:?}");
        Ok::<(), anyhow::Error>(())
    })
    .await
}

/// Todos of a namespace.
pub fn api(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(contract::names::GROUP, "v1", "Todo");
    Api::namespaced_with(client.clone(), namespace, &ApiResource::from_gvk(&kind))
}

/// A valid Todo, the way `kubectl create` would send it.
///
/// # Errors
/// Never for a fixed shape; the conversion is checked all the same.
pub fn object(name: &str, message: &str) -> anyhow::Result<DynamicObject> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "k8sasbackend.com/v1",
        "kind": "Todo",
        "metadata": {"name": name},
        "spec": {"when": "2030-01-01T10:00:00Z", "message": message},
    }))?)
}

/// Creates a Todo as another writer.
///
/// # Errors
/// When the API server refuses it.
pub async fn create(client: &Client, namespace: &str, name: &str, message: &str) -> anyhow::Result<DynamicObject> {
    Ok(api(client, namespace).create(&PostParams::default(), &object(name, message)?).await?)
}

/// Changes a Todo's message as another writer.
///
/// # Errors
/// When the API server refuses it.
pub async fn change(client: &Client, namespace: &str, name: &str, message: &str) -> anyhow::Result<DynamicObject> {
    let patch = Patch::Merge(json!({"spec": {"message": message}}));
    Ok(api(client, namespace).patch(name, &PatchParams::default(), &patch).await?)
}
