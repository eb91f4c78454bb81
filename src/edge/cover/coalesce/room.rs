//! Room for paths that may be sent.

use crate::model::edge_item::is_wildcard;

/// Room for paths that may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Paths without a wildcard.
    pub singles: usize,
    /// Paths that end in `*`.
    pub wildcards: usize,
}

impl Room {
    /// Takes the place of a path, if there is one.
    pub fn take(&mut self, path: &str) -> bool {
        let places = if is_wildcard(path) {
            &mut self.wildcards
        } else {
            &mut self.singles
        };
        let is_free = *places > 0;
        *places = places.saturating_sub(1);
        is_free
    }
}
