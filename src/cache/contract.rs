//! The cache that keys are deleted from.

use std::future::Future;

use super::outcome::{CacheError, Outcome};
use super::run::ServerRun;
use super::steps::{FoundKeys, MemberRemoval, ScanPlace, TagScan, TagStep};
use crate::model::{Guards, KeyList, PairSet};

/// Deletes keys.
///
/// - **A refusal that does not pass is not an error.** The call succeeds: its
///   [`Outcome`] lists the keys that the server refuses, and everything else is
///   done.
/// - **A part that fails is not an error either.** One primary of a cluster may be
///   away, and a server whose memory is full deletes keys and raises no guard. The
///   call succeeds, names what failed (`Outcome::unfinished`), and everything
///   else is done. An error says that nothing can be done at the moment.
/// - **Deletion is idempotent**, and a call that failed may have deleted any of
///   the keys: repeat it whole.
/// - **The caller retries.** An implementation makes one attempt, and renews its
///   connection for the next one where that is needed.
/// - **Cancelling** a call may leave any part of it done.
pub trait Cache: Send + 'static {
    /// Deletes `keys`. `Ok` means that the server acknowledged all keys but the
    /// refused and the unfinished ones.
    fn delete(
        &mut self,
        keys: &[&KeyList],
    ) -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// Adds one to the counter `key`. Repeating the call adds again, which is
    /// harmless: the counter only has to change.
    fn increment(&mut self, key: &[u8])
    -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// Deletes every key that matches `glob` and existed when the call began. It may
    /// take any time, since it leaves most of the server's time to others.
    ///
    /// A part that fails is an error here, after everything else is done. The same
    /// call tries again, for as little as that part needs.
    fn delete_matching(
        &mut self,
        glob: &[u8],
    ) -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// Raises `guards`, and only then deletes `keys`. A guard never falls, so
    /// that repeating the call changes nothing. Guards do not count as keys that
    /// existed.
    ///
    /// A guard that cannot be raised keeps no key from being deleted. The keys that
    /// it may be for are unfinished with it, as they have to be deleted once more
    /// after it is raised.
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

    /// Finds some of the keys that match `glob`. Every key that exists from the
    /// first call to the one that returns no next place is found.
    fn find_keys(
        &mut self,
        glob: &[u8],
        from: ScanPlace,
    ) -> impl Future<Output = Result<FoundKeys, CacheError>> + Send;

    /// Reads some members of each tag set. Every member that is in its set from
    /// the first step to the last is found, maybe more than once.
    fn scan_tag_sets(
        &mut self,
        sets: &[TagScan<'_>],
    ) -> impl Future<Output = Result<Vec<TagStep>, CacheError>> + Send;

    /// Removes members from their tag sets.
    fn remove_members(
        &mut self,
        removals: &[MemberRemoval<'_>],
    ) -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// Sends a message to those who subscribe to the channel at the moment.
    fn publish(
        &mut self,
        channel: &str,
        message: &[u8],
    ) -> impl Future<Output = Result<Outcome, CacheError>> + Send;

    /// The processes that hold the entries at this moment.
    fn runs(&mut self) -> impl Future<Output = Result<Vec<ServerRun>, CacheError>> + Send;
}
