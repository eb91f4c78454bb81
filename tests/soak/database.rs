//! The database's fate: another server takes its place, it comes back as it was before, its binlog begins anew.

use std::time::Duration;

use super::proxy::Mode;
use super::readers::LATEST_FILL;
use super::traffic::Traffic;
use super::world::{LAG, READS, World};
use crate::support::Mysql;

const WITHIN: Duration = Duration::from_secs(60);

/// Enough for connections to notice that they are cut.
const CUT: Duration = Duration::from_millis(50);

/// How long a replica follows before it takes over, and how long transactions go on that will be lost.
const FOLLOWS: Duration = Duration::from_millis(700);
const LOST: Duration = Duration::from_millis(150);

impl World {
    /// The writer dies with transactions that its replica never got. The replica takes over.
    pub async fn fail_over(&mut self, traffic: &Traffic) {
        let replica = self.replica().await;
        tokio::time::sleep(FOLLOWS).await;
        replica.exec("STOP REPLICA IO_THREAD").await;
        tokio::time::sleep(LOST).await;
        self.mysql.kill();
        // Readers of the server that is gone are done, so that none fills what is lost for good.
        tokio::time::sleep(LATEST_FILL).await;
        traffic.lost();
        let status: Vec<mysql_async::Row> = replica.rows("SHOW REPLICA STATUS").await;
        let received: String = status[0].get("Retrieved_Gtid_Set").expect("it replicates");
        applied(&replica, &received).await;
        self.promote(replica).await;
    }

    /// A replica that has everything takes over by name alone: connections that are open stay with the server that
    /// was the writer, which lives on, read-only.
    pub async fn switch_over(&mut self) {
        let replica = self.replica().await;
        tokio::time::sleep(FOLLOWS).await;
        self.mysql.exec("SET GLOBAL super_read_only = ON").await;
        let executed: Vec<String> = self.mysql.rows("SELECT @@GLOBAL.gtid_executed").await;
        applied(&replica, &executed[0]).await;
        self.promote(replica).await;
    }

    /// Stops the writer in order, keeps its data, and starts it again: see [`World::put_back`]. What is written and
    /// lost while evictd is away leaves no trace, so that it has to be back.
    pub async fn back_up(&mut self) {
        let before = self.said(READS);
        self.mysql.stop().await;
        self.mysql.copy_data();
        self.mysql.start_again().await;
        self.delay_commits().await;
        self.says_again(READS, before).await;
        tokio::time::sleep(FOLLOWS).await;
    }

    /// The writer comes back with the data that it had at [`World::back_up`].
    pub async fn put_back(&mut self, traffic: &Traffic) {
        self.mysql.kill();
        tokio::time::sleep(LATEST_FILL).await;
        traffic.lost();
        self.mysql.put_back();
        self.mysql.start_again().await;
        self.delay_commits().await;
    }

    /// A replica of the writer, which is down meanwhile.
    async fn replica(&mut self) -> Mysql {
        self.servers += 1;
        self.mysql.stop().await;
        let replica = self.mysql.copy(self.servers).await;
        self.mysql.start_again().await;
        self.delay_commits().await;
        replica
            .exec(format!(
                "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, \
                 SOURCE_USER = 'root', SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1, \
                 SOURCE_CONNECT_RETRY = 1; START REPLICA",
                self.mysql.port()
            ))
            .await;
        replica
    }

    /// From now on `replica` is the writer, for applications and for new connections of evictd's.
    async fn promote(&mut self, replica: Mysql) {
        replica.exec("STOP REPLICA; RESET REPLICA ALL").await;
        let port = replica.port();
        self.database.moves_to(port);
        self.source.leads_to(port);
        self.lagging_database.leads_to(port);
        self.retired = Some(std::mem::replace(&mut self.mysql, replica));
        self.delay_commits().await;
        self.lagging_database.set(Mode::Cut);
        tokio::time::sleep(CUT).await;
        self.lagging_database.set(Mode::Slow(LAG));
    }
}

/// Waits until the replica has executed these transactions.
async fn applied(replica: &Mysql, gtids: &str) {
    let gtids = gtids.replace('\n', "");
    let seconds = WITHIN.as_secs();
    let wait = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{gtids}', {seconds})");
    assert_eq!(replica.rows::<i64>(wait).await, [0]);
}
