//! Definitions of kinds for tests: each in a group of its own, so that tests do not meet.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::{todos, wait};

/// A kind that a test makes up.
#[derive(Debug, Clone)]
pub struct Definition {
    group: String,
    kind: String,
    plural: String,
    namespaced: bool,
    /// Name and schema of each version, all served; the first is stored.
    versions: Vec<(String, Value)>,
    withdrawn: Option<String>,
}

impl Definition {
    /// A namespaced kind in a new group, whose `spec` has a `name`, with a status subresource in version `v1`.
    pub fn new(kind: &str, plural: &str) -> Self {
        Self {
            group: format!("{}.test.k8sasbackend.com", crate::program::unique()),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: true,
            versions: Vec::new(),
            withdrawn: None,
        }
    }

    /// Outside of namespaces.
    #[must_use]
    pub fn cluster_scoped(self) -> Self {
        Self { namespaced: false, ..self }
    }

    /// With this schema of `spec` in `v1`, and no other version.
    #[must_use]
    pub fn spec(self, schema: Value) -> Self {
        Self { versions: Vec::new(), ..self }.version("v1", schema)
    }

    /// With one more version, of this schema of `spec`.
    #[must_use]
    pub fn version(self, version: &str, schema: Value) -> Self {
        let status = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let object = json!({"type": "object", "properties": {"spec": schema, "status": status}});
        self.whole(version, object)
    }

    /// With this schema of the whole object in `v1`; there is no status subresource then, unless the schema has `spec`.
    #[must_use]
    pub fn plain(self, schema: Value) -> Self {
        self.whole("v1", schema)
    }

    /// With this version not served.
    #[must_use]
    pub fn withdrawn(self, version: &str) -> Self {
        Self { withdrawn: Some(version.to_owned()), ..self }
    }

    fn whole(mut self, version: &str, schema: Value) -> Self {
        self.versions.push((version.to_owned(), schema));
        self
    }

    /// Its group.
    pub fn group(&self) -> &str {
        &self.group
    }

    /// `GROUP/v1`.
    pub fn api_version(&self) -> String {
        format!("{}/v1", self.group)
    }

    /// An entry of the sidecar's `kinds`, in `v1`; no namespaces: the setting is left out.
    pub fn served(&self, owned: bool, namespaces: &[&str]) -> Value {
        self.served_as("v1", owned, namespaces)
    }

    /// The same in another version.
    pub fn served_as(&self, version: &str, owned: bool, namespaces: &[&str]) -> Value {
        let api_version = format!("{}/{version}", self.group);
        if namespaces.is_empty() {
            return json!({"apiVersion": api_version, "kind": self.kind, "owned": owned});
        }
        json!({"apiVersion": api_version, "kind": self.kind, "owned": owned, "namespaces": namespaces})
    }

    /// Installs it, or what has changed of it, and waits until it can be used.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn install(&self, client: &Client) -> anyhow::Result<()> {
        todos::install(client, &self.manifest().to_string()).await
    }

    /// Begins to remove it with all its objects.
    ///
    /// # Errors
    /// When the API server refuses it.
    pub async fn delete(&self, client: &Client) -> anyhow::Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        api.delete(&format!("{}.{}", self.plural, self.group), &DeleteParams::default()).await?;
        Ok(())
    }

    /// Removes it with all its objects, and waits until it is gone.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn remove(&self, client: &Client) -> anyhow::Result<()> {
        let api: Api<CustomResourceDefinition> = Api::all(client.clone());
        let name = format!("{}.{}", self.plural, self.group);
        self.delete(client).await?;
        wait::until(&format!("{name} to be gone"), wait::LIMIT, || async {
            let left = api.get_opt(&name).await?;
            anyhow::ensure!(left.is_none(), "{:?}", left.and_then(|left| left.status));
            Ok::<(), anyhow::Error>(())
        })
        .await
    }

    /// Its objects, as another writer sees them, in `v1`.
    pub fn objects(&self, client: &Client, namespace: Option<&str>) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(&self.group, "v1", &self.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &self.plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        }
    }

    fn manifest(&self) -> Value {
        let named = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let plain = Self { versions: Vec::new(), ..self.clone() }.version("v1", named);
        let versions = if self.versions.is_empty() { &plain.versions } else { &self.versions };
        let versions: Vec<Value> = versions
            .iter()
            .enumerate()
            .map(|(place, (name, schema))| {
                let subresources =
                    if schema["properties"].get("spec").is_some() { json!({"status": {}}) } else { json!({}) };
                json!({
                    "name": name, "served": self.withdrawn.as_ref() != Some(name), "storage": place == 0, "subresources": subresources,
                    "schema": {"openAPIV3Schema": schema},
                })
            })
            .collect();
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{}.{}", self.plural, self.group)},
            "spec": {
                "group": self.group,
                "names": {"kind": self.kind, "plural": self.plural, "singular": self.kind.to_lowercase(), "listKind": format!("{}List", self.kind)},
                "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
                "versions": versions,
            },
        })
    }
}
