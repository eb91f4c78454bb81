//! Row images to values, of the columns that are wanted and no others.
//!
//! - `decoder`: a table's layout compiled against the wanted columns.
//! - `tests`: damaged values, cut rows and rows of nothing.

mod decoder;
#[cfg(test)]
mod tests;

pub use decoder::{RowDecoder, Rows};
