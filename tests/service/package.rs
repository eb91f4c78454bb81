//! `make install` and the Debian package: what they install where, and that it can be removed again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::{EVICTD, as_root, outcome, repository, script, succeeds, text};
use crate::support::scratch;

/// Every file below `root`, relative to it.
fn files(root: &Path) -> Vec<String> {
    let listed = succeeds(
        Command::new("find")
            .arg(root)
            .args(["-type", "f", "-printf", "/%P\n"]),
    );
    let mut files: Vec<String> = listed.lines().map(str::to_owned).collect();
    files.sort();
    files
}

#[test]
fn an_installation_is_whole_and_leaves_configurations_alone() {
    let dir = scratch("install");
    let destdir = dir.path().join("root");
    let environment = destdir.join("etc/default/evictd");
    fs::create_dir_all(environment.parent().unwrap()).unwrap();
    fs::write(&environment, "EVICTD_LOG=debug\n").unwrap();
    let install = || succeeds(script("install").arg(EVICTD).arg(&destdir));
    install();
    // Once more, over the first installation.
    install();
    assert_eq!(
        fs::read_to_string(&environment).unwrap(),
        "EVICTD_LOG=debug\n"
    );
    let installed = files(&destdir);
    for file in [
        "/etc/evictd/evictd.toml.example",
        "/usr/local/bin/evictd",
        "/usr/local/lib/systemd/system/evictd-drain@.service",
        "/usr/local/lib/systemd/system/evictd.service",
        "/usr/local/share/bash-completion/completions/evictd",
        "/usr/local/share/evictd/fill.lua",
        "/usr/local/share/fish/vendor_completions.d/evictd.fish",
        "/usr/local/share/man/man1/evictd-run.1.gz",
        "/usr/local/share/man/man1/evictd.1.gz",
        "/usr/local/share/zsh/vendor-completions/_evictd",
    ] {
        assert!(
            installed.iter().any(|path| path == file),
            "no {file}: {installed:?}"
        );
    }
    assert!(!destdir.join("etc/evictd/evictd.toml").exists());
    let unit = destdir.join("usr/local/lib/systemd/system/evictd.service");
    let unit = fs::read_to_string(unit).unwrap();
    assert!(
        unit.contains("ExecStart=/usr/local/bin/evictd run"),
        "{unit}"
    );
    // DESTDIR is where the files are written, and none of them names it.
    assert!(!unit.contains(destdir.to_str().unwrap()) && !unit.contains("/usr/bin/evictd"));
    let completions = destdir.join("usr/local/share/bash-completion/completions/evictd");
    assert!(fs::read_to_string(completions).unwrap().contains("_evictd"));
}

#[test]
fn make_has_targets_that_install_package_and_build_an_image() {
    for (target, script) in [
        ("install", "install"),
        ("deb", "package"),
        ("image", "image"),
    ] {
        let mut make = Command::new("make");
        make.args(["--dry-run", target, "DESTDIR=/tmp/x", "PREFIX=/usr"]);
        let recipe = succeeds(make.current_dir(repository()));
        let call = format!("scripts/{script} target/release/evictd");
        assert!(recipe.contains(&call), "{recipe}");
    }
}

/// A system that consists only of dpkg's records.
struct System {
    dir: TempDir,
}

impl System {
    fn empty() -> Self {
        let dir = scratch("system");
        let records = dir.path().join("var/lib/dpkg");
        for directory in ["info", "updates", "triggers", "parts"] {
            fs::create_dir_all(records.join(directory)).unwrap();
        }
        for file in ["status", "available"] {
            fs::write(records.join(file), "").unwrap();
        }
        Self { dir }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file.trim_start_matches('/'))
    }

    /// Runs dpkg on the system. The maintainer's scripts run without chroot, and are told where the system is.
    fn dpkg(&self, args: &[&str]) -> String {
        let mut command = as_root("dpkg");
        command
            .arg(format!("--root={}", self.dir.path().display()))
            .args([
                "--force-script-chrootless",
                "--force-depends",
                "--force-confold",
            ])
            .arg("--log=/dev/null")
            .args(args)
            .env(
                "PATH",
                format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap()),
            )
            .env("LC_ALL", "C");
        let output = outcome(&mut command);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
        text(&output)
    }

    fn status(&self) -> String {
        let status = fs::read_to_string(self.path("/var/lib/dpkg/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("Status: "));
        line.unwrap_or_default().to_owned()
    }
}

#[test]
fn the_package_is_installed_upgraded_removed_and_purged() {
    let dir = scratch("package");
    let package = succeeds(
        script("package")
            .arg(EVICTD)
            .arg(dir.path())
            // Compressing a program with its debug information takes longer than the rest of the test.
            .env("DEB_COMPRESSION", "none"),
    );
    let package = package.trim_end();
    let field = |name: &str| succeeds(Command::new("dpkg-deb").args(["--field", package, name]));
    assert_eq!(field("Version").trim(), env!("CARGO_PKG_VERSION"));
    assert!(
        field("Depends").contains("libc6 (>= 2."),
        "{}",
        field("Depends")
    );

    let system = System::empty();
    system.dpkg(&["--install", package]);
    assert_eq!(system.status(), "Status: install ok installed");
    let evictd = system.path("/usr/bin/evictd");
    let version = succeeds(Command::new(&evictd).arg("--version"));
    assert_eq!(
        version.trim(),
        concat!("evictd ", env!("CARGO_PKG_VERSION"))
    );
    let example = system.path("/etc/evictd/evictd.toml.example");
    let checked = succeeds(
        Command::new(&evictd)
            .args(["check", "--offline", "--config"])
            .arg(&example),
    );
    assert!(checked.contains("rules"), "{checked}");
    for unit in ["evictd.service", "evictd-drain@.service"] {
        assert!(system.path("/usr/lib/systemd/system").join(unit).exists());
    }
    // Nothing is enabled: that would be a link in there.
    assert!(!system.path("/etc/systemd").exists());
    // Anybody may read the files, and only root may change them.
    let mode = fs::metadata(&evictd).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let listed = succeeds(Command::new("dpkg-deb").args(["--contents", package]));
    assert!(
        listed.lines().all(|line| line.contains(" root/root ")),
        "{listed}"
    );

    // What an operator wrote survives an upgrade, and what evictd wrote survives a removal.
    let environment = system.path("/etc/default/evictd");
    fs::write(&environment, "EVICTD_LOG=debug\n").unwrap();
    let own = system.path("/etc/evictd/evictd.toml");
    fs::copy(&example, &own).unwrap();
    let checkpoint = system.path("/var/lib/private/evictd/shop.checkpoint.json");
    fs::create_dir_all(checkpoint.parent().unwrap()).unwrap();
    fs::write(&checkpoint, "{}").unwrap();
    system.dpkg(&["--install", package]);
    assert_eq!(
        fs::read_to_string(&environment).unwrap(),
        "EVICTD_LOG=debug\n"
    );

    system.dpkg(&["--remove", "evictd"]);
    assert_eq!(system.status(), "Status: deinstall ok config-files");
    assert!(!evictd.exists() && checkpoint.exists() && environment.exists() && own.exists());

    system.dpkg(&["--purge", "evictd"]);
    assert_eq!(system.status(), "", "no record is left");
    assert!(!checkpoint.parent().unwrap().exists() && !environment.exists());
    assert!(own.exists(), "it was never the package's");
}
