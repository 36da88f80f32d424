//! From a Kubernetes object to an entity, by slices: the API server's JSON is cut and joined, no tree is built.

use crate::entity::Entity;
use crate::kind::Kind;

/// Why an object cannot become an entity.
#[derive(Debug, thiserror::Error)]
pub enum MappingError {
    /// Not JSON, or not the JSON of an object.
    #[error("failed to read an object from the API server")]
    Syntax(#[from] serde_json::Error),
    /// The version is not a number.
    #[error("failed to read the version {version:?} of an object: not a number")]
    Version {
        /// What stood there.
        version: String,
    },
}

/// The entity in an object as the API server sent it.
///
/// # Errors
/// When the text is not an object's JSON or its version is not a number.
pub fn entity(kind: &Kind, object: &[u8]) -> Result<Entity, MappingError> {
    let _ = (kind, object);
    todo!()
}
