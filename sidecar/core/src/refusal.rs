//! From the API server's refusal (a Kubernetes `Status`) to a problem in the business shape's words.

use contract::problem::Problem;

use crate::entity::Key;
use crate::kind::Kind;

/// Whether the write carried a version that had to match: decides between 409 and 412.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conditional {
    /// `If-Match` was given.
    Yes,
    /// It was not.
    No,
}

/// The problem for an answer of the API server that is not a success. Field paths are translated (`spec.when` → `/when`,
/// `spec.items[2].name` → `/items/2/name`, `metadata.labels` → `/meta/labels`); no address, token or stack gets through.
/// A body that is no `Status` gives 502.
pub fn problem(kind: &Kind, key: &Key, http_status: u16, body: &[u8], conditional: Conditional) -> Problem {
    let _ = (kind, key, http_status, body, conditional);
    todo!()
}
