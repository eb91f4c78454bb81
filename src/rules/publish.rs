//! Publishes what a rule deletes to the rule's channel.

use std::sync::Arc;

use crate::model::invalidation::{Action, Plan, Published, Widening};

/// A plan whose deletions are published as well.
pub(super) struct OnChannel<'p, P> {
    pub(super) plan: &'p mut P,
    pub(super) channel: &'p Arc<str>,
}

impl<P: Plan> Plan for OnChannel<'_, P> {
    fn act(&mut self, rule: &Arc<str>, action: Action<'_>) {
        self.plan.act(rule, action);
        let what = match action {
            Action::Delete { key, settles } => Published::Key { key, settles },
            Action::Increment { key } => Published::Key { key, settles: true },
            Action::DeleteMatching { glob } => Published::Glob(glob),
            Action::DeleteField { key, field } => Published::Field { key, field },
            Action::DeleteTagSet { .. } | Action::DeleteTagSetsMatching { .. } => {
                Published::Members
            }
            Action::RaiseGuard { .. }
            | Action::SkipGuard { .. }
            | Action::Publish { .. }
            | Action::Invalidate { .. }
            | Action::Skip { .. }
            | Action::MissedBump { .. }
            | Action::BackwardVersion { .. } => return,
        };
        let channel = self.channel;
        self.plan.act(rule, Action::Publish { channel, what });
    }

    fn widen(&mut self, rule: &Arc<str>, reason: Widening) {
        self.plan.widen(rule, reason);
    }
}
