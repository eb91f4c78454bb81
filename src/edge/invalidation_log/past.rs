//! An invalidation that was made, as a line of the file.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An invalidation that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The distribution's id at the edge. A name can come to mean another one.
    pub distribution_id: String,
    /// The tenant, for an invalidation of a tenant's paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The id of the invalidation.
    pub id: String,
    /// The caller reference of the request.
    pub caller_reference: String,
    /// Time at which it was accepted.
    pub at: Timestamp,
    pub paths: Vec<String>,
}

impl Past {
    /// Reads a line of the file; `None` if it is not a record.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}
