//! The settings of tracing and of the sidecar's pod, checked. [`super::check`] makes these of what is written; only `app` reads them.

/// The pod that the sidecar is in, as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodConfig {
    /// metadata.name.
    pub name: String,
    /// metadata.uid.
    pub uid: Option<String>,
}

/// How to trace.
#[derive(Debug, Clone, PartialEq)]
pub struct TracingConfig {
    /// Who is told; absent: nobody.
    pub collector: Option<Collector>,
    /// The part of traces that begin here which are sampled, from 0 to 1.
    pub ratio: f64,
    /// `service.name`.
    pub service: String,
}

impl Eq for TracingConfig {}

/// Where spans are told, over plain HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    /// Host and port.
    pub authority: String,
    /// Of the requests: ends in `/v1/traces`.
    pub path: String,
}
