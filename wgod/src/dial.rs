//! Dial: connects to the peers that Swarms ask for.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use crate::engine::Engine;
use crate::peer;
use crate::torrent::Torrent;
use crate::transport::{Transport, dial};

/// Time that a peer has to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Connects to `addr` in a task of the torrent.
pub fn start(engine: &Arc<Engine>, torrent: &Arc<Torrent>, addr: SocketAddr) {
    let (engine, owner) = (engine.clone(), torrent.clone());
    let span = peer::span(torrent, addr);
    let dialling = async move {
        let stopping = owner.stopping.clone();
        tokio::select! {
            () = stopping.cancelled() => {}
            () = run(engine, owner, addr) => {}
        }
    };
    torrent.tasks.spawn(dialling.instrument(span));
}

async fn run(engine: Arc<Engine>, torrent: Arc<Torrent>, addr: SocketAddr) {
    let failed = |why: String| {
        tracing::debug!(why, "not connected");
        engine.call(&torrent, |swarm, now| swarm.on_dial_failed(now, addr));
    };
    let Some(place) = engine.take_place() else { return failed("`max_peers` reached".into()) };
    if !engine.local.reaches(addr) {
        return failed("no address of that family in `ip`".into());
    }
    let transport: Transport = match dial(addr, engine.local.from(addr), CONNECT_LIMIT).await {
        Ok(transport) => transport,
        Err(error) => return failed(error.to_string()),
    };
    match peer::greet(&engine, &torrent, &transport, addr).await {
        // In a task of its own: this one has held what dialling needs.
        Ok(info) => {
            torrent.tasks.spawn(peer::run(engine.clone(), torrent.clone(), transport, info, place));
        }
        Err(reason) => failed(reason.to_string()),
    }
}
