//! Listen: accepts connections on every address, for all torrents on one port.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::engine::Engine;
use crate::logging::peer_span;
use crate::outlet::Outlet;
use crate::peer;
use crate::transport::{Listener, Transport};

/// Pause after a failed accept: out of descriptors, most likely, which no retry at once mends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
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

/// Binds every address of `ips` (all of both families when it is empty) to one port: `port`, or another
/// when `flexible` and that is taken. 0 is any. A family that the machine lacks is left out when no
/// address was asked for.
pub fn bind(
    outlet: &Outlet,
    ips: &[IpAddr],
    port: u16,
    flexible: bool,
) -> Result<Vec<Listener>, CannotListen> {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let wanted = if ips.is_empty() { &everywhere[..] } else { ips };
    match bind_all(outlet, wanted, port, ips.is_empty()) {
        Err(failed) if flexible && failed.error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(port, "port is taken; using another");
            bind_all(outlet, wanted, 0, ips.is_empty())
        }
        result => result,
    }
}

fn bind_all(
    outlet: &Outlet,
    ips: &[IpAddr],
    port: u16,
    lenient: bool,
) -> Result<Vec<Listener>, CannotListen> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut port = port;
    for ip in ips {
        let addr = SocketAddr::new(*ip, port);
        match Listener::bind(outlet, addr) {
            Ok(listener) => {
                port = listener.local_addr().map_or(port, |addr| addr.port());
                listeners.push(listener);
            }
            Err(error) if lenient && is_missing_family(&error) && ips.len() > 1 => {
                tracing::info!(%addr, %error, "not listening there");
            }
            Err(error) => return Err(CannotListen { addr, error }),
        }
    }
    Ok(listeners)
}

fn is_missing_family(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let known = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|raw| known.iter().any(|errno| errno.raw_os_error() == raw))
}

/// Accepts on one listener until `stopping`.
pub async fn run(engine: Arc<Engine>, listener: Listener, stopping: CancellationToken) {
    let tasks = TaskTracker::new();
    let greeting = Greeting::new();
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = greeting.accept(&listener) => accepted,
        };
        match accepted {
            Ok((transport, addr, place)) => {
                let (engine, stopping, crowded) = (engine.clone(), stopping.clone(), greeting.crowded());
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
    tasks.close();
    tasks.wait().await;
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
