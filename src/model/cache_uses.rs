//! What an account in a cache is needed for.

/// What the account is needed for, by example, prefix included. Nothing is at the
/// names in `keys`; whatever is at the other names stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheUses {
    /// Keys to delete, without templates that always give the same name.
    pub keys: Vec<Vec<u8>>,
    /// Whether keys are looked for by globs.
    pub globs: bool,
    /// Counters to increment.
    pub generations: Vec<Vec<u8>>,
    /// Guards to raise.
    pub guards: Vec<Vec<u8>>,
    /// Tag sets to read and to remove members from.
    pub tag_sets: Vec<Vec<u8>>,
    /// Hashes to delete fields from.
    pub hashes: Vec<Vec<u8>>,
    /// Channels to publish on.
    pub channels: Vec<Vec<u8>>,
}
