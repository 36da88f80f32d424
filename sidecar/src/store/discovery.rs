//! Finds a configured kind at the API server: its plural, its scope, its schema. Needs no right to read CRDs.

use serde::Deserialize;
use serde_json::Value;
use sidecar_core::kind::Kind;
use sidecar_core::schema::{Schema, SchemaError};

use hyper::{Method, StatusCode};

use super::{Answer, Store};
use crate::resource;

/// A kind as the configuration names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// API group, empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Whether this app is its authority.
    pub owned: bool,
}

/// A kind as the API server knows it.
#[derive(Debug, Clone, PartialEq)]
pub struct Discovery {
    /// What requests and the mapping need.
    pub kind: Kind,
    /// Its fields.
    pub schema: Schema,
}

/// Why a kind is not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DiscoveryError {
    /// No such kind yet.
    #[error("{kind} of {api_version} is not installed: apply its CustomResourceDefinition")]
    Missing {
        /// `GROUP/VERSION`.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// Its schema is not published yet: the API server does so a moment after the definition.
    #[error("the API server has not published the schema of {kind} of {api_version} yet")]
    NoSchema {
        /// `GROUP/VERSION`.
        api_version: String,
        /// The kind.
        kind: String,
    },
    /// Not answered, or answered with something else.
    #[error("failed to ask the API server for its kinds: {0}")]
    Away(String),
    /// It can never be served as it is.
    #[error("{0}")]
    Unservable(SchemaError),
}

impl DiscoveryError {
    /// Whether waiting cannot help.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Unservable(_))
    }
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    #[serde(default)]
    namespaced: bool,
    kind: String,
}

impl Wanted {
    /// `GROUP/VERSION`, or `VERSION`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    fn find(&self, resources: &Resources, has_spec: bool) -> Option<Kind> {
        let found = resources.resources.iter().find(|found| found.kind == self.kind && !found.name.contains('/'))?;
        let status = format!("{}/status", found.name);
        Some(Kind {
            group: self.group.clone(),
            version: self.version.clone(),
            kind: self.kind.clone(),
            plural: found.name.clone(),
            namespaced: found.namespaced,
            has_spec,
            has_status: resources.resources.iter().any(|other| other.name == status),
            owned: self.owned,
        })
    }
}

impl Store {
    /// Looks the kind up.
    ///
    /// # Errors
    /// When it is not there, or cannot be served.
    pub async fn discover(&self, wanted: &Wanted) -> Result<Discovery, DiscoveryError> {
        let (api_version, kind) = (wanted.api_version(), wanted.kind.clone());
        let group_version = resource::group_version(&wanted.group, &wanted.version);
        let missing = || DiscoveryError::Missing { api_version: api_version.clone(), kind: kind.clone() };

        let answer = self.find(group_version.clone()).await?.ok_or_else(missing)?;
        let resources: Resources =
            serde_json::from_slice(&answer.body).map_err(|error| DiscoveryError::Away(error.to_string()))?;
        if wanted.find(&resources, true).is_none() {
            return Err(missing());
        }
        let no_schema = || DiscoveryError::NoSchema { api_version: api_version.clone(), kind: kind.clone() };
        let answer = self.find(format!("/openapi/v3{group_version}")).await?.ok_or_else(no_schema)?;
        let document: Value =
            serde_json::from_slice(&answer.body).map_err(|error| DiscoveryError::Away(error.to_string()))?;
        let schema = match Schema::from_openapi(&document, &wanted.group, &wanted.version, &wanted.kind) {
            Ok(schema) => schema,
            Err(SchemaError::Missing { .. }) => return Err(no_schema()),
            Err(error) => return Err(DiscoveryError::Unservable(error)),
        };
        let kind = wanted.find(&resources, schema.has_spec).ok_or_else(missing)?;
        Ok(Discovery { kind, schema })
    }

    /// The document, if there is one.
    async fn find(&self, path: String) -> Result<Option<Answer>, DiscoveryError> {
        let answer =
            self.ask(Method::GET, path, None, None).await.map_err(|away| DiscoveryError::Away(away.to_string()))?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(DiscoveryError::Away(format!("it answered {status}"))),
        }
    }
}
