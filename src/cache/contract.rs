//! The cache that keys are deleted from.

use std::future::Future;

use super::outcome::{CacheError, Outcome};
use super::steps::{FoundKeys, MembersOut, ScanPlace, TagScan, TagStep};
use crate::model::{Guards, KeyList, PairSet};

/// Deletes keys.
///
/// - **What cannot pass is no error.** A call succeeds with the keys that the
///   server refuses for good among its [`Outcome`], and everything else done.
/// - **Deletion is idempotent**, and a call that failed may have deleted any
///   part of the keys: repeat it whole.
/// - **The caller retries.** An implementation makes one attempt and renews its
///   connection for the next one where that is needed.
/// - **Cancelling** a call leaves any part of it done.
pub trait Cache: Send + 'static {
    /// Deletes `keys`. `Ok` means that the server acknowledged all of them but
    /// the refused ones.
    fn delete(
        &mut self,
        keys: &[&KeyList],
    ) -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// Adds one to the counter `key`. Repeating it adds again, which is harmless:
    /// it only has to change.
    fn increment(&mut self, key: &[u8])
    -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// Deletes every key that matches `glob` and was there when the call began.
    fn delete_matching(
        &mut self,
        glob: &[u8],
    ) -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// Raises `guards`, and only then deletes `keys`. A guard never falls, so
    /// that repeating it changes nothing. Guards are not counted as existing.
    fn delete_guarded(
        &mut self,
        guards: &Guards,
        keys: &[&KeyList],
    ) -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// Deletes fields of hashes.
    fn delete_fields(
        &mut self,
        fields: &PairSet,
    ) -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// Finds some of the keys that match `glob`. Every key that is there from
    /// the first call to the one that has no next is found.
    fn find(
        &mut self,
        glob: &[u8],
        from: ScanPlace,
    ) -> impl Future<Output = Result<FoundKeys, CacheError>> + Send;

    /// Goes one step through each of the tag sets. Every member that is there
    /// from the first step to the last is found, maybe more than once.
    fn scan_tag_sets(
        &mut self,
        sets: &[TagScan<'_>],
    ) -> impl Future<Output = Result<Vec<TagStep>, CacheError>> + Send;

    /// Takes members out of their tag sets.
    fn take_out(
        &mut self,
        leaving: &[MembersOut<'_>],
    ) -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// Sends a message to whoever subscribes to the channel right now.
    fn publish(
        &mut self,
        channel: &str,
        message: &[u8],
    ) -> impl Future<Output = Result<Outcome, CacheError>> + Send;
}
