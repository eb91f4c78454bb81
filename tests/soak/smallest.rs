//! The smallest client.
