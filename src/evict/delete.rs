//! First deletions: each batch's keys, once their rows are visible.

use tokio::sync::mpsc;

use super::batch::{Batch, Deleted};
use super::pass::Pass;
use super::refused_keys::RefusedKeys;
use super::settling::Settling;
use super::visibility::{Visibility, VisibilityGate, Visible};
use crate::cache::{Cache, Refused};
use crate::model::cast::to_u64;
use crate::progress::board::{Component, Reports};
use crate::progress::outage::Outage;
use crate::telemetry::metric;

/// Deletes each batch's keys. What fails or takes long of it remains, and goes on
/// with the batch; where nothing can be done, it is tried again until it can.
pub(super) async fn delete(
    reports: Reports,
    visibility: impl Visibility,
    mut cache: impl Cache,
    settling: Settling,
    mut batches: mpsc::Receiver<Batch>,
    deleted: mpsc::Sender<Deleted>,
) {
    let Reports { board, .. } = &reports;
    let mut outage = Outage::new("the cache", metric::CACHE_RETRIES, board, Component::Cache);
    let mut refused_keys = RefusedKeys::new(&reports);
    let mut gate = VisibilityGate::new(visibility, board);
    while let Some(mut batch) = batches.recv().await {
        let acts = !batch.is_empty();
        if acts {
            board.deletes(batch.oldest);
        }
        let visible = if acts {
            gate.wait(&batch.read, &batch.stream).await
        } else {
            Visible::Unnamed
        };
        if let (Visible::By(_), Some(oldest)) = (visible, batch.oldest) {
            metrics::histogram!(metric::COMMIT_TO_VISIBLE).record(oldest.age());
        }
        if acts {
            outage.started(false);
        }
        let (mut attempted, due, again) = loop {
            // Settled: whether a second deletion follows is decided before the
            // first one is sent. A late fill can arrive between the deletion and
            // a slow answer to it, or behind a long scan. After failed attempts
            // the change may be old enough to need no second deletion any more.
            let due = settling.due(visible);
            let again = due.is_some() || visible == Visible::Open;
            let pass = if again { Pass::First } else { Pass::Once };
            match batch.delete(&mut cache, pass).await {
                Ok(attempted) => break (attempted, due, again),
                Err(error) => outage.wait(error.code(), &error).await,
            }
        };
        outage.recovered();
        let keys = to_u64(batch.keys() - attempted.keys().min(batch.keys()));
        metrics::counter!(metric::CACHE_KEYS).increment(keys);
        if acts {
            if let Some(oldest) = batch.oldest.filter(|_| attempted.is_done()) {
                metrics::histogram!(metric::COMMIT_TO_DELETED).record(oldest.age());
            }
            board.deleted(keys);
            outage.idle();
        }
        let refused = std::mem::take(&mut attempted.refused);
        refused_keys.report(&refused);
        let stays = |refused: &&Refused| !again || !batch.deletes_again(&refused.key);
        refused_keys.give_up(refused.iter().filter(stays), batch.mark.as_ref());
        if deleted
            .send(batch.deleted(due, visible, attempted))
            .await
            .is_err()
        {
            return;
        }
    }
}
