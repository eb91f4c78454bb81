//! The image: its contents, and that evictd works in it as it will be run, under an account without rights and with a
//! read-only root.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::{EVICTD, outcome, repository, script, succeeds, text};
use crate::daemon::shop::{Shop, WITHIN};
use crate::support::{EVICTD_PASSWORD, Process, eventually, free_port, scratch};

/// Size of the files besides the program. A release's program has 23 MB, which leaves this much of the 30 MB that the
/// image may have. The program of a debug build says nothing about that.
const REST_BYTES_MAX: u64 = 5_000_000;

/// An image, unpacked.
struct Image {
    dir: TempDir,
    config: Value,
}

impl Image {
    fn make() -> Self {
        let dir = scratch("image");
        let archive = succeeds(script("image").arg(EVICTD).arg(dir.path()));
        let layout = dir.path().join("layout");
        unpack(Path::new(archive.trim_end()), &layout, &[]);
        let blob = |digest: &Value| {
            let digest = digest["digest"].as_str().unwrap();
            layout.join("blobs").join(digest.replace(':', "/"))
        };
        let json =
            |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
        let index = json(layout.join("index.json"));
        let manifest = json(blob(&index["manifests"][0]));
        let root = dir.path().join("root");
        for layer in manifest["layers"].as_array().unwrap() {
            // Owners are checked in the list, since only root can unpack files of other owners.
            unpack(&blob(layer), &root, &["--gzip", "--no-same-owner"]);
        }
        let layers = manifest["layers"].as_array().unwrap();
        let list = layers.iter().map(|layer| {
            succeeds(
                Command::new("tar")
                    .args(["--list", "--verbose", "--numeric-owner", "--gzip", "--file"])
                    .arg(blob(layer)),
            )
        });
        fs::write(dir.path().join("list"), list.collect::<String>()).unwrap();
        Self {
            config: json(blob(&manifest["config"]))["config"].clone(),
            dir,
        }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    /// `ls -l` of all layers.
    fn list(&self) -> String {
        fs::read_to_string(self.dir.path().join("list")).unwrap()
    }

    /// Runs the program in the image: the image is the root, read-only except for the volume, and the user is the
    /// image's where the test may change users.
    fn command(&self, args: &[&str]) -> Command {
        let root = succeeds(Command::new("id").arg("-u")).trim() == "0";
        let mut command = Command::new("unshare");
        if !root {
            command.args(["--user", "--map-root-user"]);
        }
        const ENTER: &str = r#"
            root=$1 user=$2; shift 2
            mount --bind "$root" "$root"
            mount -o remount,ro,bind "$root"
            mount -t tmpfs -o mode=0700 state "$root/var/lib/evictd"
            if [ -n "$user" ]; then chown "$user" "$root/var/lib/evictd"; set -- --userspec="$user" "$root" "$@"
            else set -- "$root" "$@"; fi
            PATH=$PATH:/usr/sbin:/sbin exec chroot "$@""#;
        let user = if root {
            self.config["User"].as_str().unwrap()
        } else {
            ""
        };
        command
            .args(["--mount", "--", "sh", "-euc", ENTER, "sh"])
            .arg(self.root())
            .arg(user)
            .arg(self.config["Entrypoint"][0].as_str().unwrap())
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap());
        command
    }
}

fn unpack(archive: &Path, directory: &Path, options: &[&str]) {
    fs::create_dir_all(directory).unwrap();
    succeeds(
        Command::new("tar")
            .args(["--extract", "--file"])
            .arg(archive)
            .arg("--directory")
            .arg(directory)
            .args(options),
    );
}

#[tokio::test]
async fn evictd_works_in_its_image_without_rights_and_with_a_read_only_root() {
    let image = tokio::task::spawn_blocking(Image::make).await.unwrap();

    // As the Dockerfile says.
    assert_eq!(image.config["User"], "65532:65532");
    assert_eq!(image.config["Entrypoint"], serde_json::json!(["/evictd"]));
    assert_eq!(image.config["Cmd"], serde_json::json!(["run"]));
    assert!(image.config["Volumes"]["/var/lib/evictd"].is_object());
    let list = image.list();
    let own = |line: &&str| line.ends_with(" var/lib/evictd/");
    let state = list.lines().find(own).unwrap_or_else(|| panic!("{list}"));
    assert!(state.starts_with("drwx------ 65532/65532"), "{state}");
    for line in list.lines().filter(|line| !own(line)) {
        let (mode, rest) = line.split_once(' ').unwrap();
        assert!(rest.starts_with("0/0 "), "not root's: {line}");
        assert!(!mode[4..].contains('w') && !mode.contains('s'), "{line}");
    }
    // The program, the C library, the certificate authorities, the account.
    let files = list.lines().filter(|line| line.starts_with('-')).count();
    assert!(files < 15, "{list}");
    let size = |path: &str| fs::metadata(image.root().join(path)).unwrap().len();
    let sizes = succeeds(Command::new("du").args(["-sb"]).arg(image.root()));
    let whole: u64 = sizes.split_whitespace().next().unwrap().parse().unwrap();
    assert!(whole - size("evictd") < REST_BYTES_MAX, "{list}");

    let version = succeeds(&mut image.command(&["--version"]));
    assert_eq!(
        version.trim(),
        concat!("evictd ", env!("CARGO_PKG_VERSION"))
    );

    // The configuration that ecs/README.md adds to the image.
    let config = image.root().join("etc/evictd/evictd.toml");
    fs::copy(repository().join("ecs/evictd.toml"), &config).unwrap();
    succeeds(&mut image.command(&["check", "--offline"]));
    let man = outcome(&mut image.command(&["man", "/etc/evictd"]));
    assert!(
        text(&man).contains("Read-only file system"),
        "{}",
        text(&man)
    );

    // From a change to a deletion, with a host name that the image's own C library resolves.
    let shop = Shop::open().await;
    let mut settings = shop.config().source("tls = { mode = \"disabled\" }");
    settings.source_url = settings
        .source_url
        .replace("127.0.0.1", "database.internal");
    let settings = settings.text().replace(
        &shop.checkpoint_file().display().to_string(),
        "/var/lib/evictd/shop.checkpoint.json",
    );
    let listen = format!("[metrics]\nlisten = \"127.0.0.1:{}\"\n", free_port());
    fs::write(&config, format!("{settings}\n{listen}")).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(
        image.root().join("etc/hosts"),
        "127.0.0.1 database.internal\n",
    )
    .unwrap();
    let mut run = image.command(&["run"]);
    run.env("EVICTD_SOURCE_PASSWORD", EVICTD_PASSWORD);
    let logs = scratch("image-run");
    let mut evictd = Process::spawn("evictd", &run, logs.path());
    shop.fill(&["user:1:profile", "other"]).await;
    eventually("it is connected", WITHIN, async || {
        assert_eq!(evictd.exited(), None, "{}", evictd.tail());
        let ready = outcome(&mut image.command(&["health", "--ready"]));
        ready.status.success().then_some(())
    })
    .await;
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    eventually("its key is gone", WITHIN, async || {
        (shop.redis.keys().await == ["other"]).then_some(())
    })
    .await;
    let status = fs::read_to_string(format!("/proc/{}/status", evictd.pid())).unwrap();
    if image.command(&[]).get_args().all(|arg| arg != "--user") {
        assert!(
            status.contains("Uid:\t65532\t65532\t65532\t65532"),
            "{status}"
        );
    }
    evictd.signal("TERM");
    let ended = evictd.wait(WITHIN).await;
    assert!(
        ended.is_some_and(|status| status.success()),
        "{}",
        evictd.tail()
    );
}
