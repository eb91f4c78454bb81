//! Whether a distribution takes the paths of a delivery, on the board.

use std::sync::Arc;

use jiff::Timestamp;

use super::ask::Delivery;
use crate::buffer::Buffer;
use crate::edge::Edge;
use crate::progress::board::Component;

impl<B: Buffer, E: Edge> Delivery<'_, B, E> {
    /// Says that the edge does not take these paths, since then if it is not known yet.
    pub(super) fn in_trouble(&self, since: Timestamp, trouble: String) {
        let tenant = &self.scope.tenant;
        let trouble = match tenant {
            None => trouble,
            Some(tenant) => format!("tenant {tenant}: {trouble}"),
        };
        let oldest = self.distribution.troubles.add(tenant, since, &trouble);
        let board = &self.parts.reports.board;
        board.failing_since(&self.component(), oldest, trouble);
    }

    /// Says that the edge takes these paths, and not that it takes those of other tenants.
    pub(super) fn recovered(&self) {
        let board = &self.parts.reports.board;
        let left = self.distribution.troubles.remove(&self.scope.tenant);
        board.recovered(&self.component());
        if let Some((since, trouble)) = left {
            board.failing_since(&self.component(), since, trouble);
        }
    }

    fn component(&self) -> Component {
        Component::Edge(Arc::clone(&self.name))
    }
}
