//! A daemon that is asked about itself, and what it has put on record.

use std::net::SocketAddr;
use std::path::PathBuf;

use mysql_async::prelude::Queryable;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::shop::{Config, Shop, USERS, WITHIN, stop};
use crate::support::{Evictd, EvictdOptions, Finished, MysqlOptions, eventually, free_port};

/// A shop whose daemon answers at an address.
pub struct Asked {
    pub shop: Shop,
    pub config: Config,
    pub listen: SocketAddr,
}

impl Asked {
    pub async fn open() -> Self {
        Self::of(Shop::open().await, "")
    }

    pub async fn own() -> Self {
        Self::of(Shop::own(MysqlOptions::default()).await, "")
    }

    /// `metrics` are more lines of `[metrics]`.
    pub fn of(shop: Shop, metrics: &str) -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let rest = format!("[metrics]\nlisten = \"{listen}\"\n{metrics}\n{USERS}");
        let config = shop.config().rest(&rest);
        Self {
            shop,
            config,
            listen,
        }
    }

    pub fn options(&self, args: &[&str]) -> EvictdOptions {
        let mut options = self.config.options().args(args);
        // A command line for people needs no password.
        options
            .env
            .retain(|(name, _)| name != "EVICTD_SOURCE_PASSWORD");
        options
    }

    /// Another command beside the daemon.
    pub async fn command(&self, args: &[&str]) -> Finished {
        Evictd::finish(&self.options(args), WITHIN).await
    }

    /// What `evictd status --json` says.
    pub async fn status(&self) -> Value {
        let finished = self.command(&["status", "--json"]).await;
        serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}: {finished:?}"))
    }

    /// Waits until the status is as it should be.
    pub async fn status_with(&self, what: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
        eventually(what, WITHIN, async || {
            let status: Value = serde_json::from_str(&self.get("/status").await.1).unwrap();
            holds(&status).then_some(status)
        })
        .await
    }

    /// The code and the body of an answer.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: evictd\r\n\r\n");
        let answer = exchange(self.listen, request.as_bytes()).await;
        let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
        (code, body)
    }

    pub fn ledger(&self, kind: &str) -> PathBuf {
        let file = format!("{}.{kind}.jsonl", self.shop.database);
        self.shop.dir.path().join(file)
    }

    /// The records of a file.
    pub fn records(&self, kind: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.ledger(kind)).unwrap_or_default();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    pub async fn insert(&self, id: u32) {
        self.shop
            .sql(&format!("INSERT INTO users (id) VALUES ({id})"))
            .await;
    }

    /// What a stopped daemon left is a checkpoint whose next change is gone.
    pub async fn gapped(&self) {
        stop(self.config.start().await).await;
        self.insert(1).await;
        self.shop.purge_first_file().await;
        self.shop.fill(&["user:1:profile", "other"]).await;
    }

    /// Cuts the daemon off, and makes what is committed then unreadable for it.
    pub async fn lose_changes(&self) {
        let mysql = self.shop.mysql();
        // One that is killed may send what comes until it notices.
        let mut killed = 0;
        eventually("nobody reads the binlog", WITHIN, async || {
            let dumps: Vec<u64> = mysql
                .rows("SELECT id FROM information_schema.processlist WHERE command LIKE 'Binlog Dump%'")
                .await;
            for id in &dumps {
                // It may be gone by now.
                let kill = format!("KILL {id}");
                mysql.conn().await.query_drop(kill).await.ok();
                killed += 1;
            }
            (killed > 0 && dumps.is_empty()).then_some(())
        })
        .await;
        self.insert(1).await;
        self.shop.purge_first_file().await;
    }

    /// Waits until Redis has seen that a killed daemon is gone, and with that has done all that it had asked.
    pub async fn forgotten(&self) {
        eventually("only the test is connected to Redis", WITHIN, async || {
            let mut conn = self.shop.redis.conn().await;
            let clients: String = redis::cmd("CLIENT")
                .arg("LIST")
                .query_async(&mut conn)
                .await
                .unwrap();
            (clients.lines().count() == 1).then_some(())
        })
        .await;
    }

    /// An account that may not touch `user:9:profile`.
    pub async fn with_account(mut self) -> Self {
        let mut conn = self.shop.redis.conn().await;
        let _: () = redis::cmd("ACL")
            .arg(&["SETUSER", "limited", "on", "nopass", "+@all"])
            .arg(&["~user:1:*", "~user:9:v*", "~mark:*"])
            .query_async(&mut conn)
            .await
            .unwrap();
        let limited = format!("redis://limited@127.0.0.1:{}/0", self.shop.redis.port());
        self.config.redis_url = limited;
        self.config.redis = format!(
            "password = {{ env = \"REDIS_PASSWORD\" }}\n{}",
            self.config.redis
        );
        self
    }
}

pub async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

pub fn strings(value: &Value, path: &str) -> String {
    value
        .pointer(path)
        .map(ToString::to_string)
        .unwrap_or_default()
}
