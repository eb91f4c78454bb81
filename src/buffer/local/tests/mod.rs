//! - `queue`: the contract of a buffer, crashes, and a process that is killed.
//! - `set_back`: a file that is new, set back, or of an earlier version.
//! - `damage`: a file that is damaged, or something else.

mod damage;
mod queue;
mod set_back;

use std::path::Path;
use std::time::Duration;

use redb::{Database, Error, ReadableDatabase, ReadableTable};

use super::file::{DEAD, MESSAGES, NEXT, NUMBERS, OPENINGS};
use super::queue::RECEIVE_MAX;
use super::*;
use crate::buffer::{Buffer, Buried, Message, Received, Redriven, RejectedMessage};
use crate::model::{BufferMark, BufferState, CommitTime};

const NOW: Duration = Duration::ZERO;

fn message(path: &str) -> Message {
    Message {
        source: "shop".into(),
        distribution: "main".into(),
        distribution_id: None,
        tenant: None,
        paths: vec![path.to_owned()],
        committed_at: CommitTime::from_micros(1),
        sent: None,
        redriven_at: None,
    }
}

fn paths(received: &[Received<LocalReceipt>]) -> Vec<String> {
    let mut paths: Vec<_> = received
        .iter()
        .flat_map(|r| r.content.clone().unwrap().paths)
        .collect();
    paths.sort();
    paths
}

async fn new(directory: &tempfile::TempDir) -> Local {
    Local::open(directory.path().join("queue.redb"))
        .await
        .unwrap()
}

/// Its state, with nothing to go on from.
async fn state(buffer: &Local) -> BufferState {
    buffer.continue_from(None).await.borrow().clone()
}

async fn mark(buffer: &Local) -> BufferMark {
    state(buffer).await.mark.unwrap()
}

/// The messages that are visible.
async fn all(buffer: &Local) -> Vec<Received<LocalReceipt>> {
    let mut all = Vec::new();
    loop {
        let some = buffer.receive(NOW).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some);
    }
}

/// The opening that wrote it, and its number.
fn place(received: &Received<LocalReceipt>) -> (&str, u64) {
    let (opening, number) = received.id.split_once('-').unwrap();
    (opening, number.parse().unwrap())
}
