//! Whether the account may do what it is there for.

/// What it is there for, by example. Nothing is at the names in `keys`, and
/// what is at the others stays as it is.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    /// Keys that would be deleted.
    pub keys: Vec<Vec<u8>>,
    /// Whether keys are looked for by globs.
    pub globs: bool,
    /// Counters that would be added to.
    pub generations: Vec<Vec<u8>>,
    /// Guards that would be raised.
    pub guards: Vec<Vec<u8>>,
    /// Tag sets that would be read, and members taken out of.
    pub tag_sets: Vec<Vec<u8>>,
    /// Hashes that fields would be deleted from.
    pub hashes: Vec<Vec<u8>>,
    /// Channels that would be published on.
    pub channels: Vec<Vec<u8>>,
}

/// What was found out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// What the account may not do, in the server's words.
    pub lacking: Vec<Lacking>,
    /// Commands that cannot be tried without doing them, where the server says
    /// nothing of them to this account.
    pub untold: Vec<&'static str>,
    /// How many commands with how many names were allowed.
    pub allowed: usize,
}

/// Something that the account may not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The command.
    pub command: &'static str,
    /// With which key or channel.
    pub on: Vec<u8>,
    /// The server's words.
    pub reason: String,
}

/// What the server does when its memory is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPolicy {
    /// `maxmemory-policy`.
    pub policy: String,
    /// Whether there is a `maxmemory`.
    pub limited: bool,
}
