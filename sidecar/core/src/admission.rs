//! Admission: what the API server asks of a write becomes what the app is asked, and what the app says becomes what the API server is told.
//!
//! Owns which writes are put to the app at all, and in what words a refusal reaches whoever writes, with `kubectl` or through the entity API
//! ([`crate::refusal`] reads them again). Pure: the driver `admission` receives, calls the app and sends.

pub mod configuration;
pub mod defaults;
pub mod response;
pub mod review;
