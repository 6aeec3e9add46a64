//! Dial: connects to the peers that Swarms ask for.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;
use wgo_core::peer_mgr::Greeting;

use crate::config::Encryption as Mode;
use crate::engine::Engine;
use crate::peer::{self, Way};
use crate::torrent::Torrent;
use crate::transport::{Transport, dial};

/// Time that a peer has to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Connects to `addr` in a task of the torrent, and greets the peer as it is said to like it.
pub fn start(engine: &Arc<Engine>, torrent: &Arc<Torrent>, addr: SocketAddr, greeting: Greeting) {
    let (engine, owner) = (engine.clone(), torrent.clone());
    let span = peer::span(torrent, addr);
    let dialling = async move {
        let stopping = owner.stopping.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = run(engine, owner, addr, greeting) => {}
        }
    };
    torrent.tasks.spawn(dialling.instrument(span));
}

async fn run(engine: Arc<Engine>, torrent: Arc<Torrent>, addr: SocketAddr, greeting: Greeting) {
    let failed = |why: String| {
        tracing::debug!(why, "not connected");
        engine.call(&torrent, |swarm, now| swarm.on_dial_failed(now, addr));
    };
    let Some(place) = engine.take_place() else { return failed("`max_peers` reached".into()) };
    if !engine.outlet.reaches(addr.ip()) {
        return failed("no address of that family in `ip`".into());
    }
    let transport: Transport = match dial(&engine.outlet, addr, CONNECT_LIMIT).await {
        Ok(transport) => transport,
        Err(error) => return failed(error.to_string()),
    };
    let mode = engine.encryption.mode();
    let way = way(mode, greeting);
    match peer::greet(&engine, &torrent, transport, addr, way).await {
        // In a task of its own: this one has held what dialling needs.
        Ok((link, info)) => {
            engine.counters.handshakes.done(&info);
            torrent.tasks.spawn(peer::run(engine.clone(), torrent.clone(), link, info, place));
        }
        Err(reason) => {
            engine.counters.handshakes.failed(&reason);
            if mode != Mode::Prefer || !reason.is_about(way) {
                return failed(reason.to_string());
            }
            tracing::debug!(%reason, ?way, "not connected this way");
            engine.call(&torrent, |swarm, now| swarm.on_greeting_refused(now, addr));
        }
    }
}

/// Encrypted as long as the setting allows it, but for peers that don't take it.
fn way(mode: Mode, greeting: Greeting) -> Way {
    match (mode, greeting) {
        (Mode::Off, _) | (Mode::Prefer, Greeting::Other) => Way::Plain,
        (Mode::Require, _) | (Mode::Prefer, Greeting::First) => Way::Encrypted,
    }
}
