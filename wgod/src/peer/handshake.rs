//! Handshakes, both ways (BEP 3): the first 68 bytes of a connection, encrypted or not, and which torrent it is for.
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use wgo_core::peer::{Direction, PeerInfo};
use wgo_core::peer_mgr::Greeting;
use wgo_proto::WireHash;
use wgo_proto::wire::{HANDSHAKE_LEN, Handshake, HandshakeError, Reserved};

use super::link::{self, Link, NotEncrypted};
use crate::config::Encryption as Mode;
use crate::engine::Engine;
use crate::torrent::Torrent;
use crate::transport::Transport;

/// Time that a peer has for its handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// What we always offer: the fast extension (BEP 6) and the extension protocol (BEP 10).
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
    /// The connection could not be encrypted.
    #[error("no encrypted handshake: {0}")]
    NotEncrypted(#[from] NotEncrypted),
    /// A plain connection came in, and only encrypted ones are taken.
    #[error("not encrypted, which [network] encryption requires")]
    Plain,
}

impl HandshakeFailed {
    /// Whether a peer that was greeted so may take the other greeting.
    pub fn is_about(&self, greeting: Greeting) -> bool {
        match greeting {
            Greeting::Encrypted => matches!(self, HandshakeFailed::NotEncrypted(_)),
            Greeting::Plain => matches!(self, HandshakeFailed::Io(_) | HandshakeFailed::Malformed(_)),
        }
    }
}

async fn receive(link: &mut Link) -> Result<Handshake, HandshakeFailed> {
    let mut bytes = [0; HANDSHAKE_LEN];
    link.read_exact(&mut bytes, HANDSHAKE_LIMIT).await?;
    Ok(Handshake::decode(&bytes)?)
}

/// Of a private torrent nobody need know that we have a node of the DHT (BEP 5, 27).
fn ours(engine: &Engine, torrent: &Torrent, hash: WireHash) -> [u8; HANDSHAKE_LEN] {
    let dht = engine.dht.is_on() && !torrent.is_private();
    let reserved = if dht { OFFERED | Reserved::DHT } else { OFFERED };
    Handshake { reserved, hash, peer_id: engine.peer_id }.encode()
}

/// Answers a connection that came in: finds its torrent, waking it if it sleeps.
pub async fn accept(
    engine: &Arc<Engine>,
    transport: Transport,
    addr: SocketAddr,
) -> Result<(Arc<Torrent>, Link, PeerInfo), HandshakeFailed> {
    let mode = engine.encryption.mode();
    let (mut link, theirs, reply) = match begin(&transport, mode).await? {
        Begun::Plain(_) if mode == Mode::Require => return Err(HandshakeFailed::Plain),
        Begun::Plain(bytes) => (Link::plain(transport), Handshake::decode(&bytes)?, Vec::new()),
        Begun::Encrypted(came, len) => {
            // Boxed, as it is long and most connections are plain.
            let responded = Box::pin(link::respond(engine, transport, &came[..len]));
            let link::Accepted { mut link, hash, mut reply, payload } = responded.await?;
            if payload < HANDSHAKE_LEN {
                // It waits for the answer before it goes on.
                let reply = std::mem::take(&mut reply);
                link.transport.write_all(&reply, HANDSHAKE_LIMIT).await?;
            }
            let theirs = receive(&mut link).await?;
            if theirs.hash != hash {
                return Err(HandshakeFailed::WrongTorrent(theirs.hash));
            }
            (link, theirs, reply)
        }
    };
    let unknown = HandshakeFailed::Unknown(theirs.hash);
    let Some(mut torrent) = engine.torrent_for(&theirs.hash).await else { return Err(unknown) };
    link.write_all(reply, &ours(engine, &torrent, theirs.hash), HANDSHAKE_LIMIT).await?;
    if torrent.is_stopping() {
        // It went to sleep meanwhile.
        torrent = engine.torrent_for(&theirs.hash).await.ok_or(unknown)?;
    }
    let info = info(addr, Direction::Incoming, &theirs, &link);
    Ok((torrent, link, info))
}

/// What a connection that came in began with.
enum Begun {
    /// A plain handshake, or what would be one.
    Plain([u8; HANDSHAKE_LEN]),
    /// Bytes that no plain handshake begins with, and how many they are.
    Encrypted([u8; HANDSHAKE_LEN], usize),
}

/// Reads until it is known how a connection begins: an encrypted one shows it by its first byte, in 255 cases of
/// 256, and is longer than a plain handshake. So nothing is read that belongs to what follows.
async fn begin(transport: &Transport, mode: Mode) -> io::Result<Begun> {
    let read = async {
        let (mut bytes, mut len) = ([0; HANDSHAKE_LEN], 0);
        while len < HANDSHAKE_LEN {
            len += transport.read_some(&mut bytes[len..]).await?;
            if mode != Mode::Off && !Handshake::may_begin_with(&bytes[..len]) {
                return Ok(Begun::Encrypted(bytes, len));
            }
        }
        Ok(Begun::Plain(bytes))
    };
    let late = || Err(io::ErrorKind::TimedOut.into());
    tokio::time::timeout(HANDSHAKE_LIMIT, read).await.unwrap_or_else(|_| late())
}

/// Opens the talk on a connection that we dialled.
pub async fn greet(
    engine: &Engine,
    torrent: &Torrent,
    transport: Transport,
    addr: SocketAddr,
    greeting: Greeting,
) -> Result<(Link, PeerInfo), HandshakeFailed> {
    let ours = ours(engine, torrent, torrent.hash);
    let mut link = match greeting {
        Greeting::Plain => {
            let mut link = Link::plain(transport);
            link.write_all(Vec::new(), &ours, HANDSHAKE_LIMIT).await?;
            link
        }
        // The handshake goes along with the encrypted one.
        Greeting::Encrypted => Box::pin(link::initiate(engine, transport, torrent.hash, &ours)).await?,
    };
    let theirs = receive(&mut link).await?;
    if theirs.hash != torrent.hash {
        return Err(HandshakeFailed::WrongTorrent(theirs.hash));
    }
    let info = info(addr, Direction::Outgoing, &theirs, &link);
    Ok((link, info))
}

fn info(addr: SocketAddr, direction: Direction, theirs: &Handshake, link: &Link) -> PeerInfo {
    PeerInfo { addr, direction, id: theirs.peer_id, reserved: theirs.reserved, encryption: link.encryption }
}
