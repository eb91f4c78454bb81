//! Files that survive a crash, and files that several processes share.
//!
//! - `shared_file`: a file that the processes of one machine share.

pub mod shared_file;
