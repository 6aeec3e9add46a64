//! One task per connection: reads, writes and wake-ups in one select.
//!
//! The task calls its torrent's Swarm directly, so a block crosses no channel between the socket and
//! its piece. What goes out is pulled from the Swarm when the socket can take it. An idle connection
//! holds no buffer.
mod handshake;
mod link;
mod lull;
mod receive;
mod scatter;
mod send;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::Notify;
use tracing::Span;
use wgo_core::PeerKey;
use wgo_core::limiter::Direction;
use wgo_core::peer::{CloseReason, PeerInfo};
use wgo_core::swarm::Swarm;

use crate::engine::{Engine, Place};
use crate::files::BlockBuf;
use crate::logging::peer_span;
use crate::torrent::{Broken, Torrent};
use crate::transport::{Readiness, Transport};
use receive::Receiver;
use send::Sender;

pub use handshake::{HandshakeFailed, accept, greet};
pub use link::{Link, NotEncrypted};

/// What a half of the connection can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing until the socket is ready.
    Blocked,
    /// Nothing until a grant or a disk read arrives, or there is something to do.
    Waiting,
    /// There is more; let others go first.
    More,
}

/// One connection of one torrent.
struct Connection {
    engine: Arc<Engine>,
    torrent: Arc<Torrent>,
    key: PeerKey,
    transport: Transport,
    waker: Arc<Notify>,
}

impl From<Broken> for CloseReason {
    fn from(_: Broken) -> CloseReason {
        CloseReason::Stopped
    }
}

fn gone(e: &std::io::Error) -> CloseReason {
    CloseReason::Gone(e.to_string())
}

/// The span of what is said of a connection: made for that, see [`peer_span`].
pub fn span(torrent: &Torrent, addr: SocketAddr) -> Span {
    torrent.span.in_scope(|| peer_span(addr))
}

/// A connection on its way, and what its task holds of it.
struct Live {
    connection: Connection,
    addr: SocketAddr,
    receiver: Receiver,
    sender: Sender,
    /// Why it ended; none when the task was dropped, or panicked.
    reason: Option<CloseReason>,
    /// Goes when all else has.
    _place: Place,
}

/// Runs a connection whose handshake is done, to its end. Connections are many and mostly idle, so the task
/// holds what it needs once: an async function keeps its arguments beside what it makes of them.
pub fn run(
    engine: Arc<Engine>,
    torrent: Arc<Torrent>,
    link: Link,
    info: PeerInfo,
    place: Place,
) -> impl Future<Output = ()> + Send {
    let mut live = Live::new(engine, torrent, link, info, place);
    async move {
        if let Some(live) = &mut live {
            live.reason = Some(live.connection.serve(&mut live.receiver, &mut live.sender).await);
        }
    }
}

impl Live {
    /// Tells the Swarm of the connection. `None` when it wants none.
    fn new(
        engine: Arc<Engine>,
        torrent: Arc<Torrent>,
        link: Link,
        info: PeerInfo,
        place: Place,
    ) -> Option<Live> {
        let (addr, encryption) = (info.addr, info.encryption);
        let Link { transport, incoming, outgoing, .. } = link;
        let _said = span(&torrent, addr).entered();
        let dht_port = engine.dht.port(addr);
        let connect = |swarm: &mut Swarm<BlockBuf>, now| -> Result<PeerKey, CloseReason> {
            if torrent.is_stopping() {
                return Err(CloseReason::Stopped);
            }
            let key = swarm.connect(now, info)?;
            if let Some(port) = dht_port {
                swarm.tell_dht_port(key, port);
            }
            Ok(key)
        };
        let key = match torrent.call(connect) {
            Ok(Ok(key)) => key,
            Ok(Err(reason)) => {
                tracing::debug!(%reason, "not connected");
                return None;
            }
            Err(Broken) => return None,
        };
        let waker = Arc::new(Notify::new());
        torrent.set_waker(key, waker.clone());
        tracing::debug!(?encryption, "connected");
        let flow = |direction| engine.shaper.flow(torrent.id, direction, waker.clone());
        Some(Live {
            receiver: Receiver::new(flow(Direction::Down), torrent.piece_count(), incoming),
            sender: Sender::new(flow(Direction::Up), outgoing),
            connection: Connection { engine, torrent, key, transport, waker },
            addr,
            reason: None,
            _place: place,
        })
    }
}

/// Tells the Swarm that the connection is over, however its task ends.
impl Drop for Live {
    fn drop(&mut self) {
        let Live { connection: Connection { torrent, key, .. }, addr, .. } = self;
        let reason = self.reason.take().unwrap_or(CloseReason::Stopped);
        torrent.remove_waker(*key);
        let _said = span(torrent, *addr).entered();
        let _closed = torrent.call(|swarm, now| {
            let said = swarm.closing(*key).unwrap_or_else(|| reason.clone());
            match &said {
                // Who asks for everything gets each of them; else the first of a minute is told, and how many came.
                CloseReason::Fault(fault) if !tracing::enabled!(tracing::Level::DEBUG) => {
                    tracing::info!(%fault, "closed");
                }
                _ => tracing::debug!(reason = %said, "closed"),
            }
            swarm.disconnect(now, *key, reason);
        });
    }
}

impl Connection {
    async fn serve(&self, receiver: &mut Receiver, sender: &mut Sender) -> CloseReason {
        loop {
            match self.step(receiver, sender).await {
                Ok(()) => {}
                Err(reason) => return reason,
            }
        }
    }

    async fn step(&self, receiver: &mut Receiver, sender: &mut Sender) -> Result<(), CloseReason> {
        if self.torrent.is_stopping() {
            return Err(CloseReason::Stopped);
        }
        if let Some(reason) = self.torrent.call(|swarm, _| swarm.closing(self.key))? {
            return Err(reason);
        }
        let sent = sender.pump(self)?;
        let received = receiver.pump(self).await?;
        if sent == Progress::More || received == Progress::More {
            tokio::task::yield_now().await;
            return Ok(());
        }
        let want = Readiness { read: received == Progress::Blocked, write: sent == Progress::Blocked };
        tokio::select! {
            () = self.waker.notified() => {}
            ready = self.transport.ready(want) => { ready.map_err(|e| gone(&e))?; }
            () = sender.read_done() => {}
            () = receiver.lull(self), if received == Progress::Blocked || receiver.is_starved() => {}
        }
        Ok(())
    }
}
