//! The package on a system that systemd booted: a copy of this machine's system in a container, with MySQL and Redis
//! outside of it.

use std::fs;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::{EVICTD, outcome, script, succeeds};
use crate::daemon::shop::{Shop, WITHIN};
use crate::support::{EVICTD_PASSWORD, Process, eventually, provision, scratch};

/// A booted system. What is written to it goes into a directory of its own. All of it ends with its first process.
struct Booted {
    leader: u32,
    _container: Process,
    _dir: TempDir,
}

impl Drop for Booted {
    /// The first process outlives the process that started the container, and everything else ends with it.
    fn drop(&mut self) {
        let mut kill = Command::new("kill");
        outcome(kill.args(["-KILL", &self.leader.to_string()]));
    }
}

impl Booted {
    /// Boots a copy of this machine's system, with the package and `config` in it and without this machine's services.
    async fn boot(package: &str, config: &str) -> Self {
        // The copy is mounted in a mount namespace of its own, and is gone with it.
        const BOOT: &str = r#"
            dir=$1 package=$2 nspawn=$3 root=$1/root
            mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" "$root"
            find "$root"/etc/systemd/system -mindepth 2 -delete
            tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id" # Without one it would be a first boot.
            dpkg --root="$root" --force-depends --log=/dev/null --install "$package"
            cp -r "$dir"/etc "$root"
            exec "$nspawn" --quiet --register=no --keep-unit --link-journal=no --console=pipe \
              --machine="evictd-$$" --directory="$root" --boot systemd.unit=multi-user.target"#;
        let dir = scratch("booted");
        for directory in ["upper", "work", "root", "etc/evictd", "etc/credstore"] {
            fs::create_dir_all(dir.path().join(directory)).unwrap();
        }
        let etc = dir.path().join("etc");
        fs::write(etc.join("evictd/evictd.toml"), config).unwrap();
        fs::write(
            etc.join("credstore/evictd.source-password"),
            EVICTD_PASSWORD,
        )
        .unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--", "sh", "-euc", BOOT, "sh"])
            .arg(dir.path())
            .arg(package)
            .arg(provision("nspawn"));
        let mut container = Process::spawn("nspawn", &command, dir.path());
        let pid = container.pid();
        let leader = eventually("the system's first process", WITHIN, async || {
            assert_eq!(container.exited(), None, "{}", container.tail());
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
            let children = children.unwrap_or_default();
            let leader = children.split_whitespace().next()?;
            let name = fs::read_to_string(format!("/proc/{leader}/comm")).ok()?;
            (name.trim() == "systemd").then(|| leader.parse().unwrap())
        })
        .await;
        let booted = Self {
            leader,
            _container: container,
            _dir: dir,
        };
        eventually("the system is up", WITHIN, async || {
            let state = booted.says("systemctl is-system-running");
            ["running", "degraded"]
                .contains(&state.as_str())
                .then_some(())
        })
        .await;
        booted
    }

    /// What a command line prints inside of it, however it ends.
    fn says(&self, line: &str) -> String {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.leader))
            .args(["--mount", "--uts", "--ipc", "--pid", "--"])
            .args(["sh", "-c", line]);
        let output = outcome(&mut command);
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn property(&self, name: &str) -> String {
        self.says(&format!("systemctl show --value --property={name} evictd"))
    }

    async fn reaches(&self, state: &str) {
        eventually(state, WITHIN, async || {
            (self.says("systemctl is-active evictd") == state).then_some(())
        })
        .await;
    }

    /// The last lines of its log.
    fn journal(&self) -> String {
        self.says("journalctl --unit evictd --lines 20 --no-pager --output cat")
    }
}

#[tokio::test]
#[ignore = "boots a system, which takes root, systemd and overlayfs: make booted"]
async fn the_package_runs_closed_watched_and_restarted_on_a_booted_system() {
    let mut shop = Shop::open().await;
    let checkpoint = shop.checkpoint_file().display().to_string();
    let mut config = shop.config();
    config.password = "{ credential = \"source-password\" }".to_owned();
    let config = config
        .text()
        .replace(&checkpoint, "/var/lib/evictd/shop.checkpoint.json");
    let dir = scratch("package");
    let package = succeeds(
        script("package")
            .arg(EVICTD)
            .arg(dir.path())
            .env("DEB_COMPRESSION", "none"),
    );
    let system = Booted::boot(package.trim_end(), &config).await;

    // Installed, it does nothing yet.
    assert_eq!(system.says("systemctl is-enabled evictd"), "disabled");
    assert_eq!(system.says("systemctl is-active evictd"), "inactive");
    system.says("systemctl start evictd");
    assert_eq!(
        system.says("systemctl is-active evictd"),
        "active",
        "{}",
        system.journal()
    );
    eventually("its status", WITHIN, async || {
        system
            .property("StatusText")
            .starts_with("read up to mysql-bin.")
            .then_some(())
    })
    .await;
    shop.fill(&["user:1:profile", "other"]).await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    eventually("its key is gone", WITHIN, async || {
        (shop.redis.keys().await == ["other"]).then_some(())
    })
    .await;

    // It runs under an account of its own, without capabilities, behind a filter of system calls.
    let main = system.property("MainPID");
    let status = system.says(&format!("cat /proc/{main}/status"));
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{status}")).trim().to_owned()
    };
    assert_ne!(field("Uid:").split_whitespace().next(), Some("0"));
    assert_eq!(field("CapBnd:"), "0000000000000000");
    assert_eq!(
        (field("NoNewPrivs:"), field("Seccomp:")),
        ("1".to_owned(), "2".to_owned())
    );
    let owner = system.says("stat --format %U:%a /var/lib/private/evictd/shop.checkpoint.json");
    assert_eq!(owner, "evictd:600");

    // After it is killed, it is started again.
    system.says(&format!("kill -KILL {main}"));
    eventually("another process", WITHIN, async || {
        let now = system.property("MainPID");
        (now != "0" && now != main).then_some(())
    })
    .await;
    system.reaches("active").await;

    // A task that waits for longer than the watchdog's limit makes no progress.
    system.says("mkdir -p /run/systemd/system/evictd.service.d");
    system.says("printf '[Service]\\nWatchdogSec=3s\\n' > /run/systemd/system/evictd.service.d/watchdog.conf");
    system.says("systemctl daemon-reload && systemctl restart evictd");
    system.reaches("active").await;
    let main = system.property("MainPID");
    shop.redis.signal("STOP");
    shop.sql("INSERT INTO users (id) VALUES (2)").await;
    eventually("the watchdog", WITHIN, async || {
        system.journal().contains("Watchdog timeout").then_some(())
    })
    .await;
    shop.redis.signal("CONT");
    system.reaches("active").await;
    assert_ne!(system.property("MainPID"), main);

    // A configuration that is wrong is not tried again.
    system.says("rm -r /run/systemd/system/evictd.service.d; systemctl daemon-reload");
    system.says("sed -i '1s/^/nonsense = 1\\n/' /etc/evictd/evictd.toml; systemctl restart evictd");
    system.reaches("failed").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(system.says("systemctl is-active evictd"), "failed");
    assert_eq!(system.property("ExecMainStatus"), "2");
    assert!(
        system.journal().contains("nonsense"),
        "{}",
        system.journal()
    );
    system.says("sed -i 1d /etc/evictd/evictd.toml; systemctl enable --now evictd");
    system.reaches("active").await;

    // It ends in order, and removing the package leaves only what it should.
    system.says("systemctl stop evictd");
    assert_eq!(system.property("Result"), "success", "{}", system.journal());
    system.says("systemctl start evictd; dpkg --remove evictd");
    assert_eq!(system.says("systemctl is-active evictd"), "inactive");
    assert_eq!(system.says("find /etc/systemd/system -name 'evictd*'"), "");
    assert!(
        system
            .says("ls /var/lib/private/evictd")
            .contains("shop.checkpoint.json")
    );
    system.says("dpkg --purge evictd");
    assert_eq!(system.says("ls /var/lib/private"), "");
}
