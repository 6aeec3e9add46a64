//! The listener: `GET /metrics` and nothing else, over HTTP/1.1, one request for each connection.
//!
//! Whoever may connect is on this machine, but not trusted: connections, their time and the size of a request
//! are bounded, and the figures are gathered once a second at most, however often they are asked for.
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wgo_api::socket::{self, SocketError, SocketFile};

use super::{Snapshot, render};
use crate::config::Endpoint;
use crate::engine::Engine;
use crate::session::{Command, SessionHandle};

/// Connections at once; further ones wait in the system's backlog.
const CONNECTIONS: usize = 16;
/// Time for the head of a request. A scraper sends it at once.
const HEAD_LIMIT: Duration = Duration::from_secs(5);
/// Time for all of a connection: the head, the session's answer, and a client that takes it.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// Time that the session has to answer; Prometheus waits 10 s for all of it.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// Bytes of a request's head, the least that hyper takes.
const HEAD_BYTES: usize = 8 * 1024;
/// Figures are as old as this at most.
const FRESH: Duration = Duration::from_secs(1);
/// The event loop's lag is sampled this often.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after a failed accept: out of descriptors, most likely, which no retry at once mends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The text format of Prometheus.
const TEXT_FORMAT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// What is said of anything but `/metrics`.
const NOT_HERE: &str = "nothing here; the figures are at /metrics\n";

/// Why the figures can't be served.
#[derive(Debug, thiserror::Error)]
pub enum CannotServe {
    /// The address can't be listened on.
    #[error(
        "cannot serve metrics on {endpoint}: {error}; choose another `listen` in [metrics], or \"\" for none"
    )]
    Tcp {
        /// The address.
        endpoint: Endpoint,
        /// What the system said.
        error: io::Error,
    },
    /// The socket can't be made.
    #[error("cannot serve metrics on a Unix socket: {0}; or choose another `listen` in [metrics]")]
    Unix(#[from] SocketError),
}

/// A listener that is bound.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
}

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix {
        listener: UnixListener,
        /// Its place in the file system, which goes when this is dropped.
        _file: SocketFile,
    },
}

impl Server {
    /// Binds `endpoint`. Must be called inside the runtime.
    pub async fn bind(endpoint: &Endpoint) -> Result<Server, CannotServe> {
        let failed = |error| CannotServe::Tcp { endpoint: endpoint.clone(), error };
        let listener = match endpoint {
            Endpoint::Tcp(addr) => Listener::Tcp(TcpListener::bind(addr).await.map_err(failed)?),
            Endpoint::Unix(path) => {
                let (listener, file) = socket::bind(path, socket::MODE)?;
                Listener::Unix { listener: UnixListener::from_std(listener).map_err(failed)?, _file: file }
            }
        };
        let at = match &listener {
            // The port may have been left to the system.
            Listener::Tcp(listener) => listener.local_addr().map_err(failed)?.to_string(),
            Listener::Unix { .. } => endpoint.to_string(),
        };
        tracing::info!(listen = at, "metrics are served");
        Ok(Server { listener })
    }

    /// Serves until `stopping`, and samples the event loop's lag meanwhile.
    pub async fn run(self, engine: Arc<Engine>, session: SessionHandle, stopping: CancellationToken) {
        let source = Arc::new(Source { engine, session, started: Instant::now(), last: Mutex::default() });
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut probe = tokio::time::interval(PROBE_INTERVAL);
        probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refusing = false;
        loop {
            let accepted = tokio::select! {
                () = stopping.cancelled() => return,
                due = probe.tick() => {
                    source.engine.counters.lag.observe(due.elapsed());
                    continue;
                }
                Some(_ended) = connections.join_next() => continue,
                accepted = self.accept(&places) => accepted,
            };
            match accepted {
                Ok((stream, place)) => {
                    refusing = false;
                    connections.spawn(serve(stream, source.clone(), place));
                }
                Err(error) => {
                    if !std::mem::replace(&mut refusing, true) {
                        tracing::warn!(%error, "cannot accept connections for metrics; trying on");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The next connection, once there is a place for it.
    async fn accept(&self, places: &Arc<Semaphore>) -> io::Result<(Box<dyn Stream>, OwnedSemaphorePermit)> {
        // It is never closed.
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let stream: Box<dyn Stream> = match &self.listener {
            Listener::Tcp(listener) => Box::new(listener.accept().await?.0),
            Listener::Unix { listener, .. } => Box::new(listener.accept().await?.0),
        };
        Ok((stream, place))
    }
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Serves one connection to its end.
async fn serve(stream: Box<dyn Stream>, source: Arc<Source>, place: OwnedSemaphorePermit) {
    let answer = |request: Request<Incoming>| {
        let source = source.clone();
        async move { Ok::<_, Infallible>(source.answer(request.method(), request.uri().path()).await) }
    };
    let connection = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    // A client that is slow, gone or confused is no matter to anybody else.
    let _ = tokio::time::timeout(CONNECTION_LIMIT, connection).await;
    drop(place);
}

/// Where the figures come from.
struct Source {
    engine: Arc<Engine>,
    session: SessionHandle,
    started: Instant,
    /// What was last shown. Held while it is made, so that those who ask meanwhile get the same.
    last: Mutex<Option<(Instant, Bytes)>>,
}

impl Source {
    async fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if path != "/metrics" {
            return said(StatusCode::NOT_FOUND, NOT_HERE);
        }
        if method != Method::GET && method != Method::HEAD {
            let mut response = said(StatusCode::METHOD_NOT_ALLOWED, "metrics are only read: GET or HEAD\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match self.text().await {
            Some(text) => with_type(StatusCode::OK, text, TEXT_FORMAT),
            None => {
                said(StatusCode::SERVICE_UNAVAILABLE, "the session does not answer; see the log of wgod\n")
            }
        }
    }

    /// The figures as text; `None` while the session doesn't answer.
    async fn text(&self) -> Option<Bytes> {
        let mut last = self.last.lock().await;
        if let Some((_, text)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Some(text.clone());
        }
        let asked = Instant::now();
        let ask = self.session.ask(|reply| Command::Glance(None, reply));
        let glance = tokio::time::timeout(ANSWER_LIMIT, ask).await.ok()??.ok()?;
        let snapshot = Snapshot::take(&self.engine, self.started.elapsed(), glance, asked.elapsed());
        let text = Bytes::from(render(&snapshot));
        *last = Some((Instant::now(), text.clone()));
        Some(text)
    }
}

fn said(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    with_type(
        status,
        Bytes::from_static(text.as_bytes()),
        HeaderValue::from_static("text/plain; charset=utf-8"),
    )
}

fn with_type(status: StatusCode, text: Bytes, kind: HeaderValue) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
