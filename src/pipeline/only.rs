//! Halves of the work that are left out.

use super::batch::Paths;
use super::paths::PathSink;
use crate::buffer::BufferError;
use crate::cache::{Cache, CacheError};
use crate::model::KeySet;

/// Deletes nothing: for a replay of paths alone.
#[derive(Clone, Copy, Debug)]
pub struct NoCache;

impl Cache for NoCache {
    async fn delete(&mut self, _keys: &[&KeySet]) -> Result<u64, CacheError> {
        Ok(0)
    }

    async fn increment(&mut self, _key: &[u8]) -> Result<(), CacheError> {
        Ok(())
    }

    async fn delete_matching(&mut self, _glob: &[u8]) -> Result<u64, CacheError> {
        Ok(0)
    }
}

/// Sends nothing: for a replay of keys alone.
#[derive(Clone, Copy, Debug)]
pub struct NoPaths;

impl PathSink for NoPaths {
    type Pending = ();

    fn prepare(&self, _paths: &Paths) {}

    async fn send(&mut self, _pending: &mut ()) -> Result<(), BufferError> {
        Ok(())
    }
}
