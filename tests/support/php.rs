//! PHP with the extensions redis and pdo_mysql.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::servers::cache_dir;

/// The program that `scripts/provision php` found or unpacked, once per process.
pub fn php() -> &'static Path {
    static PHP: OnceLock<PathBuf> = OnceLock::new();
    PHP.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/provision");
        let status = Command::new(&script)
            .arg("php")
            .status()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
        assert!(
            status.success(),
            "{} failed ({status}), it says above why",
            script.display()
        );
        cache_dir().join("bin/php")
    })
}
