//! Listen: accepts connections on every address, for all torrents on one port.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::engine::Engine;
use crate::peer;
use crate::transport::{Listener, Transport, bind_listener};

/// Pause after a failed accept: out of descriptors, most likely, which no retry at once mends.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Connections that may be shaking hands at once; further ones are closed unheard.
const MAX_GREETING: usize = 256;

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
pub fn bind(ips: &[IpAddr], port: u16, flexible: bool) -> Result<Vec<Listener>, CannotListen> {
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let wanted = if ips.is_empty() { &everywhere[..] } else { ips };
    match bind_all(wanted, port, ips.is_empty()) {
        Err(failed) if flexible && failed.error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(port, "port is taken; using another");
            bind_all(wanted, 0, ips.is_empty())
        }
        result => result,
    }
}

fn bind_all(ips: &[IpAddr], port: u16, lenient: bool) -> Result<Vec<Listener>, CannotListen> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut port = port;
    for ip in ips {
        let addr = SocketAddr::new(*ip, port);
        match bind_listener(addr) {
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
    let greeting = Arc::new(AtomicUsize::new(0));
    let tasks = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((transport, addr)) => {
                if greeting.fetch_add(1, Ordering::Relaxed) >= MAX_GREETING {
                    greeting.fetch_sub(1, Ordering::Relaxed);
                    tracing::debug!(%addr, "too many handshakes under way");
                    continue;
                }
                let (engine, greeting, stopping) = (engine.clone(), greeting.clone(), stopping.clone());
                tasks.spawn(async move {
                    tokio::select! {
                        () = stopping.cancelled() => {}
                        () = greet(&engine, transport, addr) => {}
                    }
                    greeting.fetch_sub(1, Ordering::Relaxed);
                });
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

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected)
}

/// Shakes hands and gives the connection to a task of its torrent.
async fn greet(engine: &Arc<Engine>, transport: Transport, addr: SocketAddr) {
    let Some(place) = engine.take_place() else {
        return tracing::debug!(%addr, "refused: `max_peers` reached");
    };
    match peer::accept(engine, &transport, addr).await {
        Ok((torrent, info)) => {
            let (engine, owner) = (engine.clone(), torrent.clone());
            torrent.tasks.spawn(async move {
                peer::run(engine, owner, transport, info).await;
                drop(place);
            });
        }
        Err(reason) => tracing::debug!(%addr, %reason, "no handshake"),
    }
}
