//! An application's connections, made again after every failure.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{Client, Cmd, FromRedisValue, RedisResult};

use super::shapes::{Row, Shape};

/// Longer than any fault.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection could not be made, broke or did not answer: what was asked for may have been done or not.
#[derive(Debug)]
pub struct Failed;

async fn answered<T, E>(answer: impl Future<Output = Result<T, E>>) -> Result<T, Failed> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) | Err(_) => Err(Failed),
    }
}

/// Where a database is now: another server may take its place.
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<AtomicU16>);

impl Endpoint {
    pub fn new(port: u16) -> Self {
        Self(Arc::new(AtomicU16::new(port)))
    }

    pub fn port(&self) -> u16 {
        self.0.load(Ordering::Relaxed)
    }

    /// From now on applications talk to the server at this port.
    pub fn moves_to(&self, port: u16) {
        self.0.store(port, Ordering::Relaxed);
    }
}

/// The database.
pub struct Database {
    endpoint: Endpoint,
    /// With the port that it goes to.
    conn: Option<(u16, Conn)>,
}

impl Database {
    pub fn new(endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
            conn: None,
        }
    }

    /// Runs statements.
    pub async fn run(&mut self, sql: &str) -> Result<(), Failed> {
        let (port, mut conn) = self.take().await?;
        answered(conn.query_drop(sql)).await?;
        self.conn = Some((port, conn));
        Ok(())
    }

    pub async fn row(&mut self, shape: Shape, id: u64) -> Result<Option<Row>, Failed> {
        let table = shape.table();
        let sql = format!("SELECT version, content FROM {table} WHERE id = {id}");
        let (port, mut conn) = self.take().await?;
        let row: Option<(u64, String)> = answered(conn.query_first(sql)).await?;
        self.conn = Some((port, conn));
        Ok(row.map(|(version, content)| Row { version, content }))
    }

    /// The version of a row, as applications get it that cache by version.
    pub async fn version(&mut self, shape: Shape, id: u64) -> Result<Option<u64>, Failed> {
        let table = shape.table();
        let sql = format!("SELECT version FROM {table} WHERE id = {id}");
        let (port, mut conn) = self.take().await?;
        let version = answered(conn.query_first(sql)).await?;
        self.conn = Some((port, conn));
        Ok(version)
    }

    /// A connection to the server that is there now, which is put back only after a whole answer.
    async fn take(&mut self) -> Result<(u16, Conn), Failed> {
        let port = self.endpoint.port();
        match self.conn.take() {
            Some(conn) if conn.0 == port => Ok(conn),
            _ => {
                let url = format!("mysql://root@127.0.0.1:{port}/soak?prefer_socket=false");
                let opts = Opts::from_url(&url).unwrap();
                Ok((port, answered(Conn::new(opts)).await?))
            }
        }
    }
}

/// Where the cache is.
#[derive(Clone, Debug)]
pub enum Address {
    Single(u16),
    /// The URLs of all nodes.
    Cluster(Vec<String>),
}

enum CacheConn {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl CacheConn {
    async fn new(address: &Address) -> RedisResult<Self> {
        match address {
            Address::Single(port) => {
                let client = Client::open(format!("redis://127.0.0.1:{port}/0"))?;
                let conn = client.get_multiplexed_async_connection().await?;
                Ok(Self::Single(conn))
            }
            Address::Cluster(urls) => {
                let client = ClusterClient::builder(urls.clone())
                    .retries(0)
                    .connection_timeout(Duration::from_secs(1))
                    .response_timeout(Duration::from_secs(2))
                    .build()?;
                Ok(Self::Cluster(client.get_async_connection().await?))
            }
        }
    }

    async fn run<T: FromRedisValue>(&mut self, cmd: &Cmd) -> RedisResult<T> {
        match self {
            Self::Single(conn) => cmd.query_async(conn).await,
            Self::Cluster(conn) => cmd.query_async(conn).await,
        }
    }
}

/// The cache.
pub struct Cache {
    address: Address,
    conn: Option<CacheConn>,
}

impl Cache {
    pub fn new(address: &Address) -> Self {
        Self {
            address: address.clone(),
            conn: None,
        }
    }

    pub async fn run<T: FromRedisValue>(&mut self, cmd: &Cmd) -> Result<T, Failed> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => answered(CacheConn::new(&self.address)).await?,
        };
        let answer = answered(conn.run(cmd)).await?;
        self.conn = Some(conn);
        Ok(answer)
    }

    /// Waits until the server answers.
    pub async fn insist<T: FromRedisValue>(&mut self, cmd: &Cmd) -> T {
        loop {
            if let Ok(answer) = self.run(cmd).await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
