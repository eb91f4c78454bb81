//! What the tests need beside the crate, from `scripts/provision`.

use std::path::Path;
use std::process::{Command, Stdio};

/// Has a target found or unpacked, and returns what is printed of it: where the one program is, for most.
pub fn provision(target: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/provision");
    let output = Command::new(&script)
        .arg(target)
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
    assert!(
        output.status.success(),
        "{} {target} failed ({}), it says above why",
        script.display(),
        output.status
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
