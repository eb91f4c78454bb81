//! Compares the server that is read with the one that new connections reach.

use std::future::pending;

use tokio::sync::watch;

use crate::binlog::SourceError;
use crate::binlog::server::address::{Look, ReachedServer};
use crate::progress::board::{Board, Component};

/// The looks at the source's address, and what they have shown so far.
#[derive(Debug)]
pub(super) struct Whereabouts {
    looks: watch::Receiver<Option<Look>>,
    /// The other server that the last look found. One may be a name server's
    /// leftover, or one of several that take turns.
    elsewhere: Option<String>,
    trouble: Option<String>,
}

impl Whereabouts {
    pub(super) fn new(looks: watch::Receiver<Option<Look>>) -> Self {
        Self {
            looks,
            elsewhere: None,
            trouble: None,
        }
    }

    /// Waits for the next look. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> Look {
        loop {
            if self.looks.changed().await.is_err() {
                // Nobody looks.
                pending::<()>().await;
            }
            let look = self.looks.borrow_and_update().clone();
            if let Some(look) = look {
                return look;
            }
        }
    }

    /// Forgets a look from before the connection was made.
    pub(super) fn connected(&mut self) {
        self.looks.mark_unchanged();
        self.elsewhere = None;
    }

    /// Reports a look to the board, and says why the connection is to be made
    /// anew, if it is. `read` and `left_out` are those of the server that is read.
    pub(super) fn judge(
        &mut self,
        look: Look,
        (address, read): (&str, &str),
        left_out: Option<&str>,
        board: &Board,
    ) -> Option<SourceError> {
        let reached = match look {
            Ok(reached) => reached,
            Err(error) => {
                self.report(board, Some(format!("no new connection: {error}")));
                return None;
            }
        };
        if let Some(error) = self.moved(&reached, address, read, left_out) {
            return Some(error);
        }
        let unwritten = reached.unwritten.then(|| {
            format!(
                "MySQL at {address} is read-only and not a replica, so that nothing changes there: if another server has taken over, have source.url lead to that one"
            )
        });
        self.report(board, unwritten);
        None
    }

    fn moved(
        &mut self,
        reached: &ReachedServer,
        address: &str,
        read: &str,
        left_out: Option<&str>,
    ) -> Option<SourceError> {
        let found = &reached.server_uuid;
        let reason = if found != read {
            let before = self.elsewhere.replace(found.clone());
            (before.as_ref() == Some(found))
                .then(|| format!("new connections reach {found}, and {read} was being read"))
        } else {
            self.elsewhere = None;
            (reached.left_out.as_deref() != left_out)
                .then(|| "it leaves other changes out of its binlog than before".to_owned())
        };
        reason.map(|reason| SourceError::Moved {
            address: address.to_owned(),
            reason,
        })
    }

    fn report(&mut self, board: &Board, trouble: Option<String>) {
        match &trouble {
            Some(error) => {
                if self.trouble.is_none() {
                    tracing::warn!(error, "the source's address");
                }
                board.failed(&Component::Address, error.clone());
            }
            None if self.trouble.is_some() => {
                tracing::info!("the source's address is as it should be again");
                board.recovered(&Component::Address);
            }
            None => {}
        }
        self.trouble = trouble;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(whereabouts: &mut Whereabouts, board: &Board, found: &str, unwritten: bool) -> bool {
        let look = Ok(ReachedServer {
            server_uuid: found.to_owned(),
            left_out: None,
            unwritten,
        });
        let moved = whereabouts.judge(look, ("db:3306", "a"), None, board);
        moved.is_some()
    }

    fn in_trouble(board: &Board) -> bool {
        let parts = board.snapshot().parts;
        parts
            .get(&Component::Address)
            .is_some_and(|state| state.trouble_since.is_some())
    }

    #[test]
    fn only_a_server_that_answers_twice_in_a_row_counts() {
        let (_sender, looks) = watch::channel(None);
        let (mut whereabouts, board) = (Whereabouts::new(looks), Board::default());
        for (found, expected) in [
            ("a", false),
            ("b", false),
            ("a", false),
            ("b", false),
            ("c", false),
            ("b", false),
            ("b", true),
        ] {
            assert_eq!(judged(&mut whereabouts, &board, found, false), expected);
        }
        assert!(!in_trouble(&board));
    }

    #[test]
    fn a_server_that_nobody_can_write_to_or_reach_is_trouble_until_it_is_not() {
        let (_sender, looks) = watch::channel(None);
        let (mut whereabouts, board) = (Whereabouts::new(looks), Board::default());
        judged(&mut whereabouts, &board, "a", true);
        assert!(in_trouble(&board));
        judged(&mut whereabouts, &board, "a", false);
        assert!(!in_trouble(&board));
        let lost = Err("connection refused".to_owned());
        assert!(
            whereabouts
                .judge(lost, ("db:3306", "a"), None, &board)
                .is_none()
        );
        assert!(in_trouble(&board));
    }

    #[test]
    fn a_server_that_begins_to_leave_changes_out_is_connected_to_anew() {
        let (_sender, looks) = watch::channel(None);
        let (mut whereabouts, board) = (Whereabouts::new(looks), Board::default());
        let look = Ok(ReachedServer {
            server_uuid: "a".to_owned(),
            left_out: Some("all".to_owned()),
            unwritten: false,
        });
        let same = whereabouts.judge(look.clone(), ("db:3306", "a"), Some("all"), &board);
        assert!(same.is_none());
        let other = whereabouts.judge(look, ("db:3306", "a"), None, &board);
        assert!(other.is_some());
    }
}
