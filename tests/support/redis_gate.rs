//! A gate in front of a Redis server, which takes a token as ElastiCache does, with TLS. It logs in to the server with
//! the password that the account has there; behind the login all is the real server's.

use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::mysql_gate::acceptor;
use super::tokens::Presented;
use super::{Identity, Redis};

/// The gate. It ends when it is dropped.
#[derive(Debug)]
pub struct RedisGate {
    port: u16,
    presented: Arc<Mutex<Vec<Presented>>>,
    _tasks: JoinSet<()>,
}

impl RedisGate {
    /// In front of `redis`, whose accounts have this password.
    pub async fn to(redis: &Redis, password: &'static str, identity: &Identity) -> Self {
        let acceptor = acceptor(identity);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let presented = Arc::new(Mutex::new(Vec::new()));
        let (server, seen) = (redis.port(), Arc::clone(&presented));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), Arc::clone(&seen));
                connections.spawn(async move {
                    // Either side may end it whenever it likes.
                    pass(client, server, password, &acceptor, &seen).await.ok();
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            presented,
            _tasks: tasks,
        }
    }

    /// With the account in it.
    pub fn url(&self, user: &str) -> String {
        format!("rediss://{user}@127.0.0.1:{}/0", self.port)
    }

    /// What was presented so far, once for every connection.
    pub fn presented(&self) -> Vec<Presented> {
        self.presented.lock().unwrap().clone()
    }
}

async fn pass(
    client: TcpStream,
    server: u16,
    password: &str,
    acceptor: &TlsAcceptor,
    seen: &Mutex<Vec<Presented>>,
) -> io::Result<()> {
    let mut client = BufReader::new(acceptor.accept(client).await?);
    let command = command(&mut client).await?;
    let [auth, user, token] = command.as_slice() else {
        let refusal = b"-NOAUTH Authentication required.\r\n";
        return client.write_all(refusal).await;
    };
    assert_eq!(auth, "AUTH");
    seen.lock().unwrap().push(Presented::now(user, token));
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
    let login = format!(
        "*3\r\n$4\r\nAUTH\r\n${}\r\n{user}\r\n${}\r\n{password}\r\n",
        user.len(),
        password.len()
    );
    server.write_all(login.as_bytes()).await?;
    tokio::io::copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}

/// The words of one command.
async fn command(from: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Vec<String>> {
    let mut words = Vec::new();
    for _ in 0..number(from, '*').await? {
        let length = number(from, '$').await?;
        let mut word = vec![0; length + 2];
        from.read_exact(&mut word).await?;
        word.truncate(length);
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    Ok(words)
}

async fn number(from: &mut (impl AsyncBufReadExt + Unpin), sign: char) -> io::Result<usize> {
    let mut line = String::new();
    from.read_line(&mut line).await?;
    let number = line.trim_end().strip_prefix(sign);
    let number = number.and_then(|digits| digits.parse().ok());
    number.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, line.clone()))
}
