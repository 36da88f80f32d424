//! Where the sidecar listens and where it expects the app, unless configured otherwise.

/// The entity API, on loopback only.
pub const ENTITY_API: u16 = 3600;
/// Liveness, readiness and metrics.
pub const ADMIN: u16 = 3601;
/// The admission webhook, TLS only.
pub const ADMISSION: u16 = 3602;
/// The app's own HTTP port.
pub const APP: u16 = 8080;
