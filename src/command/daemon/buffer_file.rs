//! Whether the open file of a local buffer is still where the next start looks for it.
//!
//! A file that is removed or replaced under a daemon stays whole as long as that has it
//! open, so that no read or write fails: everything goes on, until the daemon ends.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::buffer::Local;
use crate::progress::board::{Board, Component};

/// Time between two looks. Each asks the system for the path's inode.
const INTERVAL: Duration = Duration::from_secs(5);

/// Does the work of a turn with `buffer`, and says on the board meanwhile if the file
/// is not in its place.
pub(super) async fn watching<T>(
    work: impl Future<Output = T>,
    (buffer, board): (Local, Arc<Board>),
) -> T {
    let over = CancellationToken::new();
    let work = async {
        let done = work.await;
        over.cancel();
        done
    };
    // A look is not cut short: it would have the file open for longer than the turn.
    let (done, ()) = tokio::join!(work, watch(&buffer, &board, &over));
    done
}

async fn watch(buffer: &Local, board: &Board, over: &CancellationToken) {
    let mut displaced_since = None;
    loop {
        tokio::select! {
            () = over.cancelled() => break,
            () = tokio::time::sleep(INTERVAL) => {}
        }
        match buffer.displaced().await {
            Ok(Some(text)) => {
                let since = displaced_since.unwrap_or_else(|| {
                    tracing::error!("{text}");
                    Timestamp::now()
                });
                displaced_since = Some(since);
                board.failing_since(&Component::BufferFile, since, text);
            }
            Ok(None) => {
                if displaced_since.take().is_some() {
                    tracing::info!("the buffer's file is in its place again");
                    board.recovered(&Component::BufferFile);
                }
            }
            Err(error) => tracing::debug!(%error, "the buffer's file cannot be looked at"),
        }
    }
    // The next turn opens what is at the path by then.
    if displaced_since.is_some() {
        board.recovered(&Component::BufferFile);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn trouble_about_the_file_ends_with_the_turn_that_had_it_open() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("queue.redb");
        let buffer = Local::open(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let board = Arc::new(Board::default());
        let trouble = || {
            let parts = board.snapshot().parts;
            parts.get(&Component::BufferFile)?.trouble_since
        };
        let turn = async {
            tokio::time::sleep(INTERVAL * 3).await;
            assert!(trouble().is_some());
        };
        watching(turn, (buffer, Arc::clone(&board))).await;
        assert_eq!(trouble(), None);
    }
}
