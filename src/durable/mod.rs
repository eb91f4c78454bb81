//! Files that survive a crash of the machine, and files that several processes share.
//!
//! Nothing here knows what the files hold. All functions block.
//!
//! - `atomic_file`: a file that is read, replaced and removed as a whole.
//! - `line_file`: a file of lines that is appended to and bounded.
//! - `file_lock`: a lock that one process holds for as long as it runs.
//! - `directory_lock`: a lock that the processes of a machine take for moments.
//! - `directory`: the directory of a file, and its sync.
//! - `file_system`: whether a file system outlives the machine or the container.
//! - `blocking`: work on files in async code.
//! - `room`: whether what a disk lacks is room.

pub(crate) mod atomic_file;
mod blocking;
pub(crate) mod directory;
mod directory_lock;
mod file_lock;
pub(crate) mod file_system;
pub(crate) mod line_file;
mod room;

pub(crate) use self::blocking::blocking;
pub(crate) use self::directory_lock::DirectoryLock;
pub(crate) use self::file_lock::{FileLock, FileLockError};
pub(crate) use self::room::is_full;
