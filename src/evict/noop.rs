//! A cache and a path sink that do nothing, to leave out one half of the work.

use super::bulk_paths::Paths;
use super::path_sink::PathSink;
use crate::buffer::BufferError;
use crate::cache::{
    Cache, CacheError, FoundKeys, MemberRemoval, Outcome, ScanPlace, ServerRun, TagScan, TagStep,
};
use crate::model::{Guards, KeyList, PairSet};

/// A cache that deletes nothing: for a replay of paths alone.
#[derive(Clone, Copy, Debug)]
pub struct NoCache;

impl Cache for NoCache {
    async fn delete(&mut self, _keys: &[&KeyList]) -> Result<Outcome, CacheError> {
        Ok(Outcome::default())
    }

    async fn increment(&mut self, _key: &[u8]) -> Result<Outcome, CacheError> {
        Ok(Outcome::default())
    }

    async fn delete_matching(&mut self, _glob: &[u8]) -> Result<Outcome, CacheError> {
        Ok(Outcome::default())
    }

    async fn delete_guarded(
        &mut self,
        _guards: &Guards,
        _keys: &[&KeyList],
    ) -> Result<Outcome, CacheError> {
        Ok(Outcome::default())
    }

    async fn delete_fields(&mut self, _fields: &PairSet) -> Result<Outcome, CacheError> {
        Ok(Outcome::default())
    }

    async fn find_keys(&mut self, _glob: &[u8], _from: ScanPlace) -> Result<FoundKeys, CacheError> {
        Ok(FoundKeys::default())
    }

    async fn scan_tag_sets(&mut self, sets: &[TagScan<'_>]) -> Result<Vec<TagStep>, CacheError> {
        Ok(vec![TagStep::End; sets.len()])
    }

    async fn remove_members(
        &mut self,
        _leaving: &[MemberRemoval<'_>],
    ) -> Result<Outcome, CacheError> {
        Ok(Outcome::default())
    }

    async fn publish(&mut self, _channel: &str, _message: &[u8]) -> Result<Outcome, CacheError> {
        Ok(Outcome::default())
    }

    async fn runs(&mut self) -> Result<Vec<ServerRun>, CacheError> {
        Ok(Vec::new())
    }
}

/// A path sink that sends nothing: for a replay of keys alone.
#[derive(Clone, Copy, Debug)]
pub struct NoPaths;

impl PathSink for NoPaths {
    type Pending = ();

    fn prepare(&mut self, _paths: &Paths) {}

    async fn send(&mut self, _pending: &mut ()) -> Result<(), BufferError> {
        Ok(())
    }
}
