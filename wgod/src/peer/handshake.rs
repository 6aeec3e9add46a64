//! Handshakes, both ways (BEP 3): the first 68 bytes of a connection, and which torrent it is for.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wgo_core::peer::{Direction, PeerInfo};
use wgo_proto::wire::{HANDSHAKE_LEN, Handshake, HandshakeError, Reserved};
use wgo_proto::{PeerId, WireHash};

use crate::engine::Engine;
use crate::torrent::Torrent;
use crate::transport::Transport;

/// Time that a peer has for its handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// What we offer: the fast extension (BEP 6) and the extension protocol (BEP 10).
const OFFERED: Reserved = Reserved([0, 0, 0, 0, 0, 0x10, 0, 0x04]);

/// Why no connection came of a handshake.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeFailed {
    /// The connection broke, or the peer took too long.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is no handshake.
    #[error("{0}")]
    Malformed(#[from] HandshakeError),
    /// We don't have that torrent, or it does not run.
    #[error("asks for torrent {0}, which is not active here")]
    Unknown(WireHash),
    /// We asked for one torrent and the peer answered for another.
    #[error("answers for torrent {0}")]
    WrongTorrent(WireHash),
}

async fn receive(transport: &Transport) -> Result<Handshake, HandshakeFailed> {
    let mut bytes = [0; HANDSHAKE_LEN];
    transport.read_exact(&mut bytes, HANDSHAKE_LIMIT).await?;
    Ok(Handshake::decode(&bytes)?)
}

async fn send(transport: &Transport, hash: WireHash, peer_id: PeerId) -> io::Result<()> {
    let ours = Handshake { reserved: OFFERED, hash, peer_id };
    transport.write_all(&ours.encode(), HANDSHAKE_LIMIT).await
}

/// Answers a connection that came in: finds its torrent, waking it if it sleeps.
pub async fn accept(
    engine: &Arc<Engine>,
    transport: &Transport,
    addr: SocketAddr,
) -> Result<(Arc<Torrent>, PeerInfo), HandshakeFailed> {
    let theirs = receive(transport).await?;
    let unknown = HandshakeFailed::Unknown(theirs.hash);
    let Some(torrent) = engine.torrent_for(&theirs.hash).await else { return Err(unknown) };
    send(transport, theirs.hash, engine.peer_id).await?;
    let info =
        PeerInfo { addr, direction: Direction::Incoming, id: theirs.peer_id, reserved: theirs.reserved };
    Ok((torrent, info))
}

/// Opens the talk on a connection that we dialled.
pub async fn greet(
    engine: &Engine,
    torrent: &Torrent,
    transport: &Transport,
    addr: SocketAddr,
) -> Result<PeerInfo, HandshakeFailed> {
    send(transport, torrent.hash, engine.peer_id).await?;
    let theirs = receive(transport).await?;
    if theirs.hash != torrent.hash {
        return Err(HandshakeFailed::WrongTorrent(theirs.hash));
    }
    Ok(PeerInfo { addr, direction: Direction::Outgoing, id: theirs.peer_id, reserved: theirs.reserved })
}
