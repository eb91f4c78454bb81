//! Behind sentinels.
