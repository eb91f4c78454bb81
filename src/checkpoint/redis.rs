//! The checkpoint in a register: a value elsewhere that several processes can
//! write, and that tells their epochs apart.

use std::future::Future;

use super::contract::{Checkpoint, CheckpointError, Stored};
use crate::telemetry::metric;

/// One value with the epoch of whoever wrote it.
///
/// Each call is atomic. One that failed may have been done: all of them may be
/// repeated.
pub trait Register: Send + 'static {
    /// Where it is, for messages.
    fn place(&self) -> String;

    /// What it holds.
    fn read(&mut self) -> impl Future<Output = Result<Option<Held>, CheckpointError>> + Send;

    /// Raises the epoch above the one that is there, and to `floor` at least.
    /// Returns it with the value.
    fn take(&mut self, floor: u64) -> impl Future<Output = Result<Held, CheckpointError>> + Send;

    /// Writes the value, unless a later epoch is there.
    fn write(
        &mut self,
        epoch: u64,
        value: &[u8],
    ) -> impl Future<Output = Result<Written, CheckpointError>> + Send;
}

/// What a register holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The latest leadership.
    pub epoch: u64,
    /// What was written, by it or by one before.
    pub value: Option<Vec<u8>>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was done. The register held this epoch, or nothing at all.
    Over(Option<u64>),
    /// A later epoch is there.
    Refused(u64),
}

/// A checkpoint in a [`Register`].
#[derive(Debug)]
pub struct RegisterCheckpoint<R> {
    register: R,
    epoch: u64,
}

impl<R: Register> RegisterCheckpoint<R> {
    /// Uses what `register` holds.
    pub fn new(register: R) -> Self {
        Self { register, epoch: 0 }
    }

    /// Where it is, for messages.
    pub fn place(&self) -> String {
        self.register.place()
    }

    /// Begins an epoch, `floor` or later, and says what is stored.
    pub async fn lead(&mut self, floor: u64) -> Result<Option<Stored>, CheckpointError> {
        let held = self.register.take(floor).await?;
        self.epoch = held.epoch;
        self.parse(held)
    }

    /// The same without looking at what is stored, which may be no checkpoint.
    pub async fn lead_anew(&mut self, floor: u64) -> Result<(), CheckpointError> {
        self.epoch = self.register.take(floor).await?.epoch;
        Ok(())
    }

    /// The epoch that was begun; 0 before.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Removes the stored position; false if there was none. The epoch stays,
    /// so that a leader of before is still told apart. Only after
    /// [`RegisterCheckpoint::lead_anew`].
    pub async fn clear(&mut self) -> Result<bool, CheckpointError> {
        let held = self.register.read().await?;
        if held.is_none_or(|held| held.value.is_none()) {
            return Ok(false);
        }
        self.write(&[]).await?;
        Ok(true)
    }

    fn parse(&self, held: Held) -> Result<Option<Stored>, CheckpointError> {
        let malformed = |reason: String| CheckpointError::Refused {
            place: self.register.place(),
            reason: format!(
                "what is there cannot be understood: {reason}; evictd checkpoint set P replaces it"
            ),
        };
        let Some(value) = held.value else {
            return Ok(None);
        };
        let stored = Stored::parse(&value).map_err(malformed)?;
        Ok(Some(stored))
    }

    async fn write(&mut self, value: &[u8]) -> Result<(), CheckpointError> {
        let held = match self.register.write(self.epoch, value).await? {
            Written::Over(Some(held)) if held == self.epoch => return Ok(()),
            Written::Over(held) => held,
            Written::Refused(by) => {
                return Err(CheckpointError::Superseded {
                    place: self.register.place(),
                    epoch: self.epoch,
                    by,
                });
            }
        };
        // This epoch was written there, and is there no more: it was flushed or
        // evicted, or the one who answers now never heard of it. Nothing is
        // lost while somebody leads who knows the position.
        metrics::counter!(metric::CHECKPOINTS_LOST).increment(1);
        tracing::error!(
            place = self.register.place(),
            epoch = self.epoch,
            found = held,
            "the stored position was lost, and is stored anew; had evictd ended before, this were a gap: see that nothing flushes or evicts the key"
        );
        Ok(())
    }
}

impl<R: Register> Checkpoint for RegisterCheckpoint<R> {
    async fn load(&mut self) -> Result<Option<Stored>, CheckpointError> {
        match self.register.read().await? {
            Some(held) => self.parse(held),
            None => Ok(None),
        }
    }

    async fn store(&mut self, stored: &Stored) -> Result<(), CheckpointError> {
        let stored = Stored {
            epoch: self.epoch,
            ..stored.clone()
        };
        let value = serde_json::to_vec(&stored).map_err(|error| CheckpointError::Refused {
            place: self.register.place(),
            reason: error.to_string(),
        })?;
        self.write(&value).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::model::Position;

    /// Shared between those who would lead.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Option<Held>>>);

    impl Register for Shared {
        fn place(&self) -> String {
            "here".to_owned()
        }

        async fn read(&mut self) -> Result<Option<Held>, CheckpointError> {
            Ok(self.0.lock().unwrap().clone())
        }

        async fn take(&mut self, floor: u64) -> Result<Held, CheckpointError> {
            let mut held = self.0.lock().unwrap();
            let held = held.get_or_insert_default();
            held.epoch = floor.max(held.epoch + 1);
            Ok(held.clone())
        }

        async fn write(&mut self, epoch: u64, value: &[u8]) -> Result<Written, CheckpointError> {
            let mut held = self.0.lock().unwrap();
            let before = held.as_ref().map(|held| held.epoch);
            if let Some(by) = before.filter(|before| *before > epoch) {
                return Ok(Written::Refused(by));
            }
            let value = (!value.is_empty()).then(|| value.to_vec());
            *held = Some(Held { epoch, value });
            Ok(Written::Over(before))
        }
    }

    fn stored(offset: u64) -> Stored {
        let position = Position {
            file: "mysql-bin.000002".into(),
            offset,
            gtids: None,
        };
        Stored::new(&position, "uuid", 0)
    }

    async fn offset(checkpoint: &mut RegisterCheckpoint<Shared>) -> Option<u64> {
        let stored = checkpoint.load().await.unwrap();
        stored.map(|stored| stored.offset)
    }

    #[tokio::test]
    async fn an_old_leader_cannot_move_the_position_and_its_successor_goes_on_from_there() {
        let shared = Shared::default();
        let mut old = RegisterCheckpoint::new(shared.clone());
        assert_eq!(old.lead(100).await.unwrap(), None);
        old.store(&stored(10)).await.unwrap();
        let mut new = RegisterCheckpoint::new(shared);
        assert_eq!(new.lead(90).await.unwrap().unwrap().offset, 10);
        let error = old.store(&stored(20)).await.unwrap_err();
        assert!(
            matches!(
                error,
                CheckpointError::Superseded {
                    epoch: 100,
                    by: 101,
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(offset(&mut new).await, Some(10));
        new.store(&stored(30)).await.unwrap();
        assert_eq!(offset(&mut old).await, Some(30));
    }

    #[tokio::test]
    async fn what_was_flushed_or_went_back_is_stored_anew_by_who_leads() {
        let shared = Shared::default();
        let mut leader = RegisterCheckpoint::new(shared.clone());
        leader.lead(100).await.unwrap();
        for lost in [None, Some(Held::default())] {
            *shared.0.lock().unwrap() = lost;
            leader.store(&stored(40)).await.unwrap();
            assert_eq!(offset(&mut leader).await, Some(40));
        }
    }

    #[tokio::test]
    async fn what_is_cleared_is_gone_and_its_epoch_is_not() {
        let shared = Shared::default();
        let mut old = RegisterCheckpoint::new(shared.clone());
        old.lead(100).await.unwrap();
        let mut hand = RegisterCheckpoint::new(shared.clone());
        hand.lead_anew(1).await.unwrap();
        assert!(!hand.clear().await.unwrap(), "nothing was stored yet");
        hand.store(&stored(10)).await.unwrap();
        assert!(hand.clear().await.unwrap());
        assert_eq!(offset(&mut hand).await, None);
        assert!(old.store(&stored(20)).await.is_err());
    }

    #[tokio::test]
    async fn what_is_no_checkpoint_is_refused_and_can_be_replaced() {
        let shared = Shared::default();
        let mut leader = RegisterCheckpoint::new(shared.clone());
        for value in ["{}", "no json", "{\"version\":2}"] {
            *shared.0.lock().unwrap() = Some(Held {
                epoch: 5,
                value: Some(value.into()),
            });
            let error = leader.lead(1).await.unwrap_err().to_string();
            assert!(error.contains("evictd checkpoint set"), "{error}");
            leader.lead_anew(1).await.unwrap();
            leader.store(&stored(50)).await.unwrap();
            assert_eq!(offset(&mut leader).await, Some(50));
        }
    }
}
