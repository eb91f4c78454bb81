//! What a configuration may say, what is refused and how, and that the example
//! and the manual know every field.
//!
//! - `settings`: defaults, and what sections make of each other.
//! - `secrets`: passwords and tokens.
//! - `refusals`: what is refused, with its line and what to do.
//! - `documents`: the example, the manual and the readme.
//! - `smallest`: the smallest configuration, and the error of a text.

mod documents;
mod refusals;
mod secrets;
mod settings;
mod smallest;
