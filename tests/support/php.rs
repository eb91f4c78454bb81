//! PHP with the extensions redis and pdo_mysql.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::provision::provision;
use super::servers::cache_dir;

/// The program that `scripts/provision php` found or unpacked, once per process.
pub fn php() -> &'static Path {
    static PHP: OnceLock<PathBuf> = OnceLock::new();
    PHP.get_or_init(|| {
        provision("php");
        cache_dir().join("bin/php")
    })
}
