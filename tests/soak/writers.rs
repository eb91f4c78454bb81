//! Applications that change rows, and invalidate nothing.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::clients::{Database, Endpoint};
use super::shapes::{Row, Shape, now_us};
use super::traffic::{Traffic, count};

/// Enough for commits in groups.
pub const WRITERS: u64 = 16;

/// Changes in a transaction that is not a single statement.
const CHANGES_MAX: u64 = 6;

/// What a writer believes about a row of its own.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The highest version that the row ever had, or may have had.
    version: u64,
    /// Not known once the server may have lost what it had committed.
    exists: Option<bool>,
}

struct Change {
    shape: Shape,
    id: u64,
    row: Option<Row>,
    sql: String,
}

/// Each writer changes rows that no other one does, so that it knows what they hold.
pub struct Writer {
    traffic: Arc<Traffic>,
    number: u64,
    database: Database,
    random: StdRng,
    known: HashMap<(Shape, u64), Known>,
    changes: u64,
    /// How often the server had lost commits when `known` was true.
    losses: u64,
}

impl Writer {
    pub fn new(traffic: &Arc<Traffic>, number: u64, database: &Endpoint) -> Self {
        Self {
            traffic: Arc::clone(traffic),
            number,
            database: Database::new(database),
            random: StdRng::seed_from_u64(traffic.seed ^ (number + 1)),
            known: HashMap::new(),
            changes: 0,
            losses: 0,
        }
    }

    pub async fn run(mut self) {
        let traffic = Arc::clone(&self.traffic);
        while let Some(leave) = traffic.may_write().await {
            self.transaction().await;
            drop(leave);
            if !traffic.pace.is_zero() {
                tokio::time::sleep(traffic.pace).await;
            }
        }
    }

    async fn transaction(&mut self) {
        let losses = self.traffic.losses();
        if std::mem::replace(&mut self.losses, losses) != losses {
            self.known
                .values_mut()
                .for_each(|known| known.exists = None);
        }
        let large = self.random.random_ratio(1, 10);
        let changes = if large { CHANGES_MAX } else { 1 };
        let mut all: Vec<Change> = Vec::new();
        for _ in 0..changes {
            let shape = Shape::ALL[self.random.random_range(0..Shape::ALL.len())];
            let hot = self.traffic.hot(self.random.random());
            let id = hot - hot % WRITERS + self.number;
            if all
                .iter()
                .all(|change| (change.shape, change.id) != (shape, id))
            {
                all.push(self.change(shape, id).await);
            }
        }
        let rolled_back = large && self.random.random_ratio(1, 5);
        let sql = match &all[..] {
            [single] => single.sql.clone(),
            _ => {
                let mut sql = "BEGIN".to_owned();
                for change in &all {
                    write!(sql, "; {}", change.sql).unwrap();
                }
                sql + if rolled_back {
                    "; ROLLBACK"
                } else {
                    "; COMMIT"
                }
            }
        };
        let begun_us = now_us();
        if self.database.run(&sql).await.is_err() {
            self.look(begun_us, &all).await;
            return;
        }
        if rolled_back || self.traffic.losses() != losses {
            return;
        }
        count(&self.traffic.counts.commits);
        for change in all {
            let known = self.known.entry((change.shape, change.id)).or_default();
            known.exists = Some(change.row.is_some());
            self.traffic
                .committed(change.shape, change.id, begun_us, change.row);
        }
    }

    /// The next change of a row. A version is used up even if its transaction is rolled back.
    async fn change(&mut self, shape: Shape, id: u64) -> Change {
        self.changes += 1;
        let exists = match self.known.get(&(shape, id)) {
            None => false,
            Some(Known {
                exists: Some(exists),
                ..
            }) => *exists,
            Some(Known { exists: None, .. }) => self.row(shape, id).await.is_some(),
        };
        let known = self.known.entry((shape, id)).or_default();
        let table = shape.table();
        if exists && self.random.random_ratio(1, 16) {
            return Change {
                shape,
                id,
                row: None,
                sql: format!("DELETE FROM {table} WHERE id = {id}"),
            };
        }
        // A guard cannot tell rows apart that have the same version.
        let bump_forgotten = exists && shape != Shape::Guarded && self.random.random_ratio(1, 8);
        if !bump_forgotten {
            known.version += 1;
        }
        let version = known.version;
        let content = format!("{}-{}", self.number, self.changes);
        let sql = if exists {
            format!("UPDATE {table} SET version = {version}, content = '{content}' WHERE id = {id}")
        } else {
            format!("INSERT INTO {table} VALUES ({id}, {version}, '{content}')")
        };
        Change {
            shape,
            id,
            row: Some(Row { version, content }),
            sql,
        }
    }

    /// After an error it is not known whether the transaction was committed: reads what is there now.
    async fn look(&mut self, begun_us: u64, changes: &[Change]) {
        for change in changes {
            let row = self.row(change.shape, change.id).await;
            let known = self.known.entry((change.shape, change.id)).or_default();
            known.exists = Some(row.is_some());
            if row == change.row {
                self.traffic
                    .committed(change.shape, change.id, begun_us, row);
            }
        }
    }

    /// Asks until the server answers.
    async fn row(&mut self, shape: Shape, id: u64) -> Option<Row> {
        loop {
            match self.database.row(shape, id).await {
                Ok(row) => return row,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}
