//! Listen: accepts connections on every address, for all torrents on one port.
//!
//! Addresses and interfaces come and go: each has a task that listens whenever it is there.
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::engine::Engine;
use crate::logging::peer_span;
use crate::outlet::{Outlet, Standing};
use crate::transport::{Listener, Transport};
use crate::{peer, random};

/// Pause after a failed accept: out of descriptors, most likely, which no retry at once mends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Between two tries to listen where it failed, for a port that another program has, say.
const BIND_PAUSE: Duration = Duration::from_secs(5);
/// The first port of those that nobody registers (RFC 6335); a power of two and its half.
const FIRST_PRIVATE: u16 = 49_152;
/// Connections that may be shaking hands at once; further ones wait in the system's backlog.
const MAX_GREETING: usize = 256;
/// While every place is taken, a connection has so long for its handshake: several times around the
/// world, but too short to keep others out with silence.
const CROWDED_LIMIT: Duration = Duration::from_secs(1);

/// No address could be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {error}; choose another `port` or `ip` in [network]")]
pub struct CannotListen {
    addr: SocketAddr,
    error: io::Error,
}

/// An address that is listened on whenever that can be.
#[derive(Debug)]
pub struct Post {
    addr: SocketAddr,
    /// None while what it is bound to is missing.
    listener: Option<Listener>,
    standing: watch::Receiver<Standing>,
}

impl Post {
    /// Where it listens, if it does.
    pub fn bound(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(|_| self.addr)
    }

    /// The port that it has, also while it can't listen.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// The listener, as soon as it can be had.
    async fn listener(&mut self, outlet: &Outlet) -> Listener {
        if let Some(listener) = self.listener.take() {
            // What changed since it was bound is heard of next.
            return listener;
        }
        let mut told = String::new();
        loop {
            self.standing.mark_unchanged();
            match Listener::bind(outlet, self.addr) {
                Ok(listener) => return listener,
                // The outlet has told of it.
                Err(error) if is_away(&error) => {}
                Err(error) => {
                    let error = error.to_string();
                    if told != error {
                        tracing::warn!(addr = %self.addr, error, "cannot listen; trying on");
                        told = error;
                    }
                }
            }
            tokio::select! {
                Ok(()) = self.standing.changed() => {}
                () = tokio::time::sleep(BIND_PAUSE) => {}
            }
        }
    }
}

/// The addresses that are listened on now. A leaf lock.
#[derive(Debug, Default)]
pub struct Listening(Mutex<BTreeSet<SocketAddr>>);

impl Listening {
    /// Those of `posts`.
    pub fn of(posts: &[Post]) -> Listening {
        Listening(Mutex::new(posts.iter().filter_map(Post::bound).collect()))
    }

    /// For people, in order.
    pub fn shown(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(ToString::to_string).collect()
    }

    fn set(&self, addr: SocketAddr, listens: bool) {
        let mut addrs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if listens {
            addrs.insert(addr)
        } else {
            addrs.remove(&addr)
        };
    }
}

/// Binds every address of `outlet` to one port: `port`, or another when `flexible` and that is taken. 0 is any.
/// What is missing is bound when it returns; a family that the machine lacks is left out when no address was
/// asked for.
pub fn bind(outlet: &Outlet, port: u16, flexible: bool) -> Result<Vec<Post>, CannotListen> {
    match bind_all(outlet, port) {
        Err(failed) if flexible && failed.error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(port, "port is taken; using another");
            bind_all(outlet, 0)
        }
        result => result,
    }
}

fn bind_all(outlet: &Outlet, port: u16) -> Result<Vec<Post>, CannotListen> {
    let ips = outlet.addresses();
    let lenient = outlet.bounds().ips.is_empty() && ips.len() > 1;
    let mut posts: Vec<Post> = Vec::new();
    let mut port = port;
    for ip in ips {
        let addr = SocketAddr::new(ip, port);
        let standing = outlet.follow();
        match Listener::bind(outlet, addr) {
            Ok(listener) => {
                let addr = listener.local_addr().unwrap_or(addr);
                port = addr.port();
                posts.push(Post { addr, listener: Some(listener), standing });
            }
            Err(error) if is_away(&error) => posts.push(Post { addr, listener: None, standing }),
            Err(error) if lenient && is_missing_family(&error) => {
                tracing::info!(%addr, %error, "not listening there");
            }
            Err(error) => return Err(CannotListen { addr, error }),
        }
    }
    // Trackers and peers hear of the port before there is anything to bind it to.
    let any = || random::bytes().map_or(FIRST_PRIVATE, |drawn| FIRST_PRIVATE | u16::from_le_bytes(drawn));
    let port = if port == 0 { any() } else { port };
    posts.iter_mut().filter(|post| post.listener.is_none()).for_each(|post| post.addr.set_port(port));
    Ok(posts)
}

/// Whether what we are bound to is missing.
fn is_away(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NetworkDown
}

fn is_missing_family(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let known = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|raw| known.iter().any(|errno| errno.raw_os_error() == raw))
}

/// Listens at one address until `stopping`, anew whenever that is bound to something else.
pub async fn run(engine: Arc<Engine>, mut post: Post, stopping: CancellationToken) {
    let tasks = TaskTracker::new();
    let greeting = Greeting::new();
    loop {
        let listener = tokio::select! {
            () = stopping.cancelled() => break,
            listener = post.listener(&engine.outlet) => listener,
        };
        engine.listening.set(post.addr, true);
        tokio::select! {
            () = stopping.cancelled() => break,
            Ok(()) = post.standing.changed() => engine.listening.set(post.addr, false),
            () = accept_all(&engine, &listener, &greeting, &tasks, &stopping) => {}
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// Accepts on one listener, without end.
async fn accept_all(
    engine: &Arc<Engine>,
    listener: &Listener,
    greeting: &Greeting,
    tasks: &TaskTracker,
    stopping: &CancellationToken,
) {
    loop {
        match greeting.accept(listener).await {
            Ok((_, addr, _)) if !engine.ip_filter.allows(addr.ip()) => {
                tracing::debug!(%addr, "refused: the IP filter has its address");
            }
            Ok((transport, addr, place)) => {
                let (engine, stopping) = (engine.clone(), stopping.clone());
                let crowded = greeting.crowded();
                let greeting = async move {
                    tokio::select! {
                        () = stopping.cancelled() => {}
                        () = too_long(crowded) => {
                            engine.counters.handshakes.crowded_out();
                            tracing::debug!("no handshake in time while every place was taken");
                        }
                        () = greet(&engine, transport, addr) => {}
                    }
                    drop(place);
                };
                tasks.spawn(greeting.instrument(peer_span(addr)));
            }
            // It ended while it waited for us: the next is no worse for it.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept; trying on");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The connections of one listener that shake hands, at most [`MAX_GREETING`].
struct Greeting {
    places: Arc<Semaphore>,
    /// Whether every place is taken, so that others may wait for one.
    crowded: watch::Sender<bool>,
}

impl Greeting {
    fn new() -> Greeting {
        Greeting { places: Arc::new(Semaphore::new(MAX_GREETING)), crowded: watch::Sender::new(false) }
    }

    /// The next connection, once there is a place for it.
    async fn accept(&self, listener: &Listener) -> io::Result<(Transport, SocketAddr, OwnedSemaphorePermit)> {
        let place = match self.places.clone().try_acquire_owned() {
            Ok(place) => place,
            Err(_) => {
                self.crowded.send_replace(true);
                let place = self.places.clone().acquire_owned().await;
                self.crowded.send_replace(false);
                // It is never closed.
                place.map_err(io::Error::other)?
            }
        };
        let (transport, addr) = listener.accept().await?;
        Ok((transport, addr, place))
    }

    fn crowded(&self) -> watch::Receiver<bool> {
        self.crowded.subscribe()
    }
}

/// Resolves when a handshake has taken [`CROWDED_LIMIT`] and every place is taken.
async fn too_long(mut crowded: watch::Receiver<bool>) {
    tokio::time::sleep(CROWDED_LIMIT).await;
    if crowded.wait_for(|crowded| *crowded).await.is_err() {
        // The listener has ended, and `stopping` says so.
        std::future::pending().await
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected)
}

/// Shakes hands and gives the connection to a task of its torrent. It takes one of `max_peers` only then,
/// so that silence takes none.
async fn greet(engine: &Arc<Engine>, transport: Transport, addr: SocketAddr) {
    let (torrent, link, info) = match peer::accept(engine, transport, addr).await {
        Ok(accepted) => accepted,
        Err(reason) => {
            engine.counters.handshakes.failed(&reason);
            return tracing::debug!(%reason, "no handshake");
        }
    };
    engine.counters.handshakes.done(&info);
    let Some(place) = engine.take_place() else {
        let span = peer::span(&torrent, addr);
        return span.in_scope(|| tracing::debug!("refused: `max_peers` reached"));
    };
    torrent.tasks.spawn(peer::run(engine.clone(), torrent.clone(), link, info, place));
}
