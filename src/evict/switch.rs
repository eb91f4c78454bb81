//! Other rules for a pipeline that runs.
//!
//! They come into use between two transactions, in the task that plans: what was
//! read before is planned with the old ones, what is read after with the new
//! ones, and nothing is skipped or planned with half of each (Nothing lost).

use std::future::pending;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::model::Position;
use crate::rules::Rules;

/// Rules that are to come into use.
pub(super) struct Switch {
    rules: Arc<Rules>,
    /// What comes into use with them.
    along: Box<dyn FnOnce() + Send>,
    done: oneshot::Sender<Position>,
}

impl Switch {
    /// The rules, which are in use after `position`.
    pub(super) fn take_over(self, position: &Position) -> Arc<Rules> {
        (self.along)();
        // Whoever asked may have gone.
        self.done.send(position.clone()).ok();
        self.rules
    }
}

/// Asks for other rules.
#[derive(Clone, Debug)]
pub struct Switcher(mpsc::Sender<Switch>);

/// Where the planning task is asked for other rules.
#[derive(Default)]
pub struct Switches(Option<mpsc::Receiver<Switch>>);

/// The two ends.
pub fn switcher() -> (Switcher, Switches) {
    let (sender, receiver) = mpsc::channel(1);
    (Switcher(sender), Switches(Some(receiver)))
}

impl Switcher {
    /// Waits until changes are planned with `rules`, and returns the position
    /// from which on they are; `None` if nothing is planned any more. `along` is
    /// done at the same moment, and must not block.
    pub async fn switch(
        &self,
        rules: Arc<Rules>,
        along: impl FnOnce() + Send + 'static,
    ) -> Option<Position> {
        let (done, switched) = oneshot::channel();
        let switch = Switch {
            rules,
            along: Box::new(along),
            done,
        };
        self.0.send(switch).await.ok()?;
        switched.await.ok()
    }
}

impl Switches {
    /// The next one; waits for ever where nobody asks. Cancelling it loses
    /// nothing.
    pub(super) async fn next(&mut self) -> Switch {
        if let Some(receiver) = &mut self.0
            && let Some(switch) = receiver.recv().await
        {
            return switch;
        }
        pending().await
    }
}
