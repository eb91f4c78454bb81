//! A small HTTP listener for probes, Prometheus and `evictd status`, and a
//! client for it.
//!
//! The listener runs in tasks of its own, holds locks for moments only, and is
//! bounded: in connections, in the size of a request, and in time. A connection
//! serves one request.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HOST};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::repeating;

/// Connections at a time. Further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 32;

/// Size of a request's head.
const REQUEST_BYTES_MAX: usize = 8 << 10;

/// Time that a connection may last.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(10);

/// Size of an answer that the client reads.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// The answer to a request for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// Whether the status is 200. Otherwise it is 503.
    pub good: bool,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The text of the answer.
    pub body: String,
}

/// Answers the requests on `listener` until it is cancelled. `answer` is given
/// the path, and must not block.
pub async fn serve(
    listener: TcpListener,
    answer: impl Fn(&str) -> Option<HttpAnswer> + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // It may be out of file descriptors, which others need too.
                repeating!(warn, "", { %error }, "a connection to metrics.listen cannot be accepted");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let respond = |request: Request<_>| {
                let response = respond(&request, &*answer);
                async { Ok::<_, Infallible>(response) }
            };
            let connection = hyper::server::conn::http1::Builder::new()
                .keep_alive(false)
                .max_buf_size(REQUEST_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service_fn(respond));
            // A client's mistake is not a problem of the daemon.
            match tokio::time::timeout(CONNECTION_TIME_MAX, connection).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a request to metrics.listen failed"),
                Err(_) => tracing::debug!("a request to metrics.listen took too long"),
            }
            drop(permit);
        });
    }
}

fn respond<B>(
    request: &Request<B>,
    answer: &impl Fn(&str) -> Option<HttpAnswer>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response
            .headers_mut()
            .insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let found = answer(request.uri().path());
    let Some(HttpAnswer {
        good,
        content_type,
        body,
    }) = found
    else {
        *response.status_mut() = StatusCode::NOT_FOUND;
        *response.body_mut() =
            "not found: the paths are /metrics, /healthz, /readyz and /status\n".into();
        return response;
    };
    if !good {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let content_type = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    *response.body_mut() = body.into();
    response
}

/// Asks the listener at `listen` for `path`. Returns whether the status is
/// good, and the body.
///
/// # Errors
///
/// Nothing answers there within `patience`, or the answer is not HTTP.
pub async fn ask(
    listen: SocketAddr,
    path: &'static str,
    patience: Duration,
) -> io::Result<(bool, String)> {
    let address = reachable(listen);
    let asked = async {
        let stream = TcpStream::connect(address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let request = Request::get(path)
            .header(HOST, address.to_string())
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(io::Error::other)?;
            let good = response.status().is_success();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            Ok((good, String::from_utf8_lossy(&body).into_owned()))
        };
        // The connection has to be driven while the answer is read.
        tokio::pin!(exchange);
        tokio::pin!(connection);
        tokio::select! {
            answer = &mut exchange => answer,
            ended = &mut connection => {
                ended.map_err(io::Error::other)?;
                exchange.await
            }
        }
    };
    tokio::time::timeout(patience, asked)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The address to connect to: a listener on all addresses is reached at
/// localhost.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
