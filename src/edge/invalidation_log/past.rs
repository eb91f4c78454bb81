//! A request to the edge, as lines of the file.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A request: before it is made with all that it stands for, and once it is made
/// with its id and nothing else that is known already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The distribution's id at the edge. A name can come to mean another one.
    pub distribution_id: String,
    /// The tenant, for an invalidation of a tenant's paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The caller reference of the request.
    pub caller_reference: String,
    /// When it was written.
    pub at: Timestamp,
    /// The id of the invalidation; `None` before it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The ids of the messages that have these paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
}

impl Past {
    /// Reads a line of the file; `None` if it is not a record.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}
