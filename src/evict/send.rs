//! Paths on their way to the buffer, once the keys of the same changes have
//! settled (Cache before edge).

use tokio::sync::{mpsc, watch};

use super::path_sink::PathSink;
use super::settled::{Accepted, Settled};
use crate::model::BufferState;
use crate::progress::board::{Component, Reports};
use crate::progress::outage::Outage;
use crate::telemetry::metric;

/// Sends each batch's paths, and tries again until they are accepted.
pub(super) async fn send(
    Reports { board, .. }: Reports,
    mut paths: impl PathSink,
    buffer: watch::Receiver<BufferState>,
    mut batches: mpsc::Receiver<Settled>,
    accepted: mpsc::Sender<Accepted>,
) {
    let mut outage = Outage::new(
        "the buffer",
        metric::BUFFER_RETRIES,
        &board,
        Component::Buffer,
    );
    while let Some(batch) = batches.recv().await {
        let mut pending = paths.prepare(&batch.paths);
        outage.started(false);
        while let Err(error) = paths.send(&mut pending).await {
            outage.wait(error.kind(), &error).await;
        }
        outage.recovered();
        outage.idle();
        let batch = batch.accepted(&buffer.borrow());
        if accepted.send(batch).await.is_err() {
            return;
        }
    }
}
