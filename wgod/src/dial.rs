//! Dial: connects to the peers that Swarms ask for.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;
use wgo_core::peer_mgr::Greeting;

use crate::config::Encryption as Mode;
use crate::engine::Engine;
use crate::peer;
use crate::torrent::Torrent;
use crate::transport::{Transport, dial};

/// Time that a peer has to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Connects to `addr` in a task of the torrent, and greets the peer as it is known to like it.
pub fn start(engine: &Arc<Engine>, torrent: &Arc<Torrent>, addr: SocketAddr, greeting: Option<Greeting>) {
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

async fn run(engine: Arc<Engine>, torrent: Arc<Torrent>, addr: SocketAddr, greeting: Option<Greeting>) {
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
    let greeting = chosen(mode, greeting);
    match peer::greet(&engine, &torrent, transport, addr, greeting).await {
        // In a task of its own: this one has held what dialling needs.
        Ok((link, info)) => {
            engine.counters.handshakes.done(&info);
            torrent.tasks.spawn(peer::run(engine.clone(), torrent.clone(), link, info, place));
        }
        Err(reason) => {
            engine.counters.handshakes.failed(&reason);
            let other = matches!(mode, Mode::Allow | Mode::Prefer) && reason.is_about(greeting);
            if !other {
                return failed(reason.to_string());
            }
            tracing::debug!(%reason, ?greeting, "not connected this way");
            engine.call(&torrent, |swarm, now| swarm.on_greeting_refused(now, addr, greeting));
        }
    }
}

/// As the peer is known to like it, where the setting leaves the choice.
fn chosen(mode: Mode, known: Option<Greeting>) -> Greeting {
    match mode {
        Mode::Off => Greeting::Plain,
        Mode::Allow => known.unwrap_or(Greeting::Plain),
        Mode::Prefer => known.unwrap_or(Greeting::Encrypted),
        Mode::Require => Greeting::Encrypted,
    }
}
