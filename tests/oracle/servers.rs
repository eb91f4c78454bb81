//! What becomes of the servers of a case, and of evictd's files.

use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::Queryable;

use super::fates::{Files, FilesFate, MysqlFate, QueueFate};
use super::lane::{connect, run, switch_gtids};
use super::steps::Allows;
use super::world::{POLL_EVERY, World};
use crate::soak::proxy::Mode;
use crate::support::{Cut, shared_aws, zero_pages};

/// How long MySQL stands still.
const FROZEN: Duration = Duration::from_millis(400);

/// A replica on this machine has it in a moment.
const REPLICATED_WITHIN_SECONDS: u32 = 30;

/// Five seconds where nothing else runs: what was just changed settles, after a connection was made again.
const READ_POLLS_MAX: usize = 1_000;

/// 40 s where nothing else runs: after some attempts evictd pauses for up to five between two.
const SEEN_POLLS_MAX: usize = 8_000;

/// What evictd says of a server that leaves changes out. What is left out while nobody looks is not seen: see
/// docs/limits.md.
const LEFT_OUT: &str = "leaves database";

/// How the first path of a message begins.
const PATH: &str = "\"/r";

impl World<'_> {
    pub async fn queue_meets(&mut self, fate: QueueFate) {
        let Some(sqs) = &self.sqs else { return };
        match fate {
            QueueFate::Well => sqs.set(Mode::Pass),
            QueueFate::Away => sqs.set(Mode::Cut),
            QueueFate::Fails => sqs.set(Mode::Answer(503)),
            QueueFate::Deaf => sqs.set(Mode::Deaf),
            QueueFate::Foreign => self.send_of_another().await,
        }
        self.pays_twice = true;
    }

    /// A message of another configuration, which means another distribution by the same name.
    async fn send_of_another(&mut self) {
        let Some(at) = &self.edge_at else { return };
        let path = format!("/foreign/{}", self.foreign.len());
        let body = format!(
            r#"{{"v":1,"source":"another","distribution":"main","distribution_id":"E9","committed_at_us":1763892000000000,"sender":1,"number":1,"paths":["{path}"]}}"#
        );
        let sqs = shared_aws().await.sqs();
        let send = sqs.send_message().queue_url(&at.queue_url);
        send.message_body(body).send().await.expect("SQS takes it");
        self.foreign.push(path);
    }

    /// Nothing if evictd runs: another file in the place of one that is open is not looked at before the next start.
    pub fn files_meet(&mut self, fate: FilesFate) {
        if self.evictd.is_some() {
            return;
        }
        let state = self.lane.state_dir();
        let copy = state.with_extension("copy");
        self.pays_twice = true;
        match fate {
            FilesFate::Keep => {
                std::fs::remove_dir_all(&copy).ok();
                copy_files(&state, &copy, Files::All);
            }
            FilesFate::SetBack(_) if !copy.exists() => {}
            FilesFate::SetBack(files) => {
                remove(&state, files);
                copy_files(&copy, &state, files);
                self.reads_again(files);
            }
            FilesFate::Lose(files) => {
                remove(&state, files);
            }
            FilesFate::DamageQueue => damage(&self.lane.queue_file()),
            FilesFate::ZeroQueue => {
                if self.lane.queue_file().exists() {
                    zero_pages(&self.lane.queue_file(), PATH);
                }
            }
        }
    }

    fn reads_again(&mut self, files: Files) {
        if matches!(files, Files::Checkpoint | Files::All) {
            self.allowed.push(Allows::Everything);
        }
    }

    pub async fn mysql_meets(&mut self, fate: MysqlFate) {
        match fate {
            MysqlFate::Restart => {
                self.lane.mysql.restart().await;
                if std::mem::take(&mut self.left_out) {
                    self.allowed.push(Allows::Everything);
                }
                self.reconnect().await;
            }
            MysqlFate::LeaveOut => {
                let database = &self.case.schema.database;
                self.lane.mysql.stop().await;
                let option = format!("--binlog-ignore-db={database}");
                let before = self.said(LEFT_OUT);
                self.lane.mysql.start_with(&option).await;
                self.sees(LEFT_OUT, before).await;
                self.left_out = true;
                self.allowed.push(Allows::Everything);
                self.pays_twice = true;
                self.reconnect().await;
            }
            MysqlFate::Freeze => {
                self.lane.mysql.signal("STOP");
                tokio::time::sleep(FROZEN).await;
                self.lane.mysql.signal("CONT");
            }
            MysqlFate::Reset => {
                run(&mut self.reader, "RESET BINARY LOGS AND GTIDS").await;
                self.allowed.push(Allows::Everything);
                self.pays_twice = true;
            }
            MysqlFate::Gtids(on) => {
                switch_gtids(&mut self.reader, on).await;
                self.lane.switched = true;
                self.allowed.push(Allows::Everything);
                self.pays_twice = true;
            }
            MysqlFate::Set(setting) => {
                run(&mut self.reader, &format!("SET GLOBAL {setting}")).await;
                self.lane.switched = true;
                if !setting.starts_with("binlog_row_metadata")
                    && !setting.starts_with("binlog_checksum")
                {
                    // Some cannot be set within a transaction, which any question begins without autocommit.
                    run(&mut self.writer, "COMMIT").await;
                    run(&mut self.writer, &format!("SET SESSION {setting}")).await;
                }
            }
            MysqlFate::Keep => {
                self.lane.mysql.stop().await;
                self.lane.mysql.copy_data();
                self.lane.mysql.start_again().await;
                self.kept_data = true;
                self.reconnect().await;
            }
            MysqlFate::PutBack => {
                if !std::mem::take(&mut self.kept_data) || !self.has_read_all().await {
                    return;
                }
                self.lane.mysql.kill();
                self.lane.mysql.put_back();
                self.lane.mysql.start_again().await;
                self.went_back().await;
            }
            MysqlFate::Replica => self.replicate().await,
            MysqlFate::CutOff => {
                if let Some(replica) = &self.lane.replica {
                    replica.exec("STOP REPLICA IO_THREAD").await;
                    self.cut_off = true;
                }
            }
            MysqlFate::FailOver => self.fail_over(false).await,
            MysqlFate::SwitchOver => self.fail_over(true).await,
        }
    }

    /// Waits until evictd says this once more, if it runs.
    async fn sees(&self, words: &str, before: usize) {
        for _ in 0..SEEN_POLLS_MAX {
            let is_blind = self.evictd.is_none() || self.frozen || self.held.is_some();
            if is_blind || self.said(words) > before {
                return;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    }

    /// Rows may be others than before, and no statement said so.
    async fn went_back(&mut self) {
        self.reconnect().await;
        let before = self.now.clone();
        self.look().await;
        self.touched
            .extend(super::world::differing(&before, &self.now));
        self.allowed.push(Allows::Everything);
        self.pays_twice = true;
    }

    /// Whether evictd has read everything. What caches have of rows that are lost before it read them stays: see
    /// docs/limits.md.
    async fn has_read_all(&mut self) -> bool {
        let end = self.end().await;
        for _ in 0..READ_POLLS_MAX {
            if self.position().await.as_ref() == Some(&end) {
                return true;
            }
            if self.evictd.is_none() {
                return false;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
        false
    }

    async fn replicate(&mut self) {
        if self.lane.replica.is_some() {
            return;
        }
        self.lane.servers += 1;
        self.lane.mysql.stop().await;
        let replica = self.lane.mysql.copy(self.lane.servers).await;
        self.lane.mysql.start_again().await;
        self.reconnect().await;
        replica
            .exec(format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, SOURCE_USER = 'root', \
                 SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, SOURCE_CONNECT_RETRY = 1; START REPLICA",
                self.lane.mysql.port()
            ))
            .await;
        self.lane.replica = Some(replica);
        self.cut_off = false;
    }

    async fn fail_over(&mut self, lives_on: bool) {
        if self.cut_off && !self.has_read_all().await {
            return;
        }
        let Some(replica) = self.lane.replica.take() else {
            return;
        };
        if lives_on {
            run(&mut self.reader, "SET GLOBAL super_read_only = ON").await;
        }
        if !self.cut_off {
            let executed: Option<String> = self
                .reader
                .query_first("SELECT @@GLOBAL.gtid_executed")
                .await
                .expect("the server answers");
            let executed = executed.unwrap_or_default().replace('\n', "");
            let wait = format!(
                "SELECT WAIT_FOR_EXECUTED_GTID_SET('{executed}', {REPLICATED_WITHIN_SECONDS})"
            );
            let waited: Vec<i64> = replica.rows(wait).await;
            assert_eq!(waited, [0], "the replica follows");
        }
        if !lives_on {
            self.lane.mysql.kill();
        }
        replica.exec("STOP REPLICA; RESET REPLICA ALL").await;
        self.lane.relay.lead_to(replica.port());
        let former = std::mem::replace(&mut self.lane.mysql, replica);
        if lives_on {
            // Connections that are open stay with it.
            self.lane.former = Some(former);
        } else {
            self.lane.relay.cut(Cut::All);
        }
        self.went_back().await;
    }

    /// Everybody who is no evictd, after the server was away.
    async fn reconnect(&mut self) {
        let origin = self.origin.clone();
        let mut origin = match &origin {
            Some(origin) => Some(origin.lock().await),
            None => None,
        };
        self.reader = connect(&self.lane.mysql).await;
        let mut begin = self.case.settings.begin();
        begin.push(format!("USE `{}`", self.case.schema.database));
        for sql in begin {
            run(&mut self.reader, &sql).await;
        }
        self.writer = super::world::writer(self.lane, self.case).await;
        if let Some(origin) = &mut origin {
            origin.reader = connect(&self.lane.mysql).await;
            run(
                &mut origin.reader,
                &format!("USE `{}`", self.case.schema.database),
            )
            .await;
        }
    }
}

/// Which files those are.
fn is_of(name: &str, files: Files) -> bool {
    let is_queue = name.starts_with("queue.redb");
    let is_record = name.contains(".invalidations.");
    let is_checkpoint = name.starts_with("checkpoint.json");
    match files {
        Files::All => true,
        Files::Queue => is_queue,
        Files::QueueAndRecord => is_queue || is_record,
        Files::Checkpoint => is_checkpoint,
    }
}

fn names(dir: &Path, files: Files) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| is_of(name, files)).collect()
}

fn remove(dir: &Path, files: Files) {
    for name in names(dir, files) {
        std::fs::remove_file(dir.join(name)).expect("evictd does not run");
    }
}

fn copy_files(from: &Path, to: &Path, files: Files) {
    std::fs::create_dir_all(to).expect("there is room");
    for name in names(from, files) {
        std::fs::copy(from.join(&name), to.join(&name)).expect("there is room");
    }
}

/// Changes a letter of the last path in the file.
fn damage(path: &Path) {
    let Ok(mut bytes) = std::fs::read(path) else {
        return;
    };
    let at = bytes
        .windows(PATH.len())
        .rposition(|part| part == PATH.as_bytes());
    if let Some(at) = at {
        bytes[at + 2] ^= 0x20;
        std::fs::write(path, bytes).expect("there is room");
    }
}
