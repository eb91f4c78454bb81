//! The file of a local buffer that is lost, replaced, set back or damaged while paths wait in it.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::register::{IN_REDIS, at_end};
use super::shop::{Config, Shop, WITHIN, has_no_gap, start, stop};
use crate::edge::aws as edge_aws;
use crate::support::{
    Disk, Evictd, EvictdOptions, FakeCloudFront, FakeSettings, MysqlOptions, eventually, free_port,
    shared_aws, zero_pages,
};

const RULE: &str = r#"
[[rule]]
name   = "users"
tables = ["$db.users"]
keys   = ["user:{id}:profile"]
paths  = ["/users/{id}"]
"#;

/// Paths that wait in the file when something happens to it.
const WAITING: u32 = 20;

/// Runs a command that ends with `code`. Returns what it says.
async fn command(options: &EvictdOptions, args: &[&str], code: i32) -> String {
    let finished = Evictd::finish(&options.clone().args(args), WITHIN).await;
    let said = finished.stdout + &finished.stderr;
    assert_eq!(finished.code, Some(code), "{said}");
    said
}

/// A shop whose paths wait in a local file, beside a checkpoint that the file's fate does not touch.
struct Scene {
    shop: Shop,
    fake: FakeCloudFront,
    options: EvictdOptions,
    config: Config,
}

impl Scene {
    async fn new() -> Self {
        let shop = Shop::own(MysqlOptions::default()).await;
        let file = shop.dir.path().join("queue.redb");
        let config = shop.config().checkpoint(IN_REDIS);
        let scene = Self::with(shop, config, &file).await;
        command(&scene.options, &["checkpoint", "set", "current"], 0).await;
        scene
    }

    async fn with(shop: Shop, config: Config, file: &Path) -> Self {
        let fake = FakeCloudFront::start(FakeSettings::default()).await;
        let config = config.rest(&format!(
            "[ledger]\ndir = \"{}\"\n[buffer]\nkind = \"local\"\npath = \"{}\"\n[cloudfront]\nwindow = \"50ms\"\n\
             calls_per_second = 50\n[[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n{RULE}",
            shop.dir.path().display(),
            file.display()
        ));
        Self {
            options: Self::on(&config, &fake).await,
            shop,
            fake,
            config,
        }
    }

    async fn on(config: &Config, fake: &FakeCloudFront) -> EvictdOptions {
        let aws = shared_aws().await;
        config
            .options()
            .envs(aws.env())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url())
    }

    fn file(&self) -> PathBuf {
        self.shop.dir.path().join("queue.redb")
    }

    async fn reached(&self, paths: &[String], evictd: &Evictd) {
        let reached = async || self.fake.unmatched(paths).is_empty().then_some(());
        let within = tokio::time::timeout(WITHIN, eventually("paths", WITHIN * 2, reached));
        if within.await.is_err() {
            let missing = self.fake.unmatched(paths);
            panic!("{} are missing\n{}", missing.len(), evictd.tail());
        }
    }

    async fn change(&self, users: std::ops::RangeInclusive<u32>) -> Vec<String> {
        for id in users.clone() {
            let insert = format!("INSERT INTO users (id) VALUES ({id})");
            self.shop.sql(&insert).await;
        }
        users.map(|id| format!("/users/{id}")).collect()
    }

    /// Leaves paths waiting that the stored position has passed. Returns them.
    async fn waiting(&self, evictd: &Evictd) -> Vec<String> {
        self.fake.change(|settings| settings.fail = Some(1));
        let paths = self.change(1..=WAITING).await;
        self.shop.done(evictd).await;
        at_end(&self.shop, &self.shop.redis).await;
        paths
    }

    /// What is on record of gaps, whole ones alone.
    fn gaps(&self) -> Vec<String> {
        let file = self.shop.dir.path().join("shop.gaps.jsonl");
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    async fn recorded(&self) {
        let what = "the gap is on record from its beginning to its end";
        let recorded = async || {
            let gaps = self.gaps();
            let done = gaps.iter().any(|line| line.contains("\"done\""));
            (done && gaps[0].contains("buffer")).then_some(())
        };
        eventually(what, WITHIN, recorded).await;
    }

    /// What happens to the file while evictd is away is a gap of the edge.
    async fn is_a_gap(&self, happens: impl FnOnce(&Path), says: &str) -> Evictd {
        let mut evictd = start(&self.options).await;
        // A file that has been in use.
        let first = self.change(100..=100).await;
        self.reached(&first, &evictd).await;
        self.shop.done(&evictd).await;
        at_end(&self.shop, &self.shop.redis).await;
        std::fs::copy(self.file(), self.shop.dir.path().join("backup")).unwrap();
        let paths = self.waiting(&evictd).await;
        evictd.kill();
        happens(&self.file());
        self.fake.change(|settings| settings.fail = None);
        let cached = ["user:1:profile"];
        self.shop.fill(&cached).await;
        let mut evictd = start(&self.options).await;
        evictd.wait_for_line(says, WITHIN).await;
        self.reached(&paths, &evictd).await;
        self.recorded().await;
        let keys = self.shop.redis.keys().await;
        assert!(
            keys.contains(&cached[0].to_owned()),
            "keys were deleted before: {keys:?}"
        );
        evictd
    }

    /// The next start finds what the one before has left.
    async fn goes_on(&self, evictd: Evictd) {
        self.shop.done(&evictd).await;
        at_end(&self.shop, &self.shop.redis).await;
        stop(evictd).await;
        let gaps = self.gaps().len();
        let evictd = start(&self.options).await;
        let paths = self.change(200..=200).await;
        self.reached(&paths, &evictd).await;
        assert_eq!(self.gaps().len(), gaps);
        has_no_gap(&evictd);
        stop(evictd).await;
    }

    fn beside(&self, part: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.shop.dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(part)).collect()
    }
}

/// Zeroes the pages of the file that hold the last paths.
fn zero(path: &Path) {
    zero_pages(path, &format!("/users/{WAITING}"));
}

/// Flips a bit in each of these bytes of the file, in place.
fn flip(path: &Path, bytes: &[u64]) {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    for &at in bytes {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }
}

/// What `check` says of the buffer.
async fn checked(options: &EvictdOptions) -> String {
    let finished = Evictd::finish(&options.clone().args(&["check"]), WITHIN).await;
    let lines = finished.stdout.lines();
    let said: Vec<&str> = lines.filter(|line| line.contains("queue.redb")).collect();
    said.join("\n")
}

#[tokio::test]
async fn a_buffer_that_went_with_its_machine_is_a_gap_where_the_position_went_on() {
    let scene = Scene::new().await;
    let gone = |file: &Path| std::fs::remove_file(file).unwrap();
    let evictd = scene
        .is_a_gap(gone, "was removed, emptied or replaced")
        .await;
    scene.goes_on(evictd).await;
}

#[tokio::test]
async fn a_buffer_that_was_emptied_is_a_gap() {
    let scene = Scene::new().await;
    let emptied = |file: &Path| std::fs::write(file, "").unwrap();
    let evictd = scene
        .is_a_gap(emptied, "was removed, emptied or replaced")
        .await;
    scene.goes_on(evictd).await;
}

#[tokio::test]
async fn a_buffer_that_was_set_back_to_an_earlier_copy_is_a_gap() {
    let scene = Scene::new().await;
    let set_back = |file: &Path| {
        std::fs::rename(file.with_file_name("backup"), file).unwrap();
    };
    let evictd = scene.is_a_gap(set_back, "earlier copy").await;
    scene.goes_on(evictd).await;
}

#[tokio::test]
async fn a_zeroed_page_of_the_buffer_is_a_gap_and_the_file_is_set_aside() {
    let scene = Scene::new().await;
    let evictd = scene.is_a_gap(zero, "is damaged").await;
    assert_eq!(scene.beside("damaged").len(), 1);
    scene.goes_on(evictd).await;
}

/// The first byte says whose file it is, and byte 64 in which format a commit is.
#[tokio::test]
async fn a_bit_at_the_beginning_of_the_buffer_is_a_gap_and_the_file_is_set_aside() {
    let flipped = async |at| {
        let scene = Scene::new().await;
        let happens = |file: &Path| flip(file, &[at]);
        let evictd = scene.is_a_gap(happens, "is damaged").await;
        assert_eq!(scene.beside("damaged").len(), 1);
        assert!(scene.gaps()[0].contains("damaged-1"), "{:?}", scene.gaps());
        scene.goes_on(evictd).await;
    };
    tokio::join!(flipped(0), flipped(64));
}

#[tokio::test]
async fn check_says_that_the_buffer_is_damaged_and_leaves_it_as_it_is() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let file = shop.dir.path().join("queue.redb");
    let config = shop.config();
    let scene = Scene::with(shop, config, &file).await;
    assert_eq!(checked(&scene.options).await, "");
    let mut evictd = start(&scene.options).await;
    let paths = scene.change(1..=1).await;
    scene.reached(&paths, &evictd).await;
    scene.shop.done(&evictd).await;
    let said = checked(&scene.options).await;
    assert!(said.contains("in use by a running daemon"), "{said}");
    evictd.kill();
    let sound = checked(&scene.options).await;
    assert!(sound.contains("is sound, messages that wait: 0"), "{sound}");
    for at in [0, 64, 4096 + 9] {
        flip(&file, &[at]);
        let bytes = std::fs::read(&file).unwrap();
        let said = checked(&scene.options).await;
        assert!(said.starts_with("warning"), "{at}: {said}");
        assert!(said.contains("is damaged"), "{at}: {said}");
        assert!(said.contains("`evictd run` sets it aside"), "{at}: {said}");
        assert_eq!(std::fs::read(&file).unwrap(), bytes);
        assert_eq!(scene.beside("queue"), ["queue.redb"]);
        flip(&file, &[at]);
    }
}

/// What `check` says before a start that would be a gap of the edge.
async fn check_warns(options: &EvictdOptions, part: &str, words: &str) {
    let finished = Evictd::finish(&options.clone().args(&["check"]), WITHIN).await;
    let lines = finished.stdout.lines();
    let begins = format!("warning  {part} ");
    let mut warnings = lines.filter(|line| line.starts_with(&begins));
    let says = |line: &str| line.contains(words) && line.contains("invalidates every path");
    assert!(warnings.any(says), "{words}\n{}", finished.stdout);
}

#[tokio::test]
async fn check_says_that_a_start_without_the_buffer_of_before_is_a_gap() {
    let scene = Scene::new().await;
    let evictd = start(&scene.options).await;
    let paths = scene.change(1..=1).await;
    scene.reached(&paths, &evictd).await;
    scene.shop.done(&evictd).await;
    at_end(&scene.shop, &scene.shop.redis).await;
    stop(evictd).await;
    let (file, aside) = (scene.file(), scene.file().with_file_name("aside"));
    assert!(checked(&scene.options).await.starts_with("ok"));
    std::fs::rename(&file, &aside).unwrap();
    check_warns(&scene.options, "buffer", "is not there, or is empty").await;
    std::fs::write(&file, "").unwrap();
    check_warns(&scene.options, "buffer", "is not there, or is empty").await;
    drop(evictd::buffer::Local::open(&file).await.unwrap());
    check_warns(&scene.options, "buffer", "was removed, emptied or replaced").await;
    assert_eq!(scene.beside("damaged").len(), 0);
    std::fs::rename(&aside, &file).unwrap();
    assert!(checked(&scene.options).await.starts_with("ok"));
    let evictd = start(&scene.options).await;
    has_no_gap(&evictd);
    stop(evictd).await;
}

/// Every read and write of a file that is removed or replaced while it is open succeeds.
#[tokio::test]
async fn a_file_that_goes_while_evictd_runs_is_trouble_and_can_be_kept() {
    let displaced = async |replaced: bool| {
        let mut scene = Scene::new().await;
        let listen = format!("[metrics]\nlisten = \"127.0.0.1:{}\"\n", free_port());
        scene.config.rest.push_str(&listen);
        scene.options = Scene::on(&scene.config, &scene.fake).await;
        let mut evictd = start(&scene.options).await;
        let file = scene.file();
        let paths = scene.waiting(&evictd).await;
        let says = if replaced {
            let other = file.with_file_name("other");
            drop(evictd::buffer::Local::open(&other).await.unwrap());
            std::fs::rename(&other, &file).unwrap();
            "another file took its place"
        } else {
            std::fs::remove_file(&file).unwrap();
            "it was removed"
        };
        let line = evictd.wait_for_line(says, WITHIN).await;
        let status = command(&scene.options, &["status"], 0).await;
        assert!(status.contains("TROUBLE"), "{status}");
        for said in [status, command(&scene.options, &["health"], 0).await] {
            assert!(said.contains("buffer file"), "{said}");
            assert!(said.contains(says) && said.contains("kill -STOP"), "{said}");
        }
        let warns = if replaced {
            "was removed, emptied or replaced"
        } else {
            "is not there"
        };
        check_warns(&scene.options, "buffer", warns).await;
        // As it says.
        let (from, to) = line.split_once("`cp ").unwrap().1.split_once(' ').unwrap();
        assert!(to.starts_with(&file.display().to_string()), "{to}");
        evictd.signal("STOP");
        std::fs::copy(from, &file).unwrap();
        evictd.kill();
        scene.fake.change(|settings| settings.fail = None);
        let evictd = start(&scene.options).await;
        scene.reached(&paths, &evictd).await;
        has_no_gap(&evictd);
        assert_eq!(scene.gaps(), [""; 0]);
        stop(evictd).await;
    };
    tokio::join!(displaced(false), displaced(true));
}

/// Somebody else's file at a path that was given by mistake is not the buffer's of before.
#[tokio::test]
async fn a_file_of_something_else_at_another_path_than_before_is_refused_and_left_as_it_is() {
    let scene = Scene::new().await;
    let evictd = start(&scene.options).await;
    let paths = scene.change(1..=1).await;
    scene.reached(&paths, &evictd).await;
    scene.shop.done(&evictd).await;
    at_end(&scene.shop, &scene.shop.redis).await;
    stop(evictd).await;
    let notes = scene.file().with_file_name("notes.redb");
    std::fs::write(&notes, "Notes of the operator's.\n").unwrap();
    let mut config = scene.config.clone();
    config.rest = config.rest.replace("queue.redb", "notes.redb");
    let options = Scene::on(&config, &scene.fake).await;
    let said = command(&options, &["run"], 3).await;
    assert!(said.contains("is not a queue of evictd"), "{said}");
    assert_eq!(
        std::fs::read_to_string(&notes).unwrap(),
        "Notes of the operator's.\n"
    );
    assert_eq!(scene.beside("damaged").len(), 0);
    let evictd = start(&scene.options).await;
    has_no_gap(&evictd);
    stop(evictd).await;
}

#[tokio::test]
async fn a_file_of_something_else_or_of_a_later_version_is_refused_and_left_as_it_is() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let file = shop.dir.path().join("queue.redb");
    let config = shop.config();
    let scene = Scene::with(shop, config, &file).await;
    let refused = async |says: &str, code| {
        let bytes = std::fs::read(&file).unwrap();
        let said = command(&scene.options, &["run"], code).await;
        assert!(said.contains(says), "{said}");
        let said = checked(&scene.options).await;
        assert!(said.starts_with("error"), "{said}");
        assert!(said.contains(says), "{said}");
        assert!(std::fs::read(&file).unwrap() == bytes, "{says}");
        assert_eq!(scene.beside("queue"), ["queue.redb"]);
    };
    std::fs::write(
        &file,
        "Notes of the operator's, which nobody else may touch.\n",
    )
    .unwrap();
    refused("is not a queue of evictd", 2).await;
    std::fs::remove_file(&file).unwrap();
    let table: redb::TableDefinition<'_, &str, &str> = redb::TableDefinition::new("notes");
    let database = redb::Database::create(&file).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(table)
        .unwrap()
        .insert("a", "b")
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    refused("is not a queue of evictd", 2).await;
    std::fs::remove_file(&file).unwrap();

    let evictd = start(&scene.options).await;
    let paths = scene.change(1..=1).await;
    scene.reached(&paths, &evictd).await;
    scene.shop.done(&evictd).await;
    stop(evictd).await;
    // 3 becomes 11 in both commits.
    let format = std::fs::File::options().write(true).open(&file).unwrap();
    for at in [64, 192] {
        format.write_all_at(&[11], at).unwrap();
    }
    refused("a later version of evictd", 3).await;
}

#[tokio::test]
async fn damage_that_a_running_daemon_meets_is_a_gap() {
    let shop = Shop::own(MysqlOptions::default()).await;
    let disk = Disk::mount(shop.dir.path(), "6m").await;
    assert!(disk.is_tiny(), "allow unprivileged user namespaces");
    let config = shop.config();
    let mut scene = Scene::with(shop, config, &disk.inside().join("queue.redb")).await;
    scene.options = disk.on_it(scene.options);
    let mut evictd = start(&scene.options).await;
    scene.fake.change(|settings| settings.fail = Some(1));
    let mut paths = scene.change(1..=WAITING).await;
    scene.shop.done(&evictd).await;
    // A failed write closes the file.
    disk.fill();
    for hundred in 1..=100 {
        let users = hundred * 100..hundred * 100 + 100;
        let rows: Vec<String> = users.clone().map(|id| format!("({id})")).collect();
        let insert = format!("INSERT INTO users (id) VALUES {}", rows.join(", "));
        scene.shop.sql(&insert).await;
        paths.extend(users.map(|id| format!("/users/{id}")));
    }
    evictd.wait_for_line("No space left", WITHIN).await;
    zero(&disk.path().join("queue.redb"));
    disk.empty();
    scene.fake.change(|settings| settings.fail = None);
    evictd.wait_for_line("is damaged", WITHIN).await;
    scene.reached(&paths, &evictd).await;
    scene.recorded().await;
    scene.shop.done(&evictd).await;
    stop(evictd).await;
}

#[tokio::test]
async fn a_buffer_that_is_replaced_by_another_kind_or_path_is_a_gap() {
    let scene = Scene::new().await;
    let queue = edge_aws::queue(&shared_aws().await.endpoint(), "", &[]).await;
    let file = |name: &str| {
        let path = scene.shop.dir.path().join(name);
        format!("kind = \"local\"\npath = \"{}\"", path.display())
    };
    let sqs = format!("kind = \"sqs\"\nqueue_url = \"{queue}\"");
    let with = async |buffer: &str| {
        let mut config = scene.config.clone();
        config.rest = config.rest.replace(&file("queue.redb"), buffer);
        Scene::on(&config, &scene.fake).await
    };
    let mut evictd = start(&scene.options).await;
    let mut gaps = 0;
    let begun = || {
        scene
            .gaps()
            .iter()
            .filter(|line| line.contains("\"begun\""))
            .count()
    };
    for (buffer, user) in [file("other.redb"), sqs, file("other.redb")]
        .iter()
        .zip(1..)
    {
        scene.fake.change(|settings| settings.fail = Some(1));
        let paths = scene.change(user..=user).await;
        scene.shop.done(&evictd).await;
        at_end(&scene.shop, &scene.shop.redis).await;
        evictd.kill();
        let before = scene.fake.billed();
        assert_eq!(begun(), gaps);
        scene.fake.change(|settings| settings.fail = None);
        let options = with(buffer).await;
        let part = if buffer.contains("sqs") {
            "sqs"
        } else {
            "buffer"
        };
        check_warns(&options, part, "paths were sent to").await;
        evictd = start(&options).await;
        let widened = async || (scene.fake.billed() > before).then_some(());
        eventually("every path is invalidated", WITHIN, widened).await;
        scene.reached(&paths, &evictd).await;
        gaps += 1;
        assert_eq!(begun(), gaps);
    }
    stop(evictd).await;
}

#[tokio::test]
async fn an_ordinary_restart_is_no_gap_and_sends_what_waits_once() {
    let scene = Scene::new().await;
    let mut evictd = start(&scene.options).await;
    let paths = scene.waiting(&evictd).await;
    for _ in 0..3 {
        evictd.kill();
        evictd = start(&scene.options).await;
    }
    scene.fake.change(|settings| settings.fail = None);
    scene.reached(&paths, &evictd).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.gaps(), [""; 0]);
    has_no_gap(&evictd);
    assert_eq!(scene.fake.billed(), paths.len());
    stop(evictd).await;
}

#[tokio::test]
async fn a_buffer_on_a_disk_that_does_not_last_is_refused_with_a_checkpoint_in_redis() {
    let scene = Scene::new().await;
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut config = scene.config.clone();
    let line = |path: &Path| format!("path = \"{}\"", path.display());
    let file = memory.path().join("queue.redb");
    config.rest = config.rest.replace(&line(&scene.file()), &line(&file));
    let options = Scene::on(&config, &scene.fake).await;
    let check = command(&options, &["check"], 2).await;
    assert!(check.contains("tmpfs"), "{check}");
    // With a position, somebody depends on it.
    let mut evictd = start(&options).await;
    evictd.wait_for_line("tmpfs", WITHIN).await;
    let paths = scene.change(1..=3).await;
    scene.reached(&paths, &evictd).await;
    stop(evictd).await;
    command(&options, &["checkpoint", "clear"], 0).await;
    let refused = command(&options, &["run"], 2).await;
    assert!(refused.contains("tmpfs"), "{refused}");
}
