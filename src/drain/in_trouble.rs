//! Whether a distribution takes the paths of a delivery, on the board.

use std::sync::Arc;

use jiff::Timestamp;

use super::ask::Delivery;
use super::troubles::TroubleKind;
use crate::buffer::Buffer;
use crate::edge::Edge;
use crate::progress::board::Component;

impl<B: Buffer, E: Edge> Delivery<'_, B, E> {
    /// Says that the edge does not take these paths, since then if it is not known yet.
    pub(super) fn in_trouble(&self, since: Timestamp, trouble: String) {
        self.say(TroubleKind::Refusal, since, trouble);
    }

    /// Says that paths have waited for room since then.
    pub(super) fn lacks_room(&self, since: Timestamp, trouble: String) {
        self.say(TroubleKind::Room, since, trouble);
    }

    fn say(&self, kind: TroubleKind, since: Timestamp, trouble: String) {
        let tenant = &self.scope.tenant;
        let trouble = match tenant {
            None => trouble,
            Some(tenant) => format!("tenant {tenant}: {trouble}"),
        };
        let oldest = self
            .distribution
            .troubles
            .add(tenant, kind, since, &trouble);
        let board = &self.parts.reports.board;
        board.failing_since(&self.component(), oldest, trouble);
    }

    /// Says that the edge takes these paths, and not that it takes those of other tenants.
    pub(super) fn recovered(&self) {
        self.is_over(TroubleKind::Refusal);
    }

    /// Says that none of these paths waits for room any more.
    pub(super) fn has_room(&self) {
        self.is_over(TroubleKind::Room);
    }

    fn is_over(&self, kind: TroubleKind) {
        let board = &self.parts.reports.board;
        let left = self.distribution.troubles.remove(&self.scope.tenant, kind);
        board.recovered(&self.component());
        if let Some((since, trouble)) = left {
            board.failing_since(&self.component(), since, trouble);
        }
    }

    fn component(&self) -> Component {
        Component::Edge(Arc::clone(&self.name))
    }
}
