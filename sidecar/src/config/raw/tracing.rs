//! Settings of tracing, and of the pod that the sidecar is in, as written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar;

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::config) struct RawPod {
    /// Name of the sidecar's pod (downward API, `metadata.name`): Kubernetes Events about the sidecar as a whole are about it. Absent: there are none.
    pub(in crate::config) name: Option<String>,
    /// Its uid (downward API, `metadata.uid`), by which `kubectl describe` finds them.
    pub(in crate::config) uid: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(in crate::config) struct RawTracing {
    /// Whether requests, hook calls and records are parts of traces (W3C Trace Context), and each write keeps its trace as an annotation of the entity.
    pub(in crate::config) enabled: bool,
    /// Collector that is told of the spans by OTLP over HTTP, such as `http://collector:4318`; plain HTTP. Absent: none is told, and traces are passed on all the same.
    pub(in crate::config) otlp_endpoint: Option<String>,
    /// Part of the traces that begin here which are sampled, from 0 to 1; what comes in with a trace is sampled as that says.
    #[serde(deserialize_with = "scalar")]
    pub(in crate::config) ratio: String,
    /// `service.name` in the spans. Absent: `app.name`, else `kab-sidecar`.
    pub(in crate::config) service_name: Option<String>,
}

impl Default for RawTracing {
    fn default() -> Self {
        Self { enabled: false, otlp_endpoint: None, ratio: "1".to_owned(), service_name: None }
    }
}
