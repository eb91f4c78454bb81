//! Notifications to systemd, received at a real socket: that evictd is up, how it is doing, that it makes progress, and
//! that it ends.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::daemon::shop::{Config, Shop, WITHIN, stop};
use crate::edge::aws as edge_aws;
use crate::support::{
    Evictd, EvictdOptions, FakeCloudFront, FakeSettings, Relay, eventually, shared_aws,
};

/// The receiving end of the protocol, in place of systemd.
struct Manager {
    address: String,
    /// Each word that came, and when.
    heard: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Manager {
    /// Listens at an abstract name. The unit tests listen at a path.
    fn listen() -> Self {
        static MANAGERS: AtomicU32 = AtomicU32::new(1);
        let number = MANAGERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("evictd/test/{}/{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let pause = Some(Duration::from_millis(100));
        socket.set_read_timeout(pause).unwrap();
        let heard = Arc::default();
        let listener = Arc::downgrade(&heard);
        std::thread::spawn(move || listen(&socket, &listener));
        Self {
            address: format!("@{name}"),
            heard,
        }
    }

    fn starts(&self, options: EvictdOptions) -> Evictd {
        Evictd::start(&options.env("NOTIFY_SOCKET", &self.address))
    }

    /// Every word that came so far.
    fn words(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().map(|(_, word)| word.clone()).collect()
    }

    fn count(&self, word: &str) -> usize {
        self.words().iter().filter(|heard| *heard == word).count()
    }

    /// The times at which the watchdog was fed.
    fn fed(&self) -> Vec<Instant> {
        let heard = self.heard.lock().unwrap();
        let fed = heard.iter().filter(|(_, word)| word == "WATCHDOG=1");
        fed.map(|(at, _)| *at).collect()
    }

    /// Waits for the first word that begins like this.
    async fn hears(&self, beginning: &str, evictd: &mut Evictd) -> String {
        eventually(beginning, WITHIN, async || {
            let ended = evictd.exited();
            let mut words = self.words().into_iter();
            let found = words.find(|word| word.starts_with(beginning));
            assert!(found.is_some() || ended.is_none(), "{}", evictd.tail());
            found
        })
        .await
    }
}

/// Listens until the manager is dropped.
fn listen(socket: &UnixDatagram, heard: &Weak<Mutex<Vec<(Instant, String)>>>) {
    let mut bytes = [0; 4096];
    while let Some(heard) = heard.upgrade() {
        let Ok(length) = socket.recv(&mut bytes) else {
            continue;
        };
        let message = std::str::from_utf8(&bytes[..length]).unwrap();
        let words = message
            .lines()
            .map(|word| (Instant::now(), word.to_owned()));
        heard.lock().unwrap().extend(words);
    }
}

#[tokio::test]
async fn evictd_is_up_once_the_binlog_streams_and_says_when_it_ends() {
    let shop = Shop::open().await;
    let relay = Relay::to(shop.mysql().port()).await;
    let mut config = shop.config();
    let own = format!(":{}", shop.mysql().port());
    config.source_url = config
        .source_url
        .replace(&own, &format!(":{}", relay.port()));
    relay.hold_after(0);
    let manager = Manager::listen();
    let mut evictd = manager.starts(config.options());
    assert_eq!(
        manager.hears("STATUS=", &mut evictd).await,
        "STATUS=starting"
    );
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(manager.count("READY=1"), 0, "MySQL has said nothing yet");
    relay.release();
    manager.hears("READY=1", &mut evictd).await;
    let lines = evictd.lines();
    assert!(
        lines.iter().any(|line| line.contains("reading the binlog")),
        "{lines:?}"
    );
    let status = manager.hears("STATUS=read up to ", &mut evictd).await;
    assert!(
        status.contains("mysql-bin.0") && status.contains("lag"),
        "{status}"
    );
    evictd.terminate();
    manager.hears("STOPPING=1", &mut evictd).await;
    manager.hears("EXTEND_TIMEOUT_USEC=", &mut evictd).await;
    assert!(evictd.exit(WITHIN).await.success(), "{}", evictd.tail());
    let counts = ["READY=1", "STOPPING=1", "WATCHDOG=1"].map(|word| manager.count(word));
    // No watchdog is set.
    assert_eq!(counts, [1, 1, 0], "{:?}", manager.words());
}

#[tokio::test]
async fn an_evictd_that_cannot_begin_is_never_up() {
    let shop = Shop::open().await;
    let config = shop.config().source("on_gap = \"halt\"");
    stop(config.start().await).await;
    // The position is another server's. That is a gap, which evictd finds once it is connected.
    let mut stored = shop.checkpoint().unwrap();
    stored["server_uuid"] = "3e11fa47-71ca-11e1-9e33-c80aa9429562".into();
    stored["gtid_set"] = serde_json::Value::Null;
    std::fs::write(shop.checkpoint_file(), stored.to_string()).unwrap();
    let manager = Manager::listen();
    let mut evictd = manager.starts(config.options());
    let status = evictd.exit(WITHIN).await;
    assert_eq!(status.code(), Some(4), "{}", evictd.tail());
    assert_eq!(manager.count("STATUS=starting"), 1);
    assert_eq!(manager.count("READY=1"), 0, "{}", evictd.tail());
}

/// While all is well, the watchdog is fed four times within this limit.
const WATCHDOG: Duration = Duration::from_secs(2);

#[tokio::test]
async fn the_watchdog_hears_nothing_while_a_task_makes_no_progress() {
    let mut shop = Shop::open().await;
    let watched = |config: &Config| {
        let us = WATCHDOG.as_micros().to_string();
        config.options().env("WATCHDOG_USEC", &us)
    };
    let manager = Manager::listen();
    let mut evictd = manager.starts(watched(&shop.config()));
    manager.hears("READY=1", &mut evictd).await;
    // An idle source is not a standstill, although its heartbeats come every ten seconds, far beyond the limit.
    let before = manager.fed().len();
    eventually(
        "the watchdog is fed while nothing happens",
        WITHIN,
        async || (manager.fed().len() > before + 12).then_some(()),
    )
    .await;
    // The deletion waits for an answer for ten seconds, five times the limit.
    shop.redis.signal("STOP");
    shop.sql("INSERT INTO users (id) VALUES (1)").await;
    evictd
        .wait_for_line("a task makes no progress", WITHIN)
        .await;
    tokio::time::sleep(3 * WATCHDOG).await;
    shop.redis.signal("CONT");
    let frozen = manager.fed().len();
    eventually("the watchdog is fed again", WITHIN, async || {
        (manager.fed().len() > frozen + 4).then_some(())
    })
    .await;
    let fed = manager.fed();
    let silence = fed.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
    // A timer alone would have fed it every half second.
    assert!(silence >= 2 * WATCHDOG, "{silence:?}\n{}", evictd.tail());
    stop(evictd).await;
}

#[tokio::test]
async fn a_drain_is_up_once_its_queue_answered() {
    let aws = shared_aws().await;
    let fake = FakeCloudFront::start(FakeSettings::default()).await;
    let dir = crate::support::scratch("drain");
    let options = |url: &str| {
        let config = format!(
            "name = \"shop\"\n[source]\nurl = \"mysql://evictd@127.0.0.1:1\"\n\
             [checkpoint]\npath = \"{}/shop.checkpoint.json\"\n[redis]\nurl = \"redis://127.0.0.1:1\"\n\
             [buffer]\nkind = \"sqs\"\nqueue_url = \"{url}\"\n\
             [[cloudfront.distribution]]\nname = \"main\"\nid = \"E1\"\n\
             [[rule]]\nname = \"users\"\ntables = [\"shop.users\"]\npaths = [\"/users/{{id}}\"]\n",
            dir.path().display()
        );
        EvictdOptions::run(super::EVICTD, config)
            .args(&["drain"])
            .envs(aws.env())
            .env("AWS_REGION", "us-east-1") // As the queues of tests/edge.
            .env("AWS_ENDPOINT_URL_CLOUDFRONT", fake.url())
    };
    let url = edge_aws::queue(&aws.endpoint(), "", &[]).await;
    let manager = Manager::listen();
    let mut evictd = manager.starts(options(&format!("{url}-missing")));
    assert!(!evictd.exit(WITHIN).await.success());
    assert_eq!(manager.count("READY=1"), 0, "{}", evictd.tail());
    let manager = Manager::listen();
    let mut evictd = manager.starts(options(&url));
    manager.hears("READY=1", &mut evictd).await;
    stop(evictd).await;
}
