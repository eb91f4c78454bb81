//! The loops that move changes along. They know the traits, never a vendor.

mod deliver;
pub mod drain;
mod held;
pub mod retry;
